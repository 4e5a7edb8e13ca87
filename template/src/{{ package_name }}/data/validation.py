"""Gives every column its declared type and every row a verdict.

This is the one boundary at which types and missing values are made uniform: a model fitted on one
text type and asked with another may silently predict something else.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow

from ..utils.errors import GateRefused, UsageError
from .columns import Columns, kind_of

MISSING = "(missing)"
"""What a missing category is called."""

MISSING_WORDS = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
"""Read as missing where a number, flag or date is expected; in text only the empty string is."""

TRUTH: dict[str, bool] = dict.fromkeys(["true", "1", "1.0", "yes", "t", "y"], True)
TRUTH |= dict.fromkeys(["false", "0", "0.0", "no", "f", "n"], False)

WANTED = {
    "Int64": "a whole number",
    "float64": "a finite number",
    "boolean": "true or false",
    "datetime64[us]": "a date",
    "str": "a text",
}
WHOLE = r"\s*[+-]?(\d{1,18}|[1-8]\d{18})\s*"
"""Texts that can be had as 64-bit integers."""
QUOTED = 60
"""So much of a value is said in a reason."""

Reasons = dict[tuple[int, str], str]
"""What is wrong with a row, by its place and the column."""


@dataclass(frozen=True)
class Screened:
    """The rows that keep the schema, and those that don't."""

    good: pd.DataFrame
    """The declared columns in their declared types, numbered from 0."""
    positions: np.ndarray
    """Where each good row stood in the source, counted from 0."""
    bad: pd.DataFrame
    """The rows as they came, as text, with `row` (counted from 0) and `reason`."""
    faults: dict[str, int] = field(default_factory=dict)
    """How many rows each column spoilt."""


def screen(
    frame: pd.DataFrame, schema: pa.DataFrameSchema, key: list[str] | None = None
) -> Screened:
    """Hold every row, as it came, against the schema. Columns not declared there are left out.

    The `key` is columns that together must be unique. All rows that share one are bad, since which
    of them is right can't be told from their order.

    UsageError where a declared column is missing, GateRefused where a check of the table fails.
    """
    if absent := [name for name in schema.columns if name not in frame.columns]:
        there = ", ".join(map(str, frame.columns))
        raise UsageError(f"Missing column: {', '.join(absent)}. The data has: {there}.")
    raw = frame.reset_index(drop=True)
    typed, reasons = conform(raw, schema)
    _check(typed, schema, reasons)
    unique = [[name] for name, column in schema.columns.items() if column.unique]
    for names in filter(None, [*unique, key]):
        twice = typed.duplicated(names, keep=False) & typed[names].notna().all(axis=1)
        _note(reasons, twice, "/".join(names), "is not unique")
    types = declared_types(schema)
    if not reasons:
        none = pd.DataFrame(columns=[*schema.columns, "row", "reason"])
        return Screened(typed.astype(types), np.arange(len(raw)), none)

    why = pd.Series(reasons).groupby(level=0).agg("; ".join)
    bad = raw.loc[why.index, list(schema.columns)].astype("str")
    bad = bad.assign(row=why.index, reason=why).reset_index(drop=True)
    good = typed.drop(index=why.index)
    faults = dict(Counter(name for _, name in reasons))
    return Screened(good.reset_index(drop=True).astype(types), good.index.to_numpy(), bad, faults)


def conform(frame: pd.DataFrame, schema: pa.DataFrameSchema) -> tuple[pd.DataFrame, Reasons]:
    """Cast each declared column, and say which values can't be cast: these are missing then.

    Columns become `float64`, `Int64`, `boolean`, `str` or `datetime64[us]` in UTC.
    """
    columns: dict[str, pd.Series] = {}
    reasons: Reasons = {}
    for name, column in schema.columns.items():
        values, target = frame[name], _target(str(column.dtype))
        columns[name] = cast = _cast(values, target)
        lost = cast.isna() & values.notna()
        if lost.any():
            said = ~values.astype("str").isin(MISSING_WORDS)
            for row in np.flatnonzero(lost & said).tolist():
                reasons[row, name] = f"{name} is {_quoted(values.iloc[row])}, not {WANTED[target]}"
    return pd.DataFrame(columns, index=frame.index), reasons


def declared_types(schema: pa.DataFrameSchema) -> dict[str, str]:
    """Return the type each declared column has once its rows are known to be good."""
    types = {name: _target(str(column.dtype)) for name, column in schema.columns.items()}
    plain = {"Int64": "int64", "boolean": "bool"}
    return {
        name: target if schema.columns[name].nullable else plain.get(target, target)
        for name, target in types.items()
    }


def nullable_type(kind: pyarrow.DataType) -> object:
    """Keep whole numbers and flags exact beside missing ones: a `types_mapper` of `to_pandas`."""
    if pyarrow.types.is_integer(kind):
        return pd.UInt64Dtype() if kind == pyarrow.uint64() else pd.Int64Dtype()
    return pd.BooleanDtype() if pyarrow.types.is_boolean(kind) else None


