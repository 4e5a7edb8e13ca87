"""Passes answers through the rules of rules.py; what serves a graph needs no more of this room."""

from typing import Any

import numpy as np
import pandas as pd

from .rules import RULES, Inputs


def apply_rules(
    rules: list[str], rows: Inputs | pd.DataFrame, answers: np.ndarray, classes: list[Any] | None
) -> np.ndarray:
    """Pass answers through the rules of these names, one after another; see estimators/rules.py."""
    arrays = {str(name): np.asarray(values) for name, values in rows.items()} if rules else {}
    for name in rules:
        answers = RULES[name](arrays, answers, classes)
    return answers
