"""The texts that declare a table: `preprocessing/schema.py` and `[data]` in config.toml."""

import re
import unicodedata
from collections.abc import Mapping
from itertools import chain, count
from keyword import iskeyword

import pandera.pandas as pa
import tomlkit
from tomlkit.items import Comment, Table, Whitespace

from .infer import Found

WIDTH = 100
LONGEST_NAME = 60
TAKEN = {*dir(pa.DataFrameModel), "bool", "datetime", "float", "int", "pa", "pd", "str", *"lIO"}
"""Names that mean something else inside the class, or are hard to read."""

HEAD = (
    '"""The columns, declared once: '
    '''everything that reads, checks, serves or invents rows starts here.

A column is one line: its name, its type, and what its values may be. Types are `int`, `float`,
`bool`, `str` and `datetime`; whole numbers and flags that may be missing are `pd.Int64Dtype` and
`pd.BooleanDtype`. Which column is the key, the entity, the time and the target is said in
`resources/config.toml` under `[data]`; all others are inputs of the model.
"""

'''
)


def schema_text(file_name: str, lines: list[str]) -> str:
    """Return the module that declares the columns, given the lines of each."""
    body = "\n".join(lines)
    file_name = re.sub(r"[^\w .()+-]", "_", file_name)
    if len(file_name) > LONGEST_NAME:
        file_name = "the adopted file"
    parts = []
    if re.search(r"^    \w+: datetime\b", body, re.MULTILINE):
        parts.append("from datetime import datetime\n\n")
    if re.search(r"^    \w+: pd\.", body, re.MULTILINE):
        parts.append("import pandas as pd\n")
    parts.append("import pandera.pandas as pa\n\n\nclass Rows(pa.DataFrameModel):\n")
    parts.append(f'    """One row of {file_name}."""\n\n{body}\n')
    return HEAD + _exceptions(file_name + body) + "".join(parts)


def column_line(
    found: Found,
    attribute: str,
    checks: list[str],
    categories: list[str] | None,
    *,
    nullable: bool,
) -> str:
    """Return the declaration of a column: one line, or several where that is too long.

    It is laid out as ruff would, which a project's formatter then leaves alone.

    Parameters
    ----------
    attribute
        The column's name in the class; where it is another, the column keeps its own by an alias.
    checks
        Arguments of `pa.Field`, such as `ge=0`.
    """
    kind = {"int": "pd.Int64Dtype", "bool": "pd.BooleanDtype"}.get(found.type, found.type)
    start = f"    {attribute}: {kind if nullable else found.type}"
    arguments = [] if attribute == found.name else [f"alias={quoted(found.name)}"]
    arguments += checks
    folded = {}
    if categories:
        texts = [quoted(text) for text in categories]
        arguments.append(f"isin=[{', '.join(texts)}]")
        rows = "".join(f"            {text},\n" for text in texts)
        folded[arguments[-1]] = f"isin=[\n{rows}        ]"
    if nullable:
        arguments.append("nullable=True")
    if not arguments:
        return start
    line = f"{start} = pa.Field({', '.join(arguments)})"
    if _width(line) <= WIDTH:
        return line
    inner = f"        {', '.join(arguments)}"
    if _width(inner) > WIDTH:
        comma = "," if len(arguments) > 1 else ""
        rows_ = [f"        {text}{comma}" for text in arguments]
        inner = "\n".join(
            row if _width(row) <= WIDTH else f"        {folded.get(text, text)}{comma}"
            for row, text in zip(rows_, arguments, strict=True)
        )
    return f"{start} = pa.Field(\n{inner}\n    )"


def attributes(names: list[str]) -> dict[str, str]:
    """Give each column a name that Python, pandera and ruff accept: its own where they do."""
    given = {name: name for name in names if _fits(name)}
    for name in names:
        if name in given:
            continue
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
        plain = re.sub(r"\W+", "_", plain).lower().strip("_")[: LONGEST_NAME - 10].strip("_")
        if not plain or plain[0].isdigit():
            plain = f"column_{plain}".strip("_")
        tries = chain([plain, f"{plain}_"], (f"{plain}_{number}" for number in count(2)))
        used = set(given.values())
        given[name] = next(safe for safe in tries if _fits(safe) and safe not in used)
    return given


def quoted(text: str) -> str:
    """Return a Python literal of the text, in the quotes that ruff prefers."""
    literal = repr(text)
    if literal[0] == '"' or text.count('"') > text.count("'"):
        return literal
    return '"' + literal[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'


def write_data(
    config: tomlkit.TOMLDocument,
    roles: Mapping[str, object],
    exclude: dict[str, str],
    sources: dict[str, str],
) -> None:
    """Replace `[data]` and `[data.sources]`; the policy for bad rows stays as it is.

    Parameters
    ----------
    exclude
        Column to the reason, which becomes a comment.
    """
    data = tomlkit.table()
    for name, value in roles.items():
        if value is not None:
            data[name] = value
    if exclude:
        lines = tomlkit.array()
        for name, reason in exclude.items():
            lines.add_line(name, comment="".join(c if c.isprintable() else " " for c in reason))
        lines.add_line(indent="")
        data["exclude"] = lines
    before = config.get("data", tomlkit.table())
    for name in ["bad_rows", "max_bad_share"]:
        if name in before:
            data[name] = before[name]
    tables = tomlkit.table()
    tables.update(sources)
    for line in _after_last_key(before):
        tables.add(line)
    tables.add(tomlkit.ws(""))  # or tomlkit would put an empty line below the comments
    data["sources"] = tables
    config["data"] = data


def _after_last_key(table: object) -> list[Comment | Whitespace]:
    """Return the comments that tomlkit keeps here but which stand above the next section."""
    lines: list[Comment | Whitespace] = []
    for _, item in reversed(table.value.body if isinstance(table, Table) else []):
        if not isinstance(item, Comment | Whitespace):
            return _after_last_key(item) + lines
        lines.insert(0, item)
    return lines


def _fits(name: str) -> bool:
    mixed_case = name[:1].islower() and name != name.lower()
    return (
        re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
        and not (mixed_case or iskeyword(name) or name in TAKEN)
        and len(name) <= LONGEST_NAME
    )


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def _exceptions(text: str) -> str:
    """Let ruff accept the data's own spelling: letters that look alike, names of any length."""
    rules = [] if text.isascii() else ["RUF001", "RUF002"]
    if any(_width(line) > WIDTH for line in text.splitlines()):
        rules.append("E501")
    return f"# ruff: noqa: {', '.join([*rules, 'RUF100'])}\n" if rules else ""
