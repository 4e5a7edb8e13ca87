"""The page of `/`, on which anyone can try a prediction: a form made from the schema.

It needs nothing but the service itself: no network, no other files.
"""

import re
from html import escape
from pathlib import Path
from typing import Any

import pandera.pandas as pa

from ..data.columns import Columns, Kind, categories, limits

PAGE = Path(__file__).with_name("page.html")
INPUTS = {"number": "number", "category": "text", "date": "datetime-local"}
FLAGS = {"true": "yes", "false": "no"}


def try_page(
    title: str, schema: pa.DataFrameSchema, columns: Columns, example: dict[str, Any]
) -> str:
    """Return the page: a form with every input of the model, filled in with the example."""
    fields = [
        _field(f"field-{number}", name, kind, schema.columns[name], example.get(name))
        for number, (name, kind) in enumerate(columns.kinds.items())
    ]
    return render(title, "\n".join(fields), columns.roles.target)


def render(title: str, content: str, target: str | None = None) -> str:
    """Put content into page.html: fields of the form that asks for the target, or a whole page."""
    start, form, end = re.split(r"<!-- part: .* -->\n", PAGE.read_text(encoding="utf-8"))
    page = start + ("<main>{content}</main>\n" if target is None else form) + end
    texts = {"title": escape(title), "content": content, "target": escape(target or "")}
    # All at once: what is filled in may look like a place itself.
    return re.sub(r"\{(title|content|target)\}", lambda place: texts[place[1]], page)


def as_text(value: Any, kind: Kind = "number") -> str:
    """Write a value as a form has it, escaped; nothing where it is missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return escape(text.replace(" ", "T")[:19] if kind == "date" else text)


def between(low: str, high: str) -> str:
    """Say what lies between two limits, either of which may be missing."""
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""


def _field(number: str, name: str, kind: Kind, column: pa.Column, value: Any) -> str:
    own = f'id="{number}" data-name="{escape(name)}" data-kind="{kind}"'
    own += f' aria-describedby="{number}-hint {number}-error"'
    own += "" if column.nullable else " required"
    known = list(FLAGS) if kind == "flag" else categories(column)
    if known is not None:
        options = _options(known, kind, as_text(value, kind), column.nullable)
        control = f"<select {own}>{options}</select>"
    else:
        control = f'<input {own} value="{as_text(value, kind)}" {_bounds(kind, column)}>'
    return (
        f'<div><label for="{number}">{escape(name)}</label>{control}'
        f'<p class="hint" id="{number}-hint">{_hint(kind, column)}</p>'
        f'<p class="error" id="{number}-error"></p></div>'
    )


def _options(known: list[Any], kind: Kind, chosen: str, nullable: bool) -> str:
    words = {"": "missing"} | (FLAGS if kind == "flag" else {})
    values = [as_text(one, kind) for one in known] + [""] * nullable
    return "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>'
        f"{words.get(value, value)}</option>"
        for value in values
    )


def _bounds(kind: Kind, column: pa.Column) -> str:
    if kind == "category":
        return 'type="text"'
    low, high = (as_text(limit, kind) for limit in limits(column))
    step = "any" if kind == "number" and not _whole(column) else "1"
    return f'type="{INPUTS[kind]}" min="{low}" max="{high}" step="{step}"'


def _hint(kind: Kind, column: pa.Column) -> str:
    low, high = (as_text(limit, kind) for limit in limits(column))
    words = [
        "whole number" if kind == "number" and _whole(column) else "",
        between(low, high),
        "UTC" if kind == "date" else "",
        "may be missing" if column.nullable else "",
    ]
    return ", ".join(filter(None, words))


def _whole(column: pa.Column) -> bool:
    return "int" in str(column.dtype).lower()
