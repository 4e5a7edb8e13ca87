"""One verdict on the model in production: what came in, what went out, and what came of it."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from ..data.profile import TARGET, Distribution, Profile
from ..service.durations import HOUR, quantile, read_durations
from ..service.journal import open_journal
from ..service.tally import DAY, newest, read_tallies
from ..training import registry
from ..utils.config import Monitoring, Settings
from ..utils.errors import UsageError
from . import alarms
from .audit import Finding, audit
from .drift import Shift, judge, shift
from .performance import Comparison, Performance, by_day, by_version, compare, losses, of_champion
from .window import Window, day_of, minute_of


@dataclass(frozen=True)
class MonitoringResult:
    """What a window showed; the report is made from it."""

    version: int
    days: float
    until: str
    """When the window ended, in UTC."""
    rows: int
    """Predictions in the window."""
    compared: int
    """Those whose inputs are held against training."""
    enough: bool
    """Whether these are as many as [monitoring] min_rows asks for."""
    rejected: int
    """Rows of batch runs that broke the schema."""
    later: int
    """Predictions dated later than the window's end."""
    alarms: list[Finding]
    shifts: list[Shift]
    reference: dict[str, Distribution]
    current: dict[str, np.ndarray]
    volume: dict[str, int]
    """Predictions by day, all versions."""
    latency: list[dict[str, Any]]
    """By day: answers, and the time in which half of them were given, and 95 of 100."""
    budget_ms: float | None
    performance: list[Performance]
    comparison: Comparison | None
    timeline: dict[str, list[tuple[str, float, int]]]
    """By version: day, mean loss and predictions whose outcome is known."""

    @property
    def verdict(self) -> str:
        """`ok`, or `alarm`."""
        return "alarm" if self.alarms else "ok"

    @property
    def about(self) -> str:
        """What was looked at, in a line."""
        said = f"version {self.version}, {self.rows:,} predictions"
        said += f" in the {self.days:g} days to {self.until}"
        others = {
            "on the same rows again or by other versions, not compared": self.rows - self.compared,
            "rows rejected": self.rejected,
            "dated in the future": self.later,
        }
        said += "".join(f", {number:,} {what}" for what, number in others.items() if number)
        return said if self.enough else f"{said}: too few to judge"


def monitor(client: MlflowClient, settings: Settings, now: float | None = None) -> MonitoringResult:
    """Hold the last days against what the champion saw in training.

    Those days end `now`, in seconds since 1970, by default the present.

    UsageError where there is no champion yet, or [monitoring] names a column that is no input;
    GateRefused where the champion can't be loaded, or has no record.
    """
    rules, now = settings.monitoring, now or time.time()
    champion = registry.champion(client)
    version = champion.version
    profile = registry.fetch(champion, settings, lenient=True).profile
    _check_names(rules, profile, version)
    record = registry.record(champion.run_id)
    since = now - DAY * rules.window_days
    earliest = since - DAY * rules.window_days
    told = list(read_tallies(settings, profile, version, earliest, now))
    tallies = [one for one in told if one.time < now]
    before = Window([one for one in tallies if one.time < since], profile, version)
    window = Window([one for one in tallies if one.time >= since], profile, version)
    last_day = Window([one for one in tallies if one.time >= now - DAY], profile, version)
    first = min((one.time for one in tallies), default=now)
    volume = Counter({day_of(day): 0 for day in np.arange(first // DAY, now // DAY + 1) * DAY})
    for one in tallies:
        volume[day_of(one.time)] += one.rows

    journal, outcome_span = open_journal(settings), DAY * rules.outcome_days
    durations = read_durations(journal, since, now)
    durations = durations[durations["version"] == version]
    budget = settings.service.latency_budget_ms
    known = losses(journal.judged(now - 2 * outcome_span))
    known = known[known["metric"] == ("brier" if profile.label else "squared_error")]  # its task's
    earlier = known[known["time"] < now - outcome_span]
    judged = known[known["time"].between(now - outcome_span, now, inclusive="left")]
    answered = judged[judged["assigned"] != "shadow"]
    if len(answered) >= rules.min_rows:
        window.counts[TARGET] = profile.target.count(answered["outcome"].map(json.loads))
    performance = by_version(judged)
    ours = of_champion(performance, version, rules.min_rows)
    then = of_champion(by_version(earlier), version, rules.min_rows)
    shifts = judge(
        [
            shift(name, part, window.counts[name], rules.of(name))
            for name, part in window.reference.items()
            if window.compared >= rules.min_rows
        ]
    )
    found = [
        *alarms.of_volume(
            window, newest(settings, now), settings.data.max_bad_share, rules.min_rows
        ),
        *alarms.of_columns(profile, window, last_day, shifts, rules),
        *alarms.of_answers(window, before, shifts, rules),
        *alarms.of_latency(durations, budget, rules),
        *alarms.of_losses(ours, record.metrics["validation"]),
        *alarms.of_worth(ours, then, rules.outcome_days),
        *alarms.of_retrainings(registry.refused(client), version, rules),
    ]
    return MonitoringResult(
        version=version,
        days=rules.window_days,
        until=minute_of(now),
        rows=window.rows,
        compared=window.compared,
        enough=window.compared >= rules.min_rows,
        rejected=window.rejected,
        later=sum(one.rows for one in told if one.time >= now),
        alarms=[Finding(kind, what, alarms.ADVICE[kind]) for kind, what in found]
        + [
            one  # uncommitted code is no news where it answers nothing
            for one in audit(client, settings, now=now)
            if one.kind != "dirty commit" or one.what.startswith(f"version {version} ")
        ],
        shifts=shifts,
        reference=window.reference,
        current=window.counts,
        volume=dict(volume),
        latency=_by_day(durations),
        budget_ms=budget,
        performance=performance,
        comparison=compare(performance, version, rules.min_rows),
        timeline=by_day(judged),
    )


def _check_names(rules: Monitoring, profile: Profile, version: int) -> None:
    for name in [*rules.columns, *rules.expected_to_move]:
        if name not in profile.columns:
            known = f"those of version {version} that can drift: {', '.join(profile.columns)}"
            raise UsageError(f"config.toml: [monitoring] names {name!r}, none of {known}.")


def _by_day(durations: pd.DataFrame) -> list[dict[str, Any]]:
    days = (HOUR * durations["hour"]).map(day_of)
    return [
        {
            "day": day,
            "answers": int(counts["requests"].sum()),
            "median_ms": 1000 * quantile(counts, 0.5),
            "promised_ms": 1000 * quantile(counts, alarms.PROMISED),
        }
        for day, counts in durations.groupby(days)
    ]
