"""A row's key, or its content, as a number that no engine, order or storage type changes."""

import hashlib
from datetime import UTC, date, datetime
from itertools import repeat

import numpy as np
import pandas as pd
from pandas.api import types

from ..utils.errors import UsageError

try:
    import duckdb
except ImportError:
    duckdb = None

RESOLUTION = 10_000
SAMPLE = 20_000
# hashlib takes half a second for a million keys. For many millions, `uv add duckdb` makes the same
# hashes four times as fast.
QUERY = """SELECT CAST('0x' || left(sha256(concat_ws(chr(31), $seed, *COLUMNS(*))), 8) AS UINTEGER)
           AS h FROM keys"""


def hash_keys(keys: pd.DataFrame, seed: str) -> np.ndarray:
    """Hash each row's key: the first 32 bits of SHA-256 (FIPS 180-4), uint32 of shape (n_rows,).

    The text of a part: text as it is; integers in decimal; true or false; dates 2026-01-31;
    timestamps 2026-01-31T08:00:00, then .000001 where there are microseconds, then +00:00 (and in
    UTC) where there is a zone. Missing values and floats raise UsageError.
    """
    if not len(keys):
        raise UsageError("there are no rows to split")
    plain = pd.DataFrame({f"k{i}": _plain(keys[name]) for i, name in enumerate(keys)})
    places, plain = _distinct(plain["k0"]) if _are_repeated(plain) else (None, plain)
    h = _hash_texts(plain, seed) if duckdb is None else _hash_in_duckdb(plain, seed)
    return h if places is None else h[places]


def _hash_texts(keys: pd.DataFrame, seed: str) -> np.ndarray:
    texts = [map(str, column) for _, column in keys.items()]
    messages = map("\x1f".join, zip(repeat(seed), *texts, strict=False))
    digests = (hashlib.sha256(message.encode()).digest()[:4] for message in messages)
    return np.frombuffer(b"".join(digests), dtype=">u4").astype(np.uint32)


def _hash_in_duckdb(keys: pd.DataFrame, seed: str) -> np.ndarray:
    with duckdb.connect() as connection:
        connection.register("keys", keys)
        return np.asarray(connection.execute(QUERY, {"seed": seed}).fetchnumpy()["h"])


def buckets(h: np.ndarray) -> np.ndarray:
    """Map hashes to the buckets 0 to 9999."""
    return (h.astype(np.uint64) * RESOLUTION) >> np.uint64(32)


def content(frame: pd.DataFrame) -> np.ndarray:
    """Hash each row's values, whatever types hold them; uint64 of shape (n_rows,)."""
    columns: dict[str, np.ndarray] = {}
    for name in sorted(frame.columns, key=str):
        column = frame[name]
        if types.is_numeric_dtype(column):
            columns[name] = column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0  # no -0.0
        elif types.is_datetime64_any_dtype(column):
            columns[name] = column.to_numpy("datetime64[us]")  # in UTC
        else:
            columns[name] = column.astype(object).where(column.notna()).to_numpy()
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()


def refuse_missing(column: pd.Series, role: str) -> None:
    """Raise UsageError where a column that decides a row's place has no value."""
    if column.isna().any():
        row = int(np.argmax(column.isna()))
        raise UsageError(f"{role} column {column.name!r}: row {row} (the first is 0) is empty")


def _plain(column: pd.Series) -> np.ndarray | pd.Series:
    """Give a key column as a type whose text is the same in every engine."""
    refuse_missing(column, "key")
    if types.is_integer_dtype(column):
        unsigned = types.is_unsigned_integer_dtype(column)
        return column.to_numpy(dtype=np.uint64 if unsigned else np.int64)
    if types.is_string_dtype(column):
        return column.reset_index(drop=True)
    codes, values = pd.factorize(column) if column.dtype != object else (slice(None), column)
    texts = np.array([_text(value) for value in values], dtype=object)[codes]
    if (odd := pd.isna(texts)).any():
        row = int(np.argmax(odd))
        raise UsageError(
            f"key column {column.name!r}: row {row} (the first is 0) is {column.iloc[row]}, and "
            "a key is text, an integer, a boolean, a date or a timestamp"
        )
    return texts


def _text(value: object) -> str | None:
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, str | int | np.integer):
        return str(value)
    if isinstance(value, datetime):
        moment = pd.Timestamp(value).floor("us").to_pydatetime()
        return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()
    return value.isoformat() if isinstance(value, date) else None


def _are_repeated(keys: pd.DataFrame) -> bool:
    """Guess whether a key repeats so often that to hash only the distinct ones is faster."""
    if len(keys) < SAMPLE or len(keys.columns) > 1:
        return False
    if duckdb is not None and keys["k0"].dtype.kind not in "iu":
        return False  # it hashes texts sooner than pandas finds the distinct ones
    sample = keys.iloc[np.random.default_rng(0).choice(len(keys), SAMPLE)]
    # Drawn with replacement, two rows of the sample share a key with chance repeats / rows.
    repeats = 2 * sample.duplicated().sum() * len(keys) / SAMPLE**2
    return bool(repeats >= 4)


def _distinct(keys: pd.Series) -> tuple[np.ndarray, pd.DataFrame]:
    """Return each row's place among the distinct keys, and those."""
    key = keys.to_numpy()
    if key.dtype.kind in "iu" and int(key.max()) - int(low := key.min()) < 4 * len(key):
        # Integers close together are ticked off in a list, faster than looked up by hash.
        places = key - low
        ticked = np.zeros(int(places.max()) + 1, dtype=bool)
        ticked[places] = True
        places = np.cumsum(ticked, dtype=np.uint32)[places] - 1
        return places, pd.DataFrame({"k0": np.flatnonzero(ticked).astype(key.dtype) + low})
    places, values = pd.factorize(keys)
    return places, pd.DataFrame({"k0": values})
