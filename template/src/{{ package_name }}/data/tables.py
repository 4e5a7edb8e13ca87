"""Tables with versions: every write is one, and every version can be read back.

A table is a Delta table, locally or in an object store. A commit is atomic: a killed write leaves
nothing that a reader sees, and of two writers at once each gets its own version.
"""

import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ..utils.errors import UsageError

ATTEMPTS = 50
"""A write that another writer overtook is tried again: at least one of them wins each round."""


@dataclass(frozen=True)
class Version:
    """One version of a table, and what was said when it was written."""

    table: str
    version: int
    written: datetime
    facts: dict[str, Any]


def write(root: str, name: str, rows: pa.Table, facts: dict[str, Any]) -> int:
    """Write `rows` as the whole content of the table's next version, and return its number.

    Parameters
    ----------
    root
        The folder or object-store URI that holds all tables.
    facts
        Kept in the commit, and given back by `history`.
    """
    mark = uuid.uuid4().hex
    properties = CommitProperties(
        {"slipway": json.dumps(facts), "mark": mark}, max_commit_retries=0
    )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            write_deltalake(
                f"{root}/{name}",
                rows,
                mode="overwrite",
                schema_mode="overwrite",
                commit_properties=properties,
            )
            break
        except CommitFailedError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.02 * attempt)
    commits = _commits(root, name)
    return next(int(commit["version"]) for commit in commits if commit.get("mark") == mark)


def exists(root: str, name: str) -> bool:
    """Tell whether the table has any version."""
    return bool(DeltaTable.is_deltatable(f"{root}/{name}"))


def read(root: str, name: str, version: int | None = None) -> pa.Table:
    """Return a version of a table, the newest by default. Delta promises no order of rows."""
    table = _open(root, name, version)
    try:
        return table.to_pyarrow_table()
    except (OSError, pa.ArrowException) as error:
        raise UsageError(
            f"Version {table.version()} of the table {name!r} can't be read: "
            f"{str(error).splitlines()[0]}."
        ) from None


def history(root: str, name: str) -> list[Version]:
    """Return all versions of a table, newest first."""
    return [
        Version(
            table=name,
            version=int(commit["version"]),
            written=datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
            facts=json.loads(commit.get("slipway", "{}")),
        )
        for commit in _commits(root, name)
    ]


def latest(root: str, name: str) -> Version:
    """Return the newest version of a table."""
    return history(root, name)[0]


def _commits(root: str, name: str) -> list[dict[str, Any]]:
    """Return all commits of a table, newest first.

    Delta numbers them from the version it opened; one that came in meanwhile would shift them all.
    """
    while True:
        table = _open(root, name)
        commits = table.history()
        if table.version() == _open(root, name).version():
            return commits


def _open(root: str, name: str, version: int | None = None) -> DeltaTable:
    try:
        return DeltaTable(f"{root}/{name}", version=version)
    except TableNotFoundError:
        raise UsageError(f"There is no table {name!r} yet: run `make data`.") from None
    except DeltaError as error:
        if version is None:
            raise UsageError(f"The table {name!r} can't be read: {error}") from None
        raise UsageError(f"The table {name!r} has no version {version}.") from None
