"""What each column is for, read from the schema and the `[data]` settings."""

from dataclasses import dataclass
from typing import Any, Literal

import pandera.pandas as pa

from ..utils.config import Roles
from ..utils.errors import UsageError

Kind = Literal["number", "flag", "category", "date"]
ADDED = {"row", "rows", "reason", "prediction", "prediction_id", "predicted_at", "model_version"}
"""What is added to rows is called so, and no column may be."""


@dataclass(frozen=True)
class Columns:
    """The inputs of the model by kind, in the schema's order, and the columns beside them."""

    roles: Roles
    kinds: dict[str, Kind]
    """Every input and its kind."""

    @property
    def inputs(self) -> list[str]:
        """All inputs of the model."""
        return list(self.kinds)

    def of(self, *kinds: Kind) -> list[str]:
        """Return the inputs of these kinds."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    @property
    def context(self) -> list[str]:
        """What travels with a row but is no input: key, entity and time."""
        roles = [*self.roles.key, self.roles.group, self.roles.time]
        return list(dict.fromkeys(name for name in roles if name))


def kind_of(dtype: object) -> Kind:
    """Return the kind of a declared type (a pandera dtype or its name)."""
    name = str(dtype).lower()
    if name.startswith("bool"):
        return "flag"
    if name.startswith(("int", "uint", "float")):
        return "number"
    if name.startswith("datetime"):
        return "date"
    return "category"


def describe(schema: pa.DataFrameSchema, roles: Roles) -> Columns:
    """Sort the schema's columns by the part they play.

    UsageError where a role names a column that the schema doesn't have, no input is left, or a
    column has a name that is given away.
    """
    named = [roles.target, *roles.key, roles.group, roles.time, *roles.exclude]
    if absent := ", ".join(name for name in named if name and name not in schema.columns):
        known = ", ".join(schema.columns)
        raise UsageError(f"[data] in config.toml names {absent}; schema.py declares {known}.")
    kinds = {
        name: kind_of(column.dtype) for name, column in schema.columns.items() if name not in named
    }
    if not kinds:
        raise UsageError("No input is left: every column is the key, time, target or excluded.")
    if taken := ADDED.intersection(schema.columns):
        raise UsageError(
            f"schema.py declares {', '.join(sorted(taken))}: so is called what is added to rows. "
            "Rename the column in the source and in schema.py."
        )
    return Columns(Roles(**roles.model_dump(include=set(Roles.model_fields))), kinds)


def limits(column: pa.Column) -> tuple[float | None, float | None]:
    """Return the declared lower and upper limit of a column, None where there is none."""
    said = _said(column)
    return said.get("min_value"), said.get("max_value")


def categories(column: pa.Column) -> list[str] | None:
    """Return the values that a column may take, None where any is allowed."""
    known = _said(column).get("allowed_values")
    return None if known is None else list(known)


def _said(column: pa.Column) -> dict[str, Any]:
    return {name: value for check in column.checks for name, value in check.statistics.items()}
