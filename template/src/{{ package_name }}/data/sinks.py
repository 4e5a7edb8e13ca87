"""Where results go: CSV, Parquet or Delta, of any length, and never half."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from ..utils.errors import UsageError


@contextmanager
def atomic_writer(path: Path) -> Iterator[Callable[[pd.DataFrame | pyarrow.Table], None]]:
    """Write rows to a file or Delta table that shows up under its name only when all went well.

    Where no row is written, what was there stays. UsageError where the name's ending tells no
    format, or what is there can't be replaced.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".parquet", ".delta"}:
        raise UsageError(f"{path}: expected a name that ends in .csv, .parquet or .delta.")
    if path.exists() and path.is_dir() != (kind == ".delta"):
        raise UsageError(f"{path} is a {'folder' if path.is_dir() else 'file'}: name another.")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    csv = kind == ".csv"
    writer: Any = None

    def write(rows: pd.DataFrame | pyarrow.Table) -> None:
        nonlocal writer
        if not len(rows):
            return
        table: pyarrow.Table = rows
        if isinstance(rows, pd.DataFrame):
            table = pyarrow.Table.from_pandas(rows, preserve_index=False)
        if writer is None:
            writer = (pyarrow.csv.CSVWriter if csv else _parquet)(scratch, table.schema)
        writer.write_table(table if csv else table.cast(writer.schema))

    try:
        yield write
        if writer is not None:
            writer.close()
            _to_delta(scratch, path) if kind == ".delta" else scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _parquet(path: Path, schema: pyarrow.Schema) -> pyarrow.parquet.ParquetWriter:
    """Only texts get a dictionary: for numbers, few of which come twice, it would take longer."""
    kinds = {pyarrow.string(), pyarrow.large_string()}
    texts = [field.name for field in schema if field.type in kinds]
    return pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=texts)


def _to_delta(rows: Path, table: Path) -> None:
    """Make the rows the next version of a Delta table, whose earlier versions stay readable."""
    from deltalake import write_deltalake  # noqa: PLC0415 - the image of a service leaves it out

    from .tables import KEEP_ALL  # noqa: PLC0415 - as above

    with pyarrow.parquet.ParquetFile(rows, pre_buffer=False) as file:
        reader = pyarrow.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
        write_deltalake(
            table,
            reader,
            mode="overwrite",
            schema_mode="overwrite",
            post_commithook_properties=KEEP_ALL,
        )
