"""From checked rows to recorded answers, one micro-batch at a time."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from pydantic_core import to_json

from ..data.columns import Columns
from ..training.registry import CHAMPION
from .journal import Entry, Journal, JournalError, new_id
from .metrics import Batch, Metrics
from .requests import Row, to_arrays
from .scoring import Scorer
from .versions import Answering, Versions

log = logging.getLogger(__name__)

SHADOW = "shadow"
RETRY_SECONDS = 10
QUICK_ROWS = 500


class Refusal(Exception):
    """A request that gets no prediction: status code, what to tell, and who failed to answer."""

    def __init__(self, code: int, detail: Any, version: int | None = None) -> None:
        self.code, self.detail, self.version = code, detail, version


Made = tuple[Entry, dict[str, Any]]
"""What the journal must know, and the answer."""
Told = tuple[bytes, int]
"""The body of an answer, and the version that answered its first row."""


class Asked(NamedTuple):
    """A row that waits for its answer."""

    sent: tuple[Any, ...]
    """What is kept of it; None where nothing was sent."""
    time: float
    id: str
    assigned: str
    unit: str | None


class Answerer:
    """Predicts, writes the journal, and only then answers."""

    def __init__(
        self, versions: Versions, journal: Journal, metrics: Metrics, columns: Columns
    ) -> None:
        self.versions, self.journal, self.metrics = versions, journal, metrics
        self.columns, self.settings = columns, versions.settings.service
        self.kept = [*columns.inputs, *columns.context]
        self.failed_at = -math.inf

    @property
    def writable(self) -> bool:
        """Whether the journal may take predictions: it did, or failed long enough ago to try."""
        return time.monotonic() - self.failed_at > RETRY_SECONDS

    def quick(self, requests: Sequence[list[Row]]) -> bool:
        """Whether these are answered within a few milliseconds."""
        fast = self.journal.embedded and self.versions.now.fast
        return fast and sum(map(len, requests)) <= QUICK_ROWS

    def answer(self, requests: Sequence[list[Row]]) -> list[Told | Exception]:
        """Return what each is told, or the refusal where an answer is not finite.

        Refusal where the journal took none of it. Where one of several can't be answered, the
        others still are.
        """
        try:
            return self._answered(requests)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - told to the one who asked
            if len(requests) == 1:
                return [error]
            return [answer for one in requests for answer in self.answer([one])]

    def _answered(self, requests: Sequence[list[Row]]) -> list[Told | Exception]:
        now = self.versions.now
        asked = [[self._asked(row, now) for row in rows] for rows in requests]
        groups: dict[str, list[Asked]] = defaultdict(list)
        for one in chain.from_iterable(asked):
            groups[one.assigned].append(one)
        if self.settings.shadow and CHAMPION in groups:
            groups[SHADOW] = [one._replace(id=f"{one.id}s") for one in groups[CHAMPION]]
        made: dict[str, Made] = {}
        for assigned, theirs in groups.items():
            if scorer := now.champion if assigned == CHAMPION else now.challenger:
                try:
                    made |= self._predict(scorer, assigned, theirs)
                except Exception as error:
                    if assigned != SHADOW:
                        raise
                    log.warning("the shadow, version %s, failed: %r", scorer.version, error)
        try:
            self.journal.write([entry for entry, _ in made.values()])
        except JournalError as error:
            if self.writable:
                log.warning("predictions are refused, as the journal takes none: %s", error)
            self.failed_at = time.monotonic()
            self.metrics.figure("journal_errors", now.champion.version).inc()
            detail = f"The prediction could not be recorded, so it is not given: {error}"
            raise Refusal(503, detail) from error
        self.failed_at = -math.inf
        return [_told(rows, made, now) for rows in asked]

    def _asked(self, row: Row, now: Answering) -> Asked:
        parts = [row.get(name) for name in self.columns.roles.key]
        unit = "\x1f".join(map(str, parts)) if parts and None not in parts else None
        when = time.time()
        name = new_id(when)
        assigned = now.assigned(unit or name, self.settings.challenger_share)
        return Asked(tuple(map(row.get, self.kept)), when, name, assigned, unit)

    def _predict(self, scorer: Scorer, assigned: str, asked: list[Asked]) -> dict[str, Made]:
        """Return what was made of each row by its id; nothing where the answer is not finite."""
        columns = zip(*(one.sent for one in asked), strict=True)
        values = dict(zip(self.columns.kinds, columns, strict=False))  # what is no input is behind
        start = time.perf_counter()
        predictions = scorer.answer(to_arrays(values, self.columns))
        seconds = time.perf_counter() - start
        self.metrics.batches.append(Batch(scorer, assigned, values, predictions, seconds))
        made = {}
        for (sent, when, name, _, unit), label, finite, shares in zip(
            asked,
            predictions.labels,
            predictions.finite.tolist(),
            predictions.shares(scorer.names),
            strict=True,
        ):
            if not finite:
                continue
            answer = {
                "id": name,
                "prediction": label,
                "probability": max(shares.values()) if shares else None,
                "probabilities": shares,
                "group": assigned,
                "version": scorer.version,
            }
            entry = Entry(
                name,
                when,
                scorer.version,
                scorer.runtime,
                assigned,
                unit,
                to_json(dict(zip(self.kept, sent, strict=True))).decode(),
                to_json(label).decode(),
                to_json(shares).decode() if shares else None,
            )
            made[name] = entry, answer
        return made


def _told(asked: list[Asked], made: dict[str, Made], now: Answering) -> Told | Exception:
    answers = [made[one.id][1] for one in asked if one.id in made]
    champion = now.champion
    if len(answers) < len(asked):
        failed = champion if asked[0].assigned == CHAMPION else now.challenger
        detail = "The model's answer is not finite, so it was not sent."
        return Refusal(500, detail, failed.version if failed else None)
    model = {"name": champion.name, "version": champion.version, "runtime": champion.runtime}
    return to_json({"predictions": answers, "model": model}), answers[0]["version"]
