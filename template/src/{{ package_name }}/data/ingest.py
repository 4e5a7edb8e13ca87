"""From a source to the next version of a table: read, screen, fingerprint, write."""

import time
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow

from ..utils.config import Data, Settings, without_password
from ..utils.errors import ColumnsGone, GateRefused, UsageError
from ..utils.paths import from_root
from . import sample, tables
from .columns import describe
from .fingerprint import fingerprint
from .sources import is_query, read_table
from .validation import Screened, conform, declared_types, nullable_type, screen


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    table: str
    version: int
    fingerprint: str
    source: str
    rows: int
    bad: int
    reasons: dict[str, int]
    """How many rows were bad for each reason, most frequent first, ten at most."""
    before: int | None
    """Rows of the version before, None where there is none."""


def ingest(source: str, name: str, schema: pa.DataFrameSchema, settings: Settings) -> Ingested:
    """Make the rows of `source` the next version of the table `name`.

    A source is a `.csv` or `.parquet` file, a Delta table, `sample:ROWS` for invented rows, or a
    query (`postgresql://host/db#SELECT ...`).

    UsageError where the source can't be read. GateRefused where a declared column is missing, a row
    is bad and the policy is `fail`, or more rows are bad than `max_bad_share` allows: nothing is
    written then.
    """
    return _ingest({name: source}, schema, settings)[0]


def ingest_all(
    schema: pa.DataFrameSchema, settings: Settings, *, only_new: bool = False
) -> list[Ingested]:
    """Ingest every source named in `[data.sources]`, or only those whose table has no version.

    Nothing is written unless all can be.
    """
    sources = {
        name: from_root(source)
        for name, source in settings.data.sources.items()
        if not (only_new and tables.exists(settings.tables, name))
    }
    return _ingest(sources, schema, settings)


def _ingest(
    sources: dict[str, str], schema: pa.DataFrameSchema, settings: Settings
) -> list[Ingested]:
    describe(schema, settings.data)  # refuses what no table can hold
    raw: dict[str, pd.DataFrame] = {}
    seconds: dict[str, float] = {}
    for name, source in sources.items():
        start = time.perf_counter()
        raw[name] = _read(source, name, schema, settings.data)
        seconds[name] = round(time.perf_counter() - start, 3)
    ready = {}
    for name, source in sources.items():
        declared, shown = _columns_of(name, raw, schema, settings), without_password(source)
        if gone := [column for column in declared.columns if column not in raw[name]]:
            strange = [column for column in raw[name] if column not in schema.columns][:10]
            hint = f" Was it renamed? schema.py knows no {str(strange)[1:-1]}." if strange else ""
            raise ColumnsGone(shown, gone, hint)
        ready[name] = screened = screen(raw[name], declared, settings.data.key)
        _hold_against_policy(shown, screened, settings.data)
    return [
        _write(name, without_password(sources[name]), screened, seconds[name], settings)
        for name, screened in ready.items()
    ]


def _write(
    name: str, source: str, screened: Screened, seconds: float, settings: Settings
) -> Ingested:
    root, data = settings.tables, settings.data
    # A database promises no order; with a key the table's is always the same.
    rows = screened.good.sort_values(data.key) if data.key else screened.good
    good = pyarrow.Table.from_pandas(rows, preserve_index=False)
    content = fingerprint(good)
    facts: dict[str, Any] = {
        "table": name,
        "fingerprint": content.digest,
        "source": source,
        "rows": len(screened.good),
        "bad": len(screened.bad),
        "reasons": screened.bad["reason"].value_counts().head(10).to_dict(),
    }
    more: dict[str, Any] = {"content": content.to_json(), "seconds": seconds}
    before = tables.history(root, name)[0].facts.get("rows") if tables.exists(root, name) else None
    if len(screened.bad) and data.bad_rows == "quarantine":
        kept = pyarrow.Table.from_pandas(screened.bad, preserve_index=False)
        more["quarantine"] = tables.write(root, f"{name}_quarantine", kept, facts)
    version = tables.write(root, name, good, facts | more)
    return Ingested(version=version, before=before, **facts)


def load(versions: dict[str, int], schema: pa.DataFrameSchema, settings: Settings) -> pd.DataFrame:
    """Return versions of tables, by name, joined by key as one frame in the declared types.

    Rows whose key is missing from one of the tables are left out.
    UsageError where a table is not there, or does not fit the schema.
    """
    joined = pd.DataFrame()
    for name, version in versions.items():
        table = tables.read(settings.tables, name, version).to_pandas(types_mapper=nullable_type)
        if twice := ", ".join(sorted({*table} & {*joined} - {*settings.data.key})):
            raise UsageError(f"{twice}: in {name!r} and in another source; keep it in one of them.")
        joined = table if joined.columns.empty else joined.merge(table, on=settings.data.key)
    if joined.empty:
        raise UsageError(f"No row has its key in all of {', '.join(versions)}: are they alike?")
    if absent := [column for column in schema.columns if column not in joined]:
        raise UsageError(f"No table has {', '.join(absent)} of schema.py: run `make data`.")
    frame, reasons = conform(joined, schema)
    if reasons:
        first = next(iter(reasons.values()))
        raise UsageError(f"The tables no longer fit schema.py: {first}. Run `make data`.")
    return frame.astype(declared_types(schema))


def _read(source: str, name: str, schema: pa.DataFrameSchema, data: Data) -> pd.DataFrame:
    if source.startswith("sample:"):
        count = source.removeprefix("sample:")
        if not count.isdigit() or not int(count):
            raise UsageError(f"{source!r}: expected `sample:ROWS`, for example sample:20000.")
        rows = sample.generate(schema, describe(schema, data), int(count))
        # Of several tables the first has all columns, and the others are joined to it.
        return rows[data.key] if name in [*data.sources][1:] else rows
    if is_query(source) and not data.key and "order by" not in source.lower():
        raise UsageError(
            f"{without_password(source)}: a database promises no order of rows. Add ORDER BY to "
            "the query, or name the key in [data]."
        )
    return read_table(source).to_pandas(types_mapper=nullable_type)


def _columns_of(
    name: str, raw: dict[str, pd.DataFrame], schema: pa.DataFrameSchema, settings: Settings
) -> pa.DataFrameSchema:
    """Return the part of the schema that this table must hold.

    One table holds all of it. Of several, each holds the key, what else it has, and what it held
    before, unless another has that now.
    """
    if len(settings.data.sources) == 1:
        return schema
    wanted = set(tables.columns(settings.tables, name))
    for other in settings.data.sources.keys() - {name}:
        wanted -= {*(raw[other] if other in raw else tables.columns(settings.tables, other))}
    wanted |= {*raw[name], *settings.data.key}
    return schema.select_columns([column for column in schema.columns if column in wanted])


def _hold_against_policy(source: str, screened: Screened, data: Data) -> None:
    bad, total = len(screened.bad), len(screened.bad) + len(screened.good)
    allowed = 0 if data.bad_rows == "fail" else data.max_bad_share
    if not bad or (bad < total and bad / total <= allowed):
        return
    many = f"are bad, more than max_bad_share = {allowed:.0%} allows"
    broken = "break the schema" if data.bad_rows == "fail" else many
    common = screened.bad["reason"].value_counts().head(3).items()
    why = "; ".join(f"{reason} ({count})" for reason, count in common)
    raise GateRefused(
        f"{source}: {bad} of {total} rows {broken}, "
        f"first at row {screened.bad['row'].iloc[0]}: {why}."
    )
