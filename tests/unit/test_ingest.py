"""Tables of several sources become one frame by their key."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandera.pandas as pa
import pyarrow
import pytest

from slipway_template.data import tables
from slipway_template.data.ingest import load
from slipway_template.utils.config import Data

SCHEMA = pa.DataFrameSchema(
    {
        "row_id": pa.Column("string"),
        "age": pa.Column("float64"),
        "paid": pa.Column("float64"),
        "churned": pa.Column("bool"),
    }
)
PEOPLE = {"row_id": ["a", "b", "c"], "age": [20.0, 30.0, 40.0], "churned": [True, False, True]}
PAYMENTS = {"row_id": ["c", "a"], "paid": [1.0, 2.0]}


@pytest.mark.parametrize(("people", "expected"), [(3, {"a", "c"}), (0, set())])
def test_a_row_that_one_table_lacks_is_left_out(
    tmp_path: Path, people: int, expected: set[str]
) -> None:
    data = Data(
        task="classification",
        target="churned",
        key=["row_id"],
        sources={"people": "p.csv", "payments": "q.csv"},
    )
    settings: Any = SimpleNamespace(tables=str(tmp_path), data=data)
    tables.write(settings.tables, "people", pyarrow.table(PEOPLE).slice(0, people), {})
    tables.write(settings.tables, "payments", pyarrow.table(PAYMENTS), {})
    frame = load({"people": 0, "payments": 0}, SCHEMA, settings)
    assert list(frame) == list(SCHEMA.columns)
    assert set(frame["row_id"]) == expected
