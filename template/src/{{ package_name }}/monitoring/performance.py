"""What became of predictions: outcomes are joined to them and tell how good each version is."""

import json
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pydantic_core import from_json

from ..data.sources import read_table
from ..data.validation import conform, declared_types, nullable_type
from ..service.journal import ROWS_AT_ONCE, Journal, Outcome
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
    """How good one version was, as far as outcomes are known, with 95 % confidence intervals."""

    version: int
    group: str
    predictions: int
    metric: str
    mean: float
    low: float
    high: float
    value: float | None
    """The mean of what the predictions were worth, where the file of outcomes says so."""
    value_low: float | None = None
    value_high: float | None = None


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
    version: int
    """The challenger."""
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

    @property
    def reason(self) -> str:
        """What the verdict rests on, in a sentence."""
        return (
            f"version {self.version} has a mean loss {self.difference:+.4f} beside the champion's "
            f"({self.low:+.4f} to {self.high:+.4f}), on {self.challenger:,} outcomes beside "
            f"{self.champion:,}; to tell a difference of this size takes {self.needed:,} of each"
        )


def compare(performance: list[Performance], champion: int, least: int) -> Comparison | None:
    """Decide between champion and challenger; None where one of them has no outcomes.

    Parameters
    ----------
    champion
        The version that is the champion now; the newest other one that was tried, as challenger
        or shadow, is held against it.
    least
        Fewer outcomes of either decide nothing.
    """
    ours = next((o for o in performance if (o.version, o.group) == (champion, "champion")), None)
    tried = [o for o in performance if o.version != champion and o.group != "champion"]
    if ours is None or not tried:
        return None
    theirs = max(tried, key=lambda one: (one.version, one.predictions))
    difference = theirs.mean - ours.mean
    reach = float(np.hypot(ours.high - ours.mean, theirs.high - theirs.mean))
    fewest = min(ours.predictions, theirs.predictions)
    needed = int(np.ceil(fewest * (reach / difference) ** 2)) if difference else 0
    verdict = "undecided"
    if fewest >= least and abs(difference) > reach:
        verdict = "promote the challenger" if difference < 0 else "keep the champion"
    return Comparison(
        verdict,
        theirs.version,
        difference,
        difference - reach,
        difference + reach,
        ours.predictions,
        theirs.predictions,
        max(needed, least),
    )


def losses(judged: pd.DataFrame) -> pd.DataFrame:
    """Add columns `loss` and `metric` to what `Journal.judged` returns.

    Classes are judged by the Brier score, values by the squared error; lower is better for both.
    """
    if len(judged) and judged["probabilities"].notna().all():
        return judged.assign(loss=_brier(judged), metric="brier")
    made, true = (judged[name].map(json.loads).astype(float) for name in ("prediction", "outcome"))
    return judged.assign(loss=(made - true) ** 2, metric="squared_error")


def _brier(judged: pd.DataFrame) -> np.ndarray:
    """Return the sum over the classes of (share - happened)²."""
    texts = judged["probabilities"].tolist()
    parts = [texts[start : start + ROWS_AT_ONCE] for start in range(0, len(texts), ROWS_AT_ONCE)]
    told = (pd.DataFrame(from_json(f"[{','.join(part)}]")) for part in parts)
    shares = pd.concat(told, ignore_index=True).fillna(0.0)
    names = {text: label_text(json.loads(text)) for text in judged["outcome"].unique()}
    happened = judged["outcome"].map(names)
    given = np.zeros(len(judged))  # where the version did not know the class
    for name, share in shares.items():
        given = np.where(happened == name, share, given)
    return (shares.to_numpy() ** 2).sum(axis=1) - 2 * given + 1


def by_version(judged: pd.DataFrame) -> list[Performance]:
    """Return the performance of each version and group, oldest version first, from `losses`."""
    found = []
    for _, rows in judged.groupby(["version", "assigned"]):
        first = rows.iloc[0]
        worth = rows["value"].dropna()
        value = _interval(worth) if len(worth) else (None, None, None)
        named = int(first["version"]), str(first["assigned"]), len(rows), str(first["metric"])
        found.append(Performance(*named, *_interval(rows["loss"]), *value))
    return found


def by_day(judged: pd.DataFrame) -> dict[str, list[tuple[str, float, int]]]:
    """Return, by version and group: day, mean loss, and predictions whose outcome is known."""
    found: dict[str, list[tuple[str, float, int]]] = {}
    days = pd.to_datetime(judged["time"], unit="s").dt.strftime("%Y-%m-%d")
    for (version, group, day), loss in judged.groupby(["version", "assigned", days])["loss"]:
        point = (str(day), float(loss.mean()), len(loss))
        found.setdefault(f"{version} as {group}", []).append(point)
    return found


def _interval(values: pd.Series) -> tuple[float, float, float]:
    """Return mean, and the bounds of its 95 % confidence interval (normal approximation)."""
    mean = float(values.mean())
    reach = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else np.inf
    return mean, mean - reach, mean + reach
