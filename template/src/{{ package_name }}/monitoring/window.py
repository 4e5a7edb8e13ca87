"""What was asked and answered in a stretch of time, as counts beside those of the training."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
from scipy import stats

from ..data.profile import ANSWER, LABEL, TARGET, Profile
from ..service.tally import Tally
from .drift import LEVEL, own_share


class Window:
    """The sum of some tallies, held against a version's profile."""

    def __init__(self, tallies: list[Tally], profile: Profile, version: int) -> None:
        self.rows = sum(tally.rows for tally in tallies)
        runs = [one for one in tallies if one.rows and one.counts.keys() >= profile.columns.keys()]
        tables = [np.array([one.counts[name] for one in runs]) for name in profile.columns]
        share = own_share(tables) if runs else 1.0
        self.compared = round(share * sum(tally.rows for tally in tallies if tally.counts))
        """Rows whose inputs were counted in this version's bins; those of other runs only once."""
        self.rejected = sum(tally.rejected for tally in tallies)
        """Rows of batch runs that broke the schema, beside `rows`."""
        self.faults = sum((Counter(tally.faults) for tally in tallies), Counter[str]())
        """How many of them each column spoilt."""
        ends = {ANSWER: profile.answer, LABEL: profile.label, TARGET: profile.target}
        self.reference = profile.columns | {name: part for name, part in ends.items() if part}
        """What the version saw and answered in training, by the names used in tallies."""
        self.counts = {name: np.zeros(len(part.counts)) for name, part in self.reference.items()}
        for tally in tallies:
            for name in self.counts.keys() & tally.counts:  # a former release had other names
                if tally.version == version or name not in {ANSWER, LABEL}:
                    self.counts[name] += share * np.array(tally.counts[name])

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of rows in each bin, now and in training."""
        counts, usual = self.counts[name], np.asarray(self.reference[name].counts)
        return counts / max(int(counts.sum()), 1), usual / max(int(usual.sum()), 1)

    def grown(self, name: str, part: int, allowed: float) -> bool:
        """Return whether a bin's share is larger by more than is allowed, and than by chance."""
        share, usual = (float(one[part]) for one in self.shares(name))
        rows = round(self.counts[name].sum())
        chance = stats.binom.sf(round(share * rows) - 1, rows, usual)
        return share - usual > allowed and bool(chance < LEVEL / len(self.reference))


def day_of(seconds: float) -> str:
    """Return the day of a time since 1970."""
    return minute_of(seconds)[:10]


def minute_of(seconds: float) -> str:
    """Return a time since 1970 to the minute, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%MZ}"
