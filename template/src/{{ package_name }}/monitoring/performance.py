"""What became of predictions: outcomes are joined to them and tell how good each version is."""

import json
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ..data.sources import read_table
from ..data.validation import conform, declared_types, nullable_type
from ..service.journal import Journal, Outcome
from ..service.scoring import label_text
from ..utils.config import Roles
from ..utils.errors import UsageError

ID, OUTCOME, VALUE = "prediction_id", "outcome", "value"


@dataclass(frozen=True)
class Taken:
    """What was done with a file of outcomes."""

    rows: int
    matched: int
    """Rows that belong to a prediction of the journal."""
    unmatched: int
    rejected: int
    """Rows whose outcome is missing or of another type."""


@dataclass(frozen=True)
class Performance:
    """How good one version was, as far as outcomes are known."""

    version: int
    group: str
    predictions: int
    metric: str
    mean: float
    low: float
    high: float
    """A 95 % confidence interval of the mean (normal approximation)."""
    value: float | None
    """The mean of what the predictions were worth, where the file says."""


def take_in(file: str, schema: pa.DataFrameSchema, roles: Roles, journal: Journal) -> Taken:
    """Join a file of outcomes to the predictions of the journal.

    The file names a prediction by `prediction_id`, or its row by the key columns; the outcome is in
    the target's column or in `outcome`, and what it was worth, if known, in `value`.

    Raises
    ------
    UsageError
        The file can't be read or lacks these columns.
    """
    rows = read_table(file).to_pandas(types_mapper=nullable_type)
    column = next((name for name in (roles.target, OUTCOME) if name in rows), None)
    if column is None:
        raise UsageError(f"{file} has neither a column {roles.target} nor {OUTCOME}.")
    target = schema.select_columns([roles.target])
    truth, _ = conform(rows.rename(columns={column: roles.target}), target)
    known = truth[roles.target].notna().to_numpy()
    rows, truth = rows[known].reset_index(drop=True), truth[known].astype(declared_types(target))
    values = pd.to_numeric(rows[VALUE], errors="coerce") if VALUE in rows else None
    by, names = _names(file, rows, schema, roles)
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[name].append(place)
    outcomes, matched = [], set()
    truths = truth[roles.target].tolist()
    for name, found in journal.ids(by, list(places)):
        place = places[name][-1]
        worth = None if values is None or pd.isna(values[place]) else float(values[place])
        outcomes.append(Outcome(found, json.dumps(truths[place], default=str), worth))
        matched.update(places[name])
    journal.add_outcomes(outcomes)
    return Taken(len(known), len(matched), len(rows) - len(matched), int((~known).sum()))


def _names(
    file: str, rows: pd.DataFrame, schema: pa.DataFrameSchema, roles: Roles
) -> tuple[str, list[str]]:
    if ID in rows:
        return "id", rows[ID].astype(str).tolist()
    if roles.key and set(roles.key) <= set(rows):
        key, _ = conform(rows, schema.select_columns(roles.key))
        return "unit", ["\x1f".join(map(str, values)) for values in key.itertuples(index=False)]
    raise UsageError(
        f"{file} has neither {ID} nor the key {', '.join(roles.key) or '(none named)'}."
    )


@dataclass(frozen=True)
class Comparison:
    """Champion against challenger, each on the rows it answered itself."""

    verdict: str
    """`promote the challenger`, `keep the champion`, or `undecided`."""
    difference: float
    """Mean loss of the challenger minus that of the champion; below 0 it is better."""
    low: float
    high: float
    """A 95 % confidence interval of the difference (Welch, 1947, normal approximation)."""
    champion: int
    challenger: int
    """Predictions of each whose outcome is known."""
    needed: int
    """Predictions of each after which a difference of this size would be decided."""


def compare(performance: list[Performance], least: int) -> Comparison | None:
    """Decide between champion and challenger; None where one of them has no outcomes.

    Parameters
    ----------
    least
        Fewer outcomes of either decide nothing.
    """
    newest = {one.group: one for one in performance}
    if not {"champion", "challenger"} <= newest.keys():
        return None
    ours, theirs = newest["champion"], newest["challenger"]
    difference = theirs.mean - ours.mean
    reach = float(np.hypot(ours.high - ours.mean, theirs.high - theirs.mean))
    fewest = min(ours.predictions, theirs.predictions)
    needed = int(np.ceil(fewest * (reach / difference) ** 2)) if difference else 0
    verdict = "undecided"
    if fewest >= least and abs(difference) > reach:
        verdict = "promote the challenger" if difference < 0 else "keep the champion"
    return Comparison(
        verdict,
        difference,
        difference - reach,
        difference + reach,
        ours.predictions,
        theirs.predictions,
        max(needed, least),
    )


def by_version(judged: pd.DataFrame) -> list[Performance]:
    """Return the performance of each version and group, from `Journal.judged`.

    Classes are judged by the Brier score, values by the squared error; lower is better for both.
    """
    if judged.empty:
        return []
    classes = judged["probabilities"].notna().all()
    loss = judged.apply(_brier if classes else _squared, axis=1).to_numpy(dtype=float)
    found = []
    judged = judged.assign(loss=loss, name=judged["version"].astype(str) + " " + judged["assigned"])
    for name, rows in judged.groupby("name"):
        version, _, group = str(name).partition(" ")
        mean, count = rows["loss"].mean(), len(rows)
        reach = 1.96 * rows["loss"].std(ddof=1) / np.sqrt(count) if count > 1 else np.inf
        worth = None if rows["value"].isna().all() else float(rows["value"].mean())
        metric = "brier" if classes else "squared_error"
        bounds = (float(mean - reach), float(mean + reach))
        found.append(Performance(int(version), group, count, metric, float(mean), *bounds, worth))
    return found


def _brier(row: pd.Series) -> float:
    shares = json.loads(row["probabilities"])
    happened = label_text(json.loads(row["outcome"]))
    missed = 0.0 if happened in shares else 1.0
    return missed + sum((share - (name == happened)) ** 2 for name, share in shares.items())


def _squared(row: pd.Series) -> float:
    return (float(json.loads(row["prediction"])) - float(json.loads(row["outcome"]))) ** 2
