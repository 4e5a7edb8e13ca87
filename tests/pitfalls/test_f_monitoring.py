"""A8, E9 to E13: what is found only by who looks, and `monitor` looks."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pandas as pd
import pytest
from serve import serving

from conftest import Project

from .conftest import Stopped

Row = dict[str, Any]
Change = Callable[[pd.DataFrame], pd.DataFrame]


def answered(project: Project, rows: pd.DataFrame, outcomes: pd.Series | None = None) -> None:
    """Ask the service about these rows, and hand in what came of them."""
    asked = rows.drop(columns=["late", "delivery_days"])
    bodies: list[Row] = json.loads(asked.to_json(orient="records", date_format="iso"))
    with serving(project) as service:
        names = [
            name
            for start in range(0, len(bodies), 1_000)
            for name in service.ids(bodies[start : start + 1_000])
        ]
    if outcomes is not None:
        told = pd.DataFrame({"prediction_id": names, "late": outcomes.to_numpy()})
        told.to_csv(project.path / "var" / "late.csv", index=False)
        project.cli("outcomes", "var/late.csv")


@pytest.fixture
def live(rows: pd.DataFrame) -> pd.DataFrame:
    """Three thousand rows of a usual week."""
    return rows.tail(3_000).reset_index(drop=True)


def looked(project: Project, code: int) -> dict[str, Any]:
    done = project.json("monitor", code=code)
    page = (project.path / "var" / "reports" / "monitoring.html").read_text()
    assert all(alarm["kind"] in page for alarm in done["alarms"])
    return done


def test_a_usual_week_raises_no_alarm(trained: Project, live: pd.DataFrame) -> None:
    answered(trained, live, live["late"])
    done = looked(trained, code=0)
    assert (done["verdict"], done["alarms"], done["rows"]) == ("ok", [], 3_000)
    assert [one["predictions"] for one in done["performance"]] == [3_000]


@pytest.mark.pitfall("A8", "a column sends the same value for a week", gate="monitor")
def test_a_silent_variable(trained: Project, stopped: Stopped, live: pd.DataFrame) -> None:
    answered(trained, live.assign(weight_kg=1.0))
    with stopped:
        done = trained.cli("monitor", code=1)
    stopped.says(done.stdout, "silence: weight_kg is", "in all the newest 3,000 rows")


@pytest.mark.pitfall("E9", "the model answers nearly the same to everybody", gate="monitor")
def test_a_confused_model(trained: Project, stopped: Stopped, live: pd.DataFrame) -> None:
    answered(trained, live.assign(distance_km=0.0))
    with stopped:
        done = trained.cli("monitor", code=1)
    stopped.says(done.stdout, "confused:", "answers are false")


@pytest.mark.pitfall("E10", "shipments grow heavier by a quarter of a deviation", gate="monitor")
def test_data_drift(trained: Project, stopped: Stopped, live: pd.DataFrame) -> None:
    heavier = live["weight_kg"] + 0.3 * live["weight_kg"].std()
    answered(trained, live.assign(weight_kg=heavier.clip(upper=100)))
    with stopped:
        done = trained.cli("monitor", code=1)
    stopped.says(done.stdout, "drift: weight_kg has moved", "PSI")
    moved = {alarm["what"].split()[0] for alarm in looked(trained, code=1)["alarms"]}
    assert moved == {"weight_kg"}


@pytest.mark.pitfall("E11", "what counts as late changes", gate="monitor")
def test_concept_drift(trained: Project, stopped: Stopped, live: pd.DataFrame) -> None:
    answered(trained, live, ~live["late"])
    with stopped:
        done = trained.cli("monitor", code=1)
    stopped.says(done.stdout, "performance: version 1 has brier", "on validation rows")


@pytest.mark.pitfall("E12", "nobody knows what predictions are worth", gate="outcomes")
def test_business_impact(trained: Project, stopped: Stopped, live: pd.DataFrame) -> None:
    answered(trained, live)
    told = live[["shipment_id", "late"]].assign(value=[3.5, 1.5] * 1_500)
    told.to_csv(trained.path / "var" / "late.csv", index=False)
    with stopped:
        done = trained.cli("outcomes", "var/late.csv")
    stopped.says(done.stdout, "version 1 as champion", "worth 2.5 each")


@pytest.mark.pitfall("E13", "a champion is past its date", gate="monitor")
def test_a_stale_model(trained: Project, stopped: Stopped) -> None:
    with closing(sqlite3.connect(trained.path / "var/mlflow.db")) as store, store:
        month = 40 * 86_400_000
        store.execute("UPDATE model_versions SET creation_time = creation_time - ?", [month])
        store.execute("UPDATE runs SET start_time = start_time - ?", [month])
        store.execute("UPDATE runs SET end_time = end_time - ?", [month])
    with stopped:
        done = trained.cli("monitor", code=1)
    stopped.says(done.stdout, "stale champion", "days")
    trained.make("retrain", "ARGS=--allow-dirty")
    assert (trained.versions(), trained.champion()) == ([1, 2], 2)
