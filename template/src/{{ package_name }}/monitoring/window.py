"""What was asked and answered in a stretch of time, as counts beside those of the training."""

from datetime import UTC, datetime

import numpy as np

from ..data.profile import Distribution, Profile
from ..service.tally import Tally


class Window:
    """The sum of some tallies, held against a version's profile."""

    def __init__(self, tallies: list[Tally], profile: Profile, version: int) -> None:
        self.rows = sum(tally.rows for tally in tallies)
        self.compared = sum(tally.rows for tally in tallies if tally.counts)
        """Rows whose inputs were counted in this version's bins."""
        self.reference = reference_of(profile)
        self.counts = {
            name: np.zeros(len(part.counts), dtype=int) for name, part in self.reference.items()
        }
        for tally in tallies:
            for name, counts in tally.counts.items():
                if tally.version == version or name not in {"answer", "label"}:
                    self.counts[name] = self.counts[name] + np.asarray(counts)

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of rows in each bin, now and in training."""
        counts, usual = self.counts[name], np.asarray(self.reference[name].counts)
        return counts / max(counts.sum(), 1), usual / max(usual.sum(), 1)


def reference_of(profile: Profile) -> dict[str, Distribution]:
    """Return what a version saw and answered in training, by the names used in tallies."""
    label = {} if profile.label is None else {"label": profile.label}
    return {**profile.columns, "answer": profile.answer, **label, "target": profile.target}


def day_of(seconds: float) -> str:
    """Return the day of a time since 1970."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
