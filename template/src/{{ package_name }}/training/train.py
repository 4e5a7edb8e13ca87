"""One training: split, fit, evaluate, record, register, and then face the promotion gate."""

import logging
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pandera.pandas as pa
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from ..data.ingest import ingest_all
from ..estimators.model import TRUSTED
from ..estimators.ruled import make_estimator
from ..utils import environment
from ..utils.config import Settings
from ..utils.errors import GateRefused
from ..utils.seeding import seed_for
from ..utils.steps import Steps
from . import promotion, registry
from .artifact import PROFILE, TOLERANCE, About, write_extras
from .convert import differs, to_graph
from .dataset import Dataset, load_dataset, refuse_leaks
from .ensemble import Note, fit_ensemble
from .evaluation import answers, make_dummy, score
from .explain import column_importance, make_profile, time_features
from .members import TYPES, Member
from .record import Record
from .tracking import MODEL

SIGNATURE_ROWS = 1_000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a training led to."""

    run_id: str
    version: int
    promoted: bool
    reasons: list[str]
    record: Record


def train(
    client: MlflowClient,
    settings: Settings,
    schema: pa.DataFrameSchema,
    *,
    promote: bool = True,
    allow_dirty: bool = False,
) -> Outcome:
    """Train on the newest tables, register the model, and promote it if the gate lets it pass.

    Nothing is registered unless everything before went through.

    Raises
    ------
    UsageError
        The data or the settings can't be used.
    GateRefused
        The model can't be loaded again as it was.
    """
    steps = Steps()
    with steps.step("data"):
        ingest_all(schema, settings, only_new=True)
        dataset = load_dataset(settings, schema)
    with steps.step("leaks"):
        warnings = refuse_leaks(dataset)
    experiment = client.get_experiment_by_name(MODEL)
    commit, wheel = environment.commit(), environment.wheel()
    tags = {"commit": commit.id or "none", "changes": str(commit.changes), **environment.process()}
    with mlflow.start_run(experiment_id=experiment.experiment_id, tags=tags) as run:
        with steps.step("fit"), threadpool_limits(settings.training.threads):
            estimator = fit(dataset, settings, partial(_note, client, run, warnings))
        with steps.step("evaluate"):
            metrics = evaluate(estimator, dataset, settings)
            champion = registry.alias(client, registry.CHAMPION)
            part = dataset.part("validation")
            rival = promotion.champion_scores(champion, dataset.columns, part, settings)
            if rival is not None:
                metrics["champion"] = rival.metrics
        with steps.step("explain"):
            importance = column_importance(estimator, part, seed_for("importance", _seed(settings)))
            feature_seconds = time_features(estimator, dataset.part("train").inputs)
        record = Record(
            data=dataset.tables,
            split=dataset.split.counts,
            settings=settings.model_dump(mode="json"),
            seeds={name: seed_for(name, _seed(settings)) for name in ("model", "importance")}
            | {"all": _seed(settings)},
            commit=commit.id,
            changes=commit.changes,
            wheel=wheel,
            lock=environment.lock_digest(),
            versions=environment.versions(),
            seconds=steps.seconds,
            metrics=metrics,
            importance=importance,
            feature_seconds=feature_seconds,
            warnings=warnings,
        )
        with steps.step("record"):
            model_uri = _log(estimator, dataset, record, settings)
    with steps.step("register"):
        version = registry.register(client, run.info.run_id, model_uri, record)
    if not promote:
        return Outcome(run.info.run_id, version, promoted=False, reasons=[], record=record)
    with steps.step("promote"):
        decision = promotion.promote(client, version, settings, schema, allow_dirty=allow_dirty)
    return Outcome(run.info.run_id, version, decision.promoted, decision.reasons, record)


def fit(dataset: Dataset, settings: Settings, note: Note = lambda _: None) -> BaseEstimator:
    """Return the project's estimator, fitted on the training rows.

    Where it is an ensemble, `note` is called with each of its members.
    """
    rows = dataset.part("train")
    seed = seed_for("model", _seed(settings))
    data = settings.data
    estimator = make_estimator(dataset.columns, data.task, settings.training.rules, seed)
    if settings.ensemble.grid or settings.ensemble.by:
        return fit_ensemble(estimator, dataset, settings, note)
    return estimator.fit(rows.inputs, rows.target)


def _note(client: MlflowClient, run: mlflow.ActiveRun, warnings: list[str], one: Member) -> None:
    """Make a member a child run, and a failure a warning of the record.

    The run is made when all is known of it, so that a crash leaves none behind.
    """
    tags = {"mlflow.parentRunId": run.info.run_id, "digest": one.digest, "reason": one.reason}
    begun = int(1000 * (time.time() - one.seconds))
    child = client.create_run(run.info.experiment_id, begun, tags, one.name).info.run_id
    found = {"loss": one.loss, "rows": one.rows, "seconds": one.seconds}
    metrics = [Metric(name, value, int(1000 * time.time()), 0) for name, value in found.items()]
    params = [Param(name, str(value)) for name, value in one.params.items()]
    client.log_batch(child, metrics, params)
    client.set_terminated(child, "FAILED" if one.reason else "FINISHED")
    if one.reason:
        warnings.append(f"the member {one.name} of the ensemble failed: {one.reason}")
        log.warning(warnings[-1])


def evaluate(
    estimator: BaseEstimator, dataset: Dataset, settings: Settings
) -> dict[str, dict[str, float]]:
    """Return the metrics of the model on `validation` and `test`, and of the dummy (`baseline`)."""
    train, validation, test = (dataset.part(name) for name in ("train", "validation", "test"))
    dummy = make_dummy(settings.data.task).fit(train.inputs, train.target)
    classes = _classes(estimator)
    return {
        name: score(answers(model, part.inputs), classes, part.target).metrics
        for name, model, part in [
            ("validation", estimator, validation),
            ("test", estimator, test),
            ("baseline", dummy, validation),
        ]
    }


def _seed(settings: Settings) -> int:
    return settings.training.seed


def _classes(estimator: BaseEstimator) -> list[Any] | None:
    return estimator.classes_.tolist() if hasattr(estimator, "classes_") else None


def _log(estimator: BaseEstimator, dataset: Dataset, record: Record, settings: Settings) -> str:
    """Put model, golden sample and record into the active run, and return the model's URI."""
    mlflow.log_params(
        {
            f"{name}.{key}": value
            for name, section in record.settings.items()
            for key, value in section.items()
        }
        | {f"data.{name}.version": table.version for name, table in record.data.items()}
    )
    mlflow.log_metrics(
        {
            f"{part}_{name}": value
            for part, found in record.metrics.items()
            for name, value in found.items()
        }
        | {f"seconds_{step}": seconds for step, seconds in record.seconds.items()}
    )
    golden = dataset.part("validation").inputs.head(settings.training.golden_rows)
    graph, reason = _fast(estimator, dataset, golden)
    about = About(
        task=settings.data.task,
        roles=dataset.columns.roles,
        kinds=dataset.columns.kinds,
        classes=_classes(estimator),
        rules=settings.training.rules,
        runtime="sklearn" if graph is None else "onnx",
        runtime_reason=reason,
        versions=record.versions,
        commit=record.commit,
    )
    with tempfile.TemporaryDirectory() as extras:
        folder = Path(extras)
        write_extras(folder, about, estimator, golden, graph)
        reference = make_profile(estimator, dataset)
        (folder / PROFILE).write_text(reference.model_dump_json())
        try:
            logged = mlflow.sklearn.log_model(
                estimator,
                name="model",
                serialization_format="skops",
                skops_trusted_types=[*TRUSTED, *TYPES],
                pip_requirements=environment.requirements(),
                signature=infer_signature(golden.head(SIGNATURE_ROWS), answers(estimator, golden)),
                extra_files=[str(path) for path in sorted(folder.iterdir())],
            )
        except MlflowException as error:
            raise GateRefused(
                f"Trust gate: the model can't be saved: {str(error).splitlines()[0]} Review the "
                "types it names, then add them to TRUSTED in estimators/model.py."
            ) from None
    mlflow.log_text(record.model_dump_json(indent=1), registry.RECORD_FILE)
    return str(logged.model_uri)


def _fast(
    estimator: BaseEstimator, dataset: Dataset, golden: pd.DataFrame
) -> tuple[bytes | None, str]:
    """Return the model for the fast runtime, or None and why it can't be had."""
    try:
        graph = to_graph(estimator.pipeline_, dataset.columns)
        difference = differs(graph, estimator.pipeline_, golden, TOLERANCE)
    except Exception as error:  # noqa: BLE001 - converters raise anything; the pipeline serves then
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return (None, difference) if difference else (graph, "")
