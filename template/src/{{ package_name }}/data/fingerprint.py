"""The fingerprint of a table tells whether the data here is the same as the data there.

In goes a table, whole or in pieces; out come statistics of each column and sums of 64-bit hashes,
of each column's values and of the rows. Sums do not depend on order and can be added up, so pieces
can be fingerprinted apart, and a saved fingerprint can travel where the data may not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array
from pydantic import TypeAdapter, ValidationError

from ..utils.errors import UsageError

BLOCK = 1 << 17  # rows looked at together: what fits in the processor's cache
SAMPLE = 512  # smallest hashes kept: distinct is exact below this, beyond it within about 10 %
DECIMALS = 7  # "seven or more": how many decimals are told apart
# What numbers of each decade from 1e-300 on are multiplied by to be rounded: 9 significant digits,
# but never fewer than thousandths, while a float64 tells them apart, or than whole numbers have.
SCALES = np.array(
    [
        float(f"1e{max(8 - decade, 3 if decade < 12 else 0 if decade < 19 else -300)}")
        for decade in range(-300, 309)
    ]
)
# What a type is called, however it is stored, and as what it is read.
ARROW_NAMES = {
    "bool": "boolean",
    "double": "float",
    "float": "float32",
    "date32": "date",
    **dict.fromkeys(["string", "large_string", "string_view"], "text"),
    **{f"{sign}int{bits}": "integer" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
READ_AS = {
    "text": pa.large_string(),
    "boolean": pa.int8(),
    "date": pa.timestamp("s"),
    **dict.fromkeys(["float", "float32", "halffloat"], pa.float64()),
}


def fingerprint(data: pd.DataFrame | pa.Table | Iterable[pa.RecordBatch]) -> Fingerprint:
    """Fingerprint a table, or the batches that make one up."""
    if isinstance(data, pd.DataFrame):
        data = pa.Table.from_pandas(data, preserve_index=False)
    if isinstance(data, pa.Table):
        nothing = pa.RecordBatch.from_pylist([], data.schema)  # without rows, the columns remain
        data = data.to_batches(max_chunksize=BLOCK) or [nothing]
    batches: Iterable[pa.RecordBatch] = data
    whole = None
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for batch in batches:
            names = batch.schema.names
            # Each column has its own factor, so that equal values can't trade columns.
            factors = hash_array(np.array(names, dtype=object)) | np.uint64(1)
            columns, rows = {}, np.zeros(batch.num_rows, np.uint64)
            looked = pool.map(_look, batch.columns)
            for name, factor, (column, hashes) in zip(names, factors, looked, strict=True):
                columns[name] = column
                rows += hashes * factor
            piece = Fingerprint(_sum_up("row", 0, _mix(rows), {}), columns)
            whole = merge(whole, piece) if whole else piece
    return whole or Fingerprint(Column("row"), {})


def merge(a: Fingerprint, b: Fingerprint) -> Fingerprint:
    """Return the fingerprint of two pieces of one table put together."""
    columns = {name: _merge_columns(name, a.columns[name], b.columns[name]) for name in a.columns}
    return Fingerprint(_merge_columns("row", a.rows, b.rows), columns)


def _merge_columns(name: str, a: Column, b: Column) -> Column:
    types = {column.type for column in (a, b) if column.count} or {b.type}
    if len(types) > 1:
        raise UsageError(f"In one piece of the table {name} is {a.type}, in another {b.type}.")
    return Column(
        type=types.pop(),
        nulls=a.nulls + b.nulls,
        count=a.count + b.count,
        hashes=(a.hashes + b.hashes) % 2**64,
        squares=(a.squares + b.squares) % 2**64,
        sample=tuple(sorted({*a.sample, *b.sample})[:SAMPLE]),
        min=min((x for x in (a.min, b.min) if x is not None), default=None),
        max=max((x for x in (a.max, b.max) if x is not None), default=None),
        total=a.total + b.total,
        coarse=(a.coarse + b.coarse) % 2**64,
        single=a.single and b.single,
        decimals=max(a.decimals, b.decimals),
    )


def _mix(words: np.ndarray) -> np.ndarray:
    return hash_array(words.view(np.uint64) + np.uint64(2**63))  # 0 alone would be hashed to 0


def _sum_up(kind: str, nulls: int, hashes: np.ndarray, facts: dict[str, Any]) -> Column:
    # Where most values differ, the smallest are among the few below a low bar: far less to sort.
    bar = min(8 * SAMPLE * 2**64 // max(len(hashes), 1), 2**64 - 1)
    for part in (hashes[hashes <= np.uint64(bar)], hashes):
        distinct = pc.unique(pa.array(part)).to_numpy()
        if len(distinct) >= SAMPLE:
            break
    sample = tuple(np.sort(distinct)[:SAMPLE].tolist())
    total, squares = int(hashes.sum()), int(np.dot(hashes, hashes))
    return Column(kind, nulls, len(hashes), total, squares, sample, **facts)


def _look(array: pa.Array) -> tuple[Column, np.ndarray]:
    """Return what is known of a column, and the hash of each row's value: 0 for a null."""
    while isinstance(array.type, pa.DictionaryType | pa.BaseExtensionType):
        encoded = isinstance(array.type, pa.DictionaryType)
        array = array.dictionary_decode() if encoded else array.storage
    name, _, rest = str(array.type).partition("[")
    kind = ARROW_NAMES.get(name, name) + (" with zone" if "tz=" in rest else "")
    array = array.cast(READ_AS.get(kind, array.type))
    missing = pc.is_null(array, nan_is_null=True).to_numpy(zero_copy_only=False)
    if missing.any():
        array = array.filter(pa.array(~missing))
    values, facts = _read(array)
    column = _sum_up(kind, int(missing.sum()), values, facts)
    if not missing.any():
        return column, values
    hashes = np.zeros(len(missing), np.uint64)
    hashes[~missing] = values
    return column, hashes


