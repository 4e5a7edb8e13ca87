"""Decides which version answers for production, and takes the decision back on request."""

import time
from dataclasses import asdict, dataclass

import numpy as np
import pandera.pandas as pa
from mlflow import MlflowClient

from ..data.columns import Columns
from ..utils.config import Budgets, Promotion, Settings
from ..utils.errors import GateRefused, UsageError
from . import registry
from .artifact import Artifact
from .dataset import Dataset, Part, load_dataset
from .evaluation import PRIMARY, Scores, advantage, answers, make_dummy, score
from .record import Record
from .registry import Registered

CHANCE = 2.0
"""Standard errors beyond which a difference is no chance."""
COLLAPSE = 4.0
"""The same for one of many slices, of which some look bad by chance."""


@dataclass(frozen=True)
class Decision:
    """What was decided, and why."""

    version: int
    champion: int | None
    previous: int | None
    challenger: int | None
    promoted: bool
    reasons: list[str]
    """What spoke against the version; where it was promoted all the same, what was let pass."""


@dataclass(frozen=True)
class Trial:
    """A candidate and those it must stand up to, on the same validation rows."""

    record: Record
    artifact: Artifact
    part: Part
    scores: Scores
    dummy: Scores
    champion: Scores | None
    """None where there is no champion, or one that was made for other columns."""

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return PRIMARY[self.artifact.about.task]


def promote(
    client: MlflowClient,
    number: int | None,
    settings: Settings,
    schema: pa.DataFrameSchema,
    *,
    allow_dirty: bool = False,
) -> Decision:
    """Make a version the champion if every gate lets it pass; keep the decision either way.

    Parameters
    ----------
    number
        The version, or None for the newest.
    allow_dirty
        Whether a model made from uncommitted code may pass.
    """
    with registry.switching(settings):
        candidate = registry.version(client, number)
        champion = registry.alias(client, registry.CHAMPION)
        try:
            rival = None if champion == candidate else champion
            trial = _try(candidate, rival, settings, schema)
        except GateRefused as refusal:
            reasons = [str(refusal)]
        else:
            reasons = _objections(trial, settings, allow_dirty=allow_dirty)
        if not reasons:
            registry.switch(client, candidate, champion)
        return _decided(client, candidate, promoted=not reasons, reasons=reasons)


def challenge(
    client: MlflowClient, number: int | None, settings: Settings, schema: pa.DataFrameSchema
) -> Decision:
    """Make a version the challenger, which need not be as good as the champion yet."""
    with registry.switching(settings):
        candidate = registry.version(client, number)
        try:
            trial = _try(candidate, None, settings, schema)
            reasons = _objections(trial, settings, allow_dirty=True)
        except GateRefused as refusal:
            reasons = [str(refusal)]
        if not reasons:
            registry.challenge(client, candidate)
        return _decided(client, candidate, promoted=not reasons, reasons=reasons)


def rollback(client: MlflowClient, settings: Settings) -> Decision:
    """Make the previous champion the champion again, if it still loads and answers as it did.

    Raises
    ------
    UsageError
        There is no previous champion.
    """
    with registry.switching(settings):
        champion = registry.champion(client)
        previous = registry.alias(client, registry.PREVIOUS)
        if previous is None or previous.version == champion.version:
            raise UsageError("There is no previous champion to go back to.")
        registry.fetch(previous, settings)
        registry.switch(client, previous, champion)
        return _decided(client, previous, promoted=True, reasons=["rollback"])


def _decided(
    client: MlflowClient, about: Registered, *, promoted: bool, reasons: list[str]
) -> Decision:
    names = (registry.CHAMPION, registry.PREVIOUS, registry.CHALLENGER)
    found = {name: registry.alias(client, name) for name in names}
    decision = Decision(
        version=about.version,
        **{name: known.version if known else None for name, known in found.items()},
        promoted=promoted,
        reasons=reasons,
    )
    registry.note_decision(client, about, asdict(decision))
    return decision


def _try(
    candidate: Registered,
    champion: Registered | None,
    settings: Settings,
    schema: pa.DataFrameSchema,
) -> Trial:
    record = registry.record(candidate.run_id)
    gaps = record.gaps()
    if gaps:
        raise GateRefused(f"Record gate: the run's record lacks {', '.join(gaps)}; train anew.")
    artifact = registry.fetch(candidate, settings)
    versions = {name: table.version for name, table in record.data.items()}
    dataset = load_dataset(settings, schema, versions)
    _same_columns(artifact, dataset)
    part = dataset.part("validation")
    train = dataset.part("train")
    dummy = make_dummy(artifact.about.task).fit(train.inputs, train.target)
    return Trial(
        record=record,
        artifact=artifact,
        part=part,
        scores=_score(artifact, part),
        dummy=score(answers(dummy, part.inputs), artifact.about.classes, part.target),
        champion=champion_scores(champion, artifact.columns, part, settings),
    )


