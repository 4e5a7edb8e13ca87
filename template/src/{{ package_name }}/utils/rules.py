"""Passes answers through rules, wherever a model answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


def apply_rules(
    rules: Sequence[Callable[..., np.ndarray]],
    rows: Mapping[str, np.ndarray] | pd.DataFrame,
    answers: np.ndarray,
    classes: list[Any] | None,
) -> np.ndarray:
    """Return the answers after these rules, one after another; see estimators/rules.py.

    `rows` are the inputs by name, shape (n_rows,) each.
    """
    if rules and isinstance(rows, pd.DataFrame):
        rows = {str(name): values.to_numpy() for name, values in rows.items()}
    if rules:
        answers = answers.copy()  # a rule may write into what it gets
    for rule in rules:
        answers = rule(rows, answers, classes)
    return answers
