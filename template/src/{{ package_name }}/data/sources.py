"""Where rows come from: CSV, Parquet, Delta or a database, read in batches as Arrow."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from ..utils.config import without_password
from ..utils.errors import UsageError

BATCH_ROWS = 50_000
BLOCK_BYTES = 8 << 20
UNREADABLE = (pa.ArrowException, OSError, ValueError, csv.Error, SQLAlchemyError, ImportError)

FOREIGN = {
    b"\xff\xfe": "UTF-16 text. Convert it, as in: iconv -f utf-16 -t utf-8 OLD.csv > NEW.csv",
    b"\x1f\x8b": "compressed. Unpack it, as in: gunzip -c OLD > NEW.csv",
    b"PK\x03\x04": "an Excel file or zip archive. Save the sheet as CSV, or unpack it.",
    b"\xd0\xcf\x11\xe0": "an old Excel file. Save the sheet as CSV.",
    b"PAR1": "Parquet: name it .parquet.",
}
"""What other files begin with, and what to do with them."""


def read_batches(source: str, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, a Delta table or a query in batches, in the source's own order.

    CSV columns come as text, so that `007` stays `007` and no type depends on which rows happen
    to stand first; the schema gives them their types later.

    UsageError where nothing is there, the format is unknown, or the bytes are of another.
    """
    path = Path(source)
    if "://" not in source and not path.exists():
        raise UsageError(f"{source} does not exist.")
    if "://" not in source and path.is_dir() and not (path / "_delta_log").is_dir():
        fix = "pandas.read_parquet(FOLDER).to_parquet(NEW)"
        raise UsageError(f"{source} is a folder. Make one file of it, as in: {fix}")
    try:
        if is_query(source):
            yield from _query_batches(source, batch_rows)
        elif "://" in source or (path / "_delta_log").is_dir():
            yield from _delta_batches(source, batch_rows)
        elif path.suffix.lower() == ".csv":
            yield from _csv_batches(path, batch_rows)
        elif path.suffix.lower() in {".parquet", ".pq"}:
            # pre_buffer keeps what was read until the end: the whole file, in memory.
            with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
                _refuse_twins(source, file.schema_arrow.names)
                for batch in file.iter_batches(batch_rows):
                    yield batch.replace_schema_metadata()  # or pandas would hide index columns
        else:
            _refuse_foreign(path)
            raise UsageError(f"{source}: expected a .csv or .parquet file or a Delta table.")
    except UNREADABLE as error:
        if "://" in source and isinstance(error, OSError):
            raise  # an object store's: all its lines tell
        raise UsageError(_explained(source, error)) from None


def read_table(source: str) -> pa.Table:
    """Read a whole source as `read_batches` does; UsageError where there is not a single row."""
    read, said = read_batches(source), f"read {without_password(source)}"
    batches = list(tqdm(read, said, unit=" batches", delay=1, leave=False, disable=None))
    if not sum(batch.num_rows for batch in batches):
        raise UsageError(f"{source} holds no rows.")
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise UsageError(_explained(source, error)) from None


def is_query(source: str) -> bool:
    """Tell whether a source is a query: a database URL, `#`, and the SQL."""
    return "://" in source and "#" in source


def _query_batches(source: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    url, _, query = source.partition("#")
    file = make_url(url).database if url.startswith("sqlite") else None
    if file and not file.startswith((":", "file:")) and not Path(file).exists():
        raise UsageError(f"{file} does not exist.")  # SQLite would make it
    with create_engine(url).connect().execution_options(stream_results=True) as connection:
        frames = pd.read_sql(text(query), connection, chunksize=batch_rows, dtype_backend="pyarrow")
        for frame in frames:
            rows = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
            for at, column in enumerate(rows.columns):
                if column.null_count == len(column):  # only other batches tell its type
                    rows = rows.set_column(at, rows.column_names[at], pa.nulls(len(column)))
            yield from rows.to_batches()


def _csv_batches(path: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    _refuse_foreign(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    if not names:
        raise UsageError(f"{path} is empty.")
    if len(names) == 1 and (other := re.search(r"(?<!sep=)[;\t|]", names[0])):
        fix = "pandas.read_csv(FILE, sep=..., decimal=...).to_csv(NEW, index=False)"
        raise UsageError(f"{path} seems to be separated by {other[0]!r}. Use commas: {fix}.")
    _refuse_twins(str(path), names)
    in_order = pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    as_text = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    # In order, a bad line is told by its number.
    for block in pyarrow.csv.open_csv(path, in_order, parse, as_text):
        yield from pa.Table.from_batches([block]).to_batches(batch_rows)


def _explained(source: str, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in str(error):
        fix = "iconv -f cp1252 -t utf-8 OLD.csv > NEW.csv"
        return f"{source} is no UTF-8 text. Convert it, as in: {fix}"
    said = f"{without_password(source)} can't be read: {str(error).splitlines()[0]}"
    if isinstance(error, ImportError):
        said += ". For PostgreSQL: uv add 'psycopg[binary]'"
    if "CSV parse error" in said:
        said += ". The first line must name the columns, and each other have as many values."
    return said


def _refuse_foreign(path: Path) -> None:
    with path.open("rb") as file:
        first = file.read(4)
    for start, said in FOREIGN.items():
        if first.startswith(start):
            raise UsageError(f"{path} is {said}")


def _refuse_twins(source: str, names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        called = ", ".join(name or "(no name)" for name in twice[:5])
        raise UsageError(f"{source} has more than one column called {called}.")


def _delta_batches(source: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    from deltalake import DeltaTable  # noqa: PLC0415 - the image of a service leaves it out
    from deltalake.exceptions import DeltaError  # noqa: PLC0415 - as above

    from .tables import rows_of  # noqa: PLC0415 - as above

    if "://" in source and source.lower().endswith((".csv", ".parquet", ".pq")):
        raise UsageError(f"{source}: files are read from this machine only. Fetch it first.")
    try:
        rows = rows_of(DeltaTable(source))
        for part in rows.get_fragments():
            said = pyarrow.dataset.get_partition_keys(part.partition_expression)
            # In this thread alone: where a command ends while another reads, see `rows_of`.
            with pyarrow.parquet.ParquetFile(
                part.path, filesystem=rows.filesystem, pre_buffer=False
            ) as file:
                for batch in file.iter_batches(batch_rows, use_threads=False):
                    yield _complete(batch, rows.schema, said)
    except DeltaError as error:
        raise UsageError(f"{source} is no readable Delta table: {error}") from None


def _complete(batch: pa.RecordBatch, schema: pa.Schema, said: dict[str, Any]) -> pa.RecordBatch:
    """Return all columns of a table, of which its files leave out some, in its types."""
    return pa.record_batch(
        [
            batch[field.name].cast(field.type)
            if field.name in batch.schema.names
            else pa.repeat(pa.scalar(said.get(field.name), field.type), len(batch))
            for field in schema
        ],
        schema,
    )
