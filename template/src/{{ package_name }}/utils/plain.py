"""Results as JSON."""

import json
from dataclasses import is_dataclass


def to_json(result: object, indent: int | None = None) -> str:
    """Write a result as JSON: dataclasses as objects, what JSON does not know as text."""
    return json.dumps(result, default=_plain, indent=indent)


def _plain(value: object) -> object:
    return vars(value) if is_dataclass(value) else str(value)
