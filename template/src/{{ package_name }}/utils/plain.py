"""Results as JSON."""

import json

from pydantic_core import to_jsonable_python


def to_json(result: object, indent: int | None = None) -> str:
    """Write a result as JSON: what is not finite as null, what is unknown to JSON as text."""
    plain = to_jsonable_python(result, inf_nan_mode="null", fallback=str)
    return json.dumps(plain, indent=indent)
