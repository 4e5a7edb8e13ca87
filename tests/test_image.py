"""The container image: what it refuses to be made of, and how it runs in production."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from container import Builder, Image, lacking
from serve import Service, free_port
from test_tables import missing

from conftest import Project

MEGABYTES = 700
"""Of everything the image has beside its base."""


def test_an_image_takes_one_wheel(project: Project) -> None:
    assert "there is no dist/wheel.json" in project.make("image", code=2)

    project.make("build")
    other = project.write(f"dist/{project.package}-0.2.0-py3-none-any.whl", "")
    assert "0.1.0-py3-none-any.whl was built" in project.make("image", code=2)

    other.unlink()
    assert "Neither docker, podman nor buildah" in project.make("image", "ENGINE=", code=2)


@pytest.mark.parametrize("engine", ["docker", "podman", "buildah"])
def test_any_engine_is_told_the_same(project: Project, tmp_path: Path, engine: str) -> None:
    """The engine is a stand-in that writes down what it is told; the next test takes a real one."""
    project.make("build")
    told = tmp_path / engine
    told.write_text('#!/bin/sh\necho "$@"\n')
    told.chmod(0o755)

    said = project.make("image", f"ENGINE={told}", "IMAGE=registry.example.com/late:7")

    assert "build -t registry.example.com/late:7 -f ops/docker/Dockerfile" in said
    assert "--build-arg BASE=python:3." in said
    wanted = (project.path / "build/image/requirements.txt").read_text()
    assert "mlflow-skinny==" in wanted
    assert "--hash=sha256:" in wanted
    for without in ("deltalake==", "skl2onnx==", "pytest==", project.slug):
        assert f"\n{without}" not in wanted, without


real = pytest.mark.long


@pytest.fixture(scope="module")
def image(born: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of the default project."""
    if what := lacking():
        missing(what)
    builder = Builder(tmp_path_factory.mktemp("images"))
    try:
        born.make("build")
        built = json.loads((born.path / "dist/wheel.json").read_text())["sha256"]
        born.make("image", *builder.options, **builder.env)
        with builder.laid_out(f"localhost/{born.slug}:0.1.0") as made:
            yield replace(made, wheel=built)
    finally:
        builder.close()


@contextmanager
def production(image: Image, var: Path, log: Path, **env: str) -> Iterator[Service]:
    """Run what the image says it runs, on a port of our own."""
    port = free_port()
    command = [*image.config["Entrypoint"], *image.config["Cmd"], "--port", str(port)]
    told = image.command(var, "env", *(f"{name}={value}" for name, value in env.items()), *command)
    with log.open("wb") as said:
        process = subprocess.Popen(told, stdout=said, stderr=said, start_new_session=True)
    service = Service(f"http://127.0.0.1:{port}", process, log)
    try:
        for _ in range(1200):
            assert process.poll() is None, log.read_text()
            try:
                if service.get("/health/ready").code == 200:
                    break
            except OSError:
                time.sleep(0.1)
        yield service
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM, 143}, log.read_text()


@pytest.fixture
def var(first_model: Path, image: Image, tmp_path: Path) -> Path:
    """A volume with the first champion, which belongs to the user of the image."""
    shutil.copytree(first_model, tmp_path / "var")
    shutil.rmtree(tmp_path / "var/models", ignore_errors=True)
    for path in [tmp_path / "var", *(tmp_path / "var").rglob("*")]:
        os.chown(path, int(image.config["User"]), int(image.config["User"]))
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    return tmp_path / "var"


@real
def test_the_image_answers_as_nobody_from_a_read_only_root(
    image: Image, var: Path, samples: Path, trained: Project, tmp_path: Path
) -> None:
    rows = pd.read_parquet(samples / "rows.parquet").drop(columns=["late", "delivery_days"])
    asked = json.loads(rows.to_json(orient="records", date_format="iso"))
    trained.cli("predict", samples / "rows.parquet", tmp_path / "scored.parquet")
    scored = pd.read_parquet(tmp_path / "scored.parquet")["prediction"].tolist()

    with production(image, var, tmp_path / "log") as service:
        model = service.get("/model").body
        answer = service.post({"rows": asked})
        port = service.url.rpartition(":")[2]
        check = [part.replace("8000", port) for part in health(image)]
        healthy = subprocess.run(image.command(var, *check), check=False).returncode
        user = Path(f"/proc/{worker(service)}/status").read_text()
    assert subprocess.run(image.command(var, *check), check=False, stderr=-1).returncode != 0

    assert (model["name"], model["version"]) == (trained.slug, 1)
    assert model["wheel"] == image.wheel, "not the wheel that was built"
    assert answer.code == 200, answer.body
    assert [one["prediction"] for one in answer.body["predictions"]] == scored
    assert healthy == 0
    assert f"Uid:\t{image.config['User']}\t" in user
    assert int(image.config["User"]) > 0
    journal = trained.json("journal", "export", tmp_path / "j.csv", **at(var, trained))
    assert journal["rows"] == len(scored)


def health(image: Image) -> list[str]:
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    return list(command)


def worker(service: Service) -> int:
    """The process that `unshare` became: every step of the way in is an exec."""
    return service.process.pid


def at(var: Path, project: Project) -> dict[str, str]:
    return {f"{project.package.upper()}__PATHS__VAR": str(var)}


@real
def test_the_image_holds_what_serving_needs_and_can_be_written_nowhere(
    image: Image, var: Path
) -> None:
    def run(command: str) -> subprocess.CompletedProcess[str]:
        told = image.command(var, "sh", "-c", command)
        return subprocess.run(told, capture_output=True, text=True, check=False)

    for tool in ("pip", "uv", "cc", "gcc", "make", "git"):
        assert run(f"command -v {tool}").returncode != 0, tool
    for place in ("/project", "/app", "/etc", "/home"):
        assert "Read-only file system" in run(f"touch {place}/x").stderr, place
    assert run("touch /project/var/x /tmp/x").returncode == 0
    size = subprocess.check_output(["du", "-sm", image.root / "app"], text=True)
    assert int(size.split()[0]) <= MEGABYTES
    loaded = run("python3 -v -c 'import shipment_delays.service.server'").stderr
    assert "import 'shipment_delays.service.server'" in loaded
    assert "bytecode is stale" not in loaded


@real
def test_what_the_image_leaves_out_is_said_in_one_line(
    image: Image, var: Path, samples: Path
) -> None:
    shutil.copy(samples / "rows.csv", var)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        told = image.command(var, *image.config["Entrypoint"], *arguments)
        return subprocess.run(told, capture_output=True, text=True, check=False)

    scored = run("predict", "var/rows.csv", "var/scored.csv")
    assert scored.returncode == 0, scored.stderr
    assert len((var / "scored.csv").read_text().splitlines()) == 301

    for command in (["train"], ["predict", "var/rows.csv", "var/scored.delta"]):
        done = run(*command)
        assert done.returncode == 2
        assert "No module named 'deltalake'" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@real
def test_an_image_without_a_model_says_so(image: Image, tmp_path: Path) -> None:
    empty = tmp_path / "var"
    empty.mkdir()
    os.chown(empty, 10001, 10001)
    told = image.command(empty, *image.config["Entrypoint"], *image.config["Cmd"])
    done = subprocess.run(told, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "no champion yet" in done.stderr