def _same_columns(artifact: Artifact, dataset: Dataset) -> None:
    if artifact.columns != dataset.columns:
        raise GateRefused(
            "Schema gate: the version was trained with other columns than schema.py and [data] "
            "declare now; train anew."
        )


def _score(artifact: Artifact, part: Part) -> Scores:
    return score(artifact.answer(part.inputs), artifact.about.classes, part.target)


def champion_scores(
    champion: Registered | None, columns: Columns, part: Part, settings: Settings
) -> Scores | None:
    """Let the champion answer the same rows; None where it can't, or was made for other columns.

    A champion that can't be loaded any more is no obstacle to the next one.
    """
    if champion is None:
        return None
    try:
        artifact = registry.fetch(champion, settings, lenient=True)
    except GateRefused:
        return None
    return _score(artifact, part) if artifact.columns == columns else None


def _objections(trial: Trial, settings: Settings, *, allow_dirty: bool) -> list[str]:
    gates = [
        _baseline_gate(trial),
        _threshold_gate(trial, settings.promotion),
        _champion_gate(trial, settings.promotion),
        _slice_gate(trial, settings.promotion),
        _latency_gate(trial, settings.service.latency_budget_ms),
        _budget_gate(trial.record, settings.budgets),
        None if allow_dirty else _commit_gate(trial),
    ]
    return [reason for reason in gates if reason]


def _baseline_gate(trial: Trial) -> str | None:
    ours, dummy = trial.scores.metrics[trial.metric], trial.dummy.metrics[trial.metric]
    if advantage(trial.scores.losses, trial.dummy.losses) > CHANCE:
        return None
    return (
        f"Baseline gate: {trial.metric} {ours:.4f} on {len(trial.part.target)} validation rows is "
        f"not better than the dummy's {dummy:.4f} by more than chance."
    )


def _threshold_gate(trial: Trial, limits: Promotion) -> str | None:
    ours = trial.scores.metrics[trial.metric]
    if limits.threshold is None or ours <= limits.threshold:
        return None
    return f"Threshold gate: {trial.metric} {ours:.4f} is above the limit {limits.threshold:.4f}."


def _champion_gate(trial: Trial, limits: Promotion) -> str | None:
    if trial.champion is None:
        return None
    ours, theirs = trial.scores.metrics[trial.metric], trial.champion.metrics[trial.metric]
    if ours <= theirs * (1 + limits.champion_tolerance):
        return None
    return (
        f"Champion gate: {trial.metric} {ours:.4f} is worse than the champion's {theirs:.4f} "
        f"on the same validation rows."
    )


def _slice_gate(trial: Trial, limits: Promotion) -> str | None:
    inputs = trial.part.inputs
    for name in trial.artifact.columns.of("category"):
        labels = inputs[name].to_numpy()
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
            rows = labels == label
            if count < limits.slice_rows:
                continue
            if advantage(trial.scores.losses[rows], trial.dummy.losses[rows]) < -COLLAPSE:
                return (
                    f"Slice gate: where {name} is {label!r} ({count} validation rows) the model "
                    "is worse than the dummy."
                )
    return None


def _latency_gate(trial: Trial, budget_ms: float | None) -> str | None:
    if budget_ms is None:
        return None
    row = trial.part.inputs.head(1)
    taken = []
    for _ in range(30):
        start = time.perf_counter()
        trial.artifact.answer(row)
        taken.append(1000 * (time.perf_counter() - start))
    median = float(np.median(taken))
    if median <= budget_ms:
        return None
    return f"Latency gate: one row takes {median:.1f} ms here, the budget is {budget_ms:g} ms."


def _budget_gate(record: Record, budgets: Budgets) -> str | None:
    if record.seconds["data"] > budgets.data_seconds:
        return (
            f"Budget gate: reading the data took {record.seconds['data']:.1f} s, "
            f"[budgets] data_seconds is {budgets.data_seconds:g}."
        )
    for step, seconds in record.feature_seconds.items():
        if seconds > budgets.feature_seconds:
            return (
                f"Budget gate: the step {step!r} of features.py takes {seconds:.1f} s for a "
                f"million rows, [budgets] feature_seconds is {budgets.feature_seconds:g}."
            )
    return None


def _commit_gate(trial: Trial) -> str | None:
    if trial.champion is None:
        return None  # the first model of its kind replaces nobody
    if trial.record.commit is None:
        return "Commit gate: the project has no commit; commit, or pass --allow-dirty."
    if trial.record.changes:
        return (
            f"Commit gate: {trial.record.changes} file(s) differed from commit "
            f"{trial.record.commit[:8]}; commit and train anew, or pass --allow-dirty."
        )
    return None
