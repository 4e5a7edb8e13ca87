"""From checked rows to recorded answers, one micro-batch at a time."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from ..data.columns import Columns
from ..training.registry import CHAMPION
from .journal import Entry, Journal, JournalError, new_id
from .metrics import Batch, Metrics
from .requests import Row, key_text, to_arrays
from .scoring import Scorer
from .versions import LiveVersions, Versions

log = logging.getLogger(__name__)

SHADOW = "shadow"
RETRY_SECONDS = 10
QUICK_ROWS = 500


class Refusal(Exception):
    """A request that gets no prediction: status code, and what to tell."""

    def __init__(self, code: int, detail: Any) -> None:
        self.code, self.detail = code, detail


Made = tuple[Entry, dict[str, Any]]
"""What the journal must know, and the answer."""


class PendingRow(NamedTuple):
    """A row that waits for its answer."""

    sent: tuple[Any, ...]
    """What is kept of it; None where nothing was sent."""
    time: float
    id: str
    assigned: str
    scorer: Scorer
    unit: str | None


class Request(NamedTuple):
    """Rows that are answered together or not at all, and who answered when they came."""

    rows: list[PendingRow]
    now: LiveVersions


class Predictor:
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

    def request(self, rows: list[Row]) -> Request:
        """Name checked rows, and say who answers each."""
        now = self.versions.now
        return Request([self._asked(row, now) for row in rows], now)

    def shadow(self, request: Request) -> Request | None:
        """Return what the challenger is to predict along, None where there is nothing."""
        other = request.now.challenger
        if not (other and self.settings.shadow):
            return None
        rows = [
            one._replace(id=f"{one.id}s", assigned=SHADOW, scorer=other)
            for one in request.rows
            if one.assigned == CHAMPION
        ]
        return Request(rows, request.now) if rows else None

    def quick(self, requests: Sequence[Request]) -> bool:
        """Whether the champion answers these within a few milliseconds."""
        fast = self.journal.embedded and requests[0].now.champion.runtime == "onnx"
        return fast and sum([len(one.rows) for one in requests]) <= QUICK_ROWS

    def answer(self, requests: Sequence[Request]) -> list[bytes | Exception]:
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

    def _answered(self, requests: Sequence[Request]) -> list[bytes | Exception]:
        groups: dict[tuple[Scorer, str], list[PendingRow]] = defaultdict(list)
        for request in requests:
            for one in request.rows:
                groups[one.scorer, one.assigned].append(one)
        made: dict[str, Made] = {}
        batches = []
        for (scorer, assigned), theirs in groups.items():
            batch, answers = self._predict(scorer, assigned, theirs)
            batches.append(batch)
            made |= answers
        try:
            self.journal.write([entry for entry, _ in made.values()])
        except JournalError as error:
            if self.writable:
                log.warning("predictions are refused, as the journal takes none: %s", error)
            self.failed_at = time.monotonic()
            self.metrics.figure("journal_errors", requests[0].rows[0].scorer.version).inc()
            detail = f"The prediction could not be recorded, so it is not given: {error}"
            raise Refusal(503, detail) from error
        self.failed_at = -math.inf
        self.metrics.batches.extend(batches)
        return [_told(request, made) for request in requests]

    def _asked(self, row: Row, now: LiveVersions) -> PendingRow:
        parts = [row.get(name) for name in self.columns.roles.key]
        unit = "\x1f".join(map(key_text, parts)) if parts and None not in parts else None
        when = time.time()
        name = new_id(when)
        group = now.assigned(unit or name, self.settings.challenger_share)
        return PendingRow(tuple(map(row.get, self.kept)), when, name, *group, unit)

    def _predict(
        self, scorer: Scorer, assigned: str, asked: list[PendingRow]
    ) -> tuple[Batch, dict[str, Made]]:
        """Return figures, and what was made of each row by its id where the answer is finite."""
        columns = zip(*(one.sent for one in asked), strict=True)
        values = dict(zip(self.columns.kinds, columns, strict=False))  # what is no input is behind
        start = time.perf_counter()
        predictions = scorer.answer(to_arrays(values, self.columns))
        seconds = time.perf_counter() - start
        made = {}
        for (sent, when, name, *_, unit), label, finite, shares in zip(
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
        return Batch(scorer, assigned, values, predictions, seconds), made


def _told(request: Request, made: dict[str, Made]) -> bytes | Exception:
    answers = [made[one.id][1] for one in request.rows if one.id in made]
    if len(answers) < len(request.rows):
        return Refusal(500, "The model's answer is not finite, so it was not sent.")
    champion = request.now.champion
    model = {"name": champion.name, "version": champion.version, "runtime": champion.runtime}
    return to_json({"predictions": answers, "model": model})
