"""From a file to a project's schema and settings, with notes on what a person should look at."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import tomlkit

from ..utils.config import Data
from ..utils.errors import UsageError
from ..utils.paths import project_root
from .columns import ADDED
from .declare import column_lines, schema_text, write_settings
from .infer import ROWS_PER_TEXT, infer, is_amounts, is_id, is_names
from .sources import read_table
from .validation import nullable_type

FEWEST_ROWS = 20
CLASSES = 20
"""Whole numbers with up to so many different values can be classes."""
MOST_BAD = Data.model_fields["max_bad_share"].default
ROWS_PER_VALUE = 10
"""What fewer rows each say of another column may be chance."""
NO_NAME = re.compile(r"\s*$|__index_level_0__$")
NO_TYPE = re.compile("(large_|fixed_size_)?(list|binary)|struct|map|duration")


@dataclass(frozen=True)
class Adopted:
    """What was declared."""

    table: str
    source: str
    rows: int
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
    accept: Callable[[pa.DataFrameSchema, Data], None] = lambda *_: None,
) -> Adopted:
    """Declare the columns of a CSV or Parquet file, so that the project trains on it.

    Writes the schema, and `[data]` and an empty list of rules to the settings, unless `accept`,
    which gets what they will say, raises an error. UsageError where the file can't be read, a
    column can't play its role, or nothing is to learn.
    """
    config = tomlkit.parse(config_file.read_text(encoding="utf-8-sig"))
    notes: list[str] = []
    raw = _read_rows(file, notes)
    names = list(raw.columns)
    others = [("time", time), ("group", group), *(("key", k) for k in key)]
    given = [("target", target), *((role, name) for role, name in others if name)]
    _check_names(given, names, notes)
    read = {name: infer(raw[name]) for name in names}
    notes += [f"{name} {doubt}." for name, (_, doubt) in read.items() if doubt]
    rows = pd.DataFrame({name: values for name, (values, _) in read.items()})

    task = _settle_target(rows, target, config.get("data", {}), notes)
    for role, name in given[1:]:
        _check_role(role, rows[name])
    part = dict.fromkeys(names, "input") | {name: role for role, name in given}
    if key:
        _check_unique(rows[key])
    elif key := [name for name in names if part[name] == "input" and _could_be_key(rows[name])][:1]:
        part[key[0]] = "key"
        notes.append(f"{key[0]} is taken as the key, as its name suggests.")
    else:
        told = f"in which {len(rows.drop_duplicates())} of {len(rows)} differ"
        notes.append(f"No key was named: rows are told apart by their content, {told}.")
    for name in names:
        if part[name] == "input" and (reason := _unfit(rows[name], rows[target], task)):
            part[name] = "excluded"
            notes.append(f"{name} is no input: {reason}.")
    inputs = [name for name in names if part[name] == "input"]
    if not inputs:
        raise UsageError(f"{file.name}: no column is left to predict {target} from.")
    if not group and (ids := [name for name in inputs if is_id(name)]):
        notes.append(f"--group {ids[0]} would keep rows that share it on one side of the split.")
    if not time and (dates := [name for name in inputs if rows[name].dtype.kind == "M"]):
        notes.append(f"--time {dates[0]} would test on the newest rows, as production will.")
    notes.append("The limits in schema.py are guesses: check them.")

    table = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_")[:60]
    table = table if table[:1].isalpha() else f"table_{table}".strip("_")
    kept = config_file.parent.glob(f"split-{table}.json")
    notes += [f"{cuts} keeps the split's cuts: delete it if these rows are others" for cuts in kept]
    source = file.resolve().as_posix().removeprefix(f"{project_root().resolve().as_posix()}/")
    exclude = [name for name in names if part[name] == "excluded"] or None
    settings = {"task": task, "target": target, "key": key, "group": group, "time": time}
    write_settings(config, {**settings, "exclude": exclude}, {table: source})
    lines = column_lines(rows.dropna(subset=target), part, task)
    schema = schema_text(table, lines, schema_file)
    module: dict[str, Any] = {"__name__": "adopted"}
    exec(schema, module)  # noqa: S102 - the text from above
    accept(module["Rows"].to_schema(), Data.model_validate(config["data"].unwrap()))
    _write({schema_file: schema, config_file: tomlkit.dumps(config)})
    columns = list(zip(names, part.values(), lines, strict=True))
    return Adopted(table, source, len(rows), task, columns, notes)


def _read_rows(file: Path, notes: list[str]) -> pd.DataFrame:
    """Read the file as ingest does, without what no column can be declared for."""
    table = read_table(str(file))
    if table.num_rows < FEWEST_ROWS:
        raise UsageError(f"{file} holds {table.num_rows} rows; at least {FEWEST_ROWS} are needed.")
    odd = [x.name for x in table.schema if NO_NAME.match(x.name) or NO_TYPE.match(str(x.type))]
    if odd:
        notes.append(f"Left out, as they have no name or no single value per row: {odd}.")
    if taken := [name for name in table.column_names if name in ADDED]:
        notes.append(f"Left out, as what is added to rows is called so: {taken}; rename them.")
    return pd.DataFrame(table.drop_columns(odd + taken).to_pandas(types_mapper=nullable_type))


def _check_names(given: list[tuple[str, str]], names: list[str], notes: list[str]) -> None:
    """Refuse a column that isn't there, or that is to play two parts."""
    for role, name in given:
        if name not in names:
            known = " ".join([f"It has: {str(names)[1:-1]}.", *notes])
            raise UsageError(f"--{role} {name}: no such column. {known}")
    key = [name for role, name in given if role == "key"]
    # A key of several columns may well have the entity or the time among them.
    alone = [n for role, n in given if role != "key" or len(key) == 1 or ("target", n) in given]
    for name in [*alone, *key]:
        if alone.count(name) > 1 or key.count(name) > 1:
            raise UsageError(f"The column {name!r} was given two roles; it can play only one.")


