"""The page of `/docs`: the reference of the API, from its own OpenAPI description."""

import json
import shlex
from html import escape
from typing import Any

from .pages import as_text, between, render

VALUES = {"string": "text", "integer": 1, "number": 1.5, "boolean": True}
Field = tuple[str, dict[str, Any], bool]
"""The path of a field, its schema, and whether it must be there."""


def docs_page(openapi: dict[str, Any]) -> str:
    """Return the page: every path, what it is asked with and what it answers."""
    schemas = openapi.get("components", {}).get("schemas", {})
    cards = [
        _operation(method.upper(), path, _inline(operation, schemas))
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    return render(openapi["info"]["title"], "\n".join(cards))


def _inline(node: Any, schemas: dict[str, Any], above: tuple[str, ...] = ()) -> Any:
    """Put each schema where it is referred to, and a value for itself where it may be null."""
    if isinstance(node, list):
        return [_inline(one, schemas, above) for one in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        found = {} if name in above else _inline(schemas[name], schemas, (*above, name))
        return found | {key: one for key, one in node.items() if key != "$ref"}
    node = {key: _inline(one, schemas, above) for key, one in node.items()}
    kinds = node.get("anyOf")
    some = [one for one in kinds if one.get("type") != "null"] if isinstance(kinds, list) else []
    return some[0] | node if len(some) == 1 else node


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    said = operation.get("description") or operation.get("summary", "")
    asked: list[Field] = [
        (one["name"], one["schema"], one.get("required", False))
        for one in operation.get("parameters", [])
    ]
    command = f'curl -X {method} <span class="base"></span>{escape(shlex.quote(path))}'
    if operation.get("security"):
        command += ' \\\n  -H "X-API-Key: $API_KEY"'
    if body := _body(operation.get("requestBody", {})):
        asked += _fields(body)
        example = json.dumps(_example(body), ensure_ascii=False, indent=2)
        command += " \\\n  -H 'Content-Type: application/json'"
        command += f" \\\n  -d {escape(shlex.quote(example))}"
    parts = [
        f'<h2><span class="method">{method}</span> <code>{escape(path)}</code></h2>',
        f"<p>{escape(said)}</p>",
        f"<h3>Request</h3>{_table(asked, 'required', 'optional')}" if asked else "",
        f"<h3>Example</h3><pre>{command}</pre>",
    ]
    for code, answer in operation["responses"].items():
        parts += [f"<h3>Answer {code}: {escape(answer['description'])}</h3>"]
        if body := _body(answer):
            fields = _fields(body)
            table = _table(fields, "", "may be missing")
            parts += [table if fields else f"<p>{_type(body)}</p>"]
    return f'<section class="card">{"".join(parts)}</section>'


def _body(message: dict[str, Any]) -> dict[str, Any]:
    json_type: dict[str, Any] = message.get("content", {}).get("application/json", {})
    return json_type.get("schema", {})


def _fields(schema: dict[str, Any], path: str = "") -> list[Field]:
    """List each field of a body, and those within it."""
    if "items" in schema:
        return _fields(schema["items"], f"{path}[]")
    found: list[Field] = []
    for name, inner in schema.get("properties", {}).items():
        place = f"{path}.{name}".removeprefix(".")
        found += [(place, inner, name in schema.get("required", [])), *_fields(inner, place)]
    return found


def _table(fields: list[Field], always: str, sometimes: str) -> str:
    rows = [
        f"<tr><td><code>{escape(path)}</code></td><td>{_type(schema)}</td>"
        f"<td>{always if required else sometimes}</td><td>{_values(schema)}</td></tr>"
        for path, schema, required in fields
    ]
    head = "<tr><th>Field</th><th>Type</th><th>Presence</th><th>Values</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _type(schema: dict[str, Any]) -> str:
    if "type" not in schema:
        return " or ".join(map(_type, schema.get("anyOf", []))) or "anything"
    inner = schema.get("items", schema.get("additionalProperties"))
    of = f" of {_type(inner)}" if isinstance(inner, dict) else ""
    return escape(schema.get("format", schema["type"])) + of


def _values(schema: dict[str, Any]) -> str:
    ends = ("minimum", "minItems"), ("maximum", "maxItems")
    low, high = (as_text(schema.get(one, schema.get(other))) for one, other in ends)
    known = ", ".join(map(as_text, schema.get("enum", schema.get("examples", []))))
    said = [
        escape(schema.get("description", "")),
        between(low, high) + (" items" if low and "items" in schema else ""),
        known if "enum" in schema else known and f"such as {known}",
    ]
    return "; ".join(filter(None, said))


def _example(schema: dict[str, Any]) -> Any:
    """Make up a body from the examples in its schema."""
    if "example" in schema:
        return schema["example"]
    if "items" in schema:
        return [_example(schema["items"])]
    if "properties" in schema:
        return {name: _example(inner) for name, inner in schema["properties"].items()}
    known = schema.get("enum", schema.get("examples"))
    return known[0] if known else VALUES.get(schema.get("type", ""))