def _read(array: pa.Array) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the hashes of values without nulls, and their statistics."""
    kind, is_type = array.type, pa.types
    if is_type.is_floating(kind):
        return _floats(array.to_numpy())
    if is_type.is_integer(kind):
        return _mix(array.to_numpy().astype(np.int64)), _statistics(array.to_numpy())
    if is_type.is_timestamp(kind) or is_type.is_duration(kind):
        # All units meet at nanoseconds. What runs over after 584 years starts again.
        unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[kind.unit]
        ticks = array.cast(pa.int64()).to_numpy()
        facts = {name: value * unit for name, value in _statistics(ticks).items()}
        return _mix(ticks.view(np.uint64) * np.uint64(unit)), facts
    if kind != pa.large_string():  # whatever comes: by how Python writes it
        texts = pa.array([repr(value) for value in array.to_pylist()], pa.large_string())
        known = array.cast(pa.float64()).to_numpy() if is_type.is_decimal(kind) else []
        return _texts(texts)[0], _statistics(known)
    return _texts(array)


def _statistics(numbers: Any) -> dict[str, Any]:
    if not len(numbers):
        return {}
    low, high = numbers.min().item(), numbers.max().item()
    return {"min": low, "max": high, "total": float(numbers.sum(dtype=np.float64))}


def _floats(values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    with np.errstate(all="ignore"):  # infinite and huge numbers are numbers too
        rounded = _round(values)
        whole = (np.rint(rounded) == rounded) & (np.abs(rounded) < 2.0**63)
        words = np.where(whole, rounded.astype(np.int64), rounded.view(np.int64))  # 3.0 is like 3
        # Cells of about 6 digits. Their edges lie off any round number (hence the odd shift), so
        # that noise in the 16th digit does not push a value into the next cell.
        cells = ((values + 0.0).view(np.uint64) + np.uint64(0x5A827999)) >> np.uint64(32)
        facts = _statistics(values) | {
            "total": float(np.where(np.isfinite(values), values, 0).sum()),
            "coarse": int(_mix(cells).sum()),
            "single": bool((values.astype(np.float32) == values).all()),
            "decimals": _decimals(rounded),
        }
    return _mix(words), facts


def _round(values: np.ndarray) -> np.ndarray:
    """Round to 9 significant digits, large numbers to thousandths; see `SCALES`."""
    decades = np.clip(np.floor(np.log10(np.abs(values))), -300, 308)
    scale = SCALES[decades.astype(np.int64) + 300]
    return np.rint(values * scale) / scale


def _decimals(values: np.ndarray) -> int:
    """Return how many decimals are enough to write down all values."""
    for decimals in range(DECIMALS):
        first = values[:100]  # a look at these usually says no
        if all(np.array_equal(np.round(part, decimals), part) for part in (first, values)):
            return decimals
    return DECIMALS


def _texts(array: pa.Array) -> tuple[np.ndarray, dict[str, Any]]:
    """Hash texts eight bytes at a time, all rows at once, straight from Arrow's memory."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets or bytes(8), np.int64)[array.offset :][: len(array) + 1]
    held = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    held = np.concatenate([held, np.zeros(8, np.uint8)])  # so that the last text has a full word
    words: np.ndarray = np.ndarray(held.size - 7, "<u8", held, strides=(1,))
    lengths = np.diff(ends)
    hashes = _mix(lengths)
    starts, step = ends[:-1] - ends[0], 0
    rows = np.arange(len(array))
    while len(left := lengths[rows] - step):
        beyond = np.maximum(8 - left, 0).view(np.uint64)  # bytes that belong to the next text
        hashes[rows] = _mix(hashes[rows] ^ (words[starts[rows] + step] << beyond * np.uint64(8)))
        step += 8
        rows = rows[left > 8]
    extremes = {end: text and text[:80] for end, text in pc.min_max(array).as_py().items()}
    return hashes, extremes | {"total": float(lengths.sum())}


