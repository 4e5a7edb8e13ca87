"""Invented rows that keep the schema, for a first run, for tests and for load.

The same seed gives the same rows, and fewer rows are the first of more. The target depends on the
inputs, with noise, so that there is something to learn.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ..utils.errors import UsageError
from .columns import Columns, categories, kind_of, limits
from .sinks import atomic_writer
from .validation import declared_types

CHUNK_ROWS = 50_000
MISSING_SHARE = 0.04
START = np.datetime64("2024-01-01T00:00:00", "us")


def generate(
    schema: pa.DataFrameSchema, columns: Columns, rows: int, seed: int = 1
) -> pd.DataFrame:
    """Return `rows` invented rows, in the declared types."""
    return pd.concat(list(_chunks(schema, columns, rows, seed)), ignore_index=True)


def write_file(
    path: Path, schema: pa.DataFrameSchema, columns: Columns, rows: int, seed: int
) -> None:
    """Write invented rows to a `.csv`, `.parquet` or `.delta`, holding one chunk at a time.

    UsageError where the ending is another, `rows` is not positive or `seed` negative.
    """
    with atomic_writer(path) as write:
        for chunk in _chunks(schema, columns, rows, seed):
            write(chunk)


def example_row(schema: pa.DataFrameSchema, columns: Columns) -> dict[str, Any]:
    """Return the inputs of one invented row, as JSON would hold them."""
    first = generate(schema, columns, 1)[columns.inputs]
    return json.loads(first.to_json(orient="records", date_format="iso"))[0]


def _chunks(
    schema: pa.DataFrameSchema, columns: Columns, rows: int, seed: int
) -> Iterator[pd.DataFrame]:
    """Yield invented rows in chunks of the same content whatever `rows` is."""
    for option, value, least in (("rows", rows, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"--{option} is {value}: it must be {least} or more.")
    for start in range(0, rows, CHUNK_ROWS):
        rng = np.random.default_rng([seed, start])
        yield _chunk(schema, columns, start, rng).head(rows - start)


def _chunk(
    schema: pa.DataFrameSchema, columns: Columns, start: int, rng: np.random.Generator
) -> pd.DataFrame:
    roles = columns.roles
    number = np.arange(start, start + CHUNK_ROWS)
    made: dict[str, pd.Series] = {}
    answers = _values(schema.columns[roles.target], np.linspace(0, 0.99, 100)).nunique()
    classes = answers if answers < 100 else 2  # an amount is like two
    # With less noise a few thousand rows show what moves many classes, too.
    score = rng.normal(0, 1 / classes, CHUNK_ROWS)
    weights = _weights(columns.inputs[: 8 if classes == 2 else 4])
    for name, column in schema.columns.items():
        unique = name in roles.key or column.unique
        if (unique or name == roles.time) and kind_of(column.dtype) == "date":
            minutes = number * 7 + rng.integers(0, 7, CHUNK_ROWS)
            made[name] = pd.Series(START + minutes * np.timedelta64(1, "m"))
        elif unique or name == roles.time:
            made[name] = _names(number + 1, column)
        elif name == roles.group:
            made[name] = _names(rng.integers(1, CHUNK_ROWS // 5, CHUNK_ROWS), column)
        elif name in columns.kinds:
            position = rng.beta(2, 4, CHUNK_ROWS)
            made[name] = _values(column, position)
            score += weights.get(name, 0) * (position - 1 / 3) / 0.18
            if column.nullable:
                made[name] = made[name].mask(rng.random(CHUNK_ROWS) < MISSING_SHARE)
    position = 1 / (1 + np.exp(1 - score))
    rest = {name: _values(column, position) for name, column in schema.columns.items()}
    return pd.DataFrame(rest | made).astype(declared_types(schema))


def _weights(names: list[str]) -> dict[str, float]:
    """How much each column moves the target: by its name, and the same in all for any columns."""
    drawn = np.array([(zlib.crc32(name.encode()) % 200 - 99.5) / 100 for name in names])
    return dict(zip(names, 1.3 * drawn / np.linalg.norm(drawn), strict=True))


def _names(numbers: np.ndarray, column: pa.Column) -> pd.Series:
    names = pd.Series(numbers)
    return names if kind_of(column.dtype) == "number" else "id-" + names.astype("str")


def _values(column: pa.Column, position: np.ndarray) -> pd.Series:
    """Place each row between the column's limits, or among its categories."""
    kind = kind_of(column.dtype)
    if kind == "category":
        names = categories(column) or ["a", "b", "c"]
        return pd.Series(np.array(names)[(position * len(names)).astype(int)], dtype="str")
    if kind == "flag":
        return pd.Series(position > 0.5, dtype="boolean")
    if kind == "date":
        return pd.Series(START + (position * 365 * 86_400).astype(int) * np.timedelta64(1, "s"))
    low, high = limits(column)
    low = low if low is not None else min(0.0, (high or 0.0) - 100)
    high = high if high is not None else low + 100
    if str(column.dtype).lower().startswith("float"):
        decimals = int(4 - np.floor(np.log10(max(high - low, 1e-9))))  # five digits look natural
        return pd.Series(np.round(low + position * (high - low), decimals).clip(low, high))
    first, last = np.ceil(low), np.floor(high)
    places = np.floor(first + position * (last - first + 1))
    return pd.Series(places.clip(first, last), dtype="Int64")
