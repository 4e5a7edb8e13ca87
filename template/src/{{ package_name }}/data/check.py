"""The fingerprint of a table wherever it is: a file, a version of a table, or saved before."""

from pathlib import Path

import pandera.pandas as pandera

from ..utils.errors import UsageError
from . import tables
from .fingerprint import Fingerprint, fingerprint
from .sources import read_batches, read_table
from .validation import conform


def fingerprint_of(source: str, schema: pandera.DataFrameSchema, root: str) -> Fingerprint:
    """Return the fingerprint of a source, or of a table of the project, which has them in `root`.

    A source is a `.csv` or `.parquet` file, a Delta table, `TABLE@VERSION` or `TABLE`, or a `.json`
    file that holds a saved fingerprint. The schema gives the columns of a CSV file their types.
    """
    name, at, version = source.partition("@")
    path = Path(source)
    if "/" in source or path.is_file():
        name = at = ""
    if path.suffix.lower() == ".json":
        return Fingerprint.from_json(path.read_bytes())
    if at or (name and tables.exists(root, name)):
        if at and not version.isdigit():
            raise UsageError(f"{source!r}: expected TABLE@VERSION, for example {name}@3.")
        return fingerprint(tables.read(root, name, int(version) if at else None))
    if path.suffix.lower() != ".csv":
        return fingerprint(read_batches(source))
    frame = read_table(source).to_pandas()
    declared = schema.select_columns([name for name in schema.columns if name in frame])
    typed, unread = conform(frame, declared)
    # A column with values of another type stays text: as missing ones they would all be alike.
    typed = typed.drop(columns={name for _, name in unread})
    return fingerprint(frame.assign(**typed))
