"""What was predicted, as counts in the bins of the version's reference profile.

The service keeps every row in its journal; a batch run keeps only these counts, as its output holds
the rows already.
"""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from pydantic_core import from_json

from ..data.profile import ANSWER, LABEL, Profile
from ..utils.config import Settings
from .journal import Entry, open_journal
from .scoring import Predictions, Scorer

DAY = 86_400


class Tally(BaseModel):
    """Counts of some predictions by one version."""

    time: float = Field(default_factory=time.time)
    version: int
    rows: int = 0
    counts: dict[str, list[int]] = {}
    """By input, and for answer and label; as `data.profile.Distribution.count` makes them."""

    def __add__(self, other: "Tally") -> "Tally":
        """Return the counts of both."""
        counts = {
            name: np.add(self.counts.get(name, 0), other.counts.get(name, 0)).tolist()
            for name in self.counts | other.counts
        }
        return Tally(version=other.version, rows=self.rows + other.rows, counts=counts)


def count(scorer: Scorer, rows: pd.DataFrame, made: Predictions) -> Tally:
    """Count inputs in their declared types, and the answers to them."""
    return _count(scorer.artifact.profile, scorer.version, rows, made)


def keep(settings: Settings, tally: Tally | None) -> None:
    """Write the counts of a batch run under `var/batches`."""
    if tally is None:
        return
    folder = settings.var / "batches"
    folder.mkdir(parents=True, exist_ok=True)
    name = int(tally.time * 1e9)
    (folder / f".{name}").write_text(tally.model_dump_json())
    (folder / f".{name}").rename(folder / f"{name}.json")


def read_tallies(
    settings: Settings, profile: Profile, version: int, since: float, until: float
) -> Iterator[Tally]:
    """Yield the counts of predictions of a time span, in the bins of a version's profile.

    Shadows are left out. Batch runs of other versions were counted in other bins, so of these only
    the number of rows is told.
    """
    for file in sorted((settings.var / "batches").glob("*.json")):
        if since * 1e9 <= int(file.stem) < until * 1e9:
            found = Tally.model_validate_json(file.read_text())
            mine = found.version == version
            yield found if mine else found.model_copy(update={"counts": {}})
    for entries in open_journal(settings).read(since):
        parts: dict[tuple[int, int], list[Entry]] = {}
        for entry in entries:
            if entry.assigned != "shadow" and entry.time < until:
                parts.setdefault((int(entry.time // DAY), entry.version), []).append(entry)
        for (_, answered_by), part in sorted(parts.items()):
            yield _of_entries(profile, answered_by, part)


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
    return _count(profile, version, rows, made).model_copy(update={"time": entries[-1].time})


def _count(profile: Profile, version: int, rows: pd.DataFrame, made: Predictions) -> Tally:
    counts = {name: part.count(rows[name]).tolist() for name, part in profile.columns.items()}
    told = made.labels if made.probabilities is None else made.probabilities[:, -1]
    counts[ANSWER] = profile.answer.count(pd.Series(told, dtype="float64")).tolist()
    if profile.label is not None and made.probabilities is not None:
        counts[LABEL] = profile.label.count(pd.Series(made.labels, dtype=object)).tolist()
    return Tally(version=version, rows=len(rows), counts=counts)
