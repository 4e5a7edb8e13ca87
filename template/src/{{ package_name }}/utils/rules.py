"""Passes answers through rules, wherever a model answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .errors import GateRefused
from .user_errors import one_line


def apply_rules(
    rules: Sequence[Callable[..., np.ndarray]],
    rows: Mapping[str, np.ndarray] | pd.DataFrame,
    answers: np.ndarray,
    classes: list[Any] | None,
) -> np.ndarray:
    """Return the answers after these rules, one after another; see estimators/rules.py.

    `rows` are the inputs by name, shape (n_rows,) each. GateRefused where a rule raises, or returns
    something else than numbers in the shape of the answers.
    """
    if not rules:
        return answers
    if isinstance(rows, pd.DataFrame):
        rows = {str(name): values.to_numpy() for name, values in rows.items()}
    answers, shape = answers.copy(), answers.shape  # a rule may write into what it gets
    for rule in rules:
        try:
            answers = rule(rows, answers, classes)
        except Exception as error:
            unknown = isinstance(error, KeyError) and error.args[0] not in rows
            why = f"reads {error}, which is no input" if unknown else f"raises {one_line(error)}"
            raise _refusal(rule, why) from error
        if not isinstance(answers, np.ndarray) or answers.shape != shape:
            found = getattr(answers, "shape", type(answers).__name__)
            raise _refusal(rule, f"returns {found} instead of an array in the shape {shape}")
        if answers.dtype.kind not in "fiu":
            raise _refusal(rule, f"returns {answers.dtype} instead of numbers")
    return answers


def _refusal(rule: Callable[..., np.ndarray], why: str) -> GateRefused:
    name = getattr(rule, "__name__", rule)
    return GateRefused(
        f"Rule gate: the rule {name} of estimators/rules.py {why}. Fix it, or remove it from "
        "[training] rules and train anew."
    )
