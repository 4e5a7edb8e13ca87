"""One verdict on the model in production: what came in, what went out, and what came of it."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from ..data.profile import Distribution, Profile
from ..service.durations import HOUR, quantile, read_durations
from ..service.journal import open_journal
from ..service.tally import Tally, read_tallies
from ..training import registry
from ..training.record import Record
from ..utils.config import Monitoring, Settings
from ..utils.errors import UsageError
from .audit import audit
from .drift import Shift, judge, shift
from .performance import Comparison, Performance, by_day, by_version, compare, losses

DAY = 86_400
WORST = 1.1
"""Losses above this times those on validation rows are worse, not only different."""
PROMISED = 0.95
"""Share of the answers that the latency budget is promised for."""


@dataclass(frozen=True)
class Alarm:
    """Something that somebody must look at."""

    kind: str
    what: str
    """Which column, version or run, and by how much."""
    advice: str


@dataclass(frozen=True)
class Latency:
    """How long the answers of a day took."""

    day: str
    answers: int
    median_ms: float
    promised_ms: float
    """Time in which 95 of 100 were given."""


@dataclass(frozen=True)
class Seen:
    """What a window showed; the report is made from it."""

    version: int
    days: float
    rows: int
    """Predictions in the window."""
    compared: int
    """Those whose inputs are held against training."""
    alarms: list[Alarm]
    shifts: list[Shift]
    reference: dict[str, Distribution]
    current: dict[str, np.ndarray]
    volume: dict[str, int]
    """Predictions by day, all versions."""
    latency: list[Latency]
    budget_ms: float | None
    performance: list[Performance]
    comparison: Comparison | None
    timeline: dict[str, list[tuple[str, float, int]]]
    """By version: day, mean loss and predictions whose outcome is known."""

    @property
    def verdict(self) -> str:
        """`ok`, or `alarm`."""
        return "alarm" if self.alarms else "ok"


def monitor(client: MlflowClient, settings: Settings, now: float | None = None) -> Seen:
    """Hold the last days against what the champion saw in training.

    Parameters
    ----------
    now
        Seconds since 1970 at which the last days end; by default the present.

    Raises
    ------
    UsageError
        There is no champion yet, or [monitoring] names a column that is no input.
    GateRefused
        The champion can't be loaded, or has no record.
    """
    rules, now = settings.monitoring, now or time.time()
    since = now - DAY * rules.window_days
    earliest = since - DAY * rules.window_days
    champion = registry.champion(client)
    profile = registry.fetch(champion, settings, lenient=True).profile
    _known(rules, profile, champion.version)
    record = registry.record(champion.run_id)
    reference = _reference(profile)
    last_day, window, before = Window(profile), Window(profile), Window(profile)
    for tally in read_tallies(settings, profile, champion.version, earliest, now):
        (window if tally.time >= since else before).add(tally, champion.version)
        if tally.time >= now - DAY:
            last_day.add(tally, champion.version)
    journal, outcome_span = open_journal(settings), DAY * rules.outcome_days
    judged = losses(journal.judged(now - 2 * outcome_span))
    judged = judged[judged["time"] < now]
    recent = judged["time"] >= now - outcome_span
    judged, earlier = judged[recent], judged[~recent]
    performance = by_version(judged)
    answered = judged[judged["assigned"] != "shadow"]
    if len(answered) >= rules.min_rows:
        window.counts["target"] = profile.target.count(answered["outcome"].map(json.loads))
    durations = read_durations(journal, since, now)
    durations = durations[durations["version"] == champion.version]
    budget = settings.service.latency_budget_ms
    shifts = judge(
        [shift(name, part, window.counts[name], rules.of(name)) for name, part in reference.items()]
        if window.compared >= rules.min_rows
        else []
    )
    alarms = [
        *_volume(window, before, rules),
        *_columns(profile, window, last_day, shifts, rules),
        *_answers(profile, window, before, shifts, rules),
        *_latency(durations, budget, rules),
        *_performance(performance, record, champion.version, rules),
        *_worth(performance, by_version(earlier), champion.version, rules),
        *_retrainings(client, champion.version, rules),
        *(Alarm(one.kind, one.what, one.advice) for one in audit(client, settings, now=now)),
    ]
    return Seen(
        champion.version,
        rules.window_days,
        window.volume.total(),
        window.compared,
        alarms,
        shifts,
        reference,
        window.counts,
        dict(sorted((window.volume + before.volume).items())),
        _by_day(durations),
        budget,
        performance,
        compare(performance, champion.version, rules.min_rows),
        by_day(judged),
    )


class Window:
    """Counts of one stretch of time."""

    def __init__(self, profile: Profile) -> None:
        self.compared, self.volume = 0, Counter[str]()
        self.counts = {
            name: np.zeros(len(part.counts), dtype=int)
            for name, part in _reference(profile).items()
        }

    def add(self, tally: Tally, version: int) -> None:
        """Add the counts of some predictions; answers only of this version."""
        self.volume[_day(tally.time)] += tally.rows
        self.compared += tally.rows if tally.counts else 0
        for name, counts in tally.counts.items():
            if tally.version == version or name not in {"answer", "label"}:
                self.counts[name] = self.counts[name] + np.asarray(counts)


def _known(rules: Monitoring, profile: Profile, version: int) -> None:
    for name in [*rules.columns, *rules.expected_to_move]:
        if name not in profile.columns:
            raise UsageError(
                f"config.toml: [monitoring] names {name!r}, which is no input of version {version} "
                f"that can drift. These are: {', '.join(profile.columns)}."
            )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _reference(profile: Profile) -> dict[str, Distribution]:
    label = {} if profile.label is None else {"label": profile.label}
    return {**profile.columns, "answer": profile.answer, **label, "target": profile.target}


def _volume(window: Window, before: Window, rules: Monitoring) -> Iterator[Alarm]:
    if before.volume and not window.volume:
        yield Alarm(
            "silence",
            f"no prediction in {rules.window_days:g} days, {before.volume.total():,} before",
            "see whether the service is asked at all",
        )


def _columns(
    profile: Profile, window: Window, last_day: Window, shifts: list[Shift], rules: Monitoring
) -> Iterator[Alarm]:
    """At most one alarm for each column: the plainest thing that is wrong with it."""
    if window.compared < rules.min_rows:
        return
    moved = {one.name: one for one in shifts if one.alarming}
    newest = last_day if last_day.compared >= rules.min_rows else window
    for name, part in profile.columns.items():
        counts, usual, limits = window.counts[name], np.asarray(part.counts), rules.of(name)
        share, expected = counts / counts.sum(), usual / usual.sum()
        filled = np.flatnonzero(newest.counts[name])
        if len(filled) == 1 and (usual > 0).sum() > 1:
            yield Alarm(
                "silence",
                f"{name} is {part.names[filled[0]]} in all the newest {newest.compared:,} rows",
                "ask where it comes from; it carries nothing any more",
            )
        elif share[-1] - expected[-1] > limits.missing_share:
            yield Alarm(
                "missing",
                f"{name} is missing in {share[-1]:.1%} of rows, {expected[-1]:.1%} in training",
                "see what stopped sending it",
            )
        elif share[-2] - expected[-2] > limits.unseen_share:
            yield Alarm(
                "unseen",
                f"{share[-2]:.1%} of {name} are values that training never saw",
                "add them to schema.py and train anew",
            )
        elif name in moved and name not in rules.expected_to_move:
            one = moved[name]
            yield Alarm(
                "drift",
                f"{name} has moved (PSI {one.psi:.3f}, {one.tail:+.1%} in the tails)",
                "look at the picture; train anew if the change is real and stays",
            )


def _answers(
    profile: Profile, window: Window, before: Window, shifts: list[Shift], rules: Monitoring
) -> Iterator[Alarm]:
    moved = {one.name: one.psi for one in shifts if one.alarming}
    if answers := [moved[name] for name in ("answer", "label") if name in moved]:
        yield Alarm(
            "answers",
            f"answers are distributed otherwise than in training (PSI {max(answers):.3f})",
            "see which inputs moved",
        )
    if "target" in moved:
        yield Alarm(
            "outcomes",
            f"outcomes are distributed otherwise than in training (PSI {moved['target']:.3f})",
            "see what changed in the world, or in how outcomes are taken down",
        )
    kind, usual = ("label", profile.label) if profile.label else ("answer", profile.answer)
    counts = window.counts[kind]
    if counts.sum() < rules.min_rows:
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
        against = judge([shift("the window before", last, counts, rules)])[0]
        then = shift("then", usual, before.counts[kind], rules)
        if against.alarming and shift("now", usual, counts, rules).psi > then.psi:
            yield Alarm(
                "answers",
                f"answers differ from those of the window before (PSI {against.psi:.3f})",
                "compare with what was promoted or changed since",
            )


def _latency(
    durations: pd.DataFrame, budget_ms: float | None, rules: Monitoring
) -> Iterator[Alarm]:
    answers = durations["requests"].sum()
    if budget_ms is None or answers < rules.min_rows:
        return
    taken = 1000 * quantile(durations, PROMISED)
    if taken > budget_ms:
        yield Alarm(
            "latency",
            f"5 of 100 of {answers:,} answers took longer than {taken:,.1f} ms, {budget_ms:g} ms "
            "are promised",
            "see whether the model or the load has grown: `make rollback`, or more --workers",
        )


def _by_day(durations: pd.DataFrame) -> list[Latency]:
    days = (HOUR * durations["hour"]).map(_day)
    return [
        Latency(
            str(day),
            int(counts["requests"].sum()),
            1000 * quantile(counts, 0.5),
            1000 * quantile(counts, PROMISED),
        )
        for day, counts in durations.groupby(days)
    ]


def _performance(
    performance: list[Performance], record: Record, champion: int, rules: Monitoring
) -> Iterator[Alarm]:
    for one in performance:
        if (one.version, one.group) != (champion, "champion") or one.predictions < rules.min_rows:
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


def _worth(
    performance: list[Performance], before: list[Performance], champion: int, rules: Monitoring
) -> Iterator[Alarm]:
    """Tell when all predictions together are worth clearly less than in the window before."""
    now, then = (
        next((one for one in some if (one.version, one.group) == (champion, "champion")), None)
        for some in (performance, before)
    )
    if now is None or then is None or min(now.predictions, then.predictions) < rules.min_rows:
        return
    if now.value_high is None or then.value_low is None or now.value_high >= then.value_low:
        return
    yield Alarm(
        "worth",
        f"predictions of version {champion} are worth {now.value:.4g} each ({now.value_low:.4g} "
        f"to {now.value_high:.4g}), {then.value:.4g} in the {rules.outcome_days:g} days before",
        "ask what changed in the business, or in what follows from a prediction",
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


def as_json(seen: Seen, report: Path) -> dict[str, object]:
    """Return what `monitor --json` prints."""
    return {
        "verdict": seen.verdict,
        "alarms": [vars(one) for one in seen.alarms],
        "report": str(report),
        "version": seen.version,
        "rows": seen.rows,
        "compared": seen.compared,
        "days": seen.days,
        "shifts": [vars(one) | {"alarming": one.alarming} for one in seen.shifts],
        "latency": [vars(one) for one in seen.latency],
        "performance": [vars(one) for one in seen.performance],
        "comparison": seen.comparison
        and vars(seen.comparison) | {"reason": seen.comparison.reason},
    }
