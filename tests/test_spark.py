"""Batch scoring on a real Spark cluster: a master and two workers that know nothing of it."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from deltalake import write_deltalake

from conftest import Project, environment

ROWS = 20_000
HERE = {"SPARK_LOCAL_IP": "127.0.0.1"}


@dataclass(frozen=True)
class Cluster:
    """A master's URL and its workers, each with one core and a folder of its own."""

    master: str
    workers: list[subprocess.Popen[str]]
    folder: Path

    def kill(self, number: int) -> None:
        """Take the plug out of a worker: it and all its processes die at once."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)


@pytest.fixture
def cluster(spark_project: Project, tmp_path: Path) -> Iterator[Cluster]:
    (home,) = spark_project.path.glob(".venv/lib/python3*/site-packages/pyspark")
    running: list[subprocess.Popen[str]] = []

    def start(role: str, *arguments: str, says: str) -> str:
        log = tmp_path / f"{role}-{len(running)}.log"
        process = subprocess.Popen(
            [home / "bin/spark-class", f"org.apache.spark.deploy.{role}", *arguments],
            env=environment()
            | {"SPARK_HOME": str(home), "SPARK_LOCAL_DIRS": str(tmp_path / f"local-{len(running)}")}
            | HERE,
            stderr=log.open("w"),
            start_new_session=True,
            text=True,
        )
        running.append(process)
        for _ in range(600):
            if found := re.search(says, log.read_text()):
                return found[0]
            time.sleep(0.2)
        raise AssertionError(log.read_text())

    host = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    try:
        master = start("master.Master", *host, says=r"spark://[\d.:]+")
        for number in range(2):
            work = [
                "--work-dir",
                str(tmp_path / f"work-{number}"),
                "--cores",
                "1",
                "--memory",
                "1g",
            ]
            start("worker.Worker", *host, *work, master, says="Successfully registered")
        yield Cluster(master, running[1:], tmp_path)
    finally:
        for process in running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


def sample(project: Project, file: Path, rows: int, seed: int = 3) -> Path:
    project.cli("data", "sample", file, "--rows", str(rows), "--seed", str(seed))
    return file


def read(path: str) -> pd.DataFrame:
    path = Path(path.removeprefix("file://"))
    if path.suffix == ".csv":
        parts = sorted(path.glob("part-*")) if path.is_dir() else [path]
        frames = [pd.read_csv(part) for part in parts]
        return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    return pd.read_parquet(path)


def assert_same(given: dict, wanted: dict, by: str = "row") -> None:
    """The same counts, and the same rows to the last bit."""
    for name in ("rows", "scored", "rejected", "version"):
        assert given[name] == wanted[name]
    for name in ["output", "rejects"]:
        assert (given[name] is None) == (wanted[name] is None)
        if given[name]:
            frames = [
                read(done[name]).sort_values(by, ignore_index=True) for done in (given, wanted)
            ]
            frames = [frame.drop(columns="row") if by != "row" else frame for frame in frames]
            pd.testing.assert_frame_equal(*frames, check_exact=True)


@pytest.mark.long
def test_a_cluster_without_the_project_answers_as_one_process(
    spark_project: Project, cluster: Cluster, tmp_path: Path
) -> None:
    rows = pd.read_parquet(sample(spark_project, tmp_path / "rows.parquet", ROWS))
    rows["weight_kg"] = rows["weight_kg"].where(rows.index % 500 != 7, -1.0)
    rows.to_parquet(tmp_path / "rows.parquet", index=False, row_group_size=2_000)
    rows.head(1_000).assign(goods='a "b",\nc').to_csv(tmp_path / "rows.csv", index=False)
    counted = spark_project.path / "var/batches"
    # What has an address is written by Spark, anything else by the executors themselves.
    for kind, before in [("parquet", ""), ("csv", ""), ("csv", "file://")]:
        source = tmp_path / f"rows.{kind}"
        one = spark_project.json("predict", source, tmp_path / f"one.{kind}")
        many = spark_project.json(
            "predict", source, f"{before}{tmp_path}/many.{kind}", "--spark", cluster.master, **HERE
        )
        assert many["rejected"] == (ROWS if kind == "parquet" else 1_000) // 500
        assert_same(many, one)
        first, second = [file.read_text() for file in sorted(counted.iterdir())[-2:]]
        assert first.partition('"version"')[2] == second.partition('"version"')[2]
    shipped = list(tmp_path.glob("work-*/app-*/*/environment/bin/python"))
    assert len(shipped) == 6, "each of two executors, three times, ran the environment it was sent"


@pytest.mark.long
def test_a_worker_that_dies_costs_nothing(
    spark_project: Project, cluster: Cluster, tmp_path: Path
) -> None:
    source = sample(spark_project, tmp_path / "rows.parquet", 15 * ROWS)
    pd.read_parquet(source).to_parquet(source, index=False, row_group_size=10_000)
    one = spark_project.json("predict", source, tmp_path / "one.parquet")
    command = [spark_project.path / ".venv/bin" / spark_project.slug, "predict", source]
    with subprocess.Popen(
        [*command, tmp_path / "many.parquet", "--spark", cluster.master, "--json"],
        cwd=spark_project.path,
        env=environment() | HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while not list(tmp_path.glob("local-1/**/rdd_*")):  # it has kept some of its answers
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        cluster.kill(0)
        assert not (tmp_path / "many.parquet").exists()
        said, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    assert_same(json.loads(said.splitlines()[-1]), one)


def test_delta_and_folders_of_parquet_are_read_without_extra_jars(
    spark_project: Project, tmp_path: Path
) -> None:
    rows = pd.read_parquet(sample(spark_project, tmp_path / "rows.parquet", 2_000))
    rows["goods"] = rows["goods"].where(rows.index % 5 != 0, "a b:c%20/d=é")
    table = tmp_path / "table"
    write_deltalake(table, rows.head(50))
    write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite", partition_by=["goods"])
    one = spark_project.json("predict", table, tmp_path / "one.parquet")
    local = ["--spark", "local[1]"]
    many = spark_project.json("predict", table, tmp_path / "many.parquet", *local, **HERE)
    assert many["scored"] == 2_000
    assert_same(many, one, by="shipment_id")

    parts = tmp_path / "parts.parquet"  # a folder with a column in the names of its folders
    rows.to_parquet(parts, partition_cols=["goods"], index=False)
    many = spark_project.json("predict", parts, f"file://{tmp_path}/many.parquet", *local, **HERE)
    assert many["scored"] == 2_000
    assert_same(many, one, by="shipment_id")
    assert not list(tmp_path.glob(".*")), "nothing half done is left"


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [
        pytest.param("nowhere.csv", "out.csv", "nowhere.csv", marks=pytest.mark.long),
        pytest.param("narrow.csv", "out.csv", "lacks the column carrier", marks=pytest.mark.long),
        ("ragged.csv", "out.csv", "failed: "),
        ("spoilt.parquet", "out.parquet", "spoilt.parquet can't be read: "),
        ("rows.csv", "out.delta", "end in .csv or .parquet"),
        pytest.param(
            "rows.csv", "no://x.csv", 'No FileSystem for scheme "no"', marks=pytest.mark.long
        ),
    ],
)
def test_what_cannot_be_scored_is_named_and_leaves_nothing(
    spark_project: Project, tmp_path: Path, source: str, output: str, said: str
) -> None:
    rows = pd.read_csv(sample(spark_project, tmp_path / "rows.csv", 50))
    rows.drop(columns="carrier").to_csv(tmp_path / "narrow.csv", index=False)
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "ragged.csv").write_text(f"{text}1,2,3\n")
    rows.to_parquet(tmp_path / "spoilt.parquet")
    with (tmp_path / "spoilt.parquet").open("r+b") as file:  # its footer stays
        file.write(b"PAR1" + b"\xff" * 400)
    before = sorted(tmp_path.iterdir())
    where = output if "://" in output else tmp_path / output
    done = spark_project.cli(
        "predict", tmp_path / source, where, "--spark", "local[1]", code=2, **HERE
    )
    assert said in done.stderr
    assert sorted(tmp_path.iterdir()) == before
