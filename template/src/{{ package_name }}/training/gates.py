"""What speaks against a version that is to answer for production."""

import timeit
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandera.pandas as pa

from ..data.columns import Columns
from ..utils.config import Promotion, Settings
from ..utils.errors import GateRefused
from . import registry
from .artifact import Artifact
from .dataset import Dataset, Part, load_dataset
from .evaluation import PRIMARY, Scores, advantage, judge, make_dummy, score
from .record import Record
from .registry import Registered

CHANCE = 2.0
"""Standard errors beyond which a difference is no chance."""
COLLAPSE = 4.0
"""The same for one of many slices, of which some look bad by chance."""
DECAY = 1.1
"""A champion whose loss is above this times that of its own training has decayed."""
DIVIDING = ("key", "group", "time")
"""Roles on which the split depends."""
Facts = dict[str, dict[str, Any]]


class Rival(NamedTuple):
    """How the champion did."""

    metrics: dict[str, float]
    rows: str
    """On which validation rows: `the same`, or `its own`."""
    decay: str = ""
    """What it has lost since it was trained, where that is no chance."""


def objections(
    candidate: Registered,
    champion: Registered | None,
    settings: Settings,
    schema: pa.DataFrameSchema,
    *,
    allow_dirty: bool,
) -> Iterator[str]:
    """Yield what speaks against a version, on the validation rows of its own data.

    `champion` is the one it would replace, None where it replaces nobody; `allow_dirty` lets it do
    so though it was made from uncommitted code. GateRefused where it can't be judged: its record,
    its files or its columns are not what they must be.
    """
    record = registry.record(candidate.run_id)
    if gaps := record.gaps():
        raise GateRefused(f"Record gate: the run's record lacks {', '.join(gaps)}; train anew.")
    artifact = registry.fetch(candidate, settings)
    versions = {name: table.version for name, table in record.data.items()}
    settings = record.settings_over(settings, "split")  # or rows it was trained on would judge it
    dataset = load_dataset(settings, schema, versions, record.cuts)
    if artifact.columns != dataset.columns:
        raise GateRefused(
            "Schema gate: the version was trained with other columns than schema.py and [data] "
            "declare now; train anew."
        )
    for name, table in record.data.items():
        now = dataset.tables.get(name)
        if now is None or now.fingerprint != table.fingerprint:
            raise GateRefused(
                f"Record gate: version {table.version} of the table {name!r} is not the one that "
                "the model was trained on, or [data.sources] lacks it now; train anew."
            )
    part = dataset.part("validation")
    dummy = judge(make_dummy(artifact.about.task).fit(*dataset.part("train")), *part)
    scores = _score(artifact, part)
    best = champion_on(dataset, champion, settings)
    yield from _uniform(part.target)
    yield from _losing(scores, dummy, best, PRIMARY[artifact.about.task], settings.promotion)
    yield from _collapsed(scores, dummy, part, artifact.columns, settings.promotion.slice_rows)
    yield from _too_slow(artifact, part, record, settings)
    if best and not allow_dirty:  # the first model that answers this question replaces nobody
        yield from _uncommitted(record)


def champion_on(dataset: Dataset, champion: Registered | None, settings: Settings) -> Rival | None:
    """Let the champion answer the validation rows, from the columns that it was made for.

    Where it can't, or may have learnt from these rows as it was split otherwise, its record says
    how it did on its own. None where there is none, or it answers another question.
    """
    if champion is None:
        return None
    try:
        record = registry.record(champion.run_id)
    except GateRefused:  # nobody knows what it answers
        return Rival({}, "")
    then, now = record.settings, settings.model_dump(mode="json")
    shared = {*then["data"]["sources"]} & {*now["data"]["sources"]}
    if not shared or _differ(then, now, "data", ("task", "target")):
        return None
    own = Rival(record.metrics.get("validation", {}), "its own")
    if _differ(then, now, "data", DIVIDING) or _differ(then, now, "split", now["split"]):
        return own
    try:
        artifact = registry.fetch(champion, settings, lenient=True)
        part = dataset.part("validation", artifact.columns)
        scores = _score(artifact, part)
        decay = _decay(scores, own.metrics, PRIMARY[artifact.about.task], champion.version)
        return Rival(scores.metrics, "the same", decay)
    except (GateRefused, KeyError, ValueError, TypeError):  # a file, rule or column is gone
        return own


