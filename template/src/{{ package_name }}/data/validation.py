"""Gives every column its declared type and every row a verdict.

This is the one boundary at which types and missing values are made uniform: a model fitted on one
text type and asked with another may silently predict something else.
"""

from collections.abc import Callable
from dataclasses import dataclass
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

TRUTH = {"true": True, "1": True, "1.0": True, "yes": True, "t": True, "y": True} | {
    "false": False,
    "0": False,
    "0.0": False,
    "no": False,
    "f": False,
    "n": False,
}


@dataclass(frozen=True)
class Screened:
    """The rows that keep the schema, and those that don't."""

    good: pd.DataFrame
    """The declared columns in their declared types, numbered from 0."""
    positions: np.ndarray
    """Where each good row stood in the source, counted from 0."""
    bad: pd.DataFrame
    """The rows as they came, as text, with `row` (counted from 0) and `reason`."""


def screen(
    frame: pd.DataFrame, schema: pa.DataFrameSchema, key: list[str] | None = None
) -> Screened:
    """Hold every row against the schema.

    Parameters
    ----------
    frame
        Rows as they came, with any index.
    schema
        The declared columns. Others are left out.
    key
        Columns that together must be unique. All rows that share a key are bad, since which of
        them is right can't be told from their order.

    Raises
    ------
    UsageError
        A declared column is missing.
    GateRefused
        A check on the table as a whole fails.
    """
    absent = [name for name in schema.columns if name not in frame.columns]
    if absent:
        raise UsageError(
            f"Missing column{'s' if len(absent) > 1 else ''}: {', '.join(absent)}. "
            f"The data has: {', '.join(map(str, frame.columns))}."
        )
    raw = frame.reset_index(drop=True)
    typed, reasons = conform(raw, schema)
    if not (reasons or key or schema.checks) and all(
        _keeps(typed[name], column) for name, column in schema.columns.items()
    ):
        none = pd.DataFrame(columns=[*schema.columns, "row", "reason"])
        return Screened(typed.astype(declared_types(schema)), np.arange(len(raw)), none)
    uncast = {(row, reason.partition(" is ")[0]) for row, reason in reasons}
    reasons += [
        (row, reason)
        for row, reason in _broken_checks(typed, schema)
        if (row, reason.removesuffix(" is missing")) not in uncast
    ]
    if key:
        twice = typed.duplicated(key, keep=False) & typed[key].notna().all(axis=1)
        name = "/".join(key)
        reasons += [(row, f"{name} is not unique") for row in np.flatnonzero(twice).tolist()]

    found = pd.DataFrame(reasons, columns=["row", "reason"]).drop_duplicates()
    why: pd.Series = found.groupby("row", sort=True)["reason"].agg("; ".join)
    bad = raw.loc[why.index, list(schema.columns)].astype("str")
    bad = bad.assign(row=why.index, reason=why).reset_index(drop=True)
    kept = np.setdiff1d(np.arange(len(raw)), why.index.to_numpy(dtype=int))
    good = typed.iloc[kept].reset_index(drop=True)
    return Screened(good.astype(declared_types(schema)), kept, bad)


