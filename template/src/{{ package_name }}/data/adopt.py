"""From a file to a project's schema: types, limits and roles are inferred, doubts are told."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import tomlkit
from tomlkit.exceptions import TOMLKitError

from ..utils.config import Data
from ..utils.errors import UsageError
from ..utils.paths import project_root
from .declare import attributes, column_line, schema_text, write_data
from .infer import Found, infer, listed, read_as
from .sources import read_table
from .suspect import copies, gives_away, reason_to_exclude
from .validation import nullable_type

FEWEST_ROWS = 20
FEWEST_OF_CLASS = 5
CLASSES = 20
"""Whole numbers with up to so many different values can be classes."""


@dataclass(frozen=True)
class Adopted:
    """What was declared, and what was unsure."""

    table: str
    source: str
    rows: int
    without_target: int
    """Rows that ingest will set aside, as there is nothing to learn from them."""
    task: str
    columns: list[tuple[str, str, str]]
    """Name, role (key, group, time, target, input, excluded) and declaration of each column."""
    notes: list[str]
    """What was inferred that a person should look at."""


def adopt(
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

    Writes the schema, and `[data]` and the now empty list of rules into the settings. Either both
    files are written or none.

    Raises
    ------
    UsageError
        The file can't be read, a column that was named isn't fit for its role, or there is
        nothing to learn.
    """
    config = _read_config(config_file)
    notes: list[str] = []
    frame, typed = _read(file, notes)
    _check_roles(list(frame.columns), target, key, time, group)
    columns = {name: infer(frame[name], typed=typed) for name in frame.columns}

    policy = config.get("data", {})
    task = _settle_task(columns, frame[target], target, policy.get("task"), notes)
    without = _check_target(columns[target], task, policy, file, notes)
    key = _check_key(columns, key, {target, time, group}, notes)
    _check_group_and_time(columns, time, group)
    _check_settings(config, time, group, notes)
    roles: dict[str, Any] = {
        "task": task, "target": target, "key": key, "group": group, "time": time,
    }  # fmt: skip
    exclude = _exclude(columns, columns[target], task, {target, time, group, *key}, notes)
    inputs = [n for n in columns if n not in {target, time, group, *key, *exclude}]
    if not inputs:
        raise UsageError(
            f"{file.name} leaves no input: besides the key, the time, the group and the target "
            f"there is only {'; '.join(f'{n} ({why})' for n, why in exclude.items()) or 'nothing'}."
        )
