"""What reading a source costs; what it says is in the generated project's own tests."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import DeltaTable, write_deltalake

from slipway_template.data.sources import BATCH_ROWS, read_batches, read_table
from slipway_template.utils.errors import UsageError

MEGABYTE = 1 << 20


def test_a_parquet_file_is_read_without_keeping_what_was_read(tmp_path: Path) -> None:
    rows = 2_000_000
    numbers = pa.table({"x": np.random.default_rng(0).random(rows)})
    pyarrow.parquet.write_table(numbers, tmp_path / "rows.parquet", row_group_size=50_000)
    del numbers
    before, most, seen = pa.total_allocated_bytes(), 0, 0
    for batch in read_batches(str(tmp_path / "rows.parquet"), 10_000):
        seen += len(batch)
        most = max(most, pa.total_allocated_bytes() - before)

    assert seen == rows
    assert (tmp_path / "rows.parquet").stat().st_size > 15 * MEGABYTE
    assert most < 4 * MEGABYTE


def test_a_query_may_begin_with_rows_that_lack_a_value(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "rows.db")) as store, store:
        store.execute("CREATE TABLE t (a INTEGER, b REAL, c TEXT)")
        rows = [(n, None, None) if n < BATCH_ROWS else (n, n / 2, "x") for n in range(60_000)]
        store.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    read = read_table(f"sqlite:///{tmp_path}/rows.db#SELECT * FROM t ORDER BY a").to_pandas()
    assert read["b"].iloc[-1] == 29_999.5
    assert read.count().tolist() == [60_000, 60_000 - BATCH_ROWS, 60_000 - BATCH_ROWS]


def test_a_delta_table_is_read_as_its_own_reader_does(tmp_path: Path) -> None:
    """Columns that stand in the paths, columns that later files brought, nested and exact ones."""
    count, where = 30_000, str(tmp_path / "table")
    random = np.random.default_rng(0)
    rows = pa.table(
        {
            "number": np.arange(count),
            "place": pa.array(
                random.choice(["a b", "c/d", "é", None], count).tolist(), pa.string()
            ),
            "day": [date(2026, 1, 1 + number % 3) for number in range(count)],
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * count, pa.timestamp("us", "UTC")),
            "both": [{"a": 1, "b": "x"}] * count,
            "exact": [Decimal("1.23")] * count,
        }
    )
    write_deltalake(where, rows, partition_by=["place", "day"])
    more = rows.append_column("new", pa.array(["z"] * count))
    write_deltalake(where, more, mode="append", schema_mode="merge")

    batches = list(read_batches(where, 1_000))

    assert pa.Table.from_batches(batches).equals(DeltaTable(where).to_pyarrow_table())
    assert max(map(len, batches)) == 1_000


def test_a_delta_table_whose_files_have_other_names_is_refused(tmp_path: Path) -> None:
    """Arrow would find none of its columns and fill them with nothing, without a word."""
    table = tmp_path / "renamed"
    write_deltalake(str(table), pa.table({"col-1": [1, 2]}))
    log = next((table / "_delta_log").glob("*.json"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [said] = [line["metaData"] for line in lines if "metaData" in line]
    schema = json.loads(said["schemaString"])
    schema["fields"][0]["name"] = "number"
    inside = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}
    schema["fields"][0]["metadata"] = inside
    said |= {"schemaString": json.dumps(schema)}
    said["configuration"] = {"delta.columnMapping.mode": "name"}
    [protocol] = [line["protocol"] for line in lines if "protocol" in line]
    protocol |= {"minReaderVersion": 2, "minWriterVersion": 5}
    log.write_text("\n".join(map(json.dumps, lines)))

    with pytest.raises(UsageError, match=r"renamed can't be read: it renames columns"):
        next(read_batches(str(table)))
