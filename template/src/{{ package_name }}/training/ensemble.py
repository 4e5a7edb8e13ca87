"""Many models in the place of one: candidates from a grid, or one for each value of a column.

joblib trains them side by side, in processes of this machine or on a Dask cluster. Each draws from
a stream of its own name, so neither order nor place changes a bit of it.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from tqdm import tqdm

from ..estimators.model import make_model
from ..utils.config import Ensemble, Settings
from ..utils.errors import GateRefused, UsageError
from ..utils.seeding import seed_for
from .dataset import Dataset
from .members import FALLBACK, Member, RouterClassifier, RouterRegressor, Xy, end_with, fit_member

Note = Callable[[Member], None]


def fit_ensemble(
    estimator: BaseEstimator, dataset: Dataset, settings: Settings, note: Note
) -> BaseEstimator:
    """Return the project's estimator with many models in the place of its one.

    `estimator` is unfitted, as `ruled.make_estimator` returns it. Its features are
    fitted once, on all training rows. `note` is called with each member once it is through, fitted
    or not.

    UsageError where the settings name a column or a parameter that is not there; GateRefused where
    no member could be fitted, or not the one that answers for all segments.
    """
    chosen, train, held = settings.ensemble, dataset.part("train"), dataset.part("validation")
    features = clone(estimator.pipeline.named_steps["features"])
    if chosen.by:
        known = dataset.columns.of("category")
        if chosen.by not in known:
            said = f"[ensemble] by is {chosen.by!r}, which is no category among the inputs"
            raise UsageError(f"{said}: {', '.join(known)}.")
        numbers = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=FALLBACK)
        features.transformers = [("segment", numbers, [chosen.by]), *features.transformers]
    y, y_held = train.target, held.target
    if is_classifier(estimator):
        estimator.classes_, y = np.unique(y, return_inverse=True)
        y_held = pd.Index(estimator.classes_).get_indexer(y_held)
    rows = features.fit_transform(train.inputs, y), y
    held_rows = features.transform(held.inputs), y_held
    planned = _plan(features, settings)
    jobs = [delayed(fit_member)(one, rows, held_rows, settings.training.threads) for one in planned]
    fitted = {}
    with _cluster(chosen.scheduler):
        workers = {"initializer": end_with, "initargs": [os.getpid()]}
        through = Parallel(chosen.jobs, return_as="generator_unordered", **workers)(jobs)
        for member in tqdm(through, "ensemble", len(jobs), disable=None):
            fitted[member.name] = member
            note(member)
    model = _combine([fitted[one.name] for one in planned], chosen, rows)
    estimator.pipeline_ = Pipeline([("features", features), ("model", model)])
    return estimator


def _plan(features: ColumnTransformer, settings: Settings) -> list[Member]:
    """Return the members to be fitted, each with a seed that depends on its name alone."""
    chosen = settings.ensemble
    plan: dict[str, tuple[dict[str, Any], int | None]] = {
        " ".join(f"{name}={value}" for name, value in params.items()): (params, None)
        for params in ParameterGrid(chosen.grid)
    }
    if chosen.by:
        values = features.named_transformers_["segment"].categories_[0]
        plan = {"rest": ({}, FALLBACK)}
        plan.update({f"{chosen.by}={v}": ({}, n) for n, v in enumerate(values)})
    members = []
    for name, (params, segment) in plan.items():
        model = make_model(settings.data.task, seed_for(f"member {name}", settings.training.seed))
        try:
            members.append(Member(name, model.set_params(**params), params, segment))
        except ValueError as error:
            raise UsageError(f"[ensemble] grid: {str(error).splitlines()[0]}") from None
    return members


def _cluster(scheduler: str | None) -> AbstractContextManager[Any]:
    """Let joblib send its jobs to a Dask cluster where one is named."""
    if scheduler is None:
        return nullcontext()
    if find_spec("distributed") is None:
        raise UsageError("[ensemble] scheduler needs Dask: `uv sync --group cluster`.")
    try:
        return parallel_config("dask", scheduler_host=scheduler)
    except OSError as error:
        raise UsageError(f"[ensemble] scheduler {scheduler} can't be reached: {error}") from None


def _combine(members: list[Member], chosen: Ensemble, rows: Xy) -> BaseEstimator:
    """Return one model that answers for all members that could be fitted."""
    able = [member for member in members if not member.reason]
    if not able or (chosen.by and members[0].reason):
        lost = members[0]
        raise GateRefused(f"Ensemble gate: {lost.name} could not be fitted: {lost.reason}")
    classifies = is_classifier(able[0].model)
    if chosen.by:
        router = RouterClassifier if classifies else RouterRegressor
        return router({one.segment: one.model for one in able if one.segment is not None})
    if chosen.combine == "best":
        return min(able, key=lambda member: member.loss).model
    # By number, as scikit-learn takes no name that holds __, which a step's parameter does.
    frozen = [(str(number), FrozenEstimator(one.model)) for number, one in enumerate(able)]
    if classifies:
        voting = VotingClassifier(frozen, voting="soft", flatten_transform=False).fit(*rows)
    else:
        voting = VotingRegressor(frozen).fit(*rows)
    # Frozen models are taken as they are; the file holds them without the ice.
    voting.estimators = [(member.name, member.model) for member in able]
    voting.estimators_ = [member.model for member in able]
    voting.named_estimators_ = dict(voting.estimators)
    return voting
