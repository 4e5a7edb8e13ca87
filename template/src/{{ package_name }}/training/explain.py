"""What the model leans on, and what its features cost."""

import time

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance
from sklearn.utils import _safe_indexing

from ..data.profile import Profile, distribution
from .dataset import Dataset, Part
from .evaluation import answers, judge

ROWS = 1_000


def column_importance(estimator: BaseEstimator, part: Part, seed: int) -> dict[str, float]:
    """Return how much the mean loss grows when a column is shuffled, largest first.

    Permutation importance (Breiman, 2001) on at most a thousand rows, three times a column.
    """

    def gain(model: BaseEstimator, inputs: pd.DataFrame, true: np.ndarray) -> float:
        return -float(judge(model, inputs, true).losses.mean())

    inputs, target = part.inputs.head(ROWS), part.target[:ROWS]
    found = permutation_importance(
        estimator, inputs, target, scoring=gain, n_repeats=3, random_state=seed
    )
    growth = pd.Series(found.importances_mean, index=inputs.columns)
    return {str(name): value for name, value in growth.sort_values(ascending=False).items()}


def time_features(estimator: BaseEstimator, inputs: pd.DataFrame) -> dict[str, float]:
    """Return the seconds that each step of features.py takes, scaled to a million rows."""
    # A few rows alone would tell what a call costs, not what a row does.
    inputs = pd.concat([inputs] * -(-ROWS // len(inputs)), ignore_index=True)
    seconds, features = {}, estimator.pipeline_.named_steps["features"]
    whole = [("features", features, list(inputs))]
    for name, step, columns in getattr(features, "transformers_", whole):
        chosen = _safe_indexing(inputs, columns, axis=1)  # as ColumnTransformer does
        if isinstance(step, str) or not chosen.size:
            continue  # passed through or dropped, or made for no column
        start = time.perf_counter()
        step.transform(chosen)
        seconds[name] = round((time.perf_counter() - start) * 1_000_000 / len(inputs), 3)
    return seconds


def make_profile(estimator: BaseEstimator, dataset: Dataset) -> Profile:
    """Return how inputs and target were distributed in training, and answers on validation rows."""
    rows, kinds = dataset.split.rows("train"), dataset.columns.kinds
    columns = {
        name: distribution(rows[name], kind) for name, kind in kinds.items() if kind != "date"
    }
    answer, label = answers(estimator, dataset.part("validation").inputs), None
    if answer.ndim == 2:
        chosen = estimator.classes_[answer.argmax(axis=1)]
        answer, label = answer[:, -1], distribution(pd.Series(chosen), "category")
    return Profile(
        columns=columns,
        answer=distribution(pd.Series(answer), "number"),
        label=label,
        target=distribution(rows[dataset.columns.roles.target], "category" if label else "number"),
    )
