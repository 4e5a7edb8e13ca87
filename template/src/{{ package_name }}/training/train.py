"""One training: split, fit, evaluate, record, register, and then face the promotion gate."""

import logging
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from ..utils import environment
from ..utils.config import Settings
from ..utils.errors import GateRefused
from ..utils.seeding import seed_for
from ..utils.steps import Steps
from ..utils.user_errors import refusing
from . import gates, promotion, registry
from .artifact import PROFILE, TOLERANCE, About, rules_digest, write_extras
from .convert import differs, to_graph, to_masks
from .dataset import Dataset, load_dataset, refuse_empty_inputs, refuse_leaks, training_warnings
from .ensemble import Note, fit_ensemble
from .evaluation import answers, classes_of, judge, make_dummy
from .explain import column_importance, make_profile, time_features
from .graph import FILE as GRAPH_FILE
from .masks import FILE as MASKS_FILE
from .members import Member
from .pipeline import KNOWN
from .record import Record
from .ruled import make_estimator
from .tracking import experiment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
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
) -> TrainingResult:
    """Train on the newest tables, register the model, and promote it if the gate lets it pass.

    Nothing is registered unless everything before went through. UsageError where the data or the
    settings can't be used, GateRefused where the model can't be loaded again as it was.
    """
    steps, commit, wheel = Steps(), environment.commit(), environment.wheel()
    with steps.step("data"):
        ingest_all(schema, settings, only_new=True)
        dataset = load_dataset(settings, schema)
    with steps.step("leaks"):
        refuse_empty_inputs(dataset)
        warnings = [*refuse_leaks(dataset), *training_warnings(dataset, settings.split)]
    for said in warnings:
        log.warning(said)
    seed = settings.training.seed
    seeds = {"all": seed} | {name: seed_for(name, seed) for name in ("model", "importance")}
    tags = {"commit": commit.id or "none", "changes": str(commit.changes), **environment.process()}
    with mlflow.start_run(experiment_id=experiment(client), tags=tags) as run:
        with steps.step("fit"), threadpool_limits(settings.training.threads):
            estimator = fit(dataset, settings, partial(_note, client, run, warnings))
        with steps.step("evaluate"):
            metrics = evaluate(estimator, dataset, settings.data.task)
            champion = registry.alias(client, registry.CHAMPION)
            rival = gates.champion_on(dataset, champion, settings)
            if rival and rival.metrics:
                metrics["champion"] = rival.metrics
        with steps.step("explain"):
            importance = column_importance(
                estimator, dataset.part("validation"), seeds["importance"]
            )
            feature_seconds = time_features(estimator, dataset.part("train").inputs)
        record = Record(
            data=dataset.tables,
            split=dataset.split.counts,
            cuts=dataset.split.cuts,
            settings=settings.model_dump(mode="json"),
            seeds=seeds,
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
            decay=rival.decay if rival else "",
        )
        with steps.step("record"):
            model_uri = _log(estimator, dataset, record, settings)
    with steps.step("register"):
        version = registry.register(client, run.info.run_id, model_uri, record)
    if not promote:
        return TrainingResult(run.info.run_id, version, promoted=False, reasons=[], record=record)
    with steps.step("promote"):
        decision = promotion.promote(client, version, settings, schema, allow_dirty=allow_dirty)
    return TrainingResult(run.info.run_id, version, decision.promoted, decision.reasons, record)


@refusing("Fit gate: the model of estimators/model.py can't be fitted")
def fit(dataset: Dataset, settings: Settings, note: Note = lambda _: None) -> BaseEstimator:
    """Return the project's estimator, fitted on the training rows.

    Where it is an ensemble, `note` is called with each of its members.
    """
    training = settings.training
    seed = seed_for("model", training.seed)
    estimator = make_estimator(dataset.columns, settings.data.task, training.rules, seed)
    if settings.ensemble.grid or settings.ensemble.by:
        return fit_ensemble(estimator, dataset, settings, note)
    return estimator.fit(*dataset.part("train"))


