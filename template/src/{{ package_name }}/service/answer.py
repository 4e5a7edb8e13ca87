"""From checked rows to recorded answers, one micro-batch at a time."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import to_json

from ..data.columns import Columns
from ..training.registry import CHALLENGER, CHAMPION
from .journal import Entry, Journal, JournalError, new_id
from .metrics import Metrics
from .requests import read_rows, to_arrays
from .scoring import Scorer
from .versions import Answering, Versions

SHADOW = "shadow"
RETRY_SECONDS = 10
QUICK_ROWS = 500


class NotFiniteError(Exception):
    """The model's answer is no number, so it is not sent."""


class Row(NamedTuple):
    """A row that waits for its answer."""

    checked: BaseModel
    id: str
    assigned: str
    unit: str | None


class Answerer:
    """Predicts, writes the journal, and only then answers.

    Parameters
    ----------
    known
        The categories that the schema lists, by column.
    """

    def __init__(
        self,
        versions: Versions,
        journal: Journal,
        metrics: Metrics,
        columns: Columns,
        known: dict[str, frozenset[str]],
    ) -> None:
        self.versions, self.journal, self.metrics = versions, journal, metrics
        self.columns, self.known = columns, known
        self.settings = versions.settings.service
        self.failed_at = -math.inf

    @property
    def writable(self) -> bool:
        """Whether the journal may take predictions: it did, or failed long enough ago to try."""
        return time.monotonic() - self.failed_at > RETRY_SECONDS

    def quick(self, requests: Sequence[list[BaseModel]]) -> bool:
        """Whether these are answered within a few milliseconds."""
        now = self.versions.now
        both = [scorer for scorer in (now.champion, now.challenger) if scorer]
        fast = self.journal.embedded and all(scorer.runtime == "onnx" for scorer in both)
        return fast and sum(map(len, requests)) <= QUICK_ROWS

    def answer(self, requests: Sequence[list[BaseModel]]) -> list[bytes | Exception]:
        """Return the body of each answer, or why there is none.

        Raises
        ------
        JournalError
            The journal took none of it.
        """
        now = self.versions.now
        rows = self._rows([checked for request in requests for checked in request], now)
        answers: dict[str, dict[str, Any]] = {}
        entries = self._predict(
            [row for row in rows if row.assigned == CHAMPION], now.champion, CHAMPION, answers
        )
        if now.challenger is not None:
            theirs = [row for row in rows if row.assigned == CHALLENGER]
            entries += self._predict(theirs, now.challenger, CHALLENGER, answers)
            if self.settings.shadow:
                champions = [row for row in rows if row.assigned != CHALLENGER]
                beside = [row._replace(id=f"{row.id}s") for row in champions]
                entries += self._predict(beside, now.challenger, SHADOW, {})
        try:
            self.journal.write(entries)
        except JournalError:
            self.failed_at = time.monotonic()
            self.metrics.count("journal_errors", now.champion.version)
            raise
        self.failed_at = -math.inf
        mine = iter(rows)
        return [_body([answers.get(next(mine).id) for _ in request], now) for request in requests]

    def _rows(self, checked: list[BaseModel], now: Answering) -> list[Row]:
        share = self.settings.challenger_share
        named = read_rows(checked, self.columns.roles.key)
        rows = []
        for number, row in enumerate(checked):
            parts = [values[number] for values in named.values()]
            whole = parts and None not in parts
            unit, name = "\x1f".join(map(str, parts)) if whole else None, new_id()
            rows.append(Row(row, name, now.assigned(unit or name, share), unit))
        return rows

    def _predict(
        self, rows: list[Row], scorer: Scorer, assigned: str, answers: dict[str, dict[str, Any]]
    ) -> list[Entry]:
        """Put the answers to these rows into `answers`, and return what the journal must know."""
        if not rows:
            return []
        values = read_rows([row.checked for row in rows], self.columns.inputs)
        now, start = time.time(), time.perf_counter()
        made = scorer.answer(to_arrays(values, self.columns))
        self.metrics.predicted(scorer, assigned, made, time.perf_counter() - start)
        self._count(values, scorer.version)
        entries = []
        for row, label, finite, shares in zip(
            rows, made.labels, made.finite.tolist(), made.shares(scorer.classes), strict=True
        ):
            if not finite:
                self.metrics.count("not_finite_answers", scorer.version)
                continue
            answers[row.id] = {
                "id": row.id,
                "prediction": label,
                "probability": max(shares.values()) if shares else None,
                "probabilities": shares,
                "group": assigned,
                "version": scorer.version,
            }
            entries.append(
                Entry(
                    row.id,
                    now,
                    scorer.version,
                    scorer.runtime,
                    assigned,
                    row.unit,
                    row.checked.model_dump_json(by_alias=True),
                    to_json(label).decode(),
                    to_json(shares).decode() if shares else None,
                )
            )
        return entries

    def _count(self, values: dict[str, list[Any]], version: int) -> None:
        for name, column in values.items():
            if missing := column.count(None):
                self.metrics.count("missing_values", version, name, by=missing)
            if name in self.known:
                unknown = sum(value not in self.known[name] for value in column)
                if unknown > missing:
                    self.metrics.count("unknown_categories", version, name, by=unknown - missing)


def _body(answers: list[dict[str, Any] | None], now: Answering) -> bytes | Exception:
    if None in answers:
        return NotFiniteError("The model's answer is not finite, so it was not sent.")
    champion = now.champion
    model = {"name": champion.name, "version": champion.version, "runtime": champion.runtime}
    return to_json({"predictions": answers, "model": model})
