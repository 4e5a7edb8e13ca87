"""Where results go: CSV, Parquet or Delta, of any length, and never half."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from ..utils.errors import UsageError

SUFFIXES = [".csv", ".parquet", ".delta"]


def check_name(output: Path) -> None:
    """Refuse a name whose ending tells no format."""
    if output.suffix not in SUFFIXES:
        raise UsageError(f"{output}: expected a name that ends in {', '.join(SUFFIXES)}.")


@contextmanager
def appearing(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Write frames to a file or Delta table that shows up under its name only when all went well.

    No file is left where no row was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    writer: Any = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        if frame.empty:
            return
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            csv = path.suffix == ".csv"
            kind: Any = pyarrow.csv.CSVWriter if csv else pyarrow.parquet.ParquetWriter
            writer = kind(scratch, table.schema)
        writer.write_table(table.cast(writer.schema) if path.suffix != ".csv" else table)

    try:
        yield write
        if writer is not None:
            writer.close()
        if path.suffix == ".delta":
            if writer is not None:
                _commit(scratch, path)
        else:
            path.unlink(missing_ok=True)
            if writer is not None:
                scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _commit(rows: Path, table: Path) -> None:
    """Make the rows the next version of a Delta table, whose earlier versions stay readable."""
    from deltalake import write_deltalake  # noqa: PLC0415 - the image of a service leaves it out

    with pyarrow.parquet.ParquetFile(rows, pre_buffer=False) as file:
        reader = pyarrow.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
        write_deltalake(table, reader, mode="overwrite", schema_mode="overwrite")
