"""What the parts of a split know of each other: entities, inputs or times on both sides."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from .hashing import content
from .splitting import PARTS, Split


class Leak(NamedTuple):
    """A kind of leak ("entity", "inputs", "time"), the rows concerned and words for the user."""

    kind: str
    rows: int
    message: str


def find_leaks(
    frame: pd.DataFrame, split: Split, *, group: str | None, time: str | None, inputs: list[str]
) -> list[Leak]:
    """Look for what training could tell a model about the rows that judge it, one of each kind.

    `group` names the entity, else the key does; `time` is looked at with strategy "time"; rows that
    are equal in all `inputs` look the same to the model.
    """
    leaks = []
    entity = [group] if group else split.key
    if entity and (entity != split.key or split.strategy in {"time", "stratified"}):
        numbers = frame.groupby(entity, sort=False, observed=True).ngroup()
        rows, example = _shared(numbers.fillna(-1).to_numpy(dtype=np.int64), split)
        if rows:
            message = (
                f"{_name(frame, entity, example[0])} is on both sides of the split "
                f"({', '.join(split.part.iloc[example])}); {rows} rows are concerned. To keep what "
                'belongs together on one side, set group in [data] and strategy = "group" in '
                "[split]"
            )
            leaks.append(Leak("entity", rows, message))
    if inputs:
        rows, example = _shared(pd.factorize(content(frame[inputs]))[0], split)
        if rows:
            twins = (f"{_name(frame, split.key, row)} ({split.part.iloc[row]})" for row in example)
            message = (
                f"{' and '.join(twins)} have the same inputs on both sides of the split; "
                f"{rows} rows are concerned. If they are copies, drop them"
            )
            leaks.append(Leak("inputs", rows, message))
    if time and split.strategy == "time":
        leaks += _future(frame[time], split.part)
    return leaks


def _shared(codes: np.ndarray, split: Split) -> tuple[int, np.ndarray]:
    """Count the rows whose code is in several parts; give one row of each part as an example.

    A code of -1 stands for no value. The example has the smallest hash, whatever the rows' order.
    """
    sides = split.part.cat.codes.reset_index(drop=True)
    of_code = sides.groupby(codes)
    at = np.flatnonzero((of_code.transform("min") != of_code.transform("max")) & (codes >= 0))
    if not len(at):
        return 0, at
    same = np.flatnonzero(codes == codes[at[np.argmin(split.h[at])]])
    same = same[np.argsort(split.h[same])]
    return len(at), same[np.unique(sides[same], return_index=True)[1]]


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
