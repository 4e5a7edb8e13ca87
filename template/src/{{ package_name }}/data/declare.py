"""The texts that declare a table: `preprocessing/schema.py` and `[data]` in config.toml."""

import re
import subprocess
import sys
from json import dumps
from keyword import kwlist
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import tomlkit

from .infer import guess_categories, guess_limits, is_id

WIDTH = 100
TAKEN = {*dir(pa.DataFrameModel), *kwlist, *"lIO"}
TAKEN |= {"bool", "datetime", "float", "int", "pa", "pd", "str"}
"""Names that mean something else inside the class, or are hard to read."""
PYTHON_TYPES = {"Int64": "int", "float64": "float", "boolean": "bool", "datetime64[us]": "datetime"}
NULLABLE_TYPES = PYTHON_TYPES | {"Int64": "pd.Int64Dtype", "boolean": "pd.BooleanDtype"}

HEAD = '"""The columns, declared once: all that reads, checks or serves rows starts here."""\n\n'
NOQA = "# ruff: noqa: E501, PLE2502, PLE2515, RUF001, RUF100\n"  # the data's own spelling


def column_lines(rows: pd.DataFrame, part: dict[str, str], task: str) -> list[str]:
    """Return the declaration of each column. What is no input is held to little."""
    names = _attributes(list(part))
    lines = []
    for name, role in part.items():
        values, arguments = rows[name], []
        if names[name] != name:
            arguments.append(f"alias={dumps(name, ensure_ascii=False)}")
        if role == "key" and [*part.values()].count("key") == 1:
            arguments.append("unique=True")
        if role in {"input", "target"} and not is_id(name):
            arguments += guess_limits(values, exact=(role, task) == ("target", "classification"))
            if texts := guess_categories(values):
                arguments.append(f"isin={dumps(texts, ensure_ascii=False)}")
        nullable = role != "target" and values.isna().any()
        arguments += ["nullable=True"] if nullable else []
        dtype = str(values.dtype)
        kind = NULLABLE_TYPES.get(dtype, dtype) if nullable else PYTHON_TYPES.get(dtype, dtype)
        field = f" = pa.Field({', '.join(arguments)})" if arguments else ""
        lines.append(f"{names[name]}: {kind}{field}")
    return lines


def schema_text(table: str, lines: list[str], file: Path) -> str:
    """Return the module that declares the columns, laid out by ruff where it is installed."""
    kinds = [line.partition(" = ")[0].partition(": ")[2] for line in lines]
    text = HEAD + ("from datetime import datetime\n\n" if "datetime" in kinds else "")
    text += "import pandas as pd\n" if set(kinds) & {"pd.Int64Dtype", "pd.BooleanDtype"} else ""
    text += "import pandera.pandas as pa\n\n\nclass Rows(pa.DataFrameModel):\n"
    text += f'    """One row of {table}: config.toml says what each column is for."""\n\n'
    text += "".join(f"    {line}\n" for line in lines)
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(file), "-"]
    done = subprocess.run(ruff, input=text.encode(), capture_output=True, check=False)  # noqa: S603 - no shell
    text = text if done.returncode else done.stdout.decode()
    usual = text.isascii() and max(map(len, text.splitlines())) <= WIDTH
    return text if usual else NOQA + text


def write_settings(
    config: tomlkit.TOMLDocument, settings: dict[str, object], sources: dict[str, str]
) -> None:
    """Replace `[data]`, but for the policy for bad rows, and empty the rules of `[training]`."""
    before = config.get("data", tomlkit.table())
    data, tables = tomlkit.table(), tomlkit.table()
    data.update({name: value for name, value in settings.items() if value is not None})
    data.update({name: before[name] for name in ["bad_rows", "max_bad_share"] if name in before})
    tables.update(sources)
    # Comments above the next section belong to this one, as tomlkit sees it.
    old = before.get("sources", tables).value.body
    last = max((place for place, (name, _) in enumerate(old) if name), default=-1)
    for _, comment in old[last + 1 :]:
        tables.add(comment)
    tables.add(tomlkit.ws(""))  # or tomlkit would put an empty line below the comments
    data["sources"] = tables
    config["data"] = data
    if "rules" in config.get("training", {}):
        config["training"]["rules"] = []


def _attributes(names: list[str]) -> dict[str, str]:
    """Give each column a name that Python, pandera and ruff accept: its own where they do."""
    given: dict[str, str] = {}
    for place, name in enumerate(names, start=1):
        safe = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60]
        safe = safe if safe[:1].isalpha() else f"column_{place}_{safe}".rstrip("_")
        safe = safe if safe[0].isupper() else safe.lower()
        while safe in TAKEN or safe in given.values() or (safe != name and safe in names):
            safe += "_"
        given[name] = safe
    return given
