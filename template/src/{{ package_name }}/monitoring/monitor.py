"""One verdict on the model in production: what came in, what went out, and what came of it."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from ..data.profile import Distribution, Profile
from ..service.journal import open_journal
from ..service.tally import Tally, read_tallies
from ..training import registry
from ..training.record import Record
from ..utils.config import Monitoring, Settings
from .audit import audit
from .drift import Shift, judge, shift
from .performance import Comparison, Performance, by_version, compare

DAY = 86_400
WORST = 1.1
"""Losses above this times those on validation rows are worse, not only different."""


@dataclass(frozen=True)
class Alarm:
    """Something that somebody must look at."""

    kind: str
    what: str
    """Which column, version or run, and by how much."""
    advice: str


@dataclass(frozen=True)
class Seen:
    """What a window showed; the report is made from it."""

    version: int
    days: float
    rows: int
    alarms: list[Alarm]
    shifts: list[Shift]
    reference: dict[str, Distribution]
    current: dict[str, np.ndarray]
    volume: dict[str, int]
    """Predictions by day, all versions."""
    performance: list[Performance]
    comparison: Comparison | None
    timeline: dict[str, list[tuple[str, float, int]]] = field(default_factory=dict)
    """By version: day, mean loss and predictions whose outcome is known."""

    @property
    def verdict(self) -> str:
        """`ok`, or `alarm`."""
        return "alarm" if self.alarms else "ok"


def monitor(client: MlflowClient, settings: Settings) -> Seen:
    """Hold the last days against what the champion saw in training.

    Raises
    ------
    UsageError
        There is no champion yet.
    GateRefused
        The champion can't be loaded, or has no record.
    """
    rules, now = settings.monitoring, time.time()
    since = now - DAY * rules.window_days
    earliest = since - DAY * rules.window_days
    champion = registry.champion(client)
    profile = registry.fetch(champion, settings, lenient=True).profile
    record = registry.record(champion.run_id)
    reference = _reference(profile)
    window, before = Window(profile), Window(profile)
    for tally in read_tallies(settings, profile, champion.version, earliest):
        (window if tally.time >= since else before).add(tally, champion.version)
    judged = _judged(settings, since)
    performance = by_version(judged)
    if len(judged):
        window.counts["target"] = profile.target.count(judged["outcome"].map(json.loads))
    shifts = judge(
        [shift(name, part, window.counts[name]) for name, part in reference.items()]
        if window.rows >= rules.min_rows
        else []
    )
    alarms = [
        *_volume(window, before, rules),
        *_columns(profile, window, shifts, rules),
        *_answers(profile, window, before, shifts, rules),
        *_worth(performance, record, champion.version, rules),
        *_retrainings(client, champion.version, rules),
        *(Alarm(one.kind, one.what, one.advice) for one in audit(client, settings)),
    ]
    return Seen(
        champion.version,
        rules.window_days,
        window.rows,
        alarms,
        shifts,
        reference,
        window.counts,
        dict(sorted((window.volume + before.volume).items())),
        performance,
        compare(performance, rules.min_rows),
        _timeline(judged),
    )


class Window:
    """Counts of one stretch of time."""

    def __init__(self, profile: Profile) -> None:
        self.rows, self.volume = 0, Counter[str]()
        self.counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(1))
        for name, part in _reference(profile).items():
            self.counts[name] = np.zeros(len(part.counts))

    def add(self, tally: Tally, version: int) -> None:
        """Add the counts of some predictions; answers only of this version."""
        self.rows += tally.rows
        self.volume[datetime.fromtimestamp(tally.time, UTC).date().isoformat()] += tally.rows
        for name, counts in tally.counts.items():
            if tally.version == version or name not in {"answer", "label"}:
                self.counts[name] = self.counts[name] + np.asarray(counts)


def _reference(profile: Profile) -> dict[str, Distribution]:
    label = {} if profile.label is None else {"label": profile.label}
    return {**profile.columns, "answer": profile.answer, **label, "target": profile.target}


def _volume(window: Window, before: Window, rules: Monitoring) -> Iterator[Alarm]:
    if before.rows and not window.rows:
        yield Alarm(
            "silence",
            f"no prediction in {rules.window_days:g} days, {before.rows:,} in those before",
            "see whether the service is asked at all",
        )


def _columns(
    profile: Profile, window: Window, shifts: list[Shift], rules: Monitoring
) -> Iterator[Alarm]:
    """At most one alarm for each column: the plainest thing that is wrong with it."""
    moved = {one.name: one for one in shifts}
    for name, part in profile.columns.items():
        counts, usual = window.counts[name], np.asarray(part.counts)
        if window.rows < rules.min_rows or not counts.sum():
            continue
        share, expected = counts / counts.sum(), usual / usual.sum()
        filled = np.flatnonzero(counts)
        if len(filled) == 1 and (usual > 0).sum() > 1:
            yield Alarm(
                "silence",
                f"{name} is {part.names[filled[0]]} in all {window.rows:,} rows",
                "ask where it comes from; it carries nothing any more",
            )
        elif share[-1] - expected[-1] > rules.missing_share:
            yield Alarm(
                "missing",
                f"{name} is missing in {share[-1]:.1%} of rows, {expected[-1]:.1%} in training",
                "see what stopped sending it",
            )
        elif share[-2] - expected[-2] > rules.unseen_share:
            yield Alarm(
                "unseen",
                f"{share[-2]:.1%} of {name} are values that training never saw",
                "add them to schema.py and train anew",
            )
        elif name in moved and moved[name].alarming and name not in rules.expected_to_move:
            one = moved[name]
            yield Alarm(
                "drift",
                f"{name} has moved (PSI {one.psi:.3f}, {one.tail:+.1%} in the tails)",
                "look at the picture; train anew if the change is real and stays",
            )


def _answers(
    profile: Profile, window: Window, before: Window, shifts: list[Shift], rules: Monitoring
) -> Iterator[Alarm]:
    for one in shifts:
        if one.name in {"answer", "label", "target"} and one.alarming:
            what = {"target": "outcomes are"}.get(one.name, "answers are")
            yield Alarm(
                "answers" if one.name != "target" else "outcomes",
                f"{what} distributed otherwise than in training (PSI {one.psi:.3f})",
                "see which inputs moved, or what changed in the world",
            )
            break
    kind, usual = ("label", profile.label) if profile.label else ("answer", profile.answer)
    counts = window.counts[kind]
    if counts.sum() < rules.min_rows or usual is None:
        return
    share, expected = counts / counts.sum(), np.asarray(usual.counts) / sum(usual.counts)
    most = int(share.argmax())
    if share[most] >= rules.confused_share > expected[most]:
        yield Alarm(
            "confused",
            f"{share[most]:.1%} answers are {usual.names[most]}; in training {expected[most]:.1%}",
            "roll back, then look for an input that died",
        )
    elif before.counts[kind].sum() >= rules.min_rows:
        last = usual.model_copy(update={"counts": before.counts[kind].astype(int).tolist()})
        against = judge([shift("the window before", last, counts)])[0]
        if against.alarming:
            yield Alarm(
                "answers",
                f"answers differ from those of the window before (PSI {against.psi:.3f})",
                "compare with what was promoted or changed since",
            )


def _worth(
    performance: list[Performance], record: Record, champion: int, rules: Monitoring
) -> Iterator[Alarm]:
    for one in performance:
        if one.version != champion or one.predictions < rules.min_rows:
            continue
        known = record.metrics["validation"]
        usual = known["brier"] if one.metric == "brier" else known["rmse"] ** 2
        if one.low > WORST * usual:
            yield Alarm(
                "performance",
                f"version {one.version} has {one.metric} {one.mean:.4f} ({one.low:.4f} to "
                f"{one.high:.4f}) on {one.predictions:,} outcomes, {usual:.4f} on validation rows",
                "train anew with the newest outcomes",
            )


def _retrainings(client: MlflowClient, champion: int, rules: Monitoring) -> Iterator[Alarm]:
    """Each retraining leaves a version with its decision; many refusals in a row are news."""
    refused = [found for found in registry.refused(client) if found > champion]
    if len(refused) >= rules.refused_retrainings:
        yield Alarm(
            "retraining",
            f"versions {', '.join(map(str, refused))} were all refused since version {champion}",
            "read their reasons; the data or the target may have changed",
        )


def _judged(settings: Settings, since: float) -> pd.DataFrame:
    return open_journal(settings).judged(since)


def _timeline(judged: pd.DataFrame) -> dict[str, list[tuple[str, float, int]]]:
    if judged.empty:
        return {}
    days = pd.to_datetime(judged["time"], unit="s").dt.strftime("%Y-%m-%d")
    found: dict[str, list[tuple[str, float, int]]] = defaultdict(list)
    for day, rows in judged.groupby(days):
        for one in by_version(rows):
            found[f"{one.version} as {one.group}"].append((str(day), one.mean, one.predictions))
    return dict(found)


def as_json(seen: Seen, report: Path) -> dict[str, object]:
    """Return what `monitor --json` prints."""
    return {
        "verdict": seen.verdict,
        "alarms": [vars(one) for one in seen.alarms],
        "report": str(report),
        "version": seen.version,
        "rows": seen.rows,
        "days": seen.days,
        "shifts": [vars(one) | {"alarming": one.alarming} for one in seen.shifts],
        "performance": [vars(one) for one in seen.performance],
        "comparison": seen.comparison and vars(seen.comparison),
    }
