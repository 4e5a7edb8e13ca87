"""The fingerprint of a table tells whether the data here is the same as the data there.

In goes a table, or its pieces one by one; out come, per column and for the whole table, statistics
and sums of per-row hashes. Sums do not depend on order and can be added up, so pieces can be
fingerprinted apart, and a saved fingerprint can travel where the data may not.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, reduce
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..utils.errors import UsageError

FORMAT = 1  # of the saved file and of the hashes in it; a change makes old fingerprints unreadable
BLOCK = 1 << 17  # rows looked at together: what fits in the processor's cache
WAVE = 32  # blocks in memory at a time
SAMPLE = 512  # smallest hashes kept: distinct is exact below this, beyond it within about 10 %
LONG = 1024  # bytes of a text that are hashed for all rows at once; the rare rest goes one by one
DECIMALS = 7  # "seven or more": how many decimals are told apart

Words = np.ndarray[Any, np.dtype[np.uint64]]
Numbers = np.ndarray[Any, np.dtype[np.float64]]
Lengths = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Facts = dict[str, Any]
Value = int | float | str | None


@dataclass(frozen=True)
class Sums:
    """What is kept of many 64-bit hashes: how many, two sums modulo 2^64, the smallest ones."""

    count: int = 0
    total: int = 0
    squares: int = 0
    sample: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Equal for equal content, as text."""
        return f"{self.count:x}-{self.total:016x}-{self.squares:016x}"

    @property
    def distinct(self) -> int:
        """Distinct values: exact below `SAMPLE`, then estimated from how dense the hashes lie."""
        if len(self.sample) < SAMPLE:
            return len(self.sample)
        return round((SAMPLE - 1) * 2**64 / self.sample[-1])


@dataclass(frozen=True)
class Column:
    """One column: its logical type, statistics of its finite values, sums of its hashes."""

    type: str
    nulls: int
    content: Sums
    min: Value = None
    max: Value = None
    mean: float | None = None  # of a text: its length in bytes; of a time: seconds since 1970
    deviation: float = 0.0  # sum of squared distances from the mean
    infinite: int = 0
    coarse: int = 0  # floats only: sum of hashes at 6 digits, which rounding noise leaves alone
    single: int = 0  # floats only: how many values a float32 can hold
    decimals: int = 0  # floats only: how many decimals all values get by with

    @property
    def std(self) -> float | None:
        """Standard deviation of the finite values."""
        finite = self.content.count - self.infinite
        return math.sqrt(self.deviation / finite) if finite and self.mean is not None else None


