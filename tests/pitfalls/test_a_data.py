"""A: what goes wrong with data between research, training and production."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import Project

from .conftest import Deliver, Stopped

MILLION = 1_000_000


@pytest.fixture(scope="module")
def million(born: Project) -> Path:
    file = born.path.parent / "million.parquet"
    born.cli("data", "sample", file, "--rows", str(MILLION))
    return file


@pytest.fixture
def research(project: Project, million: Path) -> str:
    """The fingerprint that somebody took where the model was found; the data did not travel."""
    project.cli("data", "check", million, "--save", "research.json")
    return "research.json"


@pytest.mark.pitfall("A1", "one value of a million slipped a decimal place", gate="data check")
def test_one_changed_value_in_a_million_rows(
    project: Project, stopped: Stopped, million: Path, research: str
) -> None:
    rows = pd.read_parquet(million)
    rows.iloc[::-1].to_parquet(project.path / "reversed.parquet", index=False)
    assert project.json("data", "check", research, "reversed.parquet")["verdict"] == "identical"

    rows.loc[700_123, "distance_km"] *= 10
    rows.to_parquet(project.path / "production.parquet", index=False)
    with stopped:
        done = project.json("data", "check", research, "production.parquet", code=1)

    assert done["verdict"] == "different"
    assert {one["column"] for one in done["differences"]} == {"distance_km"}
    mean = next(one for one in done["differences"] if one["statistic"] == "mean")
    assert mean["a"] < mean["b"] < mean["a"] + 0.05
    stopped.says(mean["sentence"], "`distance_km`", "values changed")


@pytest.mark.pitfall("A1", "two columns swapped", gate="data check")
def test_two_columns_swapped(project: Project, stopped: Stopped, rows: pd.DataFrame) -> None:
    rows.to_parquet(project.path / "research.parquet", index=False)
    names = {"weight_kg": "declared_value", "declared_value": "weight_kg"}
    rows.rename(columns=names).to_csv(project.path / "production.csv", index=False)

    with stopped:
        done = project.cli("data", "check", "research.parquet", "production.csv", code=1)

    stopped.says(done.stdout, "B has in `declared_value` the values that A has in `weight_kg`")


@pytest.mark.pitfall("A2", "1 % of a million rows missing", gate="data check")
def test_one_percent_of_the_rows_missing(
    project: Project, stopped: Stopped, million: Path, research: str
) -> None:
    rows = pd.read_parquet(million)
    rows[rows.index % 100 != 17].to_parquet(project.path / "arrived.parquet", index=False)

    with stopped:
        done = project.cli("data", "check", research, "arrived.parquet", code=1)

    stopped.says(done.stdout, "A has 1,000,000 rows, B 990,000", "10,000 rows (1.00%) are lost")


@pytest.mark.pitfall("A2", "a CSV file cut between two lines", gate="data check")
def test_a_file_cut_between_two_lines(
    project: Project, stopped: Stopped, rows: pd.DataFrame
) -> None:
    rows.to_csv(project.path / "sent.csv", index=False)
    lines = (project.path / "sent.csv").read_text().splitlines(keepends=True)
    project.write("arrived.csv", "".join(lines[:15_001]))

    with stopped:
        done = project.cli("data", "check", "sent.csv", "arrived.csv", code=1)

    stopped.says(done.stdout, "A has 20,000 rows, B 15,000")
    stopped.says(done.stdout, "`ordered_at` ends at", "is the end cut off?")


@pytest.mark.pitfall("A2", "a file cut in the middle of a row", gate="data ingest")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_cut_in_the_middle_of_a_row(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, ending: str
) -> None:
    cut = trained.path / f"arrived.{ending}"
    rows.to_csv(cut, index=False) if ending == "csv" else rows.to_parquet(cut, index=False)
    cut.write_bytes(cut.read_bytes()[:-30_000])
    if ending == "csv":  # inside the third field of a line
        text = cut.read_text()
        cut.write_text(text[: text.rindex("\n") + 12])

    with stopped:
        done = trained.cli("data", "ingest", cut.name, code=2)

    stopped.says(done.stderr, cut.name, "can't be read")
    assert [one["version"] for one in trained.json("data", "history")["versions"]] == [0]


@pytest.mark.pitfall("A3", "a float64 column passed through float32", gate="data check")
def test_a_column_passed_through_float32(
    project: Project, stopped: Stopped, rows: pd.DataFrame
) -> None:
    rows.to_parquet(project.path / "before.parquet", index=False)
    single = rows["distance_km"].astype("float32").astype("float64")
    rows.assign(distance_km=single).to_parquet(project.path / "after.parquet", index=False)

    with stopped:
        done = project.cli("data", "check", "before.parquet", "after.parquet", code=1)

    stopped.says(done.stdout, "`distance_km`", "went through float32", "each off by up to")


@pytest.mark.pitfall("A4", "one of two joined source tables is stale", gate="data check")
def test_one_of_two_sources_is_stale(
    project: Project, stopped: Stopped, rows: pd.DataFrame
) -> None:
    offers = ["shipment_id", "declared_value", "insured"]
    give_two_sources(project, rows, offers)
    done = project.json("train")
    assert set(done["data"]) == {"shipments", "offers"}
    assert done["split"] == {"train": 13_929, "validation": 3_123, "test": 2_948}

    # Both are delivered anew the next day; of the offers, yesterday's file once more.
    today = rows.assign(
        declared_value=rows["declared_value"] * 1.1, distance_km=rows["distance_km"] * 1.01
    )
    today.drop(columns=offers[1:]).to_parquet(project.path / "shipments.parquet", index=False)
    project.cli("data", "ingest")
    today[offers].to_parquet(project.path / "offers-today.parquet", index=False)
    today.drop(columns=offers[1:]).to_parquet(project.path / "today.parquet", index=False)

    project.cli("data", "check", "shipments", "today.parquet")
    with stopped:
        stale = project.cli("data", "check", "offers", "offers-today.parquet", code=1)

    stopped.says(stale.stdout, "`declared_value`", "values changed")
    history = project.json("data", "history")["versions"]
    known = {(one["table"], one["version"]): one["fingerprint"] for one in history}
    assert known["offers", 0] == known["offers", 1] == done["data"]["offers"]["fingerprint"]
    assert known["shipments", 0] != known["shipments", 1]


def give_two_sources(project: Project, rows: pd.DataFrame, second: list[str]) -> None:
    rows.drop(columns=second[1:]).to_parquet(project.path / "shipments.parquet", index=False)
    rows[second].to_parquet(project.path / "offers.parquet", index=False)
    both = 'shipments = "shipments.parquet"\noffers = "offers.parquet"'
    project.replace(project.config, 'shipments = "sample:20000"', both)


@pytest.mark.pitfall("A5", "the table was overwritten since", gate="data version")
def test_the_past_reads_back_after_the_table_was_overwritten(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    rows.to_parquet(trained.path / "then.parquet", index=False)
    assert deliver(rows.assign(late=~rows["late"]).head(5_000))["version"] == 1

    with stopped:
        now = trained.cli("data", "check", "then.parquet", "shipments", code=1)
    stopped.says(now.stdout, "A has 20,000 rows, B 5,000")

    assert trained.json("data", "check", "then.parquet", "shipments@0")["verdict"] == "identical"


@pytest.mark.pitfall("A5", "the files of an old version deleted by hand", gate="reproduce")
def test_an_old_version_whose_files_were_deleted(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    old = list((trained.path / "var/tables/shipments").glob("*.parquet"))
    deliver(rows.head(5_000))
    for file in old:
        file.unlink()
    run = champions_run(trained)

    with stopped:
        done = trained.cli("reproduce", run, code=2)

    stopped.says(done.stderr, "Version 0 of the table 'shipments' can't be read", "not found")
    assert trained.json("data", "check", "shipments@1", "shipments")["verdict"] == "identical"


def champions_run(project: Project) -> str:
    run: str = project.python(
        "import json; from mlflow import MlflowClient\n"
        f"client = MlflowClient('sqlite:///{project.path}/var/mlflow.db')\n"
        f"found = client.get_model_version_by_alias('{project.slug}', 'champion')\n"
        "print(json.dumps(found.run_id))"
    )
    return run


def spoil(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, str]]:
    """Break six rows in six ways; return what is to be said about each."""
    text = rows.head(1_000).astype(object)
    text.loc[10, "distance_km"] = None
    text.loc[20, "weight_kg"] = -3
    text.loc[30, "items"] = "many"
    text.loc[40, "shipment_id"] = text.loc[41, "shipment_id"]
    text.loc[50, "carrier"] = "pelican"
    text.loc[60, "declared_value"] = np.inf
    return text, {
        10: "distance_km is missing",
        20: "weight_kg is -3.0, below 0",
        30: "items is 'many', not a whole number",
        40: "shipment_id is not unique",
        41: "shipment_id is not unique",
        50: "carrier is 'pelican', an unknown category",
        60: "declared_value is 'inf', not a finite number",
    }


@pytest.mark.pitfall(
    "A6",
    "null, out of range, wrong type, twin key, new category, policy `fail`",
    gate="data ingest",
)
def test_bad_rows_are_refused(trained: Project, stopped: Stopped, rows: pd.DataFrame) -> None:
    spoilt, _ = spoil(rows)
    spoilt.to_csv(trained.path / "bad.csv", index=False)
    trained.replace(trained.config, "[data.sources]", 'bad_rows = "fail"\n\n[data.sources]')

    with stopped:
        done = trained.cli("data", "ingest", "bad.csv", code=1)

    stopped.says(done.stderr, "bad.csv: 7 of 1000 rows break the schema, first at row 10")
    assert [one["version"] for one in trained.json("data", "history")["versions"]] == [0]


@pytest.mark.pitfall("A6", "the same rows, policy `quarantine`", gate="data ingest")
def test_bad_rows_are_kept_apart_with_the_reason(
    project: Project, stopped: Stopped, rows: pd.DataFrame
) -> None:
    spoilt, reasons = spoil(rows)
    spoilt.to_csv(project.path / "bad.csv", index=False)

    with stopped:
        done = project.json("data", "ingest", "bad.csv")["tables"][0]

    assert (done["rows"], done["bad"]) == (993, 7)
    apart = table(project, "shipments_quarantine").set_index("row")
    assert apart["reason"].to_dict() == reasons
    assert apart.loc[50, "carrier"] == "pelican"
    assert apart.loc[30, "items"] == "many"
    stopped.says("\n".join(done["reasons"]), "carrier is 'pelican', an unknown category")
    assert not set(reasons) & set(table(project, "shipments")["shipment_id"] - 1)


def table(project: Project, name: str) -> pd.DataFrame:
    from deltalake import DeltaTable

    return DeltaTable(str(project.path / "var/tables" / name)).to_pandas()


@pytest.mark.pitfall("A6", "half of the rows are bad", gate="data ingest")
def test_too_many_bad_rows_are_no_data(
    trained: Project, stopped: Stopped, rows: pd.DataFrame
) -> None:
    rows.assign(weight_kg=rows["weight_kg"] * 30).to_csv(trained.path / "grams.csv", index=False)

    with stopped:
        done = trained.cli("data", "ingest", "grams.csv", code=1)

    stopped.says(done.stderr, "grams.csv", "more than max_bad_share = 5% allows", "above 100")
    assert [one["version"] for one in trained.json("data", "history")["versions"]] == [0]


@pytest.mark.pitfall("A7", "a column removed from the source", gate="data ingest")
def test_a_field_has_vanished(trained: Project, stopped: Stopped, rows: pd.DataFrame) -> None:
    rows.drop(columns="distance_km").to_csv(trained.path / "form.csv", index=False)

    with stopped:
        done = trained.cli("data", "ingest", "form.csv", code=1)

    line = stopped.says(done.stderr, "form.csv", "lacks the declared column distance_km")
    grows = float(line.partition("its loss grows by ")[2].split()[0])
    assert grows > 0.01
    assert [one["version"] for one in trained.json("data", "history")["versions"]] == [0]


@pytest.mark.pitfall("A7", "a field that comes empty for all rows", gate="train")
def test_a_field_without_values(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    deliver(rows.assign(items=None, weight_kg=3.5))

    with stopped:
        done = trained.cli("train", code=1)

    stopped.says(done.stderr, "Silence gate: items has no value in any of", "training rows")
    assert (trained.versions(), trained.champion()) == ([1], 1)

    deliver(rows.assign(weight_kg=3.5))
    assert "weight_kg is 3.5 in all" in trained.cli("train", code=None).stderr


@pytest.mark.pitfall("A9", "a query slower than `data_seconds`", gate="train")
def test_a_source_that_is_too_slow(project: Project, stopped: Stopped, rows: pd.DataFrame) -> None:
    with sqlite3.connect(project.path / "rows.db") as database:
        rows.head(3_000).to_sql("shipments", database, index=False)
    slow = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000000) "
        "SELECT shipments.* FROM shipments, (SELECT max(i) FROM n) ORDER BY shipment_id"
    )
    source = json.dumps(f"sqlite:///{project.path}/rows.db#{slow}")
    project.replace(project.config, '"sample:20000"', f"{source}\n\n[budgets]\ndata_seconds = 1.0")
    project.cli("data", "ingest")  # as `make retrain` does: training itself reads the table alone

    with stopped:
        done = project.cli("train", code=1)

    stopped.says(done.stdout, "Budget gate: reading the data took", "data_seconds is 1")
    assert (project.versions(), project.champion()) == ([1], None)
