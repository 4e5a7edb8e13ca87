"""What the parts of a split know of each other: entities, inputs or times on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from .hashing import content
from .splitting import PARTS, Split


def find_leaks(
    frame: pd.DataFrame, split: Split, *, group: str | None, time: str | None, inputs: list[str]
) -> list[Leak]:
    """Look for what training could tell a model about the rows that judge it.

    Parameters
    ----------
    frame : the frame that was split.
    group : the entity's column; without one, the key names the entity.
    time : the time column, looked at with strategy "time".
    inputs : the model's columns; rows equal in all of them look the same to it.

    Returns
    -------
    At most one leak of each kind; its example does not depend on the rows' order.
    """
    leaks = []
    entity = [group] if group else split.key
    if entity and (entity != split.key or split.strategy in {"time", "stratified"}):
        numbers = frame.groupby(entity, sort=False, observed=True).ngroup()
        codes = numbers.fillna(-1).to_numpy(dtype=np.int64)
        rows, example = _shared(codes, frame, split)
        if rows:
            leaks.append(
                Leak(
                    "entity",
                    rows,
                    f"{_name(frame, entity, example[0])} is on both sides of the split "
                    f"({', '.join(split.part.iloc[example])}); {rows} rows are concerned. "
                    f"To keep what belongs together on one side, set group in [data] and "
                    'strategy = "group" in [split]',
                )
            )
    if inputs:
        codes = pd.factorize(content(frame[inputs]))[0]
        rows, example = _shared(codes, frame, split)
        if rows:
            twins = (f"{_name(frame, split.key, row)} ({split.part.iloc[row]})" for row in example)
            leaks.append(
                Leak(
                    "inputs",
                    rows,
                    f"{' and '.join(twins)} have the same inputs on both sides of the split; "
                    f"{rows} rows are concerned. If they are copies, drop them",
                )
            )
    if time and split.strategy == "time":
        leaks += _future(frame[time], split.part)
    return leaks


def _shared(codes: np.ndarray, frame: pd.DataFrame, split: Split) -> tuple[int, np.ndarray]:
    """Count the rows whose code is in several parts, and give one row of each part for the first.

    The first is the one with the smallest hash. A code of -1 stands for no value.
    """
    sides = split.part.cat.codes.to_numpy()
    seen = np.zeros((codes.max(initial=-1) + 2, len(PARTS)), dtype=bool)
    seen[codes, sides] = True
    seen[-1] = False
    at = np.flatnonzero((seen.sum(axis=1) > 1)[codes])
    if not len(at):
        return 0, at
    at_first = at[split.h[at] == split.h[at].min()]
    code = codes[at_first[np.argmin(content(frame.iloc[at_first]))]]
    members = np.flatnonzero(codes == code)
    members = members[np.lexsort([content(frame.iloc[members]), split.h[members]])]
    return len(at), members[np.unique(sides[members], return_index=True)[1]]


def _name(frame: pd.DataFrame, key: list[str], row: int) -> str:
    if not key:
        return f"row {frame.index[row]}"
    return " and ".join(f"{column} {frame[column].iloc[row]}" for column in key)


def _future(times: pd.Series, part: pd.Series) -> list[Leak]:
    for earlier, later in pairwise(PARTS):
        end, start = times[part == earlier].max(), times[part == later].min()
        if end >= start:
            rows = int((times[part == earlier] >= start).sum())
            message = f"{earlier} knows the future: it has rows up to {end}, {later} begins {start}"
            return [Leak("time", rows, message)]
    return []


@dataclass(frozen=True)
class Leak:
    """A kind of leak ("entity", "inputs", "time"), the rows concerned and words for the user."""

    kind: str
    rows: int
    message: str
