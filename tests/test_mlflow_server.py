"""The whole life of a model on an MLflow server with users: only the environment says so."""

import csv
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import test_tables
import yaml
from serve import free_port, serving
from test_tables import PASSWORD

from conftest import Project, environment

pytestmark = pytest.mark.long

postgres = test_tables.postgres


@pytest.fixture(scope="module")
def server(
    born: Project,
    postgres: tuple[str, Callable[[str], None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """MLflow as ops/compose.yaml starts it, with users: what a project's environment must say."""
    url, sql = postgres
    for name in ("mlflow", "users"):
        sql(f"CREATE DATABASE {name} OWNER reader")
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    store, users = (url.replace("/postgres", f"/{name}") for name in ("mlflow", "users"))
    auth = folder / "auth.ini"
    auth.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {users}\n"
        f"admin_username = ada\nadmin_password = {PASSWORD}\n"
    )
    said = yaml.safe_load((born.path / "ops/compose.yaml").read_text())["services"]["mlflow"]
    changed = {
        "--host=0.0.0.0": "--host=127.0.0.1",
        "--port=5000": f"--port={port}",
        "--artifacts-destination=/artifacts": f"--artifacts-destination={folder}/artifacts",
    }
    command = [changed.pop(part, part) for part in said["command"]]
    command = [
        f"--backend-store-uri={store}" if part.startswith("--backend-store-uri=") else part
        for part in command
    ]
    assert not changed, "the compose file starts it otherwise"
    hosts = said["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].replace("5000", str(port))
    told = said["environment"] | {
        "MLFLOW_SERVER_ALLOWED_HOSTS": hosts,
        "MLFLOW_AUTH_CONFIG_PATH": str(auth),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": PASSWORD,
    }
    uv = [str(shutil.which("uv", path=environment()["PATH"])), "run", "--isolated", "--no-project"]
    packages = ["--with", "mlflow[auth]>=3.17,<4", "--with", "psycopg[binary]"]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*uv, *packages, *command, "--app-name=basic-auth"],
            cwd=folder,
            env=environment() | told,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process, log)
        yield {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_USERNAME": "ada",
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            urllib.request.urlopen(url).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(log.read_text()[-4000:])


def known(server: dict[str, str], alias: str) -> int:
    """Ask the server itself which version an alias names."""
    query = f"registered-models/alias?name=shipment-delays&alias={alias}"
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    address, user, password = server.values()
    passwords.add_password(None, address, user, password)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    with opener.open(f"{address}/api/2.0/mlflow/{query}") as answer:
        return int(json.load(answer)["model_version"]["version"])


def test_a_model_lives_on_a_server(
    project: Project, server: dict[str, str], samples: Path, tmp_path: Path
) -> None:
    """Train, promote, roll back, score, serve, monitor, replay, reproduce and audit."""

    def json_of(*arguments: str | Path, code: int = 0) -> Any:
        return project.json(*arguments, code=code, **server)

    first = json_of("train")
    assert (first["version"], first["promoted"]) == (1, True)
    assert known(server, "champion") == 1
    lenient = "[promotion]\nchampion_tolerance = 0.1\n\n[training]\nseed = 7"
    project.replace(project.config, "[training]", lenient)
    project.commit("Another seed")
    second = json_of("train", "--no-promote")
    assert (second["version"], known(server, "champion")) == (2, 1)
    assert not (project.path / "var/mlflow.db").exists()

    with serving(project, **server, **quickly(project)) as service:
        assert service.get("/model").body["version"] == 1
        done = json_of("promote", "2")
        assert (done["champion"], done["previous"]) == (2, 1)
        assert known(server, "champion") == 2
        answering(service, 2)
        (name,) = service.ids(some(samples, 1))
        done = json_of("rollback")
        assert (done["champion"], done["previous"]) == (1, 2)
        answering(service, 1)

    shutil.rmtree(project.path / "var/models")
    scored = json_of("predict", samples / "rows.csv", tmp_path / "scored.csv")
    assert (scored["scored"], scored["version"]) == (300, 1)
    with (tmp_path / "scored.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 300
    assert json_of("replay", name)["verdict"] == "identical"
    assert json_of("reproduce", second["run_id"])["verdict"] == "identical"
    assert json_of("monitor")["verdict"] == "ok"
    assert json_of("audit")["findings"] == []

    with (project.source / "__init__.py").open("a") as file:
        file.write("# Not committed\n")
    said = project.make("demo", code=2, **server)
    assert "Commit gate: 1 file(s) differed from commit" in said
    assert known(server, "champion") == 1


def quickly(project: Project) -> dict[str, str]:
    return {f"{project.package.upper()}__SERVICE__POLL_SECONDS": "0.5"}


def answering(service: Any, version: int) -> None:
    """Wait until the service answers with a version, without a restart."""
    for _ in range(240):
        if service.get("/model").body["version"] == version:
            return
        time.sleep(0.5)
    pytest.fail(service.log.read_text())


def some(samples: Path, rows: int) -> list[dict[str, Any]]:
    read = pd.read_parquet(samples / "rows.parquet").drop(columns=["late", "delivery_days"])
    asked: list[dict[str, Any]] = json.loads(
        read.head(rows).to_json(orient="records", date_format="iso")
    )
    return asked


def test_a_server_that_lets_nobody_in_or_is_away_is_one_clear_message(
    project: Project, server: dict[str, str]
) -> None:
    wrong = server | {"MLFLOW_TRACKING_PASSWORD": "wrong"}
    with socket.socket() as nobody, socket.create_server(("127.0.0.1", 0)) as mute:
        nobody.bind(("127.0.0.1", 0))
        away, stuck = (
            {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{one.getsockname()[1]}"}
            for one in (nobody, mute)
        )
        stuck["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # each waits as long
        for env, word in [(wrong, "not authenticated"), (away, "refused"), (stuck, "timed out")]:
            for command in ("train", "serve"):
                start = time.monotonic()
                said = project.cli(command, code=2, **env).stderr
                last = said.strip().splitlines()[-1]
                assert last.startswith(f"MLflow at {env['MLFLOW_TRACKING_URI']} does not answer")
                assert word in last
                assert time.monotonic() - start < 60
    assert not (project.path / "var/tables").exists()