def to_inputs(typed: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return the model's inputs as every estimator gets them, in training and ever after.

    Numbers and flags are `float64` with NaN where missing, dates `datetime64[us]`, categories
    Python strings with `(missing)` where missing.
    """
    inputs = typed[columns.inputs].copy()
    for name, kind in columns.kinds.items():
        if kind == "category":
            inputs[name] = inputs[name].astype(object).where(inputs[name].notna(), MISSING)
        elif kind != "date":
            inputs[name] = inputs[name].astype("float64")
    return inputs


def _target(dtype: str) -> str:
    kind = kind_of(dtype)
    if kind == "number":
        return "float64" if dtype.lower().startswith("float") else "Int64"
    return {"flag": "boolean", "date": "datetime64[us]", "category": "str"}[kind]


def _cast(values: pd.Series, target: str) -> pd.Series:
    if target == "str":
        return _as_text(values)
    if target == "datetime64[us]":
        stamps = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        return stamps.dt.tz_localize(None).astype("datetime64[us]")
    if target == "boolean":
        if pd.api.types.is_bool_dtype(values):
            return values.astype("boolean")
        return values.astype("str").str.lower().map(TRUTH).astype("boolean")
    if pd.api.types.is_bool_dtype(values):
        values = values.astype("Int64")
    if target == "float64":
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        return numbers.where(np.isfinite(numbers))
    numbers = pd.to_numeric(values, errors="coerce", dtype_backend="numpy_nullable")
    whole = _whole(numbers)
    if (lost := whole.isna() & numbers.notna()).any():
        # One decimal point or word among them, and pandas makes floats of all.
        texts = values[lost].astype("str")
        exact = pd.to_numeric(texts[texts.str.fullmatch(WHOLE)])
        whole[exact.index] = exact
    return whole


def _whole(numbers: pd.Series) -> pd.Series:
    """Whole numbers to the last digit; any that are none, or can't be had so, become missing."""
    if pd.api.types.is_float_dtype(numbers):
        numbers = numbers.where((numbers == numbers.round()) & (numbers.abs() <= 2**53))
    elif pd.api.types.is_unsigned_integer_dtype(numbers):
        numbers = numbers.where(numbers < 2**63)
    return numbers.astype("Int64")


def _as_text(values: pd.Series) -> pd.Series:
    """Text as it is, whole numbers without a decimal point, and the empty text as missing."""
    if values.dtype == object:  # or pandas would write out what is no single value
        values = values.mask(values.map(type).isin([list, dict, np.ndarray]))
    if pd.api.types.is_float_dtype(values):
        whole = _whole(values)
        if whole.notna().sum() == values.notna().sum():
            values = whole
    text = values if values.dtype == "str" else values.astype("str").where(values.notna())
    return text.where(text != "")


def _check(typed: pd.DataFrame, schema: pa.DataFrameSchema, reasons: Reasons) -> None:
    for name, column in schema.columns.items():
        values = typed[name]
        if not column.nullable:
            _note(reasons, values.isna(), name, "is missing")
        for check in column.checks:
            broken, rule = _broken(check, typed, name)
            rows = np.flatnonzero(broken.fillna(value=False)).tolist()
            for row, value in zip(rows, values.iloc[rows].tolist(), strict=True):
                reasons.setdefault((row, name), f"{name} is {_quoted(value)}{rule}")
    for check in schema.checks:
        _note(reasons, _asked(check, typed), "the row", f"breaks {check.error or check.name}")


def _note(reasons: Reasons, broken: pd.Series, what: str, said: str) -> None:
    """Note what is wrong with rows, unless something is known of the same column."""
    for row in np.flatnonzero(broken).tolist():
        reasons.setdefault((row, what), f"{what} {said}")


def _broken(check: pa.Check, typed: pd.DataFrame, column: str) -> tuple[pd.Series, str]:
    """Return which rows break a check, and what is said of their values.

    The usual checks are made here: pandera takes several times as long.
    """
    values: pd.Series = typed[column]
    bound: Any = next(iter((check.statistics or {}).values()), None)
    match check.name:
        case "greater_than_or_equal_to":
            return values < bound, f", below {bound}"
        case "less_than_or_equal_to":
            return values > bound, f", above {bound}"
        case "isin":
            return values.notna() & ~values.isin(bound), ", an unknown category"
    return _asked(check, typed, column), f": breaks {check.error or check.name}"


def _asked(check: pa.Check, typed: pd.DataFrame, column: str | None = None) -> pd.Series:
    kept = check(typed, column).check_output
    if isinstance(kept, bool) and not kept:
        told = check.error or check.name
        raise GateRefused(f"The table breaks the check {told!r} of schema.py.")
    if isinstance(kept, pd.DataFrame):
        kept = kept.all(axis=1)
    return pd.Series(kept, index=typed.index).eq(other=False)


def _quoted(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
