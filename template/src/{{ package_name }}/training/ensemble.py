"""Many models in the place of one: candidates from a grid, or one for each value of a column.

joblib trains them side by side, in processes of this machine or on a Dask cluster. Each draws from
a stream of its own name, so neither order nor place changes a bit of it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
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
from .members import REST, Member, RouterClassifier, RouterRegressor, Rows, fit_member

Note = Callable[[Member], None]


def fit_ensemble(
    estimator: BaseEstimator, dataset: Dataset, settings: Settings, note: Note
) -> BaseEstimator:
    """Return the project's estimator with many models in the place of its one.

    The features are fitted once, on all training rows.

    Parameters
    ----------
    estimator
        Unfitted, as `estimators.ruled.make_estimator` returns it.
    note
        Called with each member once it is through, fitted or not.

    Raises
    ------
    UsageError
        The settings name a column or a parameter that is not there.
    GateRefused
        No member could be fitted, or not the one that answers for all segments.
    """
    chosen, train, held = settings.ensemble, dataset.part("train"), dataset.part("validation")
    pipeline = estimator.pipeline
    features = clone(pipeline.named_steps["features"])
    if chosen.by:
        segments = ("segment", _numbers(dataset, chosen.by), [chosen.by])
        features.transformers = [segments, *features.transformers]
    classes = pd.Index(np.unique(train.target)) if is_classifier(estimator) else None
    y, y_held = (
        part.target if classes is None else classes.get_indexer(part.target)
        for part in (train, held)
    )
    rows = features.fit_transform(train.inputs, y), y
    held_rows = features.transform(held.inputs), y_held
    fitted = {}
    planned = _plan(features, settings)
    jobs = [delayed(fit_member)(one, rows, held_rows, settings.training.threads) for one in planned]
    with (
        _cluster(chosen.scheduler),
        tqdm(total=len(jobs), desc="ensemble", disable=None) as progress,
    ):
        for member in Parallel(chosen.jobs, return_as="generator_unordered")(jobs):
            fitted[member.name] = member
            note(member)
            progress.update()
    model = _combine([fitted[one.name] for one in planned], chosen, rows)
    # Frozen steps are taken as they are; the file holds them without the ice.
    frozen = [("features", FrozenEstimator(features)), ("model", FrozenEstimator(model))]
    estimator.set_params(pipeline=Pipeline(frozen)).fit(train.inputs, train.target)
    estimator.pipeline_.steps = [("features", features), ("model", model)]
    return estimator.set_params(pipeline=pipeline)


def _numbers(dataset: Dataset, by: str) -> OrdinalEncoder:
    if by not in dataset.columns.of("category"):
        names = ", ".join(dataset.columns.of("category"))
        raise UsageError(
            f"[ensemble] by is {by!r}, which is no category among the inputs: {names}."
        )
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=REST)


def _plan(features: ColumnTransformer, settings: Settings) -> list[Member]:
    """Return the members to be fitted, each with a seed that depends on its name alone."""
    chosen, task = settings.ensemble, settings.data.task
    plan: list[tuple[str, dict[str, Any], int | None]] = []
    if chosen.by:
        values = features.named_transformers_["segment"].categories_[0]
        plan = [("rest", {}, REST), *((f"{chosen.by}={v}", {}, n) for n, v in enumerate(values))]
    else:
        for params in ParameterGrid(chosen.grid):
            plan.append(
                (" ".join(f"{name}={value}" for name, value in params.items()), params, None)
            )
    members = []
    for name, params, segment in plan:
        model = make_model(task, seed_for(f"member {name}", settings.training.seed))
        try:
            members.append(Member(name, model.set_params(**params), params, segment))
        except ValueError as error:
            raise UsageError(f"[ensemble] grid: {str(error).splitlines()[0]}") from None
    return members


def _cluster(scheduler: str | None) -> AbstractContextManager[Any]:
    """Let joblib send its jobs to a Dask cluster where one is named."""
    if scheduler is None:
        return nullcontext()
    try:
        from distributed import Client  # noqa: PLC0415 - only a cluster needs it
    except ImportError:
        raise UsageError("[ensemble] scheduler needs Dask: `uv sync --group cluster`.") from None
    stack = ExitStack()
    try:
        stack.enter_context(Client(scheduler, timeout=30))
    except OSError as error:
        raise UsageError(f"[ensemble] scheduler {scheduler} can't be reached: {error}") from None
    stack.enter_context(parallel_config("dask"))
    return stack


def _combine(members: list[Member], chosen: Ensemble, rows: Rows) -> BaseEstimator:
    """Return one model that answers for all members that could be fitted."""
    able = [member for member in members if not member.reason]
    needed = members[:1] if chosen.by else members
    if all(member.reason for member in needed):
        lost = needed[0]
        raise GateRefused(f"Ensemble gate: {lost.name} could not be fitted: {lost.reason}")
    if chosen.by:
        kind = RouterClassifier if is_classifier(able[0].model) else RouterRegressor
        return kind([one.model if not one.reason else None for one in members[1:]], able[0].model)
    if chosen.combine == "best":
        return min(able, key=lambda member: member.loss).model
    frozen = [(member.name, FrozenEstimator(member.model)) for member in able]
    if is_classifier(able[0].model):
        voting = VotingClassifier(frozen, voting="soft", flatten_transform=False).fit(*rows)
    else:
        voting = VotingRegressor(frozen).fit(*rows)
    voting.estimators = [(member.name, member.model) for member in able]
    voting.estimators_ = [member.model for member in able]
    voting.named_estimators_ = dict(voting.estimators)
    return voting
