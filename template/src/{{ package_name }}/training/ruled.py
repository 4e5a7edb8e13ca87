"""Features, model and rules as one estimator: what is trained, registered and served."""

from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.pipeline import Pipeline

from ..data.columns import Columns
from ..estimators.model import make_model
from ..estimators.rules import RULES, Rule
from ..preprocessing.features import make_features
from ..utils.errors import GateRefused, UsageError
from ..utils.rules import apply_rules


def make_estimator(columns: Columns, task: str, rules: list[str], seed: int) -> BaseEstimator:
    """Return the project's unfitted estimator.

    UsageError where rules.py lacks one of `rules`, GateRefused where a function returns no step.
    """
    if unknown := [name for name in rules if name not in RULES]:
        raise UsageError(
            f"[training] rules names {unknown[0]!r}; estimators/rules.py has: {', '.join(RULES)}."
        )
    steps = [("features", make_features(columns)), ("model", make_model(task, seed))]
    able = "predict_proba" if task == "classification" else "predict"
    for (name, step), method in zip(steps, ["transform", able], strict=True):
        # Of its type, as a stack of models has the method only once it is fitted.
        if not hasattr(type(step), method):
            raise GateRefused(
                f"Fit gate: make_{name} returns {shorten(repr(step), 80)}. For {task} it must be "
                f"an object, no class, that has {method}."
            )
    kind = RuledClassifier if task == "classification" else RuledRegressor
    return kind(Pipeline(steps), rules)


class _Ruled(MetaEstimatorMixin, BaseEstimator):
    """A pipeline whose answers pass through rules."""

    def __init__(self, pipeline: Pipeline, rules: list[str]) -> None:
        self.pipeline = pipeline
        self.rules = rules

    def fit(self, X: pd.DataFrame, y: Any) -> Any:
        """Fit the pipeline on the inputs (n_rows, n_inputs) and the targets (n_rows,)."""
        self.pipeline_ = clone(self.pipeline).fit(X, y)
        return self

    def _rules(self) -> list[Rule]:
        return [RULES[name] for name in self.rules]


class RuledClassifier(ClassifierMixin, _Ruled):
    """A classifier whose probabilities pass through rules; the label is the most probable one."""

    def fit(self, X: pd.DataFrame, y: Any) -> Any:
        """Fit the pipeline on numbered classes, which every library accepts."""
        self.classes_, numbers = np.unique(y, return_inverse=True)
        return super().fit(X, numbers)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return probabilities, shape (n_rows, n_classes)."""
        shares = self.pipeline_.predict_proba(X)
        return apply_rules(self._rules(), X, shares, self.classes_.tolist())

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return labels, shape (n_rows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class RuledRegressor(RegressorMixin, _Ruled):
    """A regressor whose values pass through rules."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return values, shape (n_rows,)."""
        return apply_rules(self._rules(), X, self.pipeline_.predict(X), None)
