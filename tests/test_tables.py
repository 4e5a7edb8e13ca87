"""From a source to a version of a table: files, tables, databases and object stores."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deltalake
import pandas as pd
import pytest
from serve import serving

from conftest import Project, environment

FULL = os.environ.get("SLIPWAY_FULL") == "1"
ROWS = 3_000
PASSWORD = "correct-horse-42"


@pytest.fixture(scope="module")
def rows(born: Project) -> pd.DataFrame:
    file = born.path.parent / "some.parquet"
    born.cli("data", "sample", file, "--rows", str(ROWS))
    return pd.read_parquet(file)


@pytest.fixture
def folder(project: Project) -> Path:
    """Where sources lie: inside the project, in no commit."""
    path = project.path / "var/sources"
    path.mkdir(parents=True)
    return path


def table(project: Project, name: str = "shipments", version: int | None = None) -> pd.DataFrame:
    """Read a table with Delta's own library."""
    found = deltalake.DeltaTable(str(project.path / "var/tables" / name), version=version)
    return found.to_pandas()


def ingest(project: Project, *source: str | Path, code: int = 0, **env: str) -> Any:
    done = project.json("data", "ingest", *source, code=code, **env)
    return done["error"] if code else done["tables"][0]


def missing(what: str) -> None:
    if FULL:
        pytest.fail(f"{what} is not here, and SLIPWAY_FULL=1 asks for it")
    pytest.skip(f"{what} is not here")


# ---------------------------------------------------------------- files and tables


def write_csv(rows: pd.DataFrame, folder: Path) -> str:
    rows.to_csv(folder / "rows.csv", index=False)
    return str(folder / "rows.csv")


def write_parquet(rows: pd.DataFrame, folder: Path) -> str:
    rows.to_parquet(folder / "rows.parquet", index=False)
    return str(folder / "rows.parquet")


def write_delta(rows: pd.DataFrame, folder: Path) -> str:
    deltalake.write_deltalake(str(folder / "rows"), rows)
    return str(folder / "rows")


def write_sqlite(rows: pd.DataFrame, folder: Path) -> str:
    with sqlite3.connect(folder / "rows.db") as database:
        rows.to_sql("shipments", database, index=False)
    return f"sqlite:///{folder}/rows.db#SELECT * FROM shipments"


def test_every_kind_of_source_gives_the_same_table(
    project: Project, folder: Path, rows: pd.DataFrame
) -> None:
    """Text, typed columns, integers for flags: the fingerprint of what arrives is one."""
    found = {}
    for version, write in enumerate([write_csv, write_parquet, write_delta, write_sqlite]):
        done = ingest(project, write(rows.sample(frac=1, random_state=version), folder))
        assert (done["version"], done["rows"], done["bad"]) == (version, ROWS, 0), write.__name__
        found[write.__name__] = done["fingerprint"]

    assert len(set(found.values())) == 1, found
    known = project.json("data", "history")["versions"]
    assert [one["version"] for one in known] == [3, 2, 1, 0]
    assert [one["source"].split("/")[-1] for one in known] == [
        "rows.db#SELECT * FROM shipments",
        "rows",
        "rows.parquet",
        "rows.csv",
    ]
    assert project.json("data", "check", "shipments@0", "shipments@3")["verdict"] == "identical"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"shipment_id,customer_id\n", "holds no rows"),
        (b"shipment_id,shipment_id\n1,2\n", "more than one column called shipment_id"),
        (b"shipment_id,goods\n1,b\xfccher\n", "iconv"),
        (b"shipment_id,goods\n1\n", "can't be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    project: Project, folder: Path, content: bytes, said: str
) -> None:
    (folder / "rows.csv").write_bytes(content)
    assert said in ingest(project, folder / "rows.csv", code=2)
    assert not (project.path / "var/tables").exists()


# ---------------------------------------------------------------- databases


