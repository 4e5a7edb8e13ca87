"""What was predicted, as counts in the bins of the version's reference profile.

The service keeps every row in its journal; a batch run keeps only these counts, as its output holds
the rows already.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from pydantic_core import from_json

from ..data.profile import ANSWER, LABEL, Profile
from ..utils.config import Settings
from .journal import Entry, open_journal
from .scoring import Predictions, Scorer

log = logging.getLogger(__name__)

DAY = 86_400


class Tally(BaseModel):
    """Counts of some predictions by one version."""

    time: float = Field(default_factory=time.time)
    version: int
    rows: int = 0
    counts: dict[str, list[int]] = {}
    """By input, and for answer and label; as `data.profile.Distribution.count` makes them."""
    rejected: int = 0
    """Rows that broke the schema, beside `rows`."""
    faults: dict[str, int] = {}
    """How many of them each column spoilt."""

    def __add__(self, other: "Tally") -> "Tally":
        """Return the counts of both."""
        counts = {
            name: np.add(self.counts.get(name, 0), other.counts.get(name, 0)).tolist()
            for name in self.counts | other.counts
        }
        return Tally(
            version=other.version,
            rows=self.rows + other.rows,
            counts=counts,
            rejected=self.rejected + other.rejected,
            faults=Counter(self.faults) + Counter(other.faults),
        )


def count(scorer: Scorer, rows: pd.DataFrame, made: Predictions) -> Tally:
    """Count inputs in their declared types, and the answers to them."""
    return _count(scorer.artifact.profile, scorer.version, rows, made)


def keep(settings: Settings, tally: Tally) -> None:
    """Write the counts of a batch run under `var/batches`."""
    folder = settings.var / "batches"
    folder.mkdir(parents=True, exist_ok=True)
    name = int(tally.time * 1e9)
    with (folder / f".{name}").open("w") as file:
        file.write(tally.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    (folder / f".{name}").rename(folder / f"{name}.json")


def read_tallies(
    settings: Settings, profile: Profile, version: int, since: float, until: float
) -> Iterator[Tally]:
    """Yield the counts of predictions from a time on, in the bins of a version's profile.

    Those dated later than `until` are counted apart. Shadows are left out. Batch runs of other
    versions were counted in other bins, so of these only the number of rows is told.
    """
    for file, made in _runs(settings):
        if made < since:
            continue
        try:
            found = Tally.model_validate_json(file.read_bytes())
        except ValueError:
            log.warning("%s holds no counts of a batch run: it is left out", file)
            continue
        yield found if found.version == version else found.model_copy(update={"counts": {}})
    for entries in open_journal(settings).read(since):
        parts: dict[tuple[bool, int, int], list[Entry]] = {}
        for entry in entries:
            if entry.assigned != "shadow":
                key = entry.time >= until, int(entry.time // DAY), entry.version
                parts.setdefault(key, []).append(entry)
        for (_, _, answered_by), part in sorted(parts.items()):
            yield _of_entries(profile, answered_by, part)


def newest(settings: Settings, until: float) -> float | None:
    """Return when the newest prediction before a time was made, None where there is none."""
    made = [when for _, when in _runs(settings) if when < until]
    return max([*made, *open_journal(settings).newest(until)], default=None)


def _runs(settings: Settings) -> list[tuple[Path, float]]:
    """Return the files that batch runs left, with their times, oldest first."""
    files = sorted((settings.var / "batches").glob("*.json"))
    return [(file, int(file.stem) / 1e9) for file in files if file.stem.isdecimal()]


def _of_entries(profile: Profile, version: int, entries: list[Entry]) -> Tally:
    sent = from_json(f"[{','.join(entry.inputs for entry in entries)}]")
    labels = from_json(f"[{','.join(entry.prediction for entry in entries)}]")
    texts = [entry.probabilities for entry in entries if entry.probabilities]
    shares = [list(one.values()) for one in from_json(f"[{','.join(texts)}]")]
    made = Predictions(labels, np.array(shares) if shares else None, np.ones(len(labels), bool))
    rows = pd.DataFrame(sent, columns=list(profile.columns), dtype=object)
    for name, part in profile.columns.items():
        if part.edges is not None:  # what another schema took for a number may be none
            rows[name] = pd.to_numeric(rows[name], errors="coerce")
        else:  # an empty text is none, for the model too
            rows[name] = rows[name].mask(rows[name] == "")
    return _count(profile, version, rows, made).model_copy(update={"time": entries[-1].time})


def _count(profile: Profile, version: int, rows: pd.DataFrame, made: Predictions) -> Tally:
    counts = {name: part.count(rows[name]).tolist() for name, part in profile.columns.items()}
    told = made.labels if made.probabilities is None else made.probabilities[:, -1]
    counts[ANSWER] = profile.answer.count(pd.Series(told, dtype="float64")).tolist()
    if profile.label is not None and made.probabilities is not None:
        counts[LABEL] = profile.label.count(pd.Series(made.labels, dtype=object)).tolist()
    return Tally(version=version, rows=len(rows), counts=counts)
