"""How values were distributed: the reference that is stored with a version, and counts beside it.

Counts are additive, so a month is the sum of its days, and no row has to be kept to compare.
"""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from .columns import Kind

TAIL = 0.005
"""Share of the reference in each of the two outer bins."""
QUANTILES = [TAIL, *np.arange(0.05, 0.96, 0.05).tolist(), 1 - TAIL]
MOST_LABELS = 50
NOISE = 1e-5
"""Relative difference of values that may be the same one: ONNX answers in single precision."""


OTHER, MISSING = -2, -1
"""Where a distribution counts other values, and missing ones."""


class Distribution(BaseModel, frozen=True):
    """Counts per bin of numbers, or per label; then the others, then the missing ones."""

    edges: list[float] | None = None
    """Bin i holds edges[i-1] <= x < edges[i]; None for labels."""
    labels: list[str] = []
    counts: list[int] = []

    def count(self, values: pd.Series) -> np.ndarray:
        """Return the counts of other values in the same bins, shape (n_bins,)."""
        if self.edges is None:
            flags = set(self.labels) <= {"true", "false"}
            known: Counter[str] = Counter()
            for value, count in values.value_counts().items():
                known[_label(value, flags=flags)] += count
            inside = [known[label] for label in self.labels]
            other = known.total() - sum(inside)
        else:
            numbers = values.to_numpy(dtype="float64", na_value=np.nan)
            inside = np.histogram(numbers, [-np.inf, *self.edges, np.inf])[0].tolist()
            other = 0
        return np.array([*inside, other, len(values) - sum(inside) - other])

    @property
    def names(self) -> list[str]:
        """What each count is of, for people."""
        if self.edges is None:
            return [*self.labels, "(other)", "(missing)"]
        low, high = [f"{edge:.4g}" for edge in self.edges], len(self.edges) - 1
        inner = [f"{low[i]} to {low[i + 1]}" for i in range(high)]
        return [f"below {low[0]}", *inner, f"{low[-1]} and above", "(other)", "(missing)"]


ANSWER, LABEL, TARGET = "(answer)", "(label)", "(target)"
"""What is counted beside the inputs; a column may be called `answer`."""


class Profile(BaseModel, frozen=True):
    """What a version saw in training, and what it answered on validation rows."""

    columns: dict[str, Distribution]
    """Inputs by name; dates are left out, as they move by nature."""
    answer: Distribution
    """The probability of the last class, or the value."""
    label: Distribution | None
    """The predicted class, None for regression."""
    target: Distribution
    """What was to be predicted."""


def distribution(values: pd.Series, kind: Kind) -> Distribution:
    """Describe values as a reference: numbers by quantiles, all others by label."""
    if kind == "number":
        known = values.dropna().to_numpy(dtype="float64")
        empty = Distribution(edges=_edges(known) if len(known) else [0.0])
    else:
        common = values.value_counts().index
        if len(common) > MOST_LABELS:  # counted where they were chosen, chance would favour them
            common, values = values[::2].value_counts().index[:MOST_LABELS], values[1::2]
        flags = set(common) <= {0, 1}
        empty = Distribution(labels=sorted({_label(value, flags=flags) for value in common}))
    return empty.model_copy(update={"counts": empty.count(values).tolist()})


def _edges(known: np.ndarray) -> list[float]:
    """Return the quantiles, each moved between two values, away from one that many rows share."""
    values = np.sort(known)
    marks = np.quantile(values, QUANTILES)
    noise = NOISE * np.abs(marks) + 0.01 * NOISE * np.abs(values).mean()
    above = np.searchsorted(values, marks - noise)
    between = (values[np.maximum(above - 1, 0)] + values[above]) / 2
    return np.unique(np.where(above > 0, between, values[0] - noise)).tolist()


def _label(value: Any, *, flags: bool) -> str:
    """Return a value as text: flags as true and false, whatever type holds them."""
    text = str(bool(value)) if flags and value in {0, 1} else str(value)
    return text.lower() if text in {"True", "False"} else text