def _note(client: MlflowClient, run: mlflow.ActiveRun, warnings: list[str], one: Member) -> None:
    """Make a member a child run, and a failure a warning of the record.

    The run is made when all is known of it, so that a crash leaves none behind.
    """
    tags = {"mlflow.parentRunId": run.info.run_id, "digest": one.digest, "reason": one.reason}
    tags |= environment.process()
    now, begun = int(1000 * time.time()), int(1000 * (time.time() - one.seconds))
    child = client.create_run(run.info.experiment_id, begun, tags, one.name).info.run_id
    found = {"loss": one.loss, "rows": one.rows, "seconds": one.seconds}
    metrics = [Metric(name, value, now, 0) for name, value in found.items()]
    params = [Param(name, str(value)) for name, value in one.params.items()]
    client.log_batch(child, metrics, params)
    client.set_terminated(child, "FAILED" if one.reason else "FINISHED")
    if one.reason:
        warnings.append(f"the member {one.name} of the ensemble failed: {one.reason}")
        log.warning(warnings[-1])


@refusing("Fit gate: the model of estimators/model.py, with its rules, can't answer")
def evaluate(estimator: BaseEstimator, dataset: Dataset, task: str) -> dict[str, dict[str, float]]:
    """Return the metrics of the model on `validation` and `test`, and of the dummy (`baseline`)."""
    validation = dataset.part("validation")
    dummy = make_dummy(task).fit(*dataset.part("train"))
    return {
        "validation": judge(estimator, *validation).metrics,
        "test": judge(estimator, *dataset.part("test")).metrics,
        "baseline": judge(dummy, *validation).metrics,
    }


def _log(estimator: BaseEstimator, dataset: Dataset, record: Record, settings: Settings) -> str:
    """Put model, golden sample and record into the active run, and return the model's URI."""
    params = pd.json_normalize(record.settings, max_level=1).iloc[0].to_dict()
    versions = {f"data.{name}.version": table.version for name, table in record.data.items()}
    mlflow.log_params(params | versions)
    figures = pd.json_normalize(record.metrics | {"seconds": record.seconds}, sep="_")
    mlflow.log_metrics(figures.iloc[0].to_dict())
    golden = dataset.part("validation").inputs.head(settings.training.golden_rows)
    fast, reason = _fast(estimator, dataset, golden)
    if reason:
        log.warning("scikit-learn answers, as the faster ONNX can't: %s", reason)
    about = About(
        task=settings.data.task,
        roles=dataset.columns.roles,
        kinds=dataset.columns.kinds,
        classes=classes_of(estimator),
        rules=settings.training.rules,
        rules_digest=rules_digest(settings.training.rules),
        runtime="onnx" if fast else "sklearn",
        runtime_reason=reason,
        versions=record.versions,
        commit=record.commit,
    )
    answered = answers(estimator, golden)
    with tempfile.TemporaryDirectory() as extras:
        folder = Path(extras)
        write_extras(folder, about, golden, answered, fast)
        (folder / PROFILE).write_text(make_profile(estimator, dataset).model_dump_json())
        try:
            logged = mlflow.sklearn.log_model(
                estimator,
                name="model",
                serialization_format="skops",
                skops_trusted_types=KNOWN,
                pip_requirements=environment.requirements(),
                signature=infer_signature(golden, answered),
                extra_files=[str(path) for path in sorted(folder.iterdir())],
            )
        except MlflowException as error:
            said = str(error).splitlines()[0].rpartition("Root error: ")[2]
            advice = "Review the types it names, then add them to TRUSTED in estimators/model.py."
            if "<lambda>" in said or "top level" in said:
                advice = "Make a lambda, or a function within another, a named one of its module."
            raise GateRefused(f"Trust gate: the model can't be saved: {said} {advice}") from None
    mlflow.log_text(record.model_dump_json(indent=1), registry.RECORD_FILE)
    return str(logged.model_uri)


def _fast(
    estimator: BaseEstimator, dataset: Dataset, golden: pd.DataFrame
) -> tuple[dict[str, bytes], str]:
    """Return the files of the fast runtime, or none and why it can't be had."""
    try:
        graph = to_graph(estimator.pipeline_, dataset.columns)
        if difference := differs(graph, estimator.pipeline_, golden, TOLERANCE):
            return {}, difference
        masks = to_masks(estimator.pipeline_, graph, golden)
    except Exception as error:  # noqa: BLE001 - converters raise anything; the pipeline serves then
        return {}, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return {GRAPH_FILE: graph} | ({MASKS_FILE: masks} if masks else {}), ""
