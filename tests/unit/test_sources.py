"""What reading a source costs; what it says is in the generated project's own tests."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

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
