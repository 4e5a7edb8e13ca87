"""The one path to a prediction: REST, batch and whatever comes later all walk it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from mlflow import MlflowClient

from ..data.columns import Columns, describe
from ..data.validation import to_inputs
from ..training import registry
from ..training.artifact import Artifact
from ..training.graph import Arrays
from ..training.tracking import MODEL
from ..utils.config import Settings
from ..utils.errors import GateRefused


@dataclass(frozen=True)
class Predictions:
    """The answers to some rows, in their order."""

    labels: list[Any]
    """Classes, or values."""
    probabilities: np.ndarray | None
    """Shape (n_rows, n_classes), in the order of the scorer's classes; None for regression."""
    finite: np.ndarray
    """Whether each answer is finite; one that is not must never leave."""

    def shares(self, names: list[str]) -> Iterable[dict[str, float] | None]:
        """Return the probability of each class for each row by its name, None for regression."""
        if self.probabilities is None:
            return [None] * len(self.labels)
        return (dict(zip(names, row, strict=True)) for row in self.probabilities.tolist())


@dataclass(frozen=True, eq=False)
class Scorer:
    """A version of the model, loaded and proved."""

    artifact: Artifact
    version: int
    name: str = MODEL

    @property
    def runtime(self) -> str:
        """What computes the answers: `onnx`, or `sklearn` where the model can't be converted."""
        return self.artifact.about.runtime

    @property
    def classes(self) -> list[Any] | None:
        """The labels it can answer, None for regression."""
        return self.artifact.about.classes

    @cached_property
    def names(self) -> list[str]:
        """The classes as they are written in JSON."""
        return [label_text(label) for label in self.classes or []]

    def predict(self, rows: pd.DataFrame) -> Predictions:
        """Answer rows in the declared types, as `data.validation.screen` returns them."""
        return self.answer(to_inputs(rows, self.artifact.columns))

    def answer(self, inputs: Arrays) -> Predictions:
        """Answer inputs by name, each as `data.validation.to_inputs` makes it, shape (n_rows,)."""
        classes = self.classes
        if not len(inputs[self.artifact.columns.inputs[0]]):  # scikit-learn refuses to answer none
            answers: np.ndarray = np.empty((0, len(classes)) if classes else 0)
        else:
            answers = self.artifact.answer(inputs)
        if classes is None:
            return Predictions(answers.tolist(), None, np.isfinite(answers))
        finite = np.isfinite(answers).all(axis=1)
        labels = [classes[place] for place in answers.argmax(axis=1).tolist()]
        return Predictions(labels, answers, finite)


def label_text(label: Any) -> str:
    """Return a class as it is written in JSON."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def load_scorer(
    client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema, version: int | None = None
) -> Scorer:
    """Return the scorer of a version, the champion by default.

    UsageError where there is no such version, or no champion yet; GateRefused where the version
    fails a gate of `training.artifact`, or was made for other columns or another question.
    """
    found = registry.champion(client) if version is None else registry.version(client, version)
    artifact, data = registry.fetch(found, settings), settings.data
    about = artifact.about
    if about.kinds != describe(schema, data).kinds:
        raise GateRefused(
            f"Schema gate: version {found.version} was trained with other columns than schema.py "
            "declares now; train anew, or ask for another version."
        )
    if (about.task, about.roles.target) != (data.task, data.target):
        raise GateRefused(
            f"Schema gate: version {found.version} answers {about.roles.target} ({about.task}), "
            f"[data] asks for {data.target} ({data.task}); train anew, or ask for another version."
        )
    return Scorer(artifact, found.version)


def input_schema(schema: pa.DataFrameSchema, columns: Columns) -> pa.DataFrameSchema:
    """Return the schema of rows that ask for a prediction.

    Only the inputs are asked for. A category that training never saw is no error: the model
    answers it by the rule of its encoder.
    """
    asked = {}
    for name in columns.inputs:
        column = schema.columns[name]
        checks = [check for check in column.checks if "allowed_values" not in check.statistics]
        asked[name] = pa.Column(column.dtype, checks, nullable=column.nullable)
    return pa.DataFrameSchema(asked)
