"""Writes the reference from its sources: questions, targets, commands, settings, endpoints.

    uv run python docs/reference/make.py

What stands between the two marks of a page is written anew, the rest is kept. A test holds the
pages current.
"""

import ast
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGE = ROOT / "template" / "src" / "{{ package_name }}"
MARKS = "<!-- made by make.py -->\n", "<!-- end -->"
PAGES_OF_THE_SERVICE = {
    "/": "A page to try a prediction on.",
    "/docs": "How to ask; works without a network.",
}


def table(*columns: str, rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text_of(value: Any) -> str:
    """Show a default: Jinja that computes one is said to be computed."""
    text = str(value).strip()
    return "from other answers" if "{{" in text else f"`{text}`"


def questions() -> str:
    rows = []
    for name, asked in yaml.safe_load((ROOT / "copier.yml").read_text()).items():
        if name.startswith("_") or asked.get("when") is False:
            continue
        choices = asked.get("choices", [])
        named = choices if isinstance(choices, dict) else {value: value for value in choices}
        said = [f"`{value}`" + f" ({label})" * (label != value) for label, value in named.items()]
        only = "; not asked where nothing is served" if "when" in asked else ""
        rows.append((f"`{name}`", asked["help"] + only, text_of(asked["default"]), ", ".join(said)))
    return table("question", "it asks", "by default", "choices", rows=rows)


def targets() -> str:
    found = re.findall(
        r"^([a-z-]+):[^=\n]*## (.*)$",
        (ROOT / "template/Makefile.jinja").read_text(),
        re.MULTILINE,
    )
    rows = [(f"`make {name}`", re.sub(r"\{[%{].*?[%}]\}", "", said)) for name, said in found]
    return table("target", "what it does", rows=rows)


def commands() -> str:
    spec = spec_from_file_location("read", PACKAGE / "__init__.py")
    sys.modules["read"] = module_from_spec(spec)
    main = __import__("read.cli.main", fromlist=["COMMANDS"])
    rows = []
    for name, (said, options, _) in main.COMMANDS.items():
        words = [name]
        for names, how in options:
            choices = f"{{{','.join(how['choices'])}}}" if "choices" in how else names[0]
            value = how.get("metavar", choices)
            flag = names[-1] if "action" in how else f"{names[-1]} {value}"
            word = flag if names[0].startswith("-") else str(value)
            needed = how.get("required") or (names[0][0] != "-" and how.get("nargs") != "?")
            words.append(word if needed else f"[{word}]")
        rows.append((f"`{' '.join(words)}`", said))
    return table("command", "what it does", rows=rows)


def settings() -> str:
    tree = ast.parse((PACKAGE / "utils/config.py").read_text())
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    sections = [one for one in classes["Settings"].body if isinstance(one, ast.AnnAssign)]
    parts = [_section(s.target.id, classes[ast.unparse(s.annotation)], classes) for s in sections]
    return "\n".join(parts)


def _section(name: str, section: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> str:
    rows: list[tuple[str, ...]] = []
    for base in section.bases:
        if (parent := classes.get(ast.unparse(base))) and parent.name != "Section":
            rows += _fields(parent)
    rows += _fields(section)
    purpose = ast.get_docstring(section).partition(": ")[2].splitlines()[0]
    head = f"### `[{name}]`\n\n{purpose[:1].upper()}{purpose[1:]}\n\n"
    return head + table("setting", "type", "by default", "what it decides", rows=rows)


def _fields(section: ast.ClassDef) -> list[tuple[str, ...]]:
    rows = []
    for line, after in zip(section.body, [*section.body[1:], None], strict=True):
        if not isinstance(line, ast.AnnAssign):
            continue
        told = after is not None and isinstance(after, ast.Expr)
        said = str(ast.literal_eval(after.value)) if told else ""
        kind = ast.unparse(line.annotation).replace("|", "or")
        rows.append((f"`{line.target.id}`", f"`{kind}`", _default(line.value), said))
    return rows


def _default(value: ast.expr | None) -> str:
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "Field":
        value = next((k.value for k in value.keywords if k.arg == "default"), None)
    if isinstance(value, ast.Call):
        value = value.args[0]
    return "must be said" if value is None else f"`{ast.unparse(value)}`"


def endpoints() -> str:
    tree = ast.parse((PACKAGE / "service/app.py").read_text())
    rows = []
    for one in ast.walk(tree):
        if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for route in one.decorator_list:
            if isinstance(route, ast.Call) and ast.unparse(route.func).startswith("app."):
                path = ast.literal_eval(route.args[0])
                said = (ast.get_docstring(one) or PAGES_OF_THE_SERVICE[path]).splitlines()[0]
                rows.append((f"`{route.func.attr.upper()} {path}`", said))
    rows.append(("`GET /openapi.json`", "The same as OpenAPI, made from `schema.py`."))
    return table("request", "what it does", rows=rows)


PAGES = {
    "questions.md": questions,
    "targets.md": targets,
    "commands.md": commands,
    "settings.md": settings,
    "endpoints.md": endpoints,
}


def made(name: str) -> str:
    """Return a page as it should be."""
    text = (HERE / name).read_text(encoding="utf-8")
    before, mark, rest = text.partition(MARKS[0])
    assert mark, f"{name} has no {MARKS[0].strip()}"
    return f"{before}{mark}\n{PAGES[name]()}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"


def main() -> None:
    for name in PAGES:
        (HERE / name).write_text(made(name), encoding="utf-8")


if __name__ == "__main__":
    main()