def conform(
    frame: pd.DataFrame, schema: pa.DataFrameSchema
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Cast each declared column, and say which values can't be cast.

    Returns
    -------
    frame
        The declared columns: `float64`, `Int64`, `boolean`, `str` or `datetime64[us]` in UTC.
    reasons
        (row, reason) of every value that could not be cast; the value itself is missing then.
    """
    columns: dict[str, pd.Series] = {}
    reasons: list[tuple[int, str]] = []
    for name, column in schema.columns.items():
        values = frame[name]
        cast = _cast(values, str(column.dtype))
        lost = cast.isna() & values.notna()
        if kind_of(column.dtype) != "category" and lost.any():
            failed = np.flatnonzero(lost & ~_reads_as_missing(values))
            wanted = _WANTED[_target(str(column.dtype))]
            reasons += [
                (row, f"{name} is {values.iloc[row]!r}, not {wanted}") for row in failed.tolist()
            ]
        columns[name] = cast
    return pd.DataFrame(columns, index=frame.index), reasons


def declared_types(schema: pa.DataFrameSchema) -> dict[str, str]:
    """Return the type each declared column has once its rows are known to be good."""
    plain = {"Int64": "int64", "boolean": "bool"}
    return {
        name: target if column.nullable else plain.get(target, target)
        for name, column in schema.columns.items()
        for target in [_target(str(column.dtype))]
    }


def nullable_type(kind: pyarrow.DataType) -> object:
    """Map Arrow types to pandas ones that keep whole numbers and flags exact beside missing ones.

    For `to_pandas(types_mapper=...)`.
    """
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


_WANTED = {
    "Int64": "a whole number",
    "float64": "a finite number",
    "boolean": "true or false",
    "datetime64[us]": "a date",
    "str": "a text",
}


def _target(dtype: str) -> str:
    kind = kind_of(dtype)
    if kind == "number":
        return "float64" if dtype.lower().startswith("float") else "Int64"
    return {"flag": "boolean", "date": "datetime64[us]", "category": "str"}[kind]


def _reads_as_missing(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return pd.Series(data=False, index=values.index)
    return values.astype("str").isin(MISSING_WORDS)


def _cast(values: pd.Series, dtype: str) -> pd.Series:
    target = _target(dtype)
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
    return _whole(pd.to_numeric(values, errors="coerce", dtype_backend="numpy_nullable"))


def _whole(numbers: pd.Series) -> pd.Series:
    """Whole numbers to the last digit; any that are none, or can't be had so, become missing."""
    if pd.api.types.is_float_dtype(numbers):
        numbers = numbers.where((numbers == numbers.round()) & (numbers.abs() <= 2**53))
    elif pd.api.types.is_unsigned_integer_dtype(numbers):
        numbers = numbers.where(numbers < 2**63)
    return numbers.astype("Int64")


def _as_text(values: pd.Series) -> pd.Series:
    """Text as it is, whole numbers without a decimal point, and the empty text as missing."""
    if pd.api.types.is_float_dtype(values):
        whole = _whole(values)
        if whole.notna().sum() == values.notna().sum():
            values = whole
    text = values if values.dtype == "str" else values.astype("str").where(values.notna())
    return text.where(text != "")


def _keeps(values: pd.Series, column: pa.Column) -> bool:
    """Whether a column surely keeps its checks; pandera takes longer to say so."""
    if (values.isna().any() and not column.nullable) or (column.unique and not values.is_unique):
        return False
    tests: dict[str | None, Callable[[dict[str, Any]], Any]] = {
        "greater_than_or_equal_to": lambda known: values.min() >= known["min_value"],
        "less_than_or_equal_to": lambda known: values.max() <= known["max_value"],
        "isin": lambda known: values.dropna().isin(known["allowed_values"]).all(),
    }
    if any(check.name not in tests for check in column.checks):
        return False
    return bool(values.isna().all()) or all(tests[c.name](c.statistics) for c in column.checks)


def _broken_checks(typed: pd.DataFrame, schema: pa.DataFrameSchema) -> list[tuple[int, str]]:
    """Run pandera's checks on all rows at once; types were settled by `conform`."""
    untyped = {
        name: pa.Column(None, column.checks, nullable=column.nullable, unique=column.unique)
        for name, column in schema.columns.items()
    }
    try:
        pa.DataFrameSchema(untyped, checks=schema.checks).validate(typed, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return []
    whole = cases[cases["index"].isna()]
    if len(whole):
        raise GateRefused(f"The table breaks the check {whole['check'].iloc[0]!r} of schema.py.")
    return [
        (int(case.index), _explain(str(case.column), str(case.check), case.failure_case))
        for case in cases.set_index("index").reset_index().itertuples(index=False)
    ]


def _explain(column: str, check: str, value: object) -> str:
    argument = check.partition("(")[2].rstrip(")")
    words = {
        "not_nullable": f"{column} is missing",
        "field_uniqueness": f"{column} is not unique",
        "isin": f"{column} is {value!r}, an unknown category",
        "greater_than_or_equal_to": f"{column} is {value}, below {argument}",
        "less_than_or_equal_to": f"{column} is {value}, above {argument}",
    }
    return words.get(check.partition("(")[0], f"{column} is {value!r}: breaks {check}")
