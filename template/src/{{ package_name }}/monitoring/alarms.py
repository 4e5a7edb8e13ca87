"""The rules of `monitor`: what in the last days somebody must look at."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..data.profile import ANSWER, LABEL, MISSING, OTHER, TARGET, Profile
from ..service.durations import quantile
from ..utils.config import Monitoring
from .drift import LEVEL, Shift, judge, shift
from .performance import Performance
from .window import Window, day_of

PROMISED = 0.95
"""Share of the answers that the latency budget is promised for."""
WORST = 1.1
"""Losses above this times those on validation rows are worse, not only different."""
ADVICE = {
    "silence": "see whether what sends it still works",
    "rejected": "read the reasons beside the output; fix what sends it, or schema.py",
    "missing": "see what stopped sending it",
    "unseen": "add them to schema.py and train anew",
    "drift": "look at the picture; train anew if the change is real and stays",
    "answers": "see which inputs moved, and what was promoted or changed since",
    "outcomes": "see what changed in the world, or in how outcomes are taken down",
    "confused": "roll back, then look for an input that died",
    "latency": "see whether the model or the load has grown: `make rollback`, or more --workers",
    "performance": "train anew with the newest outcomes",
    "worth": "ask what changed in the business, or in what follows from a prediction",
    "retraining": "read their reasons; the data or the target may have changed",
}
"""What to do about each kind of alarm."""
Alarms = Iterator[tuple[str, str]]
"""Kind, and which column or version and by how much."""


def of_volume(window: Window, newest: float | None, max_bad_share: float, least: int) -> Alarms:
    """Nobody asks any more, or what is asked breaks the schema."""
    asked = window.rows + window.rejected
    if newest is not None and not asked:
        yield "silence", f"no prediction since {day_of(newest)}, beyond window_days"
    elif asked >= least and window.rejected > max_bad_share * asked:
        worst = ", ".join(f"{name} in {rows:,}" for name, rows in window.faults.most_common(3))
        share = window.rejected / asked
        yield "rejected", f"{share:.1%} of {asked:,} rows break schema.py: {worst}"


def of_columns(
    profile: Profile, window: Window, last_day: Window, shifts: list[Shift], rules: Monitoring
) -> Alarms:
    """At most one alarm for each column: the plainest thing that is wrong with it."""
    if window.compared < rules.min_rows:
        return
    moved = {one.name: one for one in shifts if one.alarming}
    newest = last_day if last_day.compared >= rules.min_rows else window
    for name in profile.columns:
        (share, usual), limits = window.shares(name), rules.of(name)
        now, usually = newest.counts[name], np.asarray(window.reference[name].counts)
        only = int(np.argmax(now))
        # The chance that of all rows, now and in training, those of other values lie in training.
        others = float(usually.sum()) / float(usually.sum() + now.sum())
        chance = others ** float(usually.sum() - usually[only])
        if now[only] == now.sum() and chance < LEVEL / len(profile.columns):
            value = window.reference[name].names[only]
            yield "silence", f"{name} is {value} in all the newest {newest.compared:,} rows"
        elif window.grown(name, MISSING, limits.missing_share):
            before = f"{usual[MISSING]:.1%} in training"
            yield "missing", f"{name} is missing in {share[MISSING]:.1%} of rows, {before}"
        elif window.grown(name, OTHER, limits.unseen_share):
            rare = f"were rare ({usual[OTHER]:.1%}) in training, or not there"
            said = rare if usual[OTHER] else "training never saw"
            yield "unseen", f"{share[OTHER]:.1%} of {name} are values that {said}"
        elif name in moved and name not in rules.expected_to_move:
            one = moved[name]
            yield "drift", f"{name} has moved (PSI {one.psi:.3f}, {one.tail:+.1%} in the tails)"


def of_answers(window: Window, before: Window, shifts: list[Shift], rules: Monitoring) -> Alarms:
    """Answers and outcomes are not what they were in training, or in the window before."""
    moved = {one.name: one.psi for one in shifts if one.alarming}
    since = "distributed otherwise than in training"
    if answers := [moved[name] for name in (ANSWER, LABEL) if name in moved]:
        yield "answers", f"answers are {since} (PSI {max(answers):.3f})"
    if TARGET in moved:
        yield "outcomes", f"outcomes are {since} (PSI {moved[TARGET]:.3f})"
    kind = LABEL if LABEL in window.reference else ANSWER
    usual, counts, earlier = window.reference[kind], window.counts[kind], before.counts[kind]
    if counts.sum() < rules.min_rows:
        return
    share, expected = window.shares(kind)
    most = int(np.argmax(share))
    if share[most] >= rules.confused_share > expected[most]:
        said = f"{share[most]:.1%} answers are {usual.names[most]}"
        yield "confused", f"{said}; in training {expected[most]:.1%}"
    elif earlier.sum() >= rules.min_rows:
        last = usual.model_copy(update={"counts": earlier.tolist()})
        (against,) = judge([shift("before", last, counts, rules)])
        now, then = (shift("training", usual, some, rules).psi for some in (counts, earlier))
        if against.alarming and now > then:
            said = f"answers differ from those of the window before (PSI {against.psi:.3f})"
            yield "answers", said


def of_latency(durations: pd.DataFrame, budget_ms: float | None, rules: Monitoring) -> Alarms:
    """Answers take longer than promised."""
    answers = durations["requests"].sum()
    if budget_ms is None or answers < rules.min_rows:
        return
    taken = 1000 * quantile(durations, PROMISED)
    if taken > budget_ms:
        slow = f"5 of 100 of {answers:,} answers took longer than {taken:,.1f} ms"
        yield "latency", f"{slow}, {budget_ms:g} ms are promised"


def of_losses(now: Performance | None, validation: dict[str, float]) -> Alarms:
    """Where the champion is worse on outcomes than on validation rows."""
    if now is None:
        return
    usual = validation["brier"] if now.metric == "brier" else validation["rmse"] ** 2
    if now.low > WORST * usual:
        said = f"version {now.version} has {now.metric} {now.mean:.4f}"
        span = f"({now.low:.4f} to {now.high:.4f}) on {now.predictions:,} outcomes"
        yield "performance", f"{said} {span}, {usual:.4f} on validation rows"


def of_worth(now: Performance | None, then: Performance | None, days: float) -> Alarms:
    """Predictions are worth clearly less than in the days before."""
    if now is None or then is None or now.value_high is None or then.value_low is None:
        return
    if now.value_high < then.value_low:
        said = f"predictions of version {now.version} are worth {now.value:.4g} each"
        span = f"({now.value_low:.4g} to {now.value_high:.4g})"
        yield "worth", f"{said} {span}, {then.value:.4g} in the {days:g} days before"


def of_retrainings(refused: list[int], champion: int, rules: Monitoring) -> Alarms:
    """Each retraining leaves a version with its decision; many refusals in a row are news."""
    newer = [version for version in refused if version > champion]
    if len(newer) >= rules.refused_retrainings:
        many = f"{len(newer)} versions, {newer[0]} to {newer[-1]}"
        yield "retraining", f"{many}, were refused since version {champion}"
