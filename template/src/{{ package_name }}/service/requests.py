"""The request model, made from the schema: what a caller must and may send."""

from datetime import datetime
from typing import Annotated, Any

import pandera.pandas as pa
from pydantic import BaseModel, ConfigDict, Field, Strict, create_model, model_validator

from ..data.columns import Columns, categories, kind_of, limits

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