def test_rows_of_a_query_need_an_order_or_a_key(
    project: Project, folder: Path, rows: pd.DataFrame
) -> None:
    query = write_sqlite(rows, folder)
    project.replace(project.config, 'key = ["shipment_id"]\n', "")

    said = ingest(project, query, code=2)
    assert "Add ORDER BY to the query, or name the key in [data]" in said
    assert not (project.path / "var/tables").exists()

    assert ingest(project, f"{query} ORDER BY shipment_id")["rows"] == ROWS


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELEC", "syntax error"),
        ("SELECT shipment_id FROM shipments", "lacks the declared columns customer_id"),
        ("SELECT * FROM shipments WHERE shipment_id < 0", "holds no rows"),
    ],
)
def test_a_query_that_gives_no_table_is_refused(
    project: Project, folder: Path, rows: pd.DataFrame, query: str, said: str
) -> None:
    url = write_sqlite(rows, folder).partition("#")[0]
    code = 1 if "lacks" in said else 2
    assert said in ingest(project, f"{url}#{query}", code=code)


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[str, Callable[[str], None]]]:
    """A PostgreSQL of our own with a user who has a password: its URL, and a way to run SQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    control = shutil.which("pg_ctl") or (found and str(found[-1]))
    if not control:
        missing("PostgreSQL (pg_ctl)")
    # PostgreSQL refuses to run as root.
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="slipway-pg-") as place:
        if user:
            shutil.chown(place, "postgres")

        def run(*command: str) -> None:
            subprocess.run(command, check=True, cwd=place, stdout=subprocess.DEVNULL, **user)

        def sql(text: str) -> None:
            psql = shutil.which("psql") or str(Path(control).resolve().parent / "psql")
            run(psql, "-qX", "-v", "ON_ERROR_STOP=1", "-h", place, "-p", str(port), "-c", text)

        initdb = "--username=postgres --auth-local=trust --auth-host=scram-sha-256 --locale=C"
        run(control, "-D", f"{place}/data", "initdb", "-o", f"{initdb} --encoding=UTF8")
        options = f"-k {place} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(control, "-D", f"{place}/data", "start", "-w", "-l", f"{place}/log", "-o", options)
        try:
            sql(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
            yield f"postgresql+psycopg://reader:{PASSWORD}@127.0.0.1:{port}/postgres", sql
        finally:
            run(control, "-D", f"{place}/data", "stop", "-m", "immediate")


def with_driver(project: Project, *arguments: str) -> list[str]:
    """A command of the project, with PostgreSQL's driver laid over its environment."""
    uv = shutil.which("uv", path=environment()["PATH"])
    driver = ["run", "--no-sync", "--quiet", "--with", "psycopg[binary]"]
    return [str(uv), *driver, project.slug, *arguments]


def test_a_table_from_postgresql_and_its_password_nowhere(
    project: Project,
    folder: Path,
    rows: pd.DataFrame,
    postgres: tuple[str, Callable[[str], None]],
) -> None:
    url, sql = postgres
    sql(
        "CREATE TABLE shipments (shipment_id bigint, customer_id int, ordered_at timestamp, "
        "weight_kg float8, distance_km float8, items int, declared_value float8, carrier text, "
        "goods text, express bool, insured bool, late bool, delivery_days float8)"
    )
    rows.sample(frac=1, random_state=1).to_csv(folder / "rows.csv", index=False)
    (folder / "rows.csv").chmod(0o644)
    copy = Path(tempfile.gettempdir()) / f"slipway-{os.getpid()}.csv"
    shutil.copy(folder / "rows.csv", copy)
    try:
        sql(f"COPY shipments FROM '{copy}' CSV HEADER; GRANT SELECT ON shipments TO reader")
    finally:
        copy.unlink()
    query = f"{url}#SELECT * FROM shipments"

    # Without the driver the message says what is missing.
    said = project.cli("data", "ingest", query, code=2)
    assert "uv add 'psycopg[binary]'" in said.stderr
    assert PASSWORD not in said.stdout + said.stderr

    project.replace(project.config, '"sample:20000"', json.dumps(query))
    done = project.run(*with_driver(project, "train", "--allow-dirty", "--json"), code=None)
    assert done.returncode in {0, 1}, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])

    write_parquet(rows, folder)
    verdict = project.json("data", "check", folder / "rows.parquet", "shipments")["verdict"]
    assert verdict == "identical"
    assert result["data"]["shipments"]["source"] == query.replace(PASSWORD, "***")
    assert "***" in project.cli("data", "history").stdout

    assert PASSWORD not in project.cli("config", "show").stdout

    wrong = query.replace(PASSWORD, "wrong-and-secret")
    failed = project.run(*with_driver(project, "data", "ingest", wrong), code=2)
    assert "wrong-and-secret" not in failed.stdout + failed.stderr
    assert "password authentication failed" in failed.stderr

    # Nor is it kept: not in the table's log, the run's record, MLflow's database or its folders.
    assert PASSWORD not in done.stdout + done.stderr
    kept = [path for path in (project.path / "var").rglob("*") if path.is_file()]
    assert len(kept) > 10
    holding = [path for path in kept if PASSWORD.encode() in path.read_bytes()]
    assert holding == []


