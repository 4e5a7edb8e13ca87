"""Many models from one configuration: the same to the bit wherever they are trained."""

import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, environment

MODELS = 6


def candidates(models: int) -> str:
    """Settings for this many models, of which the first can't be fitted."""
    rates = [-1.0, *(round(0.02 * number, 2) for number in range(1, models))]
    return f"\n[ensemble.grid]\nmax_iter = [5]\nlearning_rate = {rates}\n"


SEGMENTS = """
[ensemble]
by = "carrier"
"""


def say(project: Project, section: str, rows: int = 2_000) -> None:
    project.replace(project.config, "sample:20000", f"sample:{rows}")
    project.config.write_text(project.config.read_text() + section)
    project.commit()


def children(project: Project, run_id: str) -> dict[str, dict[str, Any]]:
    """The members of a run, read from MLflow's own database."""
    query = """
        SELECT runs.name, runs.status, tags.key, tags.value FROM runs
        JOIN tags AS parent ON parent.run_uuid = runs.run_uuid AND parent.value = ?
        JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key IN ('digest', 'reason')
        WHERE parent.key = 'mlflow.parentRunId'
    """
    found: dict[str, dict[str, Any]] = {}
    with closing(sqlite3.connect(project.path / "var" / "mlflow.db")) as database:
        for name, status, key, value in database.execute(query, [run_id]):
            found.setdefault(name, {"status": status})[key] = value
    return found


@pytest.mark.parametrize("models", [MODELS, pytest.param(50, marks=pytest.mark.long)])
def test_candidates_are_one_version_and_the_same_one_after_another(
    project: Project, models: int
) -> None:
    say(project, candidates(models))
    beside = project.json("train")
    members = children(project, beside["run_id"])
    assert len(members) == models
    lost = members.pop("learning_rate=-1.0 max_iter=5")
    assert lost["status"] == "FAILED"
    assert "learning_rate" in lost["reason"]
    assert {member["status"] for member in members.values()} == {"FINISHED"}
    assert len({member["digest"] for member in members.values()}) == models - 1
    assert project.versions() == [beside["version"]]
    assert beside["promoted"], beside["reasons"]
    record = project.json("reproduce", beside["run_id"], code=None)
    assert record["verdict"] == "identical"

    text = project.config.read_text()
    project.config.write_text(re.sub(r"\[-1.0, (.*)\]", r"[\1, -1.0]", text))
    one_by_one = f"{project.package.upper()}__ENSEMBLE__JOBS"
    later = project.json("train", "--no-promote", **{one_by_one: "1"})
    again = children(project, later["run_id"])
    assert again.pop("learning_rate=-1.0 max_iter=5")["status"] == "FAILED"
    assert again == members
    assert later["metrics"]["test"] == beside["metrics"]["test"]


def test_each_segment_gets_its_model_and_the_rest_one_of_all_rows(
    project: Project, tmp_path: Path
) -> None:
    say(project, SEGMENTS)
    done = project.json("train", "--no-promote")
    carriers = ["albatross", "heron", "kestrel", "swift"]
    assert set(children(project, done["run_id"])) == {"rest", *(f"carrier={c}" for c in carriers)}
    project.json("promote", code=None)
    project.cli("data", "sample", tmp_path / "rows.csv", "--rows", "200", "--seed", "4")
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text.replace("heron", "a new one"))
    version = str(done["version"])
    scored = project.json(
        "predict", tmp_path / "rows.csv", tmp_path / "out.csv", "--version", version
    )
    assert (scored["rows"], scored["scored"]) == (200, 200)


def test_a_training_that_is_killed_leaves_no_process_behind(project: Project) -> None:
    say(project, "\n[ensemble]\njobs = 2\ngrid = {max_iter = [20000, 30000]}\n")
    with subprocess.Popen(
        [project.path / ".venv" / "bin" / project.slug, "train"],
        cwd=project.path,
        env=environment(),
        stderr=subprocess.PIPE,
    ) as training:
        said = b""
        while b"fit ..." not in said:
            said += os.read(training.stderr.fileno(), 4096)
        time.sleep(5)  # the members train now, for minutes
        training.kill()
        training.communicate(timeout=20)  # returns when nobody holds its standard error


def test_a_column_or_parameter_that_is_not_there_is_named(project: Project) -> None:
    section = f"{project.package.upper()}__ENSEMBLE__"
    for name, value, said in [
        ("BY", "colour", "'colour', which is no category"),
        ("GRID", '{"depth": [1]}', "Invalid parameter 'depth'"),
    ]:
        done = project.cli("train", code=2, **{section + name: value})
        assert said in done.stderr
    assert not project.versions()


@pytest.fixture
def dask(project: Project, tmp_path: Path) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, each with one thread."""
    if os.environ.get("SLIPWAY_FULL") != "1":
        pytest.skip("SLIPWAY_FULL=1 brings Dask")
    project.run("uv", "sync", "--quiet", "--group", "cluster")
    file = tmp_path / "scheduler.json"
    place = ["--scheduler-file", file, "--no-dashboard"]
    with ExitStack() as stack:

        def start(*arguments: str | Path) -> None:
            process = subprocess.Popen(
                [project.path / ".venv/bin/dask", *arguments, *place],
                cwd=tmp_path,
                env=environment(),
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)

        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not file.exists():
            time.sleep(0.1)
        for _ in range(2):
            start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny")
        yield json.loads(file.read_text())["address"]
    project.run("uv", "sync", "--quiet", "--frozen")


@pytest.mark.long
def test_a_cluster_trains_the_same_models(project: Project, dask: str) -> None:
    say(project, candidates(MODELS))
    there = f"{project.package.upper()}__ENSEMBLE__SCHEDULER"
    runs = [
        project.json("train", "--no-promote", **where)["run_id"] for where in ({there: dask}, {})
    ]
    beside, here = (children(project, run_id) for run_id in runs)
    assert beside == here
    assert sum(member["status"] == "FINISHED" for member in here.values()) == MODELS - 1
    gone = project.cli("train", code=2, **{there: "tcp://127.0.0.1:9"})
    assert "tcp://127.0.0.1:9 can't be reached" in gone.stderr