@dataclass(frozen=True)
class Column:
    """What is kept of a column: its logical type, sums of its values' hashes, statistics.

    Times count in nanoseconds since 1970, texts by their length in bytes, infinite numbers as 0.
    """

    type: str
    nulls: int = 0
    count: int = 0  # of values, nulls left out
    hashes: int = 0  # sum modulo 2^64
    squares: int = 0  # sum of the hashes' squares modulo 2^64
    sample: tuple[int, ...] = ()  # the smallest hashes
    min: Any = None
    max: Any = None
    total: float = 0.0
    coarse: int = 0  # floats only: sum of hashes at 6 digits, which rounding noise leaves alone
    single: bool = True  # floats only: does a float32 hold every value?
    decimals: int = 0  # floats only: how many decimals all values get by with

    @property
    def content(self) -> str:
        """Equal for equal content."""
        return f"{self.nulls:x}-{self.count:x}-{self.hashes:016x}-{self.squares:016x}"

    @property
    def distinct(self) -> int:
        """Distinct values: exact below `SAMPLE`, then estimated from how dense the hashes lie."""
        if len(self.sample) < SAMPLE:
            return len(self.sample)
        return round((SAMPLE - 1) * 2**64 / self.sample[-1])

    @property
    def mean(self) -> float | None:
        """Mean of the values."""
        return self.total / self.count if self.count else None


@dataclass(frozen=True)
class Fingerprint:
    """A table's columns by name, and its rows, hashed with all columns taken together."""

    rows: Column
    columns: dict[str, Column]
    format: Literal[1] = 1  # another, and what was saved before is unreadable: when a hash changes

    @property
    def digest(self) -> str:
        """16 hex digits; equal content has equal digests, in any order of rows and columns."""
        parts = sorted(f"{name}={column.content}" for name, column in self.columns.items())
        text = "\x1f".join([self.rows.content, *parts])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the text of a fingerprint file."""
        return json.dumps({"digest": self.digest, **asdict(self)})

    @staticmethod
    def from_json(text: str | bytes) -> Fingerprint:
        """Read what `to_json` wrote; anything else is a `UsageError`."""
        try:
            return TypeAdapter(Fingerprint).validate_json(text)
        except ValidationError as error:
            raise UsageError("This is no saved fingerprint that this version can read.") from error