@dataclass(frozen=True)
class Fingerprint:
    """A table's columns by name, and the sums over its rows with all columns taken together."""

    rows: Sums
    columns: dict[str, Column]

    @property
    def digest(self) -> str:
        """16 hex digits; equal content has equal digests, in any order of rows and columns."""
        parts = sorted(f"{name}={column.content.key}" for name, column in self.columns.items())
        text = "\x1f".join([self.rows.key, *parts])
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the text of a fingerprint file."""
        return json.dumps({"format": FORMAT, "digest": self.digest, **asdict(self)})

    @staticmethod
    def from_json(text: str) -> "Fingerprint":
        """Read what `to_json` wrote; anything else is a `UsageError`."""
        try:
            saved = json.loads(text)
            if saved["format"] != FORMAT:
                raise UsageError(f"This fingerprint has format {saved['format']}, not {FORMAT}.")
            columns = {
                name: Column(**(column | {"content": _sums_from(column["content"])}))
                for name, column in saved["columns"].items()
            }
            return Fingerprint(_sums_from(saved["rows"]), columns)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError("This is not a saved fingerprint.") from error


def fingerprint(data: Any) -> Fingerprint:
    """Fingerprint a pandas DataFrame, a pyarrow Table, or an iterable of RecordBatches."""
    if isinstance(data, pd.DataFrame):
        data = as_table(data)
    if isinstance(data, pa.RecordBatch):
        data = [data]
    if hasattr(data, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(data)
        data = chain([reader.schema.empty_table()], reader)  # a table without rows has columns too
    blocks = _blocks(data)
    pieces: list[Fingerprint] = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        while wave := list(islice(blocks, WAVE)):
            pieces = [reduce(merge, chain(pieces, pool.map(_look, wave)))]
    return pieces[0] if pieces else Fingerprint(Sums(), {})


def as_table(frame: pd.DataFrame) -> pa.Table:
    """Turn a DataFrame into Arrow; NaN, None, NaT and NA become the one null."""
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        message = f"A column must hold values of one type: {' '.join(map(str, error.args))}"
        raise UsageError(message) from error


def merge(a: Fingerprint, b: Fingerprint) -> Fingerprint:
    """Return the fingerprint of the two pieces put together."""
    if a.columns.keys() != b.columns.keys():
        names = ", ".join(sorted(a.columns.keys() ^ b.columns.keys()))
        raise UsageError(f"Pieces of one table must have the same columns; these differ: {names}")
    columns = {name: _merge_columns(column, b.columns[name]) for name, column in a.columns.items()}
    return Fingerprint(_merge_sums(a.rows, b.rows), columns)


def _blocks(pieces: Iterable[Any]) -> Iterator[Any]:
    for piece in pieces:
        for start in range(0, max(piece.num_rows, 1), BLOCK):
            yield piece.slice(start, min(BLOCK, piece.num_rows - start))


def _look(piece: Any) -> Fingerprint:
    names = piece.schema.names
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"Column names must be unique; more than one is called {sorted(twice)}")
    columns = {}
    rows = np.zeros(piece.num_rows, np.uint64)
    for name, array in zip(names, piece.columns, strict=True):
        kind, hashes, facts = _read(array)
        values = _sums(hashes)
        columns[name] = Column(kind, piece.num_rows - values.count, values, **facts)
        rows += hashes * np.uint64(_odd_number(name))  # so that equal values do not trade columns
    return Fingerprint(_sums(_mix(rows)), columns)


@cache
def _odd_number(name: str) -> int:
    return _digest(name.encode("utf-8", "backslashreplace")) | 1


def _digest(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _mix(words: Words) -> Words:
    """Spread every bit over all 64, by multiplying and folding twice."""
    words = words + np.uint64(0x9E3779B97F4A7C15)  # so that a value of 0 is not hashed to null's 0
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(32)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(29)
    return words


def _sums(hashes: Words) -> Sums:
    """Add up the hashes of a block, leaving out nulls."""
    # Where most values differ, the smallest are among the few below a low bar: far less to sort.
    for share in (2, 32, hashes.size):
        bar = min(share * SAMPLE * 2**64 // max(hashes.size, 1), 2**64 - 1)
        sample = pc.unique(pa.array(hashes[hashes <= np.uint64(bar)])).to_numpy()
        if np.count_nonzero(sample) >= SAMPLE:
            break
    sample = np.sort(sample[sample > 0])[:SAMPLE]
    total, squares = hashes.sum(dtype=np.uint64), np.dot(hashes, hashes)
    count = int(np.count_nonzero(hashes))
    return Sums(count, int(total), int(squares), tuple(sample.tolist()))


def _merge_sums(a: Sums, b: Sums) -> Sums:
    sample = sorted({*a.sample, *b.sample})[:SAMPLE] if a.sample != b.sample else a.sample
    total, squares = (a.total + b.total) % 2**64, (a.squares + b.squares) % 2**64
    return Sums(a.count + b.count, total, squares, tuple(sample))


def _sums_from(saved: Facts) -> Sums:
    return Sums(**(saved | {"sample": tuple(saved["sample"])}))


def _merge_columns(a: Column, b: Column) -> Column:
    if a.mean is None or b.mean is None:
        mean, deviation = (b.mean, b.deviation) if a.mean is None else (a.mean, a.deviation)
    else:
        n, m = a.content.count - a.infinite, b.content.count - b.infinite
        gap = b.mean - a.mean
        mean = a.mean + gap * m / (n + m)
        deviation = a.deviation + b.deviation + gap * gap * n * m / (n + m)
    return Column(
        type=_merge_types(a, b),
        nulls=a.nulls + b.nulls,
        content=_merge_sums(a.content, b.content),
        min=min((x for x in (a.min, b.min) if x is not None), default=None),
        max=max((x for x in (a.max, b.max) if x is not None), default=None),
        mean=mean,
        deviation=deviation,
        infinite=a.infinite + b.infinite,
        coarse=(a.coarse + b.coarse) % 2**64,
        single=a.single + b.single,
        decimals=max(a.decimals, b.decimals),
    )


def _merge_types(a: Column, b: Column) -> str:
    if b.type in {a.type, "null"} or (a.type != "null" and not b.content.count):
        return a.type
    if a.type == "null" or not a.content.count:
        return b.type
    if {a.type, b.type} <= {"integer", "float", "float32"}:
        return "float"
    raise UsageError(f"Pieces of one table must agree on types, not {a.type} here, {b.type} there.")


def _read(array: pa.Array) -> tuple[str, Words, Facts]:
    """Return a column's logical type, a hash for each row (0 for a null) and its statistics."""
    array = _plain(array)
    kind, is_type = _type_name(array.type), pa.types
    missing = np.zeros(len(array), np.bool_)
    if array.null_count:
        missing = array.is_null().to_numpy(zero_copy_only=False)
    if kind == "null":
        return kind, np.zeros(len(array), np.uint64), {}
    if is_type.is_floating(array.type):
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        missing = np.isnan(values)
        hashes, facts = _floats(values, missing)
    elif kind in {"integer", "boolean"}:
        hashes, facts = _integers(array, missing)
    elif is_type.is_temporal(array.type) and kind != "month_day_nano_interval":
        hashes, facts = _times(array, missing)
    elif is_type.is_decimal(array.type):
        hashes, _ = _texts(array.cast(pa.string()), missing)
        facts = _statistics(array.cast(pa.float64()).drop_null().to_numpy())
    elif kind in {"text", "binary"}:
        hashes, facts = _texts(array, missing)
    else:  # lists, structs and whatever comes: by how Python writes them
        texts = [None if value is None else repr(value) for value in array.to_pylist()]
        hashes, facts = _texts(pa.array(texts, pa.large_string()), missing)
    if missing.any():
        hashes[missing] = 0
    return kind, hashes, facts