def _differ(then: Facts, now: Facts, section: str, names: Iterable[str]) -> bool:
    return any(then[section].get(name, now[section][name]) != now[section][name] for name in names)


def _decay(scores: Scores, then: dict[str, float], name: str, version: int) -> str:
    usual = then[name] ** (1 if name == "brier" else 2)
    low = scores.losses.mean() - CHANCE * scores.losses.std() / len(scores.losses) ** 0.5
    if low <= DECAY * usual:
        return ""
    now = f"version {version} has {name} {scores.metrics[name]:.4f} on the newest validation rows"
    return f"{now}, {then[name]:.4f} on those of its own training"


def _score(artifact: Artifact, part: Part) -> Scores:
    return score(artifact.answer(part.inputs), artifact.about.classes, part.target)


def _uniform(true: np.ndarray) -> Iterator[str]:
    if (true == true[0]).all():  # whoever always answers so beats the dummy
        yield (
            f"Baseline gate: the target is {true[0]} in all {len(true)} validation rows, so they "
            'tell nothing. Add rows, or set strategy = "stratified" in [split].'
        )


def _losing(
    scores: Scores, dummy: Scores, champion: Rival | None, metric: str, limits: Promotion
) -> Iterator[str]:
    ours, least = scores.metrics[metric], dummy.metrics[metric]
    if not advantage(scores.losses, dummy.losses) > CHANCE:  # also where it is not a number
        yield (
            f"Baseline gate: {metric} {ours:.4f} on {len(scores.losses)} validation rows is "
            f"not better than the dummy's {least:.4f} by more than chance."
        )
    if limits.threshold is not None and ours > limits.threshold:
        yield f"Threshold gate: {metric} {ours:.4f} is above the limit {limits.threshold:.4f}."
    best = champion.metrics.get(metric, np.inf) if champion else np.inf
    if champion and ours > best * (1 + limits.champion_tolerance):
        yield (
            f"Champion gate: {metric} {ours:.4f} is worse than the champion's {best:.4f} on "
            f"{champion.rows} validation rows."
        )


def _collapsed(
    scores: Scores, dummy: Scores, part: Part, columns: Columns, least_rows: int
) -> Iterator[str]:
    """Name the first category for which the dummy is better."""
    for name in columns.of("category"):
        for label, rows in part.inputs.groupby(name).indices.items():
            if len(rows) < least_rows:
                continue
            if advantage(scores.losses[rows], dummy.losses[rows]) < -COLLAPSE:
                yield (
                    f"Slice gate: where {name} is {label!r} ({len(rows)} validation rows) the "
                    "model is worse than the dummy."
                )
                return


def _too_slow(artifact: Artifact, part: Part, record: Record, settings: Settings) -> Iterator[str]:
    limit, budgets, row = settings.service.latency_budget_ms, settings.budgets, part.inputs.head(1)
    if limit is not None:
        taken = 1000 * np.median(timeit.repeat(lambda: artifact.answer(row), number=1, repeat=30))
        if taken > limit:
            yield f"Latency gate: one row takes {taken:.1f} ms here, the budget is {limit:g} ms."
    # The step reads the tables, and first the sources of those that are new.
    reading = max(record.seconds["data"], sum(table.seconds for table in record.data.values()))
    if reading > budgets.data_seconds:
        yield (
            f"Budget gate: reading the data took {reading:.1f} s, "
            f"[budgets] data_seconds is {budgets.data_seconds:g}."
        )
    for step, seconds in record.feature_seconds.items():
        if seconds > budgets.feature_seconds:
            yield (
                f"Budget gate: the step {step!r} of features.py takes {seconds:.1f} s for a "
                f"million rows, [budgets] feature_seconds is {budgets.feature_seconds:g}."
            )


def _uncommitted(record: Record) -> Iterator[str]:
    if record.commit is None:
        yield (
            "Commit gate: it was trained from code whose commit git does not tell (`git status` "
            "says why); commit and train anew, or pass --allow-dirty."
        )
    elif record.changes:
        yield (
            f"Commit gate: {record.changes} file(s) differed from commit {record.commit[:8]}; "
            "commit what git status names, train anew, or pass --allow-dirty."
        )
