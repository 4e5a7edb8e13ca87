"""The request model, made from the schema: what a caller must and may send."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import pandera.pandas as pa
from pydantic import BaseModel, ConfigDict, Field, Strict, create_model, model_validator

from ..data.columns import Columns, Kind, categories, kind_of, limits
from ..data.validation import MISSING
from ..training.graph import Arrays

TYPES: dict[str, Any] = {
    "flag": Annotated[bool, Strict()],
    "category": Annotated[str, Strict()],
    "date": datetime,
}
NUMBER = Annotated[float, Strict(), Field(allow_inf_nan=False)]
WHOLE = Annotated[int, Strict()]


class Rows(BaseModel):
    """Rows to be answered; a single row may also be sent by itself."""

    rows: list[Any]

    @model_validator(mode="before")
    @classmethod
    def _one_row(cls, body: Any) -> Any:
        return body if not isinstance(body, dict) or "rows" in body else {"rows": [body]}


def request_model(
    schema: pa.DataFrameSchema, columns: Columns, example: dict[str, Any], max_rows: int
) -> type[Rows]:
    """Return the model of a request: `{"rows": [...]}`, or one row by itself.

    A row holds every input; one that may be missing may be left out. Key, entity and time may be
    sent along. Other declared columns are ignored, undeclared ones are an error.
    """
    ignored = set(schema.columns) - set(columns.inputs) - set(columns.context)

    class Base(BaseModel):
        model_config = ConfigDict(extra="forbid", json_schema_extra={"example": example})

        @model_validator(mode="before")
        @classmethod
        def _leave_out(cls, row: Any) -> Any:
            if not isinstance(row, dict):
                return row
            return {name: value for name, value in row.items() if name not in ignored}

    fields: dict[str, Any] = {}
    for number, (name, column) in enumerate(schema.columns.items()):
        if name in ignored:
            continue
        optional = column.nullable or name not in columns.kinds
        kind = _type(column)
        default = None if optional else ...
        fields[f"field_{number}"] = (
            kind | None if optional else kind,
            Field(default, alias=name, **_description(column)),
        )
    row = create_model("Row", __base__=Base, **fields)
    rows = (list[row], Field(min_length=1, max_length=max_rows))  # type: ignore[valid-type]
    return create_model("Request", __base__=Rows, rows=rows)


def read_rows(rows: Sequence[BaseModel], names: list[str]) -> dict[str, list[Any]]:
    """Return the values of checked rows by column, None where one is missing."""
    fields = {field.alias: attribute for attribute, field in type(rows[0]).model_fields.items()}
    return {name: [getattr(row, fields[name]) for row in rows] for name in names}


def to_arrays(values: dict[str, list[Any]], columns: Columns) -> Arrays:
    """Return the model's inputs from checked values, as `data.validation.to_inputs` makes them."""
    return {name: _array(values[name], kind) for name, kind in columns.kinds.items()}


def _array(values: list[Any], kind: Kind) -> np.ndarray:
    if kind == "category":
        return np.array([value or MISSING for value in values], dtype=object)
    if kind == "date":
        return np.array([_in_utc(value) for value in values], dtype="datetime64[us]")
    return np.array(values, dtype="float64")  # None becomes NaN


def _in_utc(value: datetime | None) -> datetime | None:
    return (
        value
        if value is None or value.tzinfo is None
        else value.astimezone(UTC).replace(tzinfo=None)
    )


def _type(column: pa.Column) -> Any:
    kind = kind_of(column.dtype)
    if kind != "number":
        return TYPES[kind]
    low, high = limits(column)
    base = NUMBER if str(column.dtype).lower().startswith("float") else WHOLE
    return Annotated[base, Field(ge=low, le=high)]


def _description(column: pa.Column) -> dict[str, Any]:
    known = categories(column)
    return {"examples": known} if known else {}
