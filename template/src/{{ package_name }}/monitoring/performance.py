"""How good each version was, as far as outcomes are known."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic_core import from_json

from ..service.scoring import label_text


@dataclass(frozen=True)
class Performance:
    """How good one version was, with 95 % confidence intervals."""

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


def of_champion(performance: list[Performance], version: int, least: int = 1) -> Performance | None:
    """Return that of a version as the champion, None with fewer known outcomes than `least`."""
    known = [one for one in performance if one.predictions >= least]
    return next((x for x in known if (x.version, x.group) == (version, "champion")), None)


def losses(judged: pd.DataFrame) -> pd.DataFrame:
    """Add columns `loss` and `metric` to what `Journal.judged` returns.

    Classes are judged by the Brier score, values by the squared error; lower is better for both.
    """
    classes = judged["probabilities"].notna()
    rows, loss = judged[~classes], pd.Series(0.0, judged.index)
    made, true = (rows[name].map(json.loads).astype(float) for name in ("prediction", "outcome"))
    loss[classes], loss[~classes] = _brier(judged[classes]), (made - true) ** 2
    return judged.assign(loss=loss, metric=np.where(classes, "brier", "squared_error"))


def _brier(judged: pd.DataFrame) -> np.ndarray:
    """Return the sum over the classes of (share - happened)²."""
    shares = pd.DataFrame([from_json(text) for text in judged["probabilities"]]).fillna(0.0)
    names = {text: label_text(json.loads(text)) for text in judged["outcome"].unique()}
    happened = judged["outcome"].map(names).to_numpy()[:, None] == shares.columns.to_numpy()
    # The share of a class that the version did not know is 0.
    return ((shares.to_numpy() - happened) ** 2).sum(axis=1) + ~happened.any(axis=1)


def by_version(judged: pd.DataFrame) -> list[Performance]:
    """Return the performance of each version and group, oldest version first, from `losses`."""
    found = []
    for key, rows in judged.groupby(["version", "assigned", "metric"]):
        version, group, metric = map(str, key)
        worth = rows["value"].dropna()
        value = _interval(worth) if len(worth) else (None, None, None)
        found.append(
            Performance(int(version), group, len(rows), metric, *_interval(rows["loss"]), *value)
        )
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
    needed: int
    """Predictions of each after which a difference of this size would be decided."""
    reason: str
    """What the verdict rests on, in a sentence."""


def compare(performance: list[Performance], champion: int, least: int) -> Comparison | None:
    """Decide between champion and challenger; None where one of them has not even two outcomes.

    The newest other version that was tried, as challenger or shadow, is held against that of the
    champion. Fewer outcomes than `least` of either decide nothing.
    """
    judged = [one for one in performance if one.predictions > 1]
    ours = of_champion(judged, champion)
    tried = [one for one in judged if one.version != champion and one.group != "champion"]
    if ours is None or not tried:
        return None
    theirs = max(tried, key=lambda one: (one.version, one.predictions))
    difference = theirs.mean - ours.mean
    reach = float(np.hypot(ours.high - ours.mean, theirs.high - theirs.mean))
    low, high = difference - reach, difference + reach
    fewest = min(ours.predictions, theirs.predictions)
    needed = max(least, int(np.ceil(fewest * (reach / difference) ** 2)) if difference else 0)
    verdict = "undecided"
    if fewest >= least and abs(difference) > reach:
        verdict = "promote the challenger" if difference < 0 else "keep the champion"
    reason = (
        f"version {theirs.version} has a mean loss {difference:+.4f} beside the champion's "
        f"({low:+.4f} to {high:+.4f}), on {theirs.predictions:,} outcomes beside "
        f"{ours.predictions:,}; to tell a difference of this size takes {needed:,} of each"
    )
    return Comparison(verdict, theirs.version, difference, low, high, needed, reason)
