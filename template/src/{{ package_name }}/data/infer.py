"""What a column of an unknown file seems to hold: its type, its limits, its categories."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa

from .validation import MISSING_WORDS, conform

Type = Literal["int", "float", "bool", "datetime", "str"]

CATEGORIES = 50
"""Up to so many different texts are listed as the only ones allowed."""
LONGEST_CATEGORY = 60
ROWS_PER_TEXT = 5
"""Many different texts with fewer rows each name the rows; they do not sort them."""

NATIVE: dict[str, Type] = {
    "boolean": "bool",
    "date": "datetime",
    "datetime": "datetime",
    "datetime64": "datetime",
    "decimal": "float",
    "empty": "float",
    "floating": "float",
    "integer": "int",
}
DTYPES = {
    "int": "Int64",
    "float": "float64",
    "bool": "boolean",
    "datetime": "datetime64[us]",
    "str": "str",
}
WHOLE = r"\s*[+-]?\d+\s*"
LEADING_ZERO = r"\s*[+-]?0\d.*"
ISO_DATE = r"\d{4}-\d{2}.*"
OTHER_DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}.*"


def infer(values: pd.Series, *, typed: bool) -> "Found":
    """Find the type in which every value of a column can be read.

    Parameters
    ----------
    typed
        Whether the file itself tells text from numbers (Parquet), or all came as text (CSV).
    """
    kind, doubt = _guess(values, typed=typed)
    read = read_as(values, kind)
    if read is None:
        kind, (read, _) = "str", _conform(values, "str")
    return Found(str(values.name), kind, read, doubt)


def read_as(values: pd.Series, kind: Type) -> pd.Series | None:
    """Return the column in this type, None where a value can't be read so."""
    read, failed = _conform(values, kind)
    return None if failed else read


def _conform(values: pd.Series, kind: Type) -> tuple[pd.Series, int]:
    schema = pa.DataFrameSchema({"x": pa.Column(DTYPES[kind], nullable=True)})
    read, failed = conform(values.to_frame("x"), schema)
    return read["x"], len(failed)


def _guess(values: pd.Series, *, typed: bool) -> tuple[Type, str | None]:
    """Return the likely type, and what speaks against it."""
    native = NATIVE.get(pd.api.types.infer_dtype(values, skipna=True))
    if native == "float" and np.isinf(values.astype("float64")).any():
        return "str", "holds infinite numbers, so it is read as text: leave them empty in the file"
    if native:
        return native, None
    words = pd.Series(values.dropna().astype("str").unique(), dtype="str")
    missing = words.isin(MISSING_WORDS)
    said = words[~missing]
    if not len(said):
        return "float", None
    kind, doubt = _guess_text(said, typed=typed)
    if kind == "str" and doubt is None and (named := words[missing & (words != "")].tolist()):
        doubt = f"has the category {named[0]!r}: leave it empty in the file if it means missing"
    return kind, doubt


def _guess_text(words: pd.Series, *, typed: bool) -> tuple[Type, str | None]:
    if words.str.fullmatch(ISO_DATE).all():
        return "datetime", None
    if words.str.fullmatch(OTHER_DATE).all():
        return "str", f"looks like dates; only ISO 8601 is read as such (not {words.iloc[0]!r})"
    return ("str", None) if typed else _guess_untyped(words)


def _guess_untyped(words: pd.Series) -> tuple[Type, str | None]:
    if words.str.lower().isin(["true", "false"]).all():
        return "bool", None
    numbers = np.isfinite(pd.to_numeric(words, errors="coerce").astype("float64"))
    if not numbers.all():
        return "str", _but_for(words[~numbers]) if numbers.mean() >= 0.5 else None
    if words.str.fullmatch(LEADING_ZERO).any():
        return "str", "has leading zeros, so it stays text"
    return ("int" if words.str.fullmatch(WHOLE).all() else "float"), None


def _but_for(words: pd.Series) -> str:
    count = f"{len(words)} different values such as " if len(words) > 1 else ""
    return (
        f"would be a number but for {count}{words.iloc[0]!r}, so it stays text: "
        "leave such values empty in the file"
    )


@dataclass(frozen=True)
class Found:
    """A column of the file, in the type it will be declared with."""

    name: str
    type: Type
    column: pd.Series
    doubt: str | None = None

    @cached_property
    def count(self) -> int:
        """How many rows have a value."""
        return int(self.column.notna().sum())

    @property
    def nullable(self) -> bool:
        """Whether a row is without a value."""
        return self.count < len(self.column)

    @cached_property
    def codes(self) -> np.ndarray:
        """The values numbered in the order they appear, -1 where missing; shape (n_rows,)."""
        return pd.factorize(self.column)[0]

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return int(self.codes.max(initial=-1)) + 1

    @property
    def unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.distinct == len(self.column)

    @property
    def names_rows(self) -> bool:
        """Whether this is text with a value of its own for nearly each row: names, free text."""
        if self.type != "str":
            return False
        rows_each = 2 if self.distinct <= CATEGORIES else ROWS_PER_TEXT
        return self.distinct * rows_each > self.count

    @property
    def numbers_rows(self) -> bool:
        """Whether this is 1, 2, 3, … or another run of whole numbers, each once."""
        if self.type != "int" or not self.unique:
            return False
        return int(self.column.max()) - int(self.column.min()) == len(self.column) - 1

    @property
    def looks_like_id(self) -> bool:
        """Whether the name says so: `id`, `customer_id`, `PassengerId`, `uuid`."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).lower()
        return re.search(r"(^|[\W_])(id|key|uuid|guid)$", words) is not None

    def categories(self) -> list[str] | None:
        """Return the texts worth listing as the only ones allowed, sorted."""
        if self.type != "str" or self.names_rows or not 0 < self.distinct <= CATEGORIES:
            return None
        texts = sorted(map(str, self.column.dropna().unique()))
        return texts if max(map(len, texts)) <= LONGEST_CATEGORY else None

    def limits(self) -> list[str]:
        """Guess what bounds the numbers: nothing below 0 if none is, else as much room as seen."""
        if self.type not in {"int", "float"} or not self.count:
            return []
        low, high = self.column.min(), self.column.max()
        low, high = (int(low), int(high)) if self.type == "int" else (float(low), float(high))
        if self.type == "int" and {low, high} == {0, 1}:
            return ["ge=0", "le=1"]
        room = high - low or abs(high) or 1
        below = "0" if low >= 0 else _outward(low - room, low)
        above = _outward(high + room, high)
        return [f"{check}={at}" for check, at in [("ge", below), ("le", above)] if at]

    def exact_limits(self) -> list[str]:
        """Return the smallest and largest of some whole numbers as the limits."""
        return [f"ge={int(self.column.min()):_}", f"le={int(self.column.max()):_}"]


def _outward(limit: float, seen: float) -> str | None:
    """Write a limit with two digits, rounded away from what was seen."""
    number = Decimal(f"{limit:.6g}")
    if not number.is_finite():
        return None
    if number:
        up = limit > seen
        step = Decimal(1).scaleb(number.adjusted() - 1)
        number = (number / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step
        while (number < seen) if up else (number > seen):
            number += step if up else -step
    if number == number.to_integral_value() and abs(number) < 10**15:
        return f"{int(number):_}"
    return repr(float(number)).replace("e+", "e")


def listed(names: Iterable[str], most: int = 5) -> str:
    """Name some columns in a sentence."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
