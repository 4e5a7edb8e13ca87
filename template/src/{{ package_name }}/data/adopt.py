"""From a file to a project's schema and settings: what is inferred, and what was unsure.

Every column gets the narrowest type in which all its values can be read, limits with room, and a
part to play. What a person should look at is told in notes.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import tomlkit
from tomlkit.exceptions import TOMLKitError

from ..utils.config import Data
from ..utils.errors import UsageError
from ..utils.paths import project_root
from . import roles
from .declare import attributes, column_line, schema_text, write_data
from .infer import Found, infer
from .sources import read_table
from .validation import nullable_type

FEWEST_ROWS = 20
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Adopted:
    """What was declared."""

    table: str
    source: str
    rows: int
    without_target: int
    """Rows that ingest will set aside: there is nothing to learn from them."""
    task: str
    columns: list[tuple[str, str, str]]
    """Each column's name, role (key, group, time, target, input, excluded) and declaration."""
    notes: list[str]
    """What was inferred that a person should look at."""


def adopt(  # noqa: PLR0913 - one argument for each option of the command
    file: Path,
    target: str,
    key: list[str],
    time: str | None,
    group: str | None,
    *,
    schema_file: Path,
    config_file: Path,
) -> Adopted:
    """Declare the columns of a CSV or Parquet file, so that the project trains on it.

    Writes the schema and, of the settings, `[data]` and an empty list of rules: both files, or
    none.

    Raises
    ------
    UsageError
        The file can't be read, a column is unfit for its role, or there is nothing to learn.
    """
    config = _read_config(config_file, group, time)
    notes: list[str] = []
    frame = _read_rows(file, notes)
    roles.check_named(list(frame.columns), target, key, time, group)
    columns = {name: infer(frame[name], typed=not _is_csv(file)) for name in frame.columns}

    policy = config.get("data", {})
    task = roles.settle_target(columns, target, frame[target], policy.get("task"), notes)
    without = roles.check_target_share(columns[target], _tolerated(policy))
    roles.check_group_and_time(columns, group, time)
    part = {target: "target"} | {n: r for n, r in [(group, "group"), (time, "time")] if n}
    key = roles.settle_key(columns, key, part, notes)
    part |= dict.fromkeys(key, "key")
    exclude = roles.suspects(columns, target, task, part)
    part |= dict.fromkeys(exclude, "excluded")
    inputs = [name for name in columns if name not in part]
    if not inputs:
        raise UsageError(f"{file.name}: no column is left to predict {target} from.")

    lines = _declare(columns, part, key, task)
    source = _source(file)
    table = _table_name(file)
    named = {"task": task, "target": target, "key": key, "group": group, "time": time}
    write_data(config, named, exclude, {table: source})
    if "rules" in config.get("training", {}):
        config["training"]["rules"] = []
    notes += roles.remarks(columns, part, exclude, without)
    if "threshold" in config.get("promotion", {}):
        notes.append("[promotion] threshold in config.toml was set for another target: look at it.")
    texts = {
        schema_file: schema_text(file.name, list(lines.values())),
        config_file: tomlkit.dumps(config),
    }
    notes += _replace(texts)
    summary = [
        (name, part.get(name, "input"), re.sub(r"\n *", "", line).strip())
        for name, line in lines.items()
    ]
    return Adopted(table, source, len(frame), without, task, summary, notes)


def _read_config(file: Path, group: str | None, time: str | None) -> tomlkit.TOMLDocument:
    try:
        config = tomlkit.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TOMLKitError) as error:
        raise UsageError(f"The settings {file} can't be read: {error}") from None
    strategy = config.get("split", {}).get("strategy")
    if strategy in {"group", "time"} and not {"group": group, "time": time}[strategy]:
        raise UsageError(
            f'[split] strategy = "{strategy}" in {file.name} needs --{strategy} COLUMN. '
            'Name one, or set it to "auto".'
        )
    return config


def _read_rows(file: Path, notes: list[str]) -> pd.DataFrame:
    """Read the file as ingest does; what no column can be declared for is left out."""
    if file.is_dir():
        raise UsageError(f"{file} is a folder: expected a .csv or .parquet file.")
    if _is_csv(file) and file.exists():
        _refuse_other_separators(file)
    table = read_table(str(file))
    if table.num_rows < FEWEST_ROWS:
        raise UsageError(f"{file} holds {table.num_rows} rows; at least {FEWEST_ROWS} are needed.")
    for field in table.schema:
        if not field.name.strip() or field.name == "__index_level_0__":
            notes.append("A column without a name (an index that was saved?) is left out.")
        elif not _is_plain(field.type):
            notes.append(f"{field.name} is left out: {field.type} is no type of a column here.")
        else:
            continue
        table = table.drop_columns([field.name])
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable_type)
    return frame


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _refuse_other_separators(file: Path) -> None:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            header = lines.readline()
    except UnicodeDecodeError:
        return
    found = [name for character, name in SEPARATORS.items() if character in header]
    if found and "," not in header:
        raise UsageError(
            f"{file} seems to be separated by {found[0]}. Write it with commas and decimal "
            "points, for example with pandas' read_csv(..., sep=..., decimal=...).to_csv(...)."
        )


def _is_plain(kind: pyarrow.DataType) -> bool:
    other = ["is_nested", "is_binary", "is_large_binary", "is_fixed_size_binary", "is_duration"]
    return not any(getattr(pyarrow.types, test)(kind) for test in other)


def _tolerated(policy: dict[str, Any]) -> float:
    """Return the share of bad rows that ingest puts up with."""
    if policy.get("bad_rows") == "fail":
        return 0.0
    return float(policy.get("max_bad_share", Data.model_fields["max_bad_share"].default))


def _source(file: Path) -> str:
    file, root = file.resolve(), project_root().resolve()
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _table_name(file: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"table_{name}".strip("_")


def _declare(
    columns: dict[str, Found], part: dict[str, str], key: list[str], task: str
) -> dict[str, str]:
    """Return the lines of each column. What is no input is held to little."""
    names = attributes(list(columns))
    lines = {}
    for name, found in columns.items():
        role = part.get(name)
        checks = found.limits()
        if role in {"key", "group"} or found.looks_like_id:
            checks = ["unique=True"] * ([name] == key) + checks[:1]
        elif role == "excluded":
            checks = []
        elif role == "target" and task == "classification" and found.type == "int":
            checks = found.exact_limits()
        categories = None if role in {"key", "group", "excluded"} else found.categories()
        nullable = found.nullable and role != "target"
        lines[name] = column_line(found, names[name], checks, categories, nullable=nullable)
    return lines


def _replace(texts: dict[Path, str]) -> list[str]:
    """Write all files or none; keep a copy of what git could not bring back."""
    scratch = {file: file.with_name(f".{file.name}.{os.getpid()}") for file in texts}
    changed = [file for file in texts if file.exists() and _uncommitted(file)]
    kept = project_root() / "var" / "adopt"
    try:
        for file, text in texts.items():
            scratch[file].write_text(text, encoding="utf-8")
        for file in changed:
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, kept)
        for file in texts:
            scratch[file].replace(file)
    except OSError as error:
        raise UsageError(f"Nothing was adopted, as a file can't be written: {error}") from None
    finally:
        for file in scratch.values():
            file.unlink(missing_ok=True)
    names = " and ".join(file.name for file in changed)
    return [f"{names} had uncommitted changes: a copy is in {kept}."] if changed else []


def _uncommitted(file: Path) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", "status", "--porcelain", "--", file.name],  # noqa: S607 - whichever git
            cwd=file.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return True
    return done.returncode != 0 or bool(done.stdout)
