"""Tables of several sources become one frame by their key."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow
import pytest

from slipway_template.data import tables
from slipway_template.data.ingest import ingest, ingest_all, load
from slipway_template.utils.config import Data
from slipway_template.utils.errors import ColumnsGone, UsageError

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


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    sources = {name: str(tmp_path / f"{name}.csv") for name in ("people", "payments")}
    data = Data(task="classification", target="churned", key=["row_id"], sources=sources)
    return SimpleNamespace(tables=str(tmp_path), data=data)


def fill(settings: Any, **sources: dict[str, list[Any]]) -> None:
    for name, rows in sources.items():
        pd.DataFrame(rows).to_csv(settings.data.sources[name], index=False)


def test_a_row_that_one_table_lacks_is_left_out(settings: Any) -> None:
    tables.write(settings.tables, "people", pyarrow.table(PEOPLE), {})
    tables.write(settings.tables, "people", pyarrow.table(PEOPLE).slice(1, 1), {})
    tables.write(settings.tables, "payments", pyarrow.table(PAYMENTS), {})
    frame = load({"people": 0, "payments": 0}, SCHEMA, settings)
    assert list(frame) == list(SCHEMA.columns)
    assert set(frame["row_id"]) == {"a", "c"}
    with pytest.raises(UsageError, match="No row has its key in all of people, payments"):
        load({"people": 1, "payments": 0}, SCHEMA, settings)


@pytest.mark.parametrize("all_at_once", [True, False])
def test_a_column_that_is_in_two_sources_can_be_taken_out_of_one(
    settings: Any, all_at_once: bool
) -> None:
    """Which is what `load` says to do."""
    fill(settings, people=PEOPLE | {"paid": [1.0, 0.0, 2.0]}, payments=PAYMENTS)
    ingest_all(SCHEMA, settings)
    with pytest.raises(UsageError, match="paid: in 'payments' and in another source"):
        load({"people": 0, "payments": 0}, SCHEMA, settings)

    fill(settings, people=PEOPLE)
    if all_at_once:
        ingest_all(SCHEMA, settings)
    else:
        ingest(settings.data.sources["people"], "people", SCHEMA, settings)
    assert len(load({"people": 1, "payments": 0}, SCHEMA, settings)) == 2


def test_a_column_can_move_to_another_source(settings: Any) -> None:
    fill(settings, people=PEOPLE | {"paid": [1.0, 0.0, 2.0]}, payments={"row_id": ["a", "c"]})
    ingest_all(SCHEMA, settings)
    fill(settings, people=PEOPLE, payments=PAYMENTS)
    ingest_all(SCHEMA, settings)
    assert list(load({"people": 1, "payments": 1}, SCHEMA, settings)) == list(SCHEMA.columns)


def test_a_column_that_no_source_has_any_more_stops_all(settings: Any) -> None:
    fill(settings, people=PEOPLE, payments=PAYMENTS)
    ingest_all(SCHEMA, settings)
    fill(settings, payments={"row_id": ["a", "c"]})
    with pytest.raises(ColumnsGone, match="paid"):
        ingest_all(SCHEMA, settings)
    assert len(tables.history(settings.tables, "people")) == 1


def test_the_time_to_read_and_the_rows_before_are_kept(settings: Any) -> None:
    fill(settings, people=PEOPLE, payments=PAYMENTS)
    assert [one.before for one in ingest_all(SCHEMA, settings)] == [None, None]
    assert [one.before for one in ingest_all(SCHEMA, settings)] == [3, 2]
    assert 0 < tables.history(settings.tables, "people")[0].facts["seconds"] < 60


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (
            {"row_id": ["a"], "age": [1.0], " churned": [True]},
            "schema.py knows no ' churned'",
        ),
        (
            {"row_id": ["a"], "old": [1.0], "churned": [True]},
            "knows no 'old'",
        ),
    ],
)
def test_what_may_have_become_of_a_column_is_told(
    settings: Any, people: dict[str, list[Any]], said: str
) -> None:
    fill(settings, people=people, payments=PAYMENTS)
    tables.write(settings.tables, "people", pyarrow.table(PEOPLE), {})
    with pytest.raises(ColumnsGone, match=said):
        ingest_all(SCHEMA, settings)