def _settle_target(rows: pd.DataFrame, target: str, now: dict[str, Any], notes: list[str]) -> str:
    """Return the task that the target allows: the project's present one where both are possible."""
    values, distinct = rows[target].dropna(), rows[target].nunique()
    if distinct < 2:
        what = f"is always {values.iloc[0]}" if len(values) else "has no value"
        raise UsageError(f"The target {target!r} {what}: there is nothing to learn.")
    if is_amounts(values):
        said = f"{values.iloc[0]!r} is no number to a program: write all as 1234.5"
        raise UsageError(f"The target {target!r}: {said}.")
    if is_names(values) or values.dtype.kind == "M":
        said = f"{distinct} different values in {len(values)} rows are no classes"
        raise UsageError(f"The target {target!r}: {said}.")
    number = values.dtype in ("Int64", "float64")
    task = "regression" if number else "classification"
    few = distinct <= min(CLASSES, len(values) // ROWS_PER_TEXT)
    if number and few and (values % 1 == 0).all():
        task = now.get("task", "classification")
        notes.append(
            f"{target} has {distinct} different whole numbers, which can be classes or amounts: "
            f"the task stays {task}. To change it, edit task in [data] of config.toml."
        )
        if task == "classification":
            rows[target] = rows[target].astype("Int64")  # 1.0 and 2.0 are the classes 1 and 2
    elif now.get("task") != task:
        notes.append(f"The task is {task} now, to suit {target}.")
    if without := len(rows) - len(values):
        if without > now.get("max_bad_share", MOST_BAD) * len(rows):
            raise UsageError(f"{without} of {len(rows)} rows have no {target}: leave them out.")
        notes.append(f"{without} rows have no {target}: ingest sets them aside.")
    return task


def _check_role(role: str, values: pd.Series) -> None:
    """Refuse a column that can't name a row, or decide on which side of a split it belongs."""
    name, missing = values.name, int(values.isna().sum())
    if missing:
        raise UsageError(f"The {role} {name!r} is missing in {missing} rows: name another column.")
    if role == "time" and values.dtype.kind != "M":
        found = f"no dates, but such as {str(values.iloc[0])!r}"
        raise UsageError(f"--time {name} holds {found}: use ISO 8601, 2024-03-23T20:21:09.")
    if values.dtype == "float64":
        raise UsageError(f"The {role} {name!r} holds decimal numbers: name whole ones or text.")


def _check_unique(keys: pd.DataFrame) -> None:
    often = keys.value_counts()
    if often.iloc[0] > 1:
        example = ", ".join(map(str, often.index[0]))
        raise UsageError(
            f"The key {', '.join(keys.columns)} is not unique: {example} is in {often.iloc[0]} "
            "rows. Name more columns, as in --key A,B, or another one."
        )


def _could_be_key(values: pd.Series) -> bool:
    right = values.dtype in ("Int64", "str") and values.nunique() == len(values)
    return right and is_id(str(values.name))


def _unfit(values: pd.Series, target: pd.Series, task: str) -> str | None:
    """Tell why a column should be no input."""
    count, distinct = values.count(), values.nunique()
    if not count:
        return "empty in every row"
    if distinct == 1 and count == len(values):
        return "the same in every row"
    if _gives_away(values, target, task):
        return f"tells {target.name} by itself, so perhaps known only afterwards"
    if is_names(values):
        return f"{distinct} different texts in {count} rows: names or free text"
    run = values.dtype == "Int64" and distinct == len(values) == values.max() - values.min() + 1
    return "numbers the rows" if run or _could_be_key(values) else None


def _gives_away(values: pd.Series, target: pd.Series, task: str) -> bool:
    """Tell whether the target follows from this column alone, or from whether it is missing."""
    for seen in (pd.factorize(values)[0], values.isna()):
        pairs = pd.DataFrame({"seen": seen, "target": target}).dropna().drop_duplicates()
        different = pairs["seen"].nunique()
        if 1 < different == len(pairs) and different * ROWS_PER_VALUE <= target.count():
            return True
    if task == "classification" or values.dtype not in ("Int64", "float64"):
        return False
    return bool(abs(values.corr(target, min_periods=ROWS_PER_VALUE)) > 0.9999)


def _write(texts: dict[Path, str]) -> None:
    """Put the texts in the place of the files."""
    fresh = {file: file.with_name(f".{file.name}.new") for file in texts}
    try:
        for file, text in texts.items():
            fresh[file].write_text(text, encoding="utf-8")
        for file in texts:
            fresh[file].replace(file)
    finally:
        for file in fresh.values():
            file.unlink(missing_ok=True)
