"""Whether two distributions differ, by more than chance and by enough to matter."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ..data.profile import Distribution
from ..utils.config import ColumnRules

LEVEL = 0.01
"""Chance that any of all columns is called different where none is."""


@dataclass(frozen=True)
class Shift:
    """How far current values lie from the reference."""

    name: str
    psi: float
    tail: float
    """Share in the outer bins beyond that of the reference; 0 for labels."""
    p: float
    """Chance of such a difference where there is none."""
    large: bool = False
    """Whether the rules of its column call it more than may be."""
    alarming: bool = False
    """Whether it is large, and no chance if all columns are looked at together."""


def shift(name: str, reference: Distribution, current: np.ndarray, rules: ColumnRules) -> Shift:
    """Compare counts with the reference.

    The statistic is the population stability index times nm / (n + m), which is chi-squared with
    one degree of freedom less than there are bins where both come from the same distribution
    (Yurdakul and Naranjo, Journal of Risk Model Validation, 2020).
    """
    before, now = np.asarray(reference.counts, dtype=float), np.asarray(current, dtype=float)
    seen = before + now > 0
    n, m = before.sum(), now.sum()
    if n == 0 or m == 0 or seen.sum() < 2:
        return Shift(name, 0.0, 0.0, 1.0)
    p, q = ((part[seen] + 0.5) / (part[seen] + 0.5).sum() for part in (before, now))
    psi = float(((p - q) * np.log(p / q)).sum())
    free = int(seen.sum()) - 1
    chance = float(stats.chi2.sf(psi * n * m / (n + m), free))
    # What the index is on average without any difference is no effect.
    effect = max(0.0, psi - float(free * (1 / n + 1 / m)))
    tail = _tail(reference, before, now)
    large = effect > rules.drift_psi or tail > rules.drift_tail
    return Shift(name, effect, tail, chance, large)


def _tail(reference: Distribution, before: np.ndarray, now: np.ndarray) -> float:
    if reference.edges is None or len(reference.edges) < 2:
        return 0.0
    last = len(reference.edges)
    usual, share = (
        float(part[[0, last]].sum()) / (float(part[: last + 1].sum()) or 1)
        for part in (before, now)
    )
    return share - usual


def judge(shifts: list[Shift]) -> list[Shift]:
    """Tell which large shifts are significant, all together (Holm, 1979)."""
    ordered = sorted(shifts, key=lambda one: one.p)
    limits = LEVEL / np.arange(len(ordered), 0, -1)
    holds = np.logical_and.accumulate([one.p for one in ordered] <= limits)
    found = {one.name for one, held in zip(ordered, holds, strict=True) if held}
    return [replace(one, alarming=one.large and one.name in found) for one in shifts]


def own_share(tables: list[np.ndarray]) -> float:
    """Return which share of the rows tells something of its own, from 0 to 1.

    `tables` holds for each column the counts of runs, shape (n_runs, n_bins). Runs that differ by
    less than by chance hold one another's rows, and tell what fewer would (design effect: Kish,
    Survey Sampling, 1965).
    """
    found = [stats.chi2_contingency(one[:, one.any(axis=0)], correction=False) for one in tables]
    spread, free = sum(one.statistic for one in found), sum(one.dof for one in found)
    if free == 0 or stats.chi2.cdf(spread, free) > LEVEL:
        return 1.0
    return float(1 / (1 + (len(tables[0]) - 1) * (1 - spread / free)))
