"""The heuristics around the model: typed, tested, and part of the version that is registered.

A rule gets the inputs of the model and its answers, and returns corrected answers. For
classification an answer is a row of probabilities in the order of `classes`, for regression a
number (`classes` is None then). A rule works when `[training] rules` in config.toml names it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Inputs = Mapping[str, np.ndarray]
"""Each input of the model by name, shape (n_rows,)."""
Rule = Callable[[Inputs, np.ndarray, list[Any] | None], np.ndarray]


def collected_at_depot(rows: Inputs, answers: np.ndarray, classes: list[Any] | None) -> np.ndarray:
    """Answer `on time` or zero days for a shipment that travels no distance."""
    spot = rows["distance_km"] == 0
    if np.count_nonzero(spot):
        answers[spot] = 0.0 if classes is None else [float(not late) for late in classes]
    return answers


RULES: dict[str, Rule] = {"collected_at_depot": collected_at_depot}
"""Every rule that config.toml may name."""
