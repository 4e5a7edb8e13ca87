"""The tables of one training, joined, split, and ready for `fit`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ..data import ingest, tables
from ..data.columns import Columns, describe
from ..data.validation import to_inputs
from ..utils.config import Settings, SplitSettings
from ..utils.errors import GateRefused, UsageError
from ..utils.paths import RESOURCES
from .evaluation import truth
from .leaks import find_leaks
from .record import Table
from .splitting import Cuts, Split, split

MUCH = 1.5
"""Validation and test together that are so many times larger than they were to be."""


class Part(NamedTuple):
    """The rows of one side of the split, in an order that depends on their keys alone."""

    inputs: pd.DataFrame
    target: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """All rows of one training."""

    columns: Columns
    tables: dict[str, Table]
    split: Split

    def part(self, name: str, columns: Columns | None = None) -> Part:
        """Return the rows of `train`, `validation` or `test`, with other columns if wanted."""
        rows = self.split.rows(name)
        inputs = to_inputs(rows, columns or self.columns)
        return Part(inputs, truth(rows[self.columns.roles.target]))


def refuse_leaks(dataset: Dataset) -> list[str]:
    """Return what looks odd about the split, but need not be wrong.

    GateRefused where an entity's rows are on several sides though the split is not by time, or
    where the future is among the training rows.
    """
    roles, divided, inputs = dataset.columns.roles, dataset.split, dataset.columns.inputs
    leaks = find_leaks(divided.frame, divided, group=roles.group, time=roles.time, inputs=inputs)
    for leak in leaks:
        # Customers come back: with a split by time the same one on both sides is no mistake.
        if leak.kind == "time" or (leak.kind == "entity" and divided.strategy != "time"):
            raise GateRefused(f"Leak gate: {leak.message}.")
    return [leak.message for leak in leaks]


def refuse_empty_inputs(dataset: Dataset) -> None:
    """Refuse inputs of which the training rows have no value, by GateRefused."""
    inputs = dataset.split.rows("train")[dataset.columns.inputs]
    if empty := ", ".join(inputs.columns[inputs.isna().all()]):
        raise GateRefused(
            f"Silence gate: {empty} has no value in any of {len(inputs):,} training rows. Fix the "
            "source, or name it in [data] exclude."
        )


def training_warnings(dataset: Dataset, settings: SplitSettings) -> Iterator[str]:
    """Yield what may be meant, but makes training see less than is there."""
    inputs = dataset.split.rows("train")[dataset.columns.inputs]
    for name, values in inputs.items():
        if values.isin(values.head(1)).all():
            yield f"{name} is {values.iloc[0]} in all {len(inputs):,} training rows"
    counts, most = dataset.split.counts, max(table.rows for table in dataset.tables.values())
    total, wanted = sum(counts.values()), settings.validation + settings.test
    if total < most:
        held = ", ".join(f"{name} {table.rows:,}" for name, table in dataset.tables.items())
        said = f"{most - total:,} of {most:,} rows are left out, as a table has none of their key"
        yield f"{said} ({held}). Complete the tables if these should train"
    share = 1 - counts["train"] / total
    if dataset.split.strategy == "time" and share > MUCH * wanted:
        yield (
            f"{share:.0%} of the rows are newer than those that train, and {wanted:.0%} were to "
            "be: a split by time keeps its cuts. To train on newer rows, delete "
            f"{_manifest(dataset.tables)} and commit the one that the next training makes"
        )


def _manifest(tables: Iterable[str]) -> Path:
    """Return where the split is kept; the file belongs into git."""
    return RESOURCES / f"split-{'-'.join(tables)}.json"


def load_dataset(
    settings: Settings,
    schema: pa.DataFrameSchema,
    versions: dict[str, int] | None = None,
    cuts: Cuts | None = None,
) -> Dataset:
    """Read the tables, the newest versions by default, and split their rows; `cuts` as a run's.

    UsageError where a table or version is not there, or does not fit the schema.
    """
    roles, columns = settings.data, describe(schema, settings.data)
    found: dict[str, Table] = {}
    for name in settings.data.sources:
        wanted, history = (versions or {}).get(name), tables.history(settings.tables, name)
        known = next((entry for entry in history if wanted in {None, entry.version}), None)
        if not (known and known.facts):
            number = "" if wanted is None else f" {wanted}"
            raise UsageError(f"The table {name!r} has no version{number} that `data ingest` made.")
        found[name] = Table(**known.facts | {"version": known.version})
    chosen = {name: table.version for name, table in found.items()}
    divided = split(
        ingest.load(chosen, schema, settings),
        key=roles.key,
        settings=settings.split,
        group=roles.group,
        time=roles.time,
        target=roles.target,
        manifest=_manifest(chosen),
        cuts=cuts,
    )
    return Dataset(columns, found, divided)
