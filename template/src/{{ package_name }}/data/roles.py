"""Which part each column of an unknown file can play, and why some should be no input."""

import difflib
from collections.abc import Collection

import numpy as np
import pandas as pd

from ..utils.errors import UsageError
from .infer import Found, listed, read_as

CLASSES = 20
"""Whole numbers with up to so many different values can be classes."""
FEWEST_OF_CLASS = 5
ROWS_PER_VALUE = 10
"""What fewer rows each say of another column may be chance."""

Columns = dict[str, Found]


def check_named(
    names: list[str], target: str, key: list[str], time: str | None, group: str | None
) -> None:
    """Refuse a column that isn't there, or that is to play two parts."""
    given = [("target", target), *(("key", name) for name in key), ("time", time), ("group", group)]
    for option, name in given:
        if name is not None and name not in names:
            close = difflib.get_close_matches(name, names, 1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"--{option} {name}: the file has no such column.{meant} "
                f"It has: {listed(names, 40)}."
            )
    alone = [target, time, group, *(key if len(key) == 1 else [])]
    twice = [name for name in alone if name is not None and alone.count(name) > 1]
    twice += [name for name in key if name == target or key.count(name) > 1]
    if twice:
        raise UsageError(f"The column {twice[0]!r} was given two roles; it can play only one.")


def settle_target(
    columns: Columns, target: str, raw: pd.Series, task_now: str | None, notes: list[str]
) -> str:
    """Return the task that the target allows: the project's present one where both are possible.

    Classes that are written as 1.0 and 2.0 are declared as whole numbers.

    Raises
    ------
    UsageError
        There is nothing to predict: no value, only one, or one for each row.
    """
    found = columns[target]
    if found.distinct < 2:
        what = f"is always {found.column.dropna().iloc[0]}" if found.count else "has no value"
        raise UsageError(f"The target {target!r} {what}: there is nothing to learn.")
    if found.type == "datetime":
        raise UsageError(f"The target {target!r} is a date: predict a number, such as days until.")
    if found.names_rows:
        raise UsageError(
            f"The target {target!r} has {found.distinct} different texts in {found.count} rows: "
            f"too many to be classes.{f' It {found.doubt}.' if found.doubt else ''}"
        )
    few = found.distinct <= CLASSES
    whole = read_as(raw, "int") if found.type == "float" and few else None
    if task_now == "classification" and whole is not None:
        found = columns[target] = Found(target, "int", whole)
    both = found.type == "int" and few
    task = "classification" if found.type in {"bool", "str"} or both else "regression"
    if (both or whole is not None) and task_now:
        task = task_now
        notes.append(
            f"{target} has {found.distinct} different whole numbers, which can be classes or "
            f"amounts: the task stays {task}. To change it, edit task in [data] of config.toml."
        )
    elif task_now not in {None, task}:
        notes.append(f"The task is {task} now, as {target} holds {_what(found)}.")
    if task == "classification":
        rows = found.column.value_counts()
        if len(rare := rows[rows < FEWEST_OF_CLASS]):
            named = listed([f"{value} ({count})" for value, count in rare.items()])
            notes.append(f"Classes with too few rows to learn or judge: {named}.")
    return task


def check_target_share(found: Found, share: float) -> int:
    """Return how many rows lack the target; refuse a file of which ingest would take too few."""
    without = len(found.column) - found.count
    if without > share * len(found.column):
        raise UsageError(
            f"{without} of {len(found.column)} rows have no {found.name}, and ingest refuses more "
            f"than {share:.0%} of bad rows. Adopt a file that holds only rows with a target."
        )
    return without


def settle_key(
    columns: Columns, key: list[str], taken: Collection[str], notes: list[str]
) -> list[str]:
    """Return the key, looking for one where none is given.

    Raises
    ------
    UsageError
        A part of the key is missing in some row or is a decimal number, or two rows share a key.
    """
    if not key:
        return _find_key(columns, taken, notes)
    for name in key:
        _check_names(columns[name], "key")
    values = pd.DataFrame({name: columns[name].column for name in key})
    twins = values[values.duplicated(keep=False)]
    if len(twins):
        often = values.value_counts(sort=True).iloc[0]
        example = values.value_counts(sort=True).index[0]
        raise UsageError(
            f"The key {', '.join(key)} is not unique: {', '.join(map(str, example))} is in "
            f"{often} rows, and {len(twins)} rows share theirs with another. Name more columns, "
            "as in --key A,B, or another one."
        )
    return key


def check_group_and_time(columns: Columns, group: str | None, time: str | None) -> None:
    """Refuse an entity or a time that can't decide on which side of a split a row belongs."""
    if group is not None:
        _check_names(columns[group], "group")
    if time is None:
        return
    found = columns[time]
    if found.type != "datetime":
        example = found.column.dropna()
        raise UsageError(
            f"--time {time} holds {_what(found)}"
            f"{f', such as {str(example.iloc[0])!r}' if len(example) else ''}: "
            "write dates as ISO 8601 does, such as 2024-03-23 or 2024-03-23T20:21:09."
        )
    if found.nullable:
        raise UsageError(f"The time {time!r} is missing in {_rows_without(found)}.")


