"""How long answers took: counts by the hour, in the journal's database.

They are written once a minute, beside the journal: a crash may lose those of the last minute, but
no answer waits for them.
"""

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pandas as pd
import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from .journal import META, Journal

STEP = 1.05
"""Durations are told apart by steps of 5 %: step n holds STEP**n to STEP**(n + 1) seconds."""
HOUR, WRITE_SECONDS = 3_600, 60
DURATIONS = sql.Table(
    "durations",
    META,
    sql.Column("hour", sql.Integer, primary_key=True),
    sql.Column("version", sql.Integer, primary_key=True),
    sql.Column("step", sql.Integer, primary_key=True),
    sql.Column("requests", sql.Integer, nullable=False),
)
ADD = sql.text(
    "INSERT INTO durations VALUES (:hour, :version, :step, :requests) "
    "ON CONFLICT (hour, version, step) DO UPDATE "
    "SET requests = durations.requests + excluded.requests"
)


class Durations:
    """Counts of one process that are not written yet."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int, int]] = Counter()

    def add(self, version: int, seconds: Sequence[float]) -> None:
        """Note answers that took so long."""
        hour = int(time.time()) // HOUR
        for one in seconds:
            self._counts[hour, version, math.floor(math.log(max(one, 1e-6), STEP))] += 1

    def keep(self, journal: Journal, stopped: threading.Event) -> None:
        """Until stopped, write what was counted."""
        while not stopped.wait(WRITE_SECONDS):
            self.write(journal)

    def write(self, journal: Journal) -> None:
        """Add the counts to those in the database, where it takes them."""
        counts, self._counts = self._counts, Counter()
        rows = [
            {"hour": hour, "version": version, "step": step, "requests": requests}
            for (hour, version, step), requests in list(counts.items())
        ]
        oldest = time.time() / HOUR - 24 * journal.keep_days
        with contextlib.suppress(SQLAlchemyError), journal.engine.begin() as connection:
            connection.execute(sql.delete(DURATIONS).where(DURATIONS.c.hour < oldest))
            if rows:
                connection.execute(ADD, rows)


def read_durations(journal: Journal, since: float, until: float) -> pd.DataFrame:
    """Return the counts of a time span: columns hour, version, step, requests."""
    hour = DURATIONS.c.hour
    wanted = sql.select(DURATIONS).where(hour >= since / HOUR - 1, hour < until / HOUR)
    with journal.engine.connect() as connection:
        return pd.read_sql(wanted, connection)


def quantile(counts: pd.DataFrame, share: float) -> float:
    """Return the seconds in which this share of the requests were answered, to 5 %."""
    steps = counts.groupby("step")["requests"].sum().cumsum()
    return float(STEP ** steps.index[steps.searchsorted(share * steps.iloc[-1])])
