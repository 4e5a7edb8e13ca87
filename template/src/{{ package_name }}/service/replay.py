"""Repeats a past prediction with the version that made it, and compares."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from mlflow import MlflowClient

from ..data.columns import Columns
from ..training import registry
from ..training.artifact import TOLERANCE
from ..training.graph import Arrays
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
    """When the prediction was made, in seconds since 1970."""
    inputs: dict[str, Any]
    prediction: Any


def replay(client: MlflowClient, settings: Settings, journal: Journal, name: str) -> Replayed:
    """Predict once more what the journal has under this id.

    The version is asked with the columns it was trained with, whatever schema.py says today.

    Raises
    ------
    UsageError
        There is no such prediction, or its version is gone.
    GateRefused
        The version can't be loaded as it was.
    """
    entry = journal.find(name)
    artifact = registry.fetch(registry.version(client, entry.version), settings, lenient=True)
    scorer = Scorer(artifact, entry.version)
    inputs = json.loads(entry.inputs)
    made = scorer.answer(_arrays(inputs, artifact.columns))
    now = {"prediction": made.labels[0]}
    then = {"prediction": json.loads(entry.prediction)}
    if entry.probabilities:
        then |= {f"probability of {k}": v for k, v in json.loads(entry.probabilities).items()}
        shares = next(iter(made.shares(scorer.classes))) or {}
        now |= {f"probability of {name}": share for name, share in shares.items()}
    differences = [
        Difference(what, then.get(what), value)
        for what, value in now.items()
        if not _same(then.get(what), value)
    ]
    return Replayed(
        "different" if differences else "identical",
        differences,
        entry.version,
        entry.runtime,
        entry.time,
        inputs,
        then["prediction"],
    )


def _arrays(inputs: dict[str, Any], columns: Columns) -> Arrays:
    dates = columns.of("date")
    return to_arrays(
        {
            name: [datetime.fromisoformat(value) if value and name in dates else value]
            for name in columns.inputs
            for value in [inputs.get(name)]
        },
        columns,
    )


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, float) and isinstance(now, float):
        return bool(np.isclose(then, now, rtol=TOLERANCE, atol=TOLERANCE))
    return bool(then == now)
