"""A team's own data in one command: adopted, trained, promoted, scored, and still tested."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from sklearn import datasets

from conftest import ROOT, Project

SHARED = Path(os.environ.get("SLIPWAY_DATA", ROOT.parent / "shared" / "data"))
SMALL = {
    "iris": (datasets.load_iris, "classification"),
    "diabetes": (datasets.load_diabetes, "regression"),
    "breast_cancer": (datasets.load_breast_cancer, "classification"),
}
LARGE = {
    "titanic": ("titanic.csv", ["--target", "survived"], "classification"),
    "taxis": ("taxis.csv", ["--target", "total", "--time", "pickup"], "regression"),
    "diamonds by cut": ("diamonds.csv", ["--target", "cut"], "classification"),
    "diamonds by price": ("diamonds.csv", ["--target", "price"], "regression"),
}


def live_through(project: Project, file: Path, roles: list[str], task: str) -> None:
    """Adopt a file, train on it and score it, by commands alone."""
    rows = len(pd.read_csv(file))
    said = project.cli("data", "adopt", file, *roles)
    assert "make train" in said.stdout

    trained = project.json("train", "--allow-dirty")
    assert trained["promoted"], trained["reasons"]
    assert project.json("config", "show")["data"]["task"] == task
    assert sum(trained["split"].values()) > 0.9 * rows
    metric = next(iter(trained["metrics"]["baseline"]))
    for part in ("validation", "test"):
        assert trained["metrics"][part][metric] < trained["metrics"]["baseline"][metric]

    scored = project.json("predict", file, "predictions.csv")
    assert scored["rows"] == rows
    assert scored["scored"] > 0.95 * rows
    assert len(pd.read_csv(project.path / "predictions.csv")) == scored["scored"]


@pytest.mark.parametrize(
    "name", ["iris", "diabetes", pytest.param("breast_cancer", marks=pytest.mark.long)]
)
def test_data_that_comes_with_scikit_learn(project: Project, tmp_path: Path, name: str) -> None:
    load, task = SMALL[name]
    file = tmp_path / f"{name}.csv"
    load(as_frame=True).frame.to_csv(file, index=False)

    live_through(project, file, ["--target", "target"], task)


@pytest.mark.parametrize("name", LARGE)
def test_data_as_people_have_it(project: Project, name: str) -> None:
    file, roles, task = LARGE[name]
    if not (SHARED / file).exists():
        pytest.skip(f"{SHARED / file} is not there; SLIPWAY_DATA names the folder")

    live_through(project, SHARED / file, roles, task)


@pytest.mark.long
def test_an_adopted_project_passes_its_own_checks(project: Project, tmp_path: Path) -> None:
    """The tests, linters and types hold for other columns; what was written is formatted."""
    file, target = tmp_path / "wine.csv", 'which (kind)? "so"'
    frame = datasets.load_wine(as_frame=True).frame.rename(columns={"target": target})
    frame['a "listed" one'] = ["red", "white"] * 89
    frame["one of too many to list"] = [f"code {row % 55}" for row in range(178)]
    frame.to_csv(file, index=False)
    project.cli("data", "adopt", file, "--target", target)

    said = project.make("check")

    assert "All checks passed." in said
    assert "Failed" not in project.commit("Our own data")


def test_two_tables_are_joined_by_their_key(project: Project) -> None:
    """A team's rows often lie in two places: they train, and its own tests hold for them."""
    rows = project.path / "rows.parquet"
    project.cli("data", "sample", rows, "--rows", "4000")
    frame, second = pd.read_parquet(rows), ["shipment_id", "declared_value", "insured"]
    frame.drop(columns=second[1:]).to_parquet(project.path / "shipments.parquet", index=False)
    frame[second].tail(3_900).to_parquet(project.path / "offers.parquet", index=False)
    both = 'shipments = "shipments.parquet"\noffers = "offers.parquet"'
    project.replace(project.config, 'shipments = "sample:20000"', both)

    done = project.cli("train", "--allow-dirty", "--no-promote", "--json")
    suite = project.run(project.path / ".venv/bin/python", "-m", "pytest", "tests/model").stdout

    assert sum(json.loads(done.stdout)["split"].values()) == 3_900
    assert "100 of 4,000 rows are left out, as a table has none of their key" in done.stderr
    assert "(shipments 4,000, offers 3,900)" in done.stderr
    assert re.search(r"\d\d passed", suite), suite
    project.replace(project.config, 'key = ["shipment_id"]', "key = []")
    refused = project.cli("train", code=2).stderr
    assert "several sources are joined by the key: name its column(s) in key" in refused


def test_what_cannot_be_adopted_changes_nothing(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n" + "1,x\n" * 50)
    for roles, word in {
        ("--target", "c"): "c",
        ("--target", "a"): "a",
        ("--target", "b", "--key", "z"): "z",
        ("--target", "b", "--time", "a"): "a",
    }.items():
        said = project.cli("data", "adopt", file, *roles, code=2).stderr
        assert word in said

    assert project.git("status", "--porcelain") == ""


def test_edits_that_git_does_not_know_are_not_lost(project: Project, tmp_path: Path) -> None:
    """Where the rows are refused, both files are as they were; else the former are kept."""
    project.replace(project.config, "[data]", '[data]\nbad_rows = "fail"')
    file, before = tmp_path / "rows.csv", project.config.read_text()
    file.write_text("power,label\n" + "".join(f"{n % 7},{n % 2}\n" for n in range(60)) + "3,\n")
    said = project.cli("data", "adopt", file, "--target", "label", code=1).stderr
    assert "1 of 61 rows break the schema" in said
    (changed,) = project.git("diff", "--name-only").split()
    assert changed.endswith("config.toml")
    assert project.config.read_text() == before

    file.write_text(file.read_text().replace("3,\n", ""))
    said = project.cli("data", "adopt", file, "--target", "label").stdout
    kept = Path(re.search(r"are in (.*)", said)[1])
    assert (kept / "config.toml").read_text() == before
    assert (kept / "schema.py").exists()
