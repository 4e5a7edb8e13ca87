"""What reading a source costs; what it says is in the generated project's own tests."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from deltalake import DeltaTable, write_deltalake

from slipway_template.data.sources import read_batches

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
