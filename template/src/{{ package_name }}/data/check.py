"""The fingerprint of a table wherever it is: a file, a version of a table, or saved before."""

from pathlib import Path

import pandera.pandas as pandera
import pyarrow as pa

from ..utils.errors import UsageError
from . import tables
from .fingerprint import Fingerprint, fingerprint
from .sources import read_batches
from .validation import conform


def fingerprint_of(source: str, schema: pandera.DataFrameSchema, root: str) -> Fingerprint:
    """Return the fingerprint of a source, or of a table of the project, which has them in `root`.

    A source is a `.csv` or `.parquet` file, a Delta table, `TABLE@VERSION` or `TABLE`, or a `.json`
    file that holds a saved fingerprint. The schema gives the columns of a CSV file their types;
    other sources bring their own.

    UsageError where it is not there, or can't be read.
    """
    name, at, version = source.partition("@") if "/" not in source else ("", "", "")
    if source.endswith(".json"):
        path = Path(source)
        if not path.exists():
            raise UsageError(f"{source} does not exist.")
        return Fingerprint.from_json(path.read_text())
    if at or (name and tables.exists(root, name)):
        if at and not version.isdigit():
            raise UsageError(f"{source!r}: expected TABLE@VERSION, for example {name}@3.")
        return fingerprint(tables.read(root, name, int(version) if at else None))
    batches = read_batches(source)
    if not source.endswith(".csv"):
        return fingerprint(batches)
    frame = pa.Table.from_batches(list(batches)).to_pandas()
    declared = schema.select_columns([name for name in schema.columns if name in frame])
    typed, _ = conform(frame, declared)
    frame[typed.columns] = typed
    return fingerprint(frame)
