"""Repeats a past prediction with the version that made it, and compares."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from mlflow import MlflowClient

from ..training import registry
from ..training.artifact import TOLERANCE
from ..utils.config import Settings
from .journal import Journal
from .requests import to_arrays
from .scoring import Scorer


@dataclass(frozen=True)
class Difference:
    """What came out otherwise."""

    what: str
    then: Any
    now: Any


@dataclass(frozen=True)
class Replayed:
    """What a repeated prediction led to."""

    verdict: str
    """`identical` or `different`."""
    differences: list[Difference]
    version: int
    runtime: str
    time: float
    """Of the prediction, in seconds since 1970."""
    inputs: dict[str, Any]
    prediction: Any


def replay(client: MlflowClient, settings: Settings, journal: Journal, name: str) -> Replayed:
    """Predict once more what the journal has under this id.

    The version is asked with the columns it was trained with, whatever schema.py says today.

    UsageError where there is no such prediction, or its version is gone; GateRefused where the
    version can't be loaded as it was.
    """
    entry = journal.find(name)
    artifact = registry.fetch(registry.version(client, entry.version), settings, lenient=True)
    scorer, columns = Scorer(artifact, entry.version), artifact.columns
    inputs = json.loads(entry.inputs)
    values = {column: [inputs.get(column)] for column in columns.inputs}
    for column in columns.of("date"):
        values[column] = [one and datetime.fromisoformat(one) for one in values[column]]
    made = scorer.answer(to_arrays(values, columns))
    [shares] = made.shares(scorer.names)
    prediction, before = json.loads(entry.prediction), json.loads(entry.probabilities or "{}")
    pairs = {"prediction": (prediction, made.labels[0])}
    for label, share in (shares or {}).items():
        pairs[f"probability of {label}"] = before.get(label), share
    differences = [Difference(what, *pair) for what, pair in pairs.items() if not _same(*pair)]
    verdict = "different" if differences else "identical"
    return Replayed(
        verdict, differences, entry.version, entry.runtime, entry.time, inputs, prediction
    )


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, float) and isinstance(now, float):
        return bool(np.isclose(then, now, rtol=TOLERANCE, atol=TOLERANCE))
    return bool(then == now)
