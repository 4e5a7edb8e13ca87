"""The request model, made from the schema: what a caller must and may send."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired

import numpy as np
import pandera.pandas as pa
from pydantic import (
    BaseModel,
    Field,
    GetPydanticSchema,
    Strict,
    WithJsonSchema,
    create_model,
    model_validator,
    with_config,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core.core_schema import chain_schema, str_schema
from typing_extensions import TypedDict

from ..data.columns import Columns, Kind, categories, kind_of, limits
from ..data.validation import MISSING
from ..training.graph import Arrays

Row = dict[str, Any]
"""What was sent of a row, checked. Inputs that may be missing may be absent."""

DAY = str_schema(pattern=r"^\d{4}-\d\d-\d\d")
"""How a date begins: pydantic takes digits alone for seconds since 1970."""
JSON_TYPES: dict[str, Any] = {
    "flag": Annotated[bool, Strict()],
    "category": Annotated[str, Strict()],
    "date": Annotated[
        datetime,
        Field(ge=datetime.min.replace(tzinfo=UTC), le=datetime.max.replace(tzinfo=UTC)),
        GetPydanticSchema(lambda source, handler: chain_schema([DAY, handler(source)])),
        WithJsonSchema({"type": "string", "format": "date-time"}),
    ],
}
NUMBER = Annotated[float, Strict(), Field(allow_inf_nan=False)]
WHOLE = Annotated[int, Strict(), Field(ge=-(2**63), le=2**63 - 1)]
LIMITS = {"greater_than_or_equal_to", "less_than_or_equal_to"}
"""The checks that the request model makes, of numbers; `screen` makes every other one."""


class Rows(BaseModel):
    """Rows to be answered; a single row may also be sent by itself."""

    model_config = {"extra": "forbid"}
    rows: list[Any]

    @model_validator(mode="before")
    @classmethod
    def _one_row(cls, body: Any) -> Any:
        return body if not isinstance(body, dict) or "rows" in body else {"rows": [body]}


def request_model(
    schema: pa.DataFrameSchema, columns: Columns, example: Row, max_rows: int
) -> type[Rows]:
    """Return the model of a request: `{"rows": [...]}`, or one row by itself.

    A row holds every input; one that may be missing may be left out. Key, entity and time may be
    sent along. Other declared columns are ignored, undeclared ones are an error.
    """
    fields: dict[str, Any] = {}
    for name, column in schema.columns.items():
        kind = _type(column)
        if name not in [*columns.inputs, *columns.context]:
            fields[name] = NotRequired[Annotated[Any, SkipJsonSchema()]]
        elif column.nullable or name not in columns.kinds:
            fields[name] = NotRequired[kind | None]
        else:  # an empty text is a missing one
            text = kind_of(column.dtype) == "category"
            fields[name] = Annotated[kind, Field(min_length=1)] if text else kind
    described = with_config(extra="forbid", json_schema_extra={"example": example})
    row: Any = described(TypedDict("Row", fields))  # type: ignore[operator]  # known only now
    rows = (list[row], Field(min_length=1, max_length=max_rows))
    return create_model("Request", __base__=Rows, rows=rows)


def _type(column: pa.Column) -> Any:
    kind = kind_of(column.dtype)
    if kind != "number":
        return Annotated[JSON_TYPES[kind], Field(examples=categories(column))]
    base = NUMBER if str(column.dtype).lower().startswith("float") else WHOLE
    low, high = limits(column)
    return Annotated[base, Field(ge=low, le=high, examples=categories(column))]


def checks_all(asked: pa.DataFrameSchema) -> bool:
    """Tell whether the request model makes every check of these columns, or `screen` is needed.

    The model knows one lower and one upper limit, and of numbers only.
    """
    return all(
        not column.checks
        or (
            kind_of(column.dtype) == "number"
            and len(LIMITS & {check.name for check in column.checks}) == len(column.checks)
        )
        for column in asked.columns.values()
    )


def to_arrays(values: Mapping[str, Sequence[Any]], columns: Columns) -> Arrays:
    """Return the model's inputs from checked values, as `data.validation.to_inputs` makes them."""
    return {name: _array(values[name], kind) for name, kind in columns.kinds.items()}


def key_text(value: Any) -> str:
    """Return a part of a key as `outcomes` finds it; a moment is the same in every time zone."""
    return str(_in_utc(value) if isinstance(value, datetime) else value)


def _array(values: Sequence[Any], kind: Kind) -> np.ndarray:
    if kind == "category":
        return np.array([value or MISSING for value in values], dtype=object)
    if kind == "date":
        return np.array([_in_utc(value) for value in values], dtype="datetime64[us]")
    return np.array(values, dtype=float)  # None becomes NaN


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None or value.tzinfo is None:
        return value
    return value.astimezone(UTC).replace(tzinfo=None)