def _plain(array: pa.Array) -> pa.Array:
    """Return the values themselves, whatever they are wrapped in."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    while isinstance(array.type, pa.DictionaryType | pa.BaseExtensionType):
        encoded = isinstance(array.type, pa.DictionaryType)
        array = array.dictionary_decode() if encoded else array.storage
    return array


def _type_name(kind: pa.DataType) -> str:
    """Name a type by what it means, not by how it is stored; only a float's width matters."""
    is_type = pa.types
    names = {
        "boolean": is_type.is_boolean(kind),
        "integer": is_type.is_integer(kind),
        "float": is_type.is_float64(kind),
        "float32": is_type.is_float32(kind),
        "text": str(kind) in {"string", "large_string", "string_view"},
        "binary": str(kind).startswith(("binary", "large_binary", "fixed_size_binary")),
        "date": is_type.is_date(kind),
        "duration": is_type.is_duration(kind),
        "timestamp": is_type.is_timestamp(kind) and kind.tz is None,
        "timestamp with zone": is_type.is_timestamp(kind),
    }
    return next((name for name, fits in names.items() if fits), str(kind))


def _statistics(values: Numbers) -> Facts:
    """Describe numbers that are not null; infinite ones are only counted."""
    finite = values
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
        if not np.isfinite(total):
            finite = values[np.isfinite(values)]
            total = finite.sum()
        if not finite.size:
            return {"infinite": values.size}
        mean = total / finite.size
        deviation = np.square(finite - mean).sum()  # BLAS would wake threads for so little
    facts = {"min": float(finite.min()), "max": float(finite.max()), "infinite": values.size}
    facts["infinite"] -= finite.size
    if np.isfinite(mean) and np.isfinite(deviation):
        facts |= {"mean": float(mean), "deviation": float(deviation)}
    return facts


def _integers(array: pa.Array, missing: Mask) -> tuple[Words, Facts]:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values = array.fill_null(0).to_numpy()
    present = values[~missing] if missing.any() else values
    facts = _statistics(present.astype(np.float64))
    words = _bits(values.astype(np.float64))  # so that 3 and 3.0 hash alike
    if present.size:
        facts |= {"min": int(present.min()), "max": int(present.max())}
        if facts["min"] < -(2**53) or facts["max"] > 2**53:  # what a float cannot tell apart
            top = np.nextafter(2.0**63 if values.dtype.kind == "i" else 2.0**64, 0)
            nearest = np.clip(values.astype(np.float64), None, top).astype(values.dtype)
            words = words ^ (values - nearest).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return _mix(words), facts


def _bits(values: Numbers) -> Words:
    return (values + 0.0).view(np.uint64)  # + 0.0 makes -0.0 a plain 0.0


def _scale(exponent: int) -> float:
    """Return the power of ten that leaves 9 digits (or 10) of a float with this binary exponent."""
    power = 8 - math.floor((exponent - 1023) * math.log10(2))
    if exponent < 1023 + 63:
        power = max(power, 0)  # whole numbers keep all digits, as the integers they may be
    return float(f"1e{min(power, 308)}")


SCALES = np.array([_scale(exponent) for exponent in range(2048)])