# ---------------------------------------------------------------- object stores


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """An object store on this machine: what the environment says of it, and a bucket `lake`."""
    uv = shutil.which("uv", path=environment()["PATH"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(uv), "tool", "run", "--quiet", "--from", "moto[server]", "moto_server"]
    log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the server
    server = subprocess.Popen(
        [*command, "-H", "127.0.0.1", "-p", str(port)], env=environment(), stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/lake", method="PUT")).close()
            break
        except (urllib.error.URLError, ConnectionError):
            if server.poll() is not None or time.monotonic() > end:
                server.kill()
                missing("moto_server, an object store for tests,")
            time.sleep(0.2)
    yield {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }
    server.terminate()
    server.wait()


def test_tables_in_an_object_store(
    project: Project, folder: Path, rows: pd.DataFrame, store: dict[str, str]
) -> None:
    env = store | {f"{project.package}__PATHS__TABLES".upper(): "s3://lake/tables"}
    then = write_parquet(rows, folder)
    first = ingest(project, then, **env)
    assert first["version"] == 0
    assert ingest(project, write_csv(rows.head(500), folder), **env)["version"] == 1

    trained = project.json("train", code=None, **env)

    assert trained["data"]["shipments"]["version"] == 1
    assert sum(trained["split"].values()) == 500
    assert project.json("data", "check", then, "shipments@0", **env)["verdict"] == "identical"
    history = project.json("data", "history", **env)["versions"]
    assert [one["rows"] for one in history] == [500, ROWS]
    assert not (project.path / "var/tables").exists(), "something was kept on this machine"


def test_writers_at_once_into_an_object_store_lose_nothing(
    project: Project, store: dict[str, str]
) -> None:
    env = store | {f"{project.package}__PATHS__TABLES".upper(): "s3://lake/busy"}
    writers = [
        subprocess.Popen(
            [project.path / ".venv/bin" / project.slug, "data", "ingest", f"sample:{count}"],
            cwd=project.path,
            env=environment() | env,
            stdout=subprocess.DEVNULL,
        )
        for count in (1_001, 1_002, 1_003)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]

    history = project.json("data", "history", **env)["versions"]
    assert [one["version"] for one in history] == [2, 1, 0]
    assert {one["rows"] for one in history} == {1_001, 1_002, 1_003}


def test_a_large_table_in_an_object_store_is_read_in_batches(
    project: Project, store: dict[str, str]
) -> None:
    both = (
        "import numpy as np, pyarrow as pa\n"
        "from deltalake import write_deltalake\n"
        f"from {project.package}.data.sources import read_batches\n"
        "rows = pa.table({f'c{n}': np.random.rand(200_000) for n in range(8)})\n"
        "for mode in ('error', 'append', 'append'):\n"
        "    write_deltalake('s3://lake/large', rows, mode=mode)\n"
        "print([batch.num_rows for batch in read_batches('s3://lake/large')])"
    )
    python, env = project.path / ".venv/bin/python", environment() | store
    done = subprocess.run([python, "-c", both], env=env, stdout=subprocess.PIPE, check=True)
    sizes = json.loads(done.stdout)
    assert (max(sizes), sum(sizes)) == (50_000, 600_000)

    # Arrow's own threads, still reading when a command ends, would abort two processes in five.
    first = f"from {project.package}.data.sources import *; next(read_batches('s3://lake/large'))"
    ended = [subprocess.Popen([python, "-c", first], env=env) for _ in range(4)]
    assert [process.wait(60) for process in ended] == [0, 0, 0, 0]


# ---------------------------------------------------------------- bad rows


def spoil(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return rows.assign(carrier=rows["carrier"].where(rows.index >= count, "pelican"))


def policy(project: Project, name: str, share: float = 0.05) -> None:
    said = f'bad_rows = "{name}"\nmax_bad_share = {share}\n\n[data.sources]'
    project.replace(project.config, "[data.sources]", said)


def test_quarantine_keeps_every_bad_row_and_the_run_counts_them(
    project: Project, folder: Path, rows: pd.DataFrame
) -> None:
    spoilt = spoil(rows, 30)
    spoilt.loc[5, "distance_km"] = 9_000.0

    done = ingest(project, write_csv(spoilt, folder))

    assert (done["rows"], done["bad"]) == (ROWS - 30, 30)
    apart = table(project, "shipments_quarantine")
    assert apart["row"].tolist() == list(range(30))
    assert apart["shipment_id"].tolist() == [str(key) for key in rows["shipment_id"][:30]]
    unknown = "carrier is 'pelican', an unknown category"
    assert set(apart["reason"].drop(5)) == {unknown}
    assert set(apart["reason"][5].split("; ")) == {unknown, "distance_km is 9000.0, above 5000"}

    # The next delivery is clean: the table moves on, and the bad rows of the first stay.
    assert ingest(project, write_csv(rows, folder))["bad"] == 0
    assert len(table(project, "shipments_quarantine")) == 30
    assert len(table(project, version=0)) == ROWS - 30

    ingest(project, write_csv(spoilt, folder))
    trained = project.json("train", code=None)
    assert trained["data"]["shipments"]["bad"] == 30
    assert sum(trained["split"].values()) == ROWS - 30
    record = next((project.path / "var/artifacts").rglob("record.json"))
    assert json.loads(record.read_text())["data"]["shipments"]["bad"] == 30


def test_drop_counts_them_and_keeps_none(
    project: Project, folder: Path, rows: pd.DataFrame
) -> None:
    policy(project, "drop")

    done = ingest(project, write_csv(spoil(rows, 30), folder))

    assert (done["rows"], done["bad"]) == (ROWS - 30, 30)
    assert done["reasons"] == {"carrier is 'pelican', an unknown category": 30}
    assert not (project.path / "var/tables/shipments_quarantine").exists()


def test_fail_takes_nothing(project: Project, folder: Path, rows: pd.DataFrame) -> None:
    policy(project, "fail")

    said = ingest(project, write_csv(spoil(rows, 1), folder), code=1)

    assert "rows.csv: 1 of 3000 rows break the schema, first at row 0" in said
    assert not (project.path / "var/tables").exists()


@pytest.mark.parametrize("name", ["drop", "quarantine"])
def test_more_bad_rows_than_allowed_are_refused(
    project: Project, folder: Path, rows: pd.DataFrame, name: str
) -> None:
    policy(project, name, share=0.01)

    assert ingest(project, write_csv(spoil(rows, 30), folder))["bad"] == 30
    said = ingest(project, write_csv(spoil(rows, 31), folder), code=1)

    assert "31 of 3000 rows are bad, more than max_bad_share = 1% allows" in said
    assert len(project.json("data", "history")["versions"]) == 1


def test_the_journal_in_postgresql(
    trained: Project, samples: Path, tmp_path: Path, postgres: tuple[str, Callable[[str], None]]
) -> None:
    url, sql = postgres
    sql("CREATE SCHEMA journal AUTHORIZATION reader; ALTER ROLE reader SET search_path = journal")
    uv = shutil.which("uv", path=environment()["PATH"])
    driver = tmp_path / "driver"
    trained.run(str(uv), "pip", "install", "--quiet", "--target", driver, "psycopg[binary]")
    name = f"{trained.package}__SERVICE__JOURNAL".upper()
    env = {"PYTHONPATH": str(driver), name: url}
    sent = json.loads(
        pd.read_parquet(samples / "rows.parquet")
        .drop(columns=["late", "delivery_days"])
        .head(50)
        .to_json(orient="records", date_format="iso")
    )

    with serving(trained, **env) as service:
        kept = service.ids(sent)
        # Whoever restarts the database breaks a connection: that answer is refused, not lost.
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
        codes = [service.post(sent[0]).code for _ in range(3)]
        assert codes in ([503, 200, 200], [200, 200, 200])
        kept += service.ids(sent[:5])
        service.kill()

    for one in (kept[0], kept[-1]):
        assert trained.json("replay", one, **env)["verdict"] == "identical"
    rows = trained.json("journal", "export", tmp_path / "past.parquet", **env)["rows"]
    assert rows == len(kept) + codes.count(200)
    (tmp_path / "late.csv").write_text(f"prediction_id,late\n{kept[0]},true\n{kept[1]},false\n")
    told = trained.json("outcomes", tmp_path / "late.csv", **env)
    assert told["matched"] == 2
    assert PASSWORD not in service.log.read_text() + trained.cli("config", "show", **env).stdout
