"""How good answers are: metrics for people, and a loss per row for comparing two models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.base import BaseEstimator, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor

PRIMARY = {"classification": "brier", "regression": "rmse"}
"""The metric that decides, for each task. Lower is better for both."""

SUM = 1e-4
"""Probabilities in single precision add up to 1 as closely as this."""
SMALLEST = 1e-15
"""For the log loss, a true class that got no probability counts as this much."""


@dataclass(frozen=True)
class Scores:
    """What came out when answers were held against the truth."""

    metrics: dict[str, float]
    losses: np.ndarray
    """Per row: the Brier score (Brier, 1950), which is bounded, or the squared error."""


def make_dummy(task: str) -> BaseEstimator:
    """Return the model to beat: it answers the class shares, or the mean, whatever is asked."""
    return DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor()


def answers(estimator: BaseEstimator, inputs: pd.DataFrame | np.ndarray) -> np.ndarray:
    """Return probabilities, shape (n_rows, n_classes), or values, shape (n_rows,)."""
    if is_classifier(estimator):
        return np.asarray(estimator.predict_proba(inputs), dtype="float64")
    return np.asarray(estimator.predict(inputs), dtype="float64")


def truth(target: pd.Series) -> np.ndarray:
    """Return the target column as labels or numbers that every estimator accepts."""
    return target.to_numpy(dtype=object if pd.api.types.is_string_dtype(target) else None)


def judge(estimator: BaseEstimator, inputs: pd.DataFrame | np.ndarray, true: np.ndarray) -> Scores:
    """Let an estimator answer, and compare with the truth, shape (n_rows,).

    ValueError where what it answers are no probabilities, or no values.
    """
    answered, classes = answers(estimator, inputs), classes_of(estimator)
    shape = (len(true),) if classes is None else (len(true), len(classes))
    if answered.shape != shape:
        raise ValueError(f"it answers in the shape {answered.shape} instead of {shape}")
    if not np.isfinite(answered**2).all():
        raise ValueError("not all of its answers are finite, or too large to be squared")
    if classes and (answered.min() < 0 or not np.allclose(answered.sum(axis=1), 1, atol=SUM)):
        raise ValueError("its answers are no probabilities: below 0, or with another sum than 1")
    return score(answered, classes, true)


def classes_of(estimator: BaseEstimator) -> list[Any] | None:
    """Return the labels in the order of the estimator's probabilities, None for regression."""
    return estimator.classes_.tolist() if is_classifier(estimator) else None


def score(answered: np.ndarray, classes: list[Any] | None, true: np.ndarray) -> Scores:
    """Compare answers with the truth, labels or values of shape (n_rows,).

    Answered are probabilities in the order of `classes`, or values where that is None.
    """
    if classes is not None:
        return _score_classes(answered, classes, true)
    true = true.astype("float64")
    losses = (answered - true) ** 2
    found = {
        "rmse": float(np.sqrt(losses.mean())),
        "mae": float(metrics.mean_absolute_error(true, answered)),
        "r2": float(metrics.r2_score(true, answered)) if len(true) > 1 else 0.0,
    }
    return Scores(found, losses)


def _score_classes(shares: np.ndarray, classes: list[Any], true: np.ndarray) -> Scores:
    place = {label: number for number, label in enumerate(classes)}
    numbers = np.array([place.get(label, -1) for label in true.tolist()])
    # A class that the model does not know is a column it gives no probability.
    happened = numbers[:, None] == np.append(np.arange(len(classes)), -1)
    given = np.append(shares, np.zeros((len(shares), 1)), axis=1)
    losses = ((given - happened) ** 2).sum(axis=1)
    chosen = shares.argmax(axis=1)
    found = {
        "brier": float(losses.mean()),
        "log_loss": float(-np.log(np.clip(given[happened], SMALLEST, 1)).mean()),
        "accuracy": float((chosen == numbers).mean()),
        "f1_macro": float(metrics.f1_score(numbers, chosen, average="macro", zero_division=0)),
    }
    if len(classes) == 2 and len(np.unique(numbers == 1)) == 2:
        found["roc_auc"] = float(metrics.roc_auc_score(numbers == 1, shares[:, 1]))
    return Scores(found, losses)


def advantage(losses: np.ndarray, others: np.ndarray) -> float:
    """Return how many standard errors lower `losses` are than `others` on the same rows.

    A paired comparison (Diebold and Mariano, 1995, without autocorrelation): 0 where both are
    equal on every row.
    """
    gain = others - losses
    spread = gain.std(ddof=1) if len(gain) > 1 else 0.0
    if spread == 0:
        return 0.0 if gain.mean() == 0 else float(np.sign(gain.mean()) * np.inf)
    return float(gain.mean() / (spread / np.sqrt(len(gain))))
