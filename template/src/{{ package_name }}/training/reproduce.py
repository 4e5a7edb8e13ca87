"""Trains a past run again from its record, and says what differs and by how much."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pandera.pandas as pa
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from threadpoolctl import threadpool_limits

from ..data import tables
from ..data.fingerprint import fingerprint
from ..utils import environment
from ..utils.config import Settings
from ..utils.errors import GateRefused, UsageError
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

    Raises
    ------
    UsageError
        There is no such run, or its data is not here.
    GateRefused
        The run has no record.
    """
    try:
        client.get_run(run_id)
    except MlflowException:
        raise UsageError(f"There is no run {run_id!r}; `make ui` lists them.") from None
    record = registry.record(run_id)
    steps = Steps()
    with steps.step("compare the circumstances"):
        differences = [*_circumstances(record), *_data(record, settings)]
    names = ("data", "split", "training", "ensemble")
    sections = {name: record.settings[name] for name in names if name in record.settings}
    then = Settings(**sections, paths=settings.paths)
    versions = {name: table.version for name, table in record.data.items()}
    with steps.step("train again"), threadpool_limits(then.training.threads):
        dataset = load_dataset(then, schema, versions)
        estimator = fit(dataset, then)
    with steps.step("compare the results"):
        metrics = evaluate(estimator, dataset, then)
        differences += _compare("rows of", record.split, dataset.split.counts)
        for part, found in metrics.items():
            differences += _compare(part, record.metrics[part], found)
        differences += _golden(client, run_id, estimator)
    broken = any(one.kind in {"result", "data"} for one in differences)
    return Reproduction("different" if broken else "identical", differences)


def _circumstances(record: Record) -> list[Difference]:
    commit = environment.commit()
    pairs = [
        ("commit", record.commit, commit.id),
        ("uncommitted files", record.changes, commit.changes),
        ("uv.lock", record.lock, environment.lock_digest()),
    ]
    here = environment.versions()
    pairs += [(name, record.versions.get(name), here.get(name)) for name in record.versions | here]
    return [Difference(what, a, b, "circumstance") for what, a, b in pairs if a != b]


def _data(record: Record, settings: Settings) -> list[Difference]:
    """Fingerprint the tables again: a version that was tampered with has another content."""
    found = []
    for name, table in record.data.items():
        now = fingerprint(tables.read(settings.tables, name, table.version)).digest
        if now != table.fingerprint:
            found.append(Difference(f"{name}@{table.version}", table.fingerprint, now, "data"))
    return found


def _compare(what: str, then: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    return [
        Difference(f"{what} {name}", value, now.get(name), "result")
        for name, value in then.items()
        if now.get(name) != value
    ]


def _golden(client: MlflowClient, run_id: str, estimator: Any) -> list[Difference]:
    """Answer the golden sample of the run's model, and compare with what it answered then."""
    models = [output.model_id for output in client.get_run(run_id).outputs.model_outputs]
    if not models:
        raise GateRefused(f"Run {run_id} kept no model to compare with.")
    with tempfile.TemporaryDirectory() as folder:
        local = mlflow.artifacts.download_artifacts(f"models:/{models[0]}", dst_path=folder)
        inputs, then = stored_golden(Path(local))
    now = answers(estimator, inputs).reshape(len(inputs), -1)
    if then.shape == now.shape and np.array_equal(then, now):
        return []
    if then.shape != now.shape:
        return [Difference("shape of the golden answers", then.shape, now.shape, "result")]
    by = pd.Series(np.abs(then - now).max(axis=1))
    share = f"{int((by > 0).sum())} of {len(by)} differ, by up to {by.max():.3g}"
    return [Difference("golden answers", "as recorded", share, "result")]
