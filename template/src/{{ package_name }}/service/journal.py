"""The journal: every prediction that left the service, with its inputs, and what came of it.

It lives in a SQLite file, or in PostgreSQL where [service] journal holds a URL. An answer leaves
the service only when its rows are in here, so `kill -9` loses none. On their way into SQLite rows
are for a second in a note beside it (see `intake`), which whoever reads takes in first.
"""

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import sqlalchemy as sql
from pydantic_core import from_json, to_json
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ..utils.config import Settings, without_password
from ..utils.errors import UsageError
from .intake import LOCKS, Intake

log = logging.getLogger(__name__)

META = sql.MetaData()
PREDICTIONS = sql.Table(
    "predictions",
    META,
    sql.Column("id", sql.String, primary_key=True),
    sql.Column("time", sql.Float, nullable=False),
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("runtime", sql.String, nullable=False),
    sql.Column("assigned", sql.String, nullable=False),
    sql.Column("unit", sql.String),
    sql.Column("inputs", sql.String, nullable=False),
    sql.Column("prediction", sql.String, nullable=False),
    sql.Column("probabilities", sql.String),
    sqlite_with_rowid=False,  # one tree less to write
)
OUTCOMES = sql.Table(
    "outcomes",
    META,
    sql.Column("id", sql.String, primary_key=True),
    sql.Column("outcome", sql.String, nullable=False),
    sql.Column("value", sql.Float),
)
VALUES = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(PREDICTIONS.c)))
TAKE_IN = sql.text(f"INSERT OR IGNORE INTO predictions SELECT {VALUES} FROM json_each(:rows)")  # noqa: S608 - numbers only
KEEP = sql.text(
    "INSERT INTO outcomes VALUES (:id, :outcome, :value) ON CONFLICT (id) DO UPDATE "
    "SET outcome = excluded.outcome, value = coalesce(excluded.value, outcomes.value)"
)
NUL = b"\\u0000"
"""Where SQLite's JSON would end a text."""
ROWS_AT_ONCE = 10_000
NAMES_AT_ONCE = 500
TAKE_IN_SECONDS, FORGET_SECONDS = 1, 3_600


class JournalError(Exception):
    """The journal can't take a prediction now: the disk is full, the database is away."""


class Entry(NamedTuple):
    """One prediction. Inputs, prediction and probabilities are JSON texts."""

    id: str
    time: float
    """Seconds since 1970."""
    version: int
    runtime: str
    assigned: str
    """`champion`, `challenger` or `shadow`."""
    unit: str | None
    """The key of the row, as text."""
    inputs: str
    prediction: str
    probabilities: str | None


class Outcome(NamedTuple):
    """What came of a prediction: the true answer as JSON text, and what it was worth."""

    id: str
    outcome: str
    value: float | None


def new_id(when: float) -> str:
    """Return a name for a prediction made at this time (seconds since 1970).

    Names sort by time: so new ones are quick to add, and time needs no index of its own.
    """
    return _first_id(when) + os.urandom(6).hex()


def _first_id(when: float) -> str:
    return f"{max(int(when * 1e9), 0):016x}"