def suspects(columns: Columns, target: str, task: str, taken: Collection[str]) -> dict[str, str]:
    """Return the columns that should be no input, each with the reason."""
    reasons = {
        name: _reason(found, columns[target], task)
        for name, found in columns.items()
        if name not in taken
    }
    return {name: reason for name, reason in reasons.items() if reason}


def remarks(
    columns: dict[str, Found], part: dict[str, str], exclude: dict[str, str], without: int
) -> list[str]:
    """Say what a person should look at, the weightiest first."""
    inputs = [name for name in columns if name not in part]
    target = next(name for name, role in part.items() if role == "target")
    notes = [f"{name} is no input: {reason}." for name, reason in exclude.items()]
    if without:
        notes.append(f"{without} rows have no {target}: ingest sets them aside.")
    notes += [f"{name} {found.doubt}." for name, found in columns.items() if found.doubt]
    notes += [
        f"{other} says the same as {one}: one of them is enough."
        for one, other in _copies(columns, inputs)
    ]
    entities = [name for name in inputs if columns[name].looks_like_id]
    if "group" not in part.values() and entities:
        notes.append(
            f"{listed(entities)} may name what owns several rows: --group {entities[0]} would "
            "keep these on one side of the split."
        )
    dates = [name for name in inputs if columns[name].type == "datetime"]
    if "time" not in part.values() and dates:
        notes.append(f"--time {dates[0]} would test on the newest rows, as production will.")
    numbers = [name for name in inputs if columns[name].type in {"int", "float"}]
    if numbers:
        notes.append(
            f"The limits of {listed(numbers)} are guesses, with room around what was seen."
        )
    texts = [name for name in inputs if columns[name].type == "str"]
    closed = [name for name in texts if columns[name].categories()]
    if closed:
        notes.append(f"Only the categories seen are allowed in {listed(closed)}.")
    if wide := [name for name in texts if name not in closed]:
        notes.append(f"Any text is allowed in {listed(wide)}: too many categories to list.")
    return notes


def _copies(columns: Columns, inputs: list[str]) -> list[tuple[str, str]]:
    """Return pairs of inputs of which each tells the other exactly."""
    first: dict[bytes, str] = {}
    pairs = []
    for name in inputs:
        found = columns[name]
        # Of columns with a value of their own for each row, any two would do.
        values = found.column if 2 * found.distinct > found.count else found.codes
        mark = pd.util.hash_array(np.asarray(values)).tobytes()
        if mark in first:
            pairs.append((first[mark], name))
        first.setdefault(mark, name)
    return pairs


def _check_names(found: Found, role: str) -> None:
    if found.type == "float":
        raise UsageError(
            f"The {role} {found.name!r} holds decimal numbers, which can't be compared exactly: "
            "write it as whole numbers or text, or name another column."
        )
    if found.nullable:
        raise UsageError(f"The {role} {found.name!r} is missing in {_rows_without(found)}.")


def _find_key(columns: Columns, taken: Collection[str], notes: list[str]) -> list[str]:
    for name, found in columns.items():
        could = found.type in {"int", "str"} and found.unique and found.looks_like_id
        if could and name not in taken:
            notes.append(f"{name} is taken as the key: its name says so, and each row has its own.")
            return [name]
    twins = int(pd.DataFrame({n: found.codes for n, found in columns.items()}).duplicated().sum())
    copies = f" {twins} rows are copies of others." if twins else ""
    notes.append(f"No key was named: rows are told apart by their content.{copies}")
    return []


def _reason(found: Found, target: Found, task: str) -> str | None:
    if found.distinct == 0:
        return "empty in every row"
    if found.distinct == 1 and not found.nullable:
        return "the same in every row"
    if _gives_away(found, target, task):
        return f"tells {target.name} by itself, so perhaps known only afterwards"
    if found.numbers_rows or (found.type == "int" and found.unique and found.looks_like_id):
        return "numbers the rows"
    if found.names_rows:
        return f"{found.distinct} different texts in {found.count} rows: names or free text"
    return None


def _gives_away(found: Found, target: Found, task: str) -> bool:
    """Tell whether the target follows from this column alone, or from whether it is missing."""
    known = target.codes >= 0
    for codes in (found.codes, np.where(found.codes < 0, 0, 1)):
        pairs = pd.DataFrame({"one": codes[known], "other": target.codes[known]}).drop_duplicates()
        values = pairs["one"].nunique()
        if values == len(pairs) > 1 and values * ROWS_PER_VALUE <= known.sum():
            return True
    if task == "classification" or found.type not in {"int", "float"}:
        return False
    both = pd.DataFrame({"one": found.column, "other": target.column}).dropna().astype("float64")
    if len(both) < ROWS_PER_VALUE or both["one"].nunique() < 2 or both["other"].nunique() < 2:
        return False
    return bool(abs(both["one"].corr(both["other"])) > 0.9999)


def _rows_without(found: Found) -> str:
    first = int(np.flatnonzero(found.column.isna())[0])
    return f"{len(found.column) - found.count} rows, first in row {first} (counted from 0)"


def _what(found: Found) -> str:
    return {
        "bool": "true and false",
        "datetime": "dates",
        "float": "decimal numbers",
        "int": "whole numbers",
        "str": "text",
    }[found.type]
