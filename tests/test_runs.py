"""Runs that can be had again, and trainings that die: nothing half-made is ever taken for whole."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conftest import Project, environment


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start one of the project's commands and return at once."""
    return subprocess.Popen(
        [project.path / ".venv/bin" / project.slug, *arguments],
        cwd=project.path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(training: subprocess.Popen[str], step: str) -> None:
    """Return as soon as a training says that it begins this step."""
    said = ""
    while f"{step} ..." not in said:
        one = training.stderr.read(1)
        assert one, said
        said += one


def ask(project: Project, query: str) -> list[tuple[Any, ...]]:
    """Look into MLflow's database, past all of the project's own code."""
    with closing(sqlite3.connect(project.path / "var/mlflow.db", timeout=30)) as store:
        return store.execute(query).fetchall()


def whole_versions(project: Project) -> list[int]:
    """Check that every version has all that a version must have, and return their numbers."""
    numbers = []
    rows = ask(project, "SELECT version, run_id, storage_location FROM model_versions")
    for number, run_id, location in rows:
        [(status, artifacts)] = ask(
            project, f"SELECT status, artifact_uri FROM runs WHERE run_uuid = '{run_id}'"
        )
        record = json.loads((path_of(artifacts) / "record.json").read_text())
        assert status == "FINISHED"
        assert record["data"]["shipments"]["fingerprint"]
        assert record["lock"]
        assert record["metrics"].keys() >= {"validation", "test", "baseline"}
        tags = dict(
            ask(project, f"SELECT key, value FROM model_version_tags WHERE version = {number}")
        )
        assert len(tags["digest"]) == 64
        assert (path_of(location) / "extra_files/golden.parquet").exists()
        numbers.append(number)
    return sorted(numbers)


def path_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


@pytest.mark.long
def test_a_training_killed_at_any_moment_leaves_nothing_half_made(trained: Project) -> None:
    """`kill -9` twenty times, at any moment of its steps; tests/pitfalls does so once."""
    trained.replace(trained.config, "sample:20000", "sample:2000")
    trained.json("data", "ingest")
    dice = random.Random(7)
    known, left = whole_versions(trained), 0

    for number in range(20):
        training = start(trained, "train", "--allow-dirty")
        wait_until(training, STEPS[number % len(STEPS)])
        time.sleep(dice.random() * 0.5)
        training.kill()
        training.communicate()
        versions = whole_versions(trained)
        assert versions[: len(known)] == known
        assert len(versions) <= len(known) + 1
        known = versions
        left = len(ask(trained, "SELECT 1 FROM runs WHERE status = 'RUNNING'"))

    runs = {run for (run,) in ask(trained, "SELECT run_uuid FROM runs WHERE status = 'RUNNING'")}
    models = {
        model for (model,) in ask(trained, "SELECT model_id FROM logged_models WHERE status = 1")
    }
    assert left, "no kill hit a run: the moments are badly chosen"

    found = trained.json("audit", code=1)["findings"]
    said = "\n".join(one["what"] for one in found)
    assert {run for run in runs if run in said} == runs
    trained.cli("audit", "--fix", code=1)
    trained.cli("audit", "--fix", code=None)  # models of runs that were RUNNING until now
    kinds = {one["kind"] for one in trained.json("audit", code=None)["findings"]}
    assert kinds <= {"dirty commit"}
    assert ask(trained, "SELECT 1 FROM runs WHERE status = 'RUNNING'") == []
    assert {status for (status,) in ask(trained, RUN_STATUS.format(str(sorted(runs))[1:-1]))} == {
        "KILLED"
    }
    assert models == set() or not ask(trained, PENDING)

    done = trained.json("train", "--allow-dirty", code=None)
    assert whole_versions(trained) == [*known, done["version"]]
    assert trained.champion() in whole_versions(trained)


STEPS = ["record", "register", "fit", "promote", "record", "explain", "data"]
"""Of a training, whose run begins with `fit`; what it keeps, it keeps from `record` on."""
RUN_STATUS = "SELECT status FROM runs WHERE run_uuid IN ({})"
PENDING = "SELECT 1 FROM logged_models WHERE status = 1 AND lifecycle_stage = 'active'"


@pytest.mark.parametrize("step", [pytest.param("fit", marks=pytest.mark.long), "record"])
def test_a_training_that_is_told_to_stop_says_so(trained: Project, step: str) -> None:
    training = start(trained, "train")
    wait_until(training, step)
    training.terminate()
    out, _ = training.communicate(timeout=60)

    assert training.returncode == 143
    assert out == ""
    assert whole_versions(trained) == [1]
    states = [state for (state,) in ask(trained, "SELECT status FROM runs ORDER BY start_time")]
    assert states[0] == "FINISHED"
    assert states[1] in {"FAILED", "KILLED"}
    assert "crashed run" not in {one["kind"] for one in audit(trained)}


def audit(project: Project) -> list[dict[str, str]]:
    found: list[dict[str, str]] = project.json("audit", code=None)["findings"]
    return found


def test_two_trainings_at_once_in_a_new_project(project: Project) -> None:
    """Both find no store, no table and no model, and make them at the same moment."""
    project.replace(project.config, "sample:20000", "sample:2000")
    both = [start(project, "train", "--allow-dirty", "--json") for _ in range(2)]
    said = [training.communicate(timeout=300) for training in both]

    for training, (out, err) in zip(both, said, strict=True):
        assert "Traceback" not in err, err
        assert training.returncode in {0, 1}, err
        assert json.loads(out.splitlines()[-1])["version"] in {1, 2}
    assert whole_versions(project) == [1, 2]
    assert project.champion() in {1, 2}
    assert {one["kind"] for one in audit(project)} <= {"dirty commit"}


# ---------------------------------------------------------------- ingest


@pytest.fixture
def files(born: Project, tmp_path: Path) -> list[Path]:
    """Two different deliveries of the same table."""
    made = [tmp_path / f"{name}.parquet" for name in ("monday", "tuesday")]
    for seed, file in enumerate(made):
        born.cli("data", "sample", file, "--rows", "20000", "--seed", str(seed + 5))
    return made


def test_two_ingests_at_once_lose_nothing(project: Project, files: list[Path]) -> None:
    both = [start(project, "data", "ingest", str(file), "--json") for file in files]
    done = [
        json.loads(one.communicate(timeout=300)[0].splitlines()[-1])["tables"][0] for one in both
    ]

    assert sorted(one["version"] for one in done) == [0, 1]
    for one, file in zip(done, files, strict=True):
        name = f"shipments@{one['version']}"
        assert project.json("data", "check", file, name)["verdict"] == "identical"
    history = project.json("data", "history")["versions"]
    assert {one["fingerprint"] for one in history} == {one["fingerprint"] for one in done}


def test_a_killed_ingest_leaves_the_old_version(project: Project, files: list[Path]) -> None:
    monday, tuesday = files
    first = project.json("data", "ingest", monday)["tables"][0]
    begun = time.perf_counter()
    project.json("data", "ingest", tuesday)
    duration = time.perf_counter() - begun
    dice, hit = random.Random(7), 0

    for number in range(6):
        before = project.json("data", "history")["versions"]
        ingest = start(project, "data", "ingest", str(monday))
        time.sleep(duration * (0.5 + 0.45 * (number + dice.random()) / 6))
        ingest.kill()
        ingest.communicate()
        after = project.json("data", "history")["versions"]
        hit += ingest.returncode == -signal.SIGKILL
        assert after[-len(before) :] == before
        assert all(one["fingerprint"] == first["fingerprint"] for one in after[: -len(before)])

    assert hit
    assert project.json("data", "check", monday, "shipments@0")["verdict"] == "identical"
    assert project.json("data", "check", tuesday, "shipments@1")["verdict"] == "identical"
    assert project.json("data", "ingest", monday)["tables"][0]["version"] == len(after)
    assert project.json("data", "check", monday, "shipments")["verdict"] == "identical"


# ---------------------------------------------------------------- had again


@pytest.fixture(scope="module")
def elsewhere(
    born: Project, first_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """The project on another machine: a clone, what was under `var/`, an environment of its own."""
    path = tmp_path_factory.mktemp("elsewhere") / "clone"
    born.git("clone", "--quiet", str(born.path), str(path))
    shutil.copytree(first_model, path / "var")
    clone = Project(path, born.package)
    clone.make("setup")
    yield clone


@pytest.fixture
def fresh(elsewhere: Project) -> Iterator[Project]:
    """The same, to be edited freely."""
    kept = {path: path.read_bytes() for path in tracked(elsewhere)}
    yield elsewhere
    for path, content in kept.items():
        path.write_bytes(content)


def tracked(project: Project) -> list[Path]:
    return [project.path / name for name in project.git("ls-files", "src").splitlines()]


def run_of_champion(project: Project) -> str:
    [(run,)] = ask(
        project,
        "SELECT run_id FROM model_versions AS v JOIN registered_model_aliases AS a "
        "ON v.version = a.version WHERE a.alias = 'champion'",
    )
    return str(run)


def test_a_run_is_had_again_elsewhere(elsewhere: Project, files: list[Path]) -> None:
    """From an earlier version of the data, which has been overwritten since."""
    elsewhere.cli("data", "ingest", files[0])
    before = ask(elsewhere, "SELECT run_uuid, status FROM runs")

    done = elsewhere.json("reproduce", run_of_champion(elsewhere))

    assert done == {"verdict": "identical", "differences": []}
    assert ask(elsewhere, "SELECT run_uuid, status FROM runs") == before, "nothing is stored"


def other_features(clone: Project) -> None:
    clone.replace(
        clone.source / "preprocessing/features.py",
        'handle_unknown="ignore", max_categories=50',
        'handle_unknown="ignore", max_categories=3',
    )


def other_model(clone: Project) -> None:
    clone.replace(
        clone.source / "estimators/model.py", "random_state=seed", "random_state=seed, max_iter=80"
    )


def other_rule(clone: Project) -> None:
    clone.replace(clone.source / "estimators/rules.py", "] == 0", "] < 2_000")


def other_settings(clone: Project) -> None:
    """The run brings its own settings: others in the file change nothing."""
    others = '[split]\nseed = "v2"\n\n[ensemble]\ngrid = { max_iter = [20, 30] }\n\n[training]'
    clone.replace(clone.config, "[training]", f"{others}\nseed = 7")


def other_package(clone: Project) -> None:
    [metadata] = (clone.path / ".venv").glob(
        "lib/*/site-packages/scikit_learn-*.dist-info/METADATA"
    )
    text = metadata.read_text()
    metadata.unlink()  # it may share its bytes with uv's cache
    version = text.partition("\nVersion: ")[2].split()[0]
    metadata.write_text(text.replace(f"\nVersion: {version}", "\nVersion: 1.2.3", 1))


CHANGED = {"uncommitted files", "golden answers"}


@pytest.mark.parametrize(
    ("change", "verdict", "named"),
    [
        pytest.param(other_features, "different", CHANGED, marks=pytest.mark.long),
        pytest.param(other_model, "different", CHANGED, marks=pytest.mark.long),
        (other_rule, "different", CHANGED),
        (other_settings, "identical", {"uncommitted files"}),
        (other_package, "identical", {"scikit-learn"}),
    ],
)
def test_what_differs_is_named(
    fresh: Project, change: Callable[[Project], None], verdict: str, named: set[str]
) -> None:
    change(fresh)

    done = fresh.json("reproduce", run_of_champion(fresh), code=0 if verdict == "identical" else 1)

    assert done["verdict"] == verdict
    assert named <= {one["what"] for one in done["differences"]}
    if verdict == "identical":
        assert {one["kind"] for one in done["differences"]} == {"circumstance"}


def test_data_that_was_tampered_with_is_named(fresh: Project) -> None:
    """Somebody corrects a value in the files of the table, past the table's own versions."""
    file, log, entry = first_file(fresh)
    kept = file.read_bytes(), log.read_text()
    rows = pd.read_parquet(file)
    rows.loc[17, "distance_km"] += 1
    rows.to_parquet(file, index=False)

    # The table knows how long its file was ...
    said = fresh.cli("reproduce", run_of_champion(fresh), code=2).stderr
    assert "Version 0 of the table 'shipments' can't be read" in said

    # ... and if that is corrected as well, the fingerprint knows what was in it.
    log.write_text(kept[1].replace(f'"size":{entry["size"]}', f'"size":{file.stat().st_size}'))
    done = fresh.json("reproduce", run_of_champion(fresh), code=1)

    file.write_bytes(kept[0])
    log.write_text(kept[1])
    assert done["verdict"] == "different"
    [difference] = [one for one in done["differences"] if one["kind"] == "data"]
    assert difference["what"] == "shipments@0"


def first_file(project: Project) -> tuple[Path, Path, dict[str, Any]]:
    """Return the file of a table's version 0, the log that names it, and what it says of it."""
    table = project.path / "var/tables/shipments"
    log = table / "_delta_log" / f"{0:020}.json"
    [entry] = [json.loads(line)["add"] for line in log.read_text().splitlines() if '"add"' in line]
    return table / entry["path"], log, entry


def test_a_run_that_is_not_there_is_named(fresh: Project) -> None:
    done = fresh.cli("reproduce", "0123456789abcdef", code=2)
    assert "There is no run '0123456789abcdef'" in done.stderr