class Journal:
    """An open journal; UsageError where its database can't be reached, or has no driver here."""

    def __init__(self, url: str, keep_days: float) -> None:
        self.embedded, self.keep_days = url.startswith("sqlite"), keep_days
        try:
            self.engine = sql.create_engine(url)
            if self.embedded:
                sql.event.listen(self.engine, "connect", _tune)
            self._make_tables()
        except (SQLAlchemyError, ImportError) as error:
            reason = str(error).partition("\n")[0]
            if isinstance(error, ImportError | ArgumentError):
                reason += ". Name postgresql+psycopg://…, after `uv add 'psycopg[binary]'`."
            raise UsageError(
                f"The journal {without_password(url)} can't be used: {reason}"
            ) from None
        marks = ", ".join(["?" if self.embedded else "%s"] * len(Entry._fields))
        self._insert = f"INSERT INTO predictions VALUES ({marks})"  # noqa: S608 - only marks
        self._writer: Any = None
        self._lock = threading.Lock()
        self._noted = Path(f"{self.engine.url.database}.intake")
        self._intake = Intake(self._noted) if self.embedded and LOCKS else None

    def _make_tables(self) -> None:
        META.create_all(self.engine)
        self._file = self._file_now()

    def _file_now(self) -> tuple[int, int] | None:
        """Return what tells the database's file from another one of its name."""
        with contextlib.suppress(OSError):
            about = Path(str(self.engine.url.database)).stat()
            return about.st_dev, about.st_ino
        return None

    def write(self, entries: Sequence[Entry]) -> None:
        """Add predictions, all or none; after a JournalError none of them is in."""
        with self._lock:  # or what one takes back may be another's
            try:
                line = to_json(entries)
                if self._intake and NUL not in line:
                    self._intake.append(line + b"\n")
                else:
                    # In one transaction, past SQLAlchemy, which would take longer.
                    self._writer = self._writer or self.engine.raw_connection()
                    self._writer.cursor().executemany(self._insert, entries)
                    self._writer.commit()
            except Exception as error:
                if self._writer is not None:
                    self._writer.invalidate()
                self._writer = None
                raise JournalError(str(error).partition("\n")[0]) from error

    def take_in(self) -> None:
        """Move what was noted into the database; what a crash of the machine spoilt goes aside."""
        if not self._intake:
            return
        if self._file_now() != self._file:  # or all that follows went into a file without a name
            self.engine.dispose()
            self._writer = None
            self._make_tables()
            log.warning("%s was taken away: it begins anew", self.engine.url.database)
        for lines in self._intake.lines():
            try:
                self._move(lines)
            except (SQLAlchemyError, ValueError):
                spoilt = [line for line in lines if not _is_whole(line)]
                if not spoilt:
                    raise
                self._move([line for line in lines if _is_whole(line)])
                path = self._intake.set_aside(spoilt)  # now, or a full disk would do it over again
                log.warning("%d lines of predictions can't be read: see %s", len(spoilt), path)

    def _move(self, lines: list[bytes]) -> None:
        # Each is `[…]`, of several rows, or of none where no answer was finite.
        rows = b",".join(line[1:-2] for line in lines if line != b"[]\n").decode()
        with self.engine.begin() as connection:
            connection.execute(TAKE_IN, {"rows": f"[{rows}]"})

    def _reading(self) -> sql.Connection:
        try:
            self.take_in()
        except (SQLAlchemyError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"The journal's last predictions, in {self._noted}, can't be taken in: {reason}"
            ) from None
        return self.engine.connect()

    def find(self, name: str) -> Entry:
        """Return the prediction of this id; UsageError where there is none."""
        with self._reading() as connection:
            row = connection.execute(sql.select(PREDICTIONS).filter_by(id=name)).first()
        if row is None:
            raise UsageError(f"The journal has no prediction {name!r}.")
        return Entry(*row)

    def read(self, since: float = 0) -> Iterator[list[Entry]]:
        """Yield the predictions from a time (seconds since 1970) on in pieces, oldest first."""
        wanted = (
            sql.select(PREDICTIONS)
            .where(PREDICTIONS.c.id >= _first_id(since))
            .order_by(PREDICTIONS.c.id)
        )
        with self._reading().execution_options(yield_per=ROWS_AT_ONCE) as connection:
            for rows in connection.execute(wanted).partitions():
                yield [Entry(*row) for row in rows]

    def newest(self, before: float) -> list[float]:
        """Return the time of the newest prediction made before a time; none where there is none."""
        made, name = PREDICTIONS.c.time, PREDICTIONS.c.id
        wanted = sql.select(made).where(name < _first_id(before)).order_by(name.desc()).limit(1)
        with self._reading() as connection:
            return list(connection.execute(wanted).scalars())

    def judged(self, since: float = 0) -> pd.DataFrame:
        """Return the predictions from a time on whose outcome is known, without their inputs."""
        told = [column for column in PREDICTIONS.c if column.name != "inputs"]
        wanted = (
            sql.select(*told, OUTCOMES.c.outcome, OUTCOMES.c.value)
            .join(OUTCOMES, PREDICTIONS.c.id == OUTCOMES.c.id)
            .where(PREDICTIONS.c.id >= _first_id(since))
            .order_by(PREDICTIONS.c.id)
        )
        with self._reading() as connection:
            return pd.read_sql(wanted, connection)

    def ids(self, column: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (name, id) of every prediction whose `id` or `unit` is one of the names.

        For units all are looked through: an index of them would be one more page to write with
        each answer, as they come in no order.
        """
        by, wanted = PREDICTIONS.c[column], frozenset(names)
        asked = sql.select(by, PREDICTIONS.c.id)
        queries = [asked]
        if by.primary_key:
            starts = range(0, len(names), NAMES_AT_ONCE)
            queries = [asked.where(by.in_(names[one : one + NAMES_AT_ONCE])) for one in starts]
        with self._reading().execution_options(yield_per=ROWS_AT_ONCE) as connection:
            for query in queries:
                yield from (tuple(row) for row in connection.execute(query) if row[0] in wanted)

    def add_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of predictions, all or none; a later word replaces an earlier one.

        A value stays where the later word has none.
        """
        with self.engine.begin() as connection:
            connection.execute(KEEP, [one._asdict() for one in outcomes])

    def tidy(self, stopped: threading.Event) -> None:
        """Until stopped, take in what was noted, and forget what is too old."""
        forgotten = -math.inf
        while not stopped.wait(TAKE_IN_SECONDS):
            self.finish()
            if time.monotonic() - forgotten > FORGET_SECONDS:
                with contextlib.suppress(SQLAlchemyError):  # away, or a full disk
                    self.forget(time.time() - 86_400 * self.keep_days)
                    forgotten = time.monotonic()

    def finish(self) -> None:
        """Take in what this process noted, if the database allows it: else the note stays."""
        if self._intake:
            self._intake.finish()
            with contextlib.suppress(SQLAlchemyError, OSError):
                self.take_in()

    def forget(self, before: float) -> int:
        """Delete predictions and outcomes from before a time, and return how many."""
        self.finish()
        first = _first_id(before)
        with self.engine.begin() as connection:
            connection.execute(sql.delete(OUTCOMES).where(OUTCOMES.c.id < first))
            gone = connection.execute(sql.delete(PREDICTIONS).where(PREDICTIONS.c.id < first))
        return gone.rowcount


def open_journal(settings: Settings) -> Journal:
    """Return the journal of the project, made now if need be; see `Journal`."""
    url = settings.service.journal
    if not url:
        settings.var.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{settings.var / 'journal.db'}"
    return Journal(url, settings.service.keep_days)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(from_json(line), list)
    except ValueError:
        return False


def _tune(connection: Any, _: Any) -> None:
    """WAL lets others read while one writes; what was committed survives the process's death."""
    for pragma in ["journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"]:
        connection.execute(f"PRAGMA {pragma}")
