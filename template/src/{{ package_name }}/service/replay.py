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
    then = _told(json.loads(entry.prediction), json.loads(entry.probabilities or "{}"))
    [shares] = made.shares(scorer.names)
    now = _told(made.labels[0], shares or {})
    differences = [
        Difference(what, then.get(what), value)
        for what, value in now.items()
        if not _same(then.get(what), value)
    ]
    verdict = "different" if differences else "identical"
    return Replayed(
        verdict, differences, entry.version, entry.runtime, entry.time, inputs, then["prediction"]
    )


def _told(prediction: Any, shares: dict[str, float]) -> dict[str, Any]:
    told = {f"probability of {label}": share for label, share in shares.items()}
    return {"prediction": prediction} | told


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, float) and isinstance(now, float):
        return bool(np.isclose(then, now, rtol=TOLERANCE, atol=TOLERANCE))
    return bool(then == now)
