"""One of many models: how it is fitted, wherever that is, and how several answer as one.

The processes that fit them import little else, so that they start soon.
"""

import math
import os
import time
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from threadpoolctl import threadpool_limits

from ..utils.user_errors import one_line
from .evaluation import answers, judge

"""What a model file may hold beside the TRUSTED of estimators/model.py."""

Xy = tuple[np.ndarray, np.ndarray]
"""Features, shape (n_rows, n_features), and numbered classes or values, shape (n_rows,)."""

FALLBACK = -1
"""What the first feature says of a segment that training never saw."""


@dataclass(frozen=True)
class Member:
    """A model among others, before and after `fit`."""

    name: str
    model: BaseEstimator
    params: dict[str, Any]
    """In what it differs from the model of estimators/model.py."""
    segment: int | None
    """The first feature of its rows; `FALLBACK` where it is for all, None without segments."""
    rows: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    """On validation rows of its segment."""
    digest: str = ""
    """The same for the same model, to the bit."""
    reason: str = ""
    """Why it could not be fitted."""


def end_with(parent: int) -> None:
    """Let this process end soon after the one that started it, even where that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def fit_member(member: Member, train: Xy, validation: Xy, threads: int) -> Member:
    """Return the member fitted to its rows, or with the reason why that failed."""
    start = time.perf_counter()
    try:
        X, y = _of(member, train)
        with threadpool_limits(threads):
            model = member.model.fit(X, y)
            judge(model, X[:1], y[:1])  # where its segment has no validation rows as well
            X_held, y_held = _of(member, validation)
            loss = float(judge(model, X_held, y_held).losses.mean()) if len(y_held) else math.nan
    except Exception as error:  # noqa: BLE001 - one that fails must not lose the others
        return replace(member, reason=one_line(error))
    fitted = replace(member, model=model, rows=len(y), digest=joblib.hash(model))
    return replace(fitted, loss=loss, seconds=time.perf_counter() - start)


def _of(member: Member, rows: Xy) -> Xy:
    """Return the member's rows, without the number of the segment."""
    X, y = rows
    if member.segment is None:
        return rows
    chosen = np.full(len(y), True) if member.segment == FALLBACK else X[:, 0] == member.segment
    return X[chosen, 1:], y[chosen]


class _Router(BaseEstimator):
    """Lets the model of its segment answer each row, or that of `FALLBACK`."""

    def __init__(self, models: dict[int, BaseEstimator]) -> None:
        self.models = models

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:  # noqa: ARG002 - scikit-learn's
        """Do nothing: the models are fitted."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _route(self, X: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        routed, numbers = np.zeros(shape), X[:, 0].astype(int)
        for number in np.unique(numbers):
            chosen = numbers == number
            model = self.models.get(number, self.models[FALLBACK])
            answered = answers(model, X[chosen, 1:])
            if answered.ndim == 1:
                routed[chosen] = answered
            else:  # a segment may not have seen every class
                routed[np.ix_(chosen, model.classes_)] = answered
        return routed


class RouterClassifier(ClassifierMixin, _Router):
    """A classifier for each segment; classes are numbered from 0."""

    @property
    def classes_(self) -> np.ndarray:
        """Numbers of the classes, shape (n_classes,)."""
        return np.asarray(self.models[FALLBACK].classes_)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n_rows, n_classes)."""
        return self._route(X, (len(X), len(self.classes_)))


class RouterRegressor(RegressorMixin, _Router):
    """A regressor for each segment."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return values, shape (n_rows,)."""
        return self._route(X, (len(X),))
