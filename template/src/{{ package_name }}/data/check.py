"""Compares two tables wherever they are: files, versions of tables, or saved fingerprints."""

from pathlib import Path

from ..utils.errors import UsageError
from . import tables
from .compare import Comparison, compare, describe
from .fingerprint import Fingerprint, fingerprint
from .sources import read_batches

__all__ = ["compare_sources", "describe"]


def compare_sources(a: str, b: str, root: str) -> Comparison:
    """Compare two sources by their fingerprints.

    Parameters
    ----------
    a, b
        A `.csv` or `.parquet` file, a Delta table, `TABLE@VERSION` or `TABLE`, or a `.json` file
        that holds a saved fingerprint.
    root
        Where the project's tables are.
    """
    return compare(_fingerprint(a, root), _fingerprint(b, root))


def _fingerprint(source: str, root: str) -> Fingerprint:
    name, at, version = source.partition("@")
    if source.endswith(".json"):
        path = Path(source)
        if not path.exists():
            raise UsageError(f"{source} does not exist.")
        return Fingerprint.from_json(path.read_text())
    if at or tables.exists(root, name):
        if at and not version.isdigit():
            raise UsageError(f"{source!r}: expected TABLE@VERSION, for example {name}@3.")
        return fingerprint(tables.read(root, name, int(version) if at else None))
    return fingerprint(read_batches(source))
