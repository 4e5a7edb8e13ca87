"""Takes the journal elsewhere: to a file or Delta table, with a column for each input."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow

from ..data.sinks import atomic_writer
from .journal import Entry, Journal


def export(journal: Journal, output: Path, since: float) -> int:
    """Write predictions from a time on, and return how many."""
    columns, count = pyarrow.table({}), 0
    with atomic_writer(output) as write:
        for entries in journal.read(since):  # what is null in one piece has a type in another
            columns = _together(columns, _table(entries))[:0]
        for entries in journal.read(since):
            write(_together(columns, _table(entries)).cast(columns.schema))
            count += len(entries)
    return count


def _table(entries: Sequence[Entry]) -> pyarrow.Table:
    return pyarrow.Table.from_pandas(flat(entries), preserve_index=False)


def _together(*tables: pyarrow.Table) -> pyarrow.Table:
    return pyarrow.concat_tables(tables, promote_options="permissive")


def flat(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return predictions as a table; an input whose name is taken has `_sent` behind its own."""
    told = pd.DataFrame(
        {
            "prediction_id": [entry.id for entry in entries],
            "predicted_at": pd.to_datetime([entry.time for entry in entries], unit="s"),
            "model_version": [entry.version for entry in entries],
            "group": [entry.assigned for entry in entries],
            "prediction": [json.loads(entry.prediction) for entry in entries],
        }
    )
    sent = pd.DataFrame([json.loads(entry.inputs) for entry in entries])
    return told.merge(sent, left_index=True, right_index=True, suffixes=("", "_sent"))
