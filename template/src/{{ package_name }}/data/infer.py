"""What the columns of an unknown file hold: their types, and what their values may be."""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

import numpy as np
import pandas as pd
import pandera.pandas as pa

from .validation import MISSING_WORDS, conform

CATEGORIES = 50
"""Up to so many different texts are listed as the only ones allowed."""
ROWS_PER_TEXT = 3
"""Texts with fewer rows each name the rows; they do not sort them."""

NATIVE = {"boolean": "boolean", "integer": "Int64", "decimal": "float64", "floating": "float64"}
NATIVE |= dict.fromkeys(["date", "datetime", "datetime64"], "datetime64[us]")
"""What pandas finds in a column that is no text, and the type it gets here."""

TEXTS = {
    r"\d{4}-\d{2}.*": "datetime64[us]",
    r"(?i)(true|false)": "boolean",
    r"\s*[+-]?(0|[1-9]\d*)\s*": "Int64",
}
"""What all texts of a column look like, and the type that reads them."""
AMOUNT = r"\s*[$€£¥]?\s*[+-]?\d+((,\d{3})*(\.\d+)?|(\.\d{3})*(,\d+)?)\s*[$€£¥%]?\s*"


def infer(values: pd.Series) -> tuple[pd.Series, str | None]:
    """Return a column in the narrowest type that reads every value, and what was doubtful."""
    dtype, doubt = _guess(values)
    for wanted in (dtype, "str"):
        schema = pa.DataFrameSchema({"x": pa.Column(wanted, nullable=True)})
        read, failed = conform(values.to_frame("x"), schema)
        if not failed:
            break
    return read["x"], doubt


def is_id(name: str) -> bool:
    """Tell whether a column's name says that it names things: `customer_id`, `PassengerId`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return re.search(r"(^|[\W_])(id|key|uuid|guid)$", words) is not None


def is_names(values: pd.Series) -> bool:
    """Tell whether this is text that differs in nearly every row: names, free text."""
    return values.dtype == "str" and values.nunique() * ROWS_PER_TEXT > values.count()


def is_amounts(values: pd.Series) -> bool:
    """Tell whether this is text of numbers as people write them: `2,50`, `$3` or `20%`."""
    if values.dtype != "str":
        return False
    words = values[~values.isin(MISSING_WORDS)]
    written = words.str.contains("[,$€£¥%]").any()
    return bool(written and words.str.fullmatch(AMOUNT).all())


def guess_categories(values: pd.Series) -> list[str]:
    """Return the texts worth listing as the only ones allowed, sorted."""
    few = values.dtype == "str" and values.nunique() <= CATEGORIES and not is_names(values)
    return sorted(values.dropna().unique()) if few else []


def guess_limits(values: pd.Series, *, exact: bool) -> list[str]:
    """Guess what bounds a column's numbers; if not `exact`, with as much room as they took."""
    if values.dtype not in ("Int64", "float64") or not values.count():
        return []
    low, high = values.min().item(), values.max().item()
    if exact or (values.dtype == "Int64" and {low, high} == {0, 1}):
        return [f"ge={low:_}", f"le={high:_}"]
    room = high - low or abs(high) or 1
    least = "0" if low >= 0 else _rounded(low - room, ROUND_FLOOR)
    most = _rounded(high + room, ROUND_CEILING)
    return [f"{check}={bound}" for check, bound in [("ge", least), ("le", most)] if bound]


def _guess(values: pd.Series) -> tuple[str, str | None]:
    """Return the likely type, and what speaks against it."""
    found = NATIVE.get(pd.api.types.infer_dtype(values, skipna=True))
    if found and not (found == "float64" and np.isinf(values.astype("float64")).any()):
        return found, None
    words = pd.Series(values.dropna().astype("str").unique(), dtype="str")
    words = words[~words.isin(MISSING_WORDS)]
    for pattern, dtype in TEXTS.items():
        if len(words) and words.str.fullmatch(pattern).all():
            return dtype, None
    odd = words[~np.isfinite(pd.to_numeric(words, errors="coerce").astype("float64"))]
    doubt = None
    if words.str.fullmatch(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}.*").all() and len(words):
        other = words[~words.str.match(r"\d{4}-\d{2}")].iloc[0]
        doubt = f"looks like dates; only ISO 8601 is read as such (not {other!r})"
    elif is_amounts(words):
        doubt = f"looks like numbers, but stays text: write them as 1234.5 (not {odd.iloc[0]!r})"
    elif words.str.fullmatch(r"\s*[+-]?0\d.*").any() and not len(odd):
        doubt = "has leading zeros, so it stays text"
    elif 0 < 2 * len(odd) < len(words):
        doubt = (
            f"would be a number but for {len(odd)} different values such as {odd.iloc[0]!r}, so "
            "it stays text: leave such values empty in the file"
        )
    return ("str" if doubt or len(odd) else "float64"), doubt


def _rounded(number: float, rounding: str) -> str | None:
    """Write a number with two digits, nothing where it is infinite."""
    short = Context(prec=2, rounding=rounding).create_decimal(number)
    if not short.is_finite():
        return None
    if short == int(short) and abs(short) < 10**15:
        return f"{int(short):_}"
    return repr(float(short)).replace("e+", "e")