def _round(values: Numbers) -> Numbers:
    """Round to 9 significant digits, by multiplications alone, so alike on every machine."""
    scale = SCALES[(values.view(np.int64) >> 52) & 0x7FF]
    ten = (np.abs(values * scale) >= 1e9) & (scale != 1)
    scale = np.where(ten, scale / 10, scale)
    rounded: Numbers = np.rint(values * scale) / scale
    return rounded


def _floats(values: Numbers, missing: Mask) -> tuple[Words, Facts]:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = _round(values)
        # Cells of about 6 digits. Their edges lie off any round number (hence the odd shift), so
        # that noise in the 16th digit does not push a value into the next cell.
        coarse = _mix((_bits(values) + np.uint64(0x5A827999)) >> np.uint64(32))
        if missing.any():
            coarse[missing] = 0
            values, rounded = values[~missing], rounded[~missing]
            hashes = np.zeros(missing.size, np.uint64)
            hashes[~missing] = _mix(_bits(rounded))
        else:
            hashes = _mix(_bits(rounded))
        facts = _statistics(values) | {
            "coarse": int(coarse.sum(dtype=np.uint64)),
            "single": int(np.count_nonzero(values.astype(np.float32) == values)),
            "decimals": _decimals(rounded),
        }
    return hashes, facts


def _decimals(values: Numbers) -> int:
    """Return how many decimals are enough to write down all values."""
    for decimals in range(DECIMALS):
        for part in (values[:100], values):  # a look at the first values usually says no
            if not np.all(np.isinf(part) | (np.round(part, decimals) == part)):
                break
        else:
            return decimals
    return DECIMALS


def _times(array: pa.Array, missing: Mask) -> tuple[Words, Facts]:
    kind = array.type
    if pa.types.is_date(kind):
        array = array.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    unit = array.type.unit
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    width = pa.int32() if array.type.bit_width == 32 else pa.int64()
    ticks = array.cast(width).fill_null(0).to_numpy().astype(np.int64)
    # All units meet at nanoseconds. What runs over starts again after 584 years: still a good hash.
    hashes = _mix(ticks.view(np.uint64) * np.uint64(10**9 // per_second))
    present = ticks[~missing]
    facts = _statistics(present / per_second)
    if present.size and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        facts |= {"min": _moment(present.min(), unit), "max": _moment(present.max(), unit)}
    return hashes, facts


def _moment(ticks: np.int64, unit: Any) -> str:
    """Write a time the same way whatever unit it was stored in."""
    text = str(np.datetime64(int(ticks), unit))
    return text.rstrip("0").rstrip(".") if "." in text else text


def _texts(array: pa.Array, missing: Mask) -> tuple[Words, Facts]:
    array = array.cast(pa.large_binary())
    if 0 < len(array[:1000].drop_null().unique()) < 500:  # few texts, often: each is read once
        array = array.dictionary_encode()
        codes = array.indices.fill_null(0).to_numpy()
        hashes, lengths = _hash_texts(array.dictionary)
        hashes, lengths, array = hashes[codes], lengths[codes], array.dictionary
    else:
        hashes, lengths = _hash_texts(array)
    facts = _statistics((lengths[~missing] if missing.any() else lengths).astype(np.float64))
    for end, value in pc.min_max(array).as_py().items():
        facts[end] = None if value is None else value[:80].decode("utf-8", "replace")
    return hashes, facts


def _hash_texts(array: pa.Array) -> tuple[Words, Lengths]:
    """Hash texts eight bytes at a time, all rows at once, straight from Arrow's memory."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets or bytes(8), np.int64)[array.offset :][: len(array) + 1]
    held = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    held = np.concatenate([held, np.zeros(8, np.uint8)])  # so that the last text has a full word
    words: Words = np.ndarray(held.size - 7, "<u8", held, strides=(1,))
    starts, lengths = ends[:-1] - ends[0], np.diff(ends)
    hashes = _mix(~lengths.view(np.uint64))
    for step in range(0, min(int(lengths.max(initial=0)), LONG), 8):
        longer = lengths > step
        rows = slice(None) if longer.all() else np.flatnonzero(longer)
        spare = (8 - np.minimum(lengths[rows] - step, 8)).view(np.uint64)  # bytes of the next text
        hashes[rows] = _mix(hashes[rows] ^ (words[starts[rows] + step] << spare * np.uint64(8)))
    for row in np.flatnonzero(lengths > LONG):
        text = held[starts[row] : starts[row] + lengths[row]].tobytes()
        hashes[row] = _digest(text)
    return hashes, lengths
