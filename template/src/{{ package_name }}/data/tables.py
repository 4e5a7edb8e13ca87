"""Tables with versions: every write is one, and every version can be read back.

A table is a Delta table, locally or in an object store. A commit is atomic: a killed write leaves
nothing that a reader sees, and of two writers at once each gets its own version.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.dataset import Dataset
from pyarrow.fs import FileSystem, SubTreeFileSystem

from ..utils.errors import UsageError

KEEP_ALL = PostCommitHookProperties(cleanup_expired_logs=False)
"""Or Delta would forget versions after 30 days."""
PATIENCE = 1.0
"""A write that another overtook is tried again after longer pauses, in seconds, up to this one."""


@dataclass(frozen=True)
class Version:
    """One version of a table, and what was said when it was written."""

    table: str
    version: int
    written: datetime
    facts: dict[str, Any]


def write(root: str, name: str, rows: pa.Table, facts: dict[str, Any]) -> int:
    """Write `rows` as the whole content of the table's next version, and return its number.

    `root` is the folder or object-store URI that holds all tables. The commit keeps the `facts`,
    and `history` gives them back.
    """
    pause = 0.0
    while True:
        time.sleep(pause)
        before = _open(root, name) if exists(root, name) else None
        version = before.version() + 1 if before else 0
        said = {"slipway": json.dumps(facts), "written_as": str(version)}
        try:
            write_deltalake(
                before or f"{root}/{name}",
                rows,
                mode="overwrite" if before else "error",
                schema_mode="overwrite" if before else None,
                commit_properties=CommitProperties(said, max_commit_retries=0),
                post_commithook_properties=KEEP_ALL,
            )
        except DeltaError as error:
            overtaken = isinstance(error, CommitFailedError) or "already exists" in str(error)
            if not overtaken or pause > PATIENCE:
                raise
            pause += 0.02
        else:
            return version


def exists(root: str, name: str) -> bool:
    """Tell whether the table has any version."""
    return bool(DeltaTable.is_deltatable(f"{root}/{name}"))


def columns(root: str, name: str) -> list[str]:
    """Return the names of the newest version's columns, none where there is no table."""
    known = _open(root, name).schema().fields if exists(root, name) else []
    return [field.name for field in known]


def read(root: str, name: str, version: int | None = None) -> pa.Table:
    """Return a version of a table, the newest by default. Delta promises no order of rows."""
    table = _open(root, name, version)
    try:
        return rows_of(table).to_table()
    except (OSError, pa.ArrowException) as error:
        which = f"Version {table.version()} of the table {name!r}"
        raise UsageError(f"{which} can't be read: {str(error).splitlines()[0]}.") from None


def rows_of(table: DeltaTable) -> Dataset:
    """Return the rows of a Delta table, to be read whole; for parts see `data.sources`.

    Delta's readers are Python in Arrow's threads: where a command ends while one of them runs, the
    process is aborted. So Arrow reads local files itself.

    OSError where a local file is gone, or is not as long as it was when it was written, or where
    the files know the columns by other names.
    """
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise OSError(
            "it renames columns (delta.columnMapping), so all would seem empty; copy it to a "
            "table that does not"
        )
    if not table.table_uri.startswith("file:"):
        return table.to_pyarrow_dataset()
    system, path = FileSystem.from_uri(table.table_uri)
    files = SubTreeFileSystem(path, system)
    written = pa.table(table.get_add_actions(flatten=True))
    for add in written.select(["path", "size_bytes"]).to_pylist():
        file, size = files.get_file_info(unquote(add["path"])), add["size_bytes"]
        if file.size != size:
            now = "not found" if file.size is None else f"{file.size} bytes, not the {size} written"
            raise OSError(f"{path}/{file.path}: {now}")
    return table.to_pyarrow_dataset(filesystem=files)


def history(root: str, name: str) -> list[Version]:
    """Return all versions of a table, newest first."""
    return [
        Version(
            table=name,
            # Delta counts back from the version it opened: wrong if one came in meanwhile.
            version=int(commit.get("written_as", commit["version"])),
            written=datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
            facts=json.loads(commit.get("slipway", "{}")),
        )
        for commit in _open(root, name).history()
    ]


def _open(root: str, name: str, version: int | None = None) -> DeltaTable:
    try:
        return DeltaTable(f"{root}/{name}", version=version)
    except DeltaError as error:
        if version is not None and exists(root, name):
            raise UsageError(f"The table {name!r} has no version {version}.") from None
        if isinstance(error, TableNotFoundError):
            raise UsageError(f"There is no table {name!r} yet: run `make data`.") from None
        raise UsageError(f"The table {name!r} can't be read: {error}") from None
