"""Trains a past run again from its record, and says what differs and by how much."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandera.pandas as pa
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from ..data import tables
from ..data.fingerprint import fingerprint
from ..utils import environment
from ..utils.config import Settings
from ..utils.errors import UsageError
from ..utils.steps import Steps
from . import registry
from .artifact import stored_golden
from .dataset import load_dataset
from .evaluation import answers
from .record import Record
from .train import evaluate, fit


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was."""

    what: str
    then: Any
    now: Any
    kind: str
    """`result` or `data`: then the run is not reproduced; `circumstance`: it may still be."""


@dataclass(frozen=True)
class Reproduction:
    """What came out of training a run again."""

    verdict: str
    """`identical` where metrics, golden answers and data are the same to the bit."""
    differences: list[Difference]


def reproduce(
    client: MlflowClient, run_id: str, settings: Settings, schema: pa.DataFrameSchema
) -> Reproduction:
    """Train a run again with its own data versions and settings, and compare. Nothing is stored.

    UsageError where there is no such run, or its data is not here; GateRefused where it has no
    record.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in registry.NOT_THERE:
            raise
        raise UsageError(f"There is no run {run_id!r}; `make ui` lists them.") from None
    record = registry.record(run_id)
    steps = Steps()
    with steps.step("compare the circumstances"):
        differences = [*_circumstances(record), *_data(record, settings)]
    then = record.settings_over(settings, "data", "split", "training", "ensemble")
    versions = {name: table.version for name, table in record.data.items()}
    with steps.step("train again"), threadpool_limits(then.training.threads):
        dataset = load_dataset(then, schema, versions, record.cuts)
        estimator = fit(dataset, then)
    differences += _compare("result", record.split, dataset.split.counts, "rows of ")
    for part, found in evaluate(estimator, dataset, then.data.task).items():
        differences += _compare("result", record.metrics[part], found, f"{part} ")
    differences += _golden(run, estimator)
    broken = any(one.kind != "circumstance" for one in differences)
    return Reproduction("different" if broken else "identical", differences)


def _compare(
    kind: str, then: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> list[Difference]:
    return [
        Difference(f"{prefix}{name}", then.get(name), now.get(name), kind)
        for name in then | now
        if then.get(name) != now.get(name)
    ]


def _circumstances(record: Record) -> list[Difference]:
    then = {"commit": record.commit, "uncommitted files": record.changes, "uv.lock": record.lock}
    commit, lock = environment.commit(), environment.lock_digest()
    now = {"commit": commit.id, "uncommitted files": commit.changes, "uv.lock": lock}
    return _compare("circumstance", then | record.versions, now | environment.versions())


def _data(record: Record, settings: Settings) -> list[Difference]:
    """Fingerprint the tables again: a version that was tampered with has another content."""
    found = []
    for name, table in record.data.items():
        now = fingerprint(tables.read(settings.tables, name, table.version)).digest
        if now != table.fingerprint:
            found.append(Difference(f"{name}@{table.version}", table.fingerprint, now, "data"))
    return found


def _golden(run: Run, estimator: BaseEstimator) -> list[Difference]:
    """Answer the golden sample of the run's model, and compare with what it answered then."""
    (model,) = run.outputs.model_outputs
    with tempfile.TemporaryDirectory() as folder:
        uri = f"models:/{model.model_id}"
        local = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
        inputs, then = stored_golden(Path(local))
    now = answers(estimator, inputs).reshape(len(inputs), -1)
    if np.array_equal(then, now):
        return []
    if then.shape != now.shape:
        return [Difference("shape of the golden answers", then.shape, now.shape, "result")]
    by = np.abs(then - now).max(axis=1)
    said = f"{(by > 0).sum()} of {len(by)} differ, by up to {by.max():.3g}"
    return [Difference("golden answers", "as recorded", said, "result")]
