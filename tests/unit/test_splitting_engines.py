"""The split is the same in pandas, DuckDB, Spark SQL and PostgreSQL, by the SQL in the docs."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slipway_template.training.hashing import buckets, hash_keys
from slipway_template.training.splitting import SplitSettings, split

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "split-in-sql.md"
ENGINES = ["DuckDB", "Spark SQL", "PostgreSQL"]
VECTORS = {
    "text": {"a": 2038, "42": 652, "é": 5330, "a\x1fb": 6781, "1\x1f23": 3654},
    "integer": {42: 652, -1: 6529},
    "boolean": {True: 9699},
}
Run = Callable[[str, str, list[Any]], list[tuple[Any, int, str]]]


def keys() -> dict[str, list[Any]]:
    start = datetime(2025, 12, 31, 23, 59, 58)  # noqa: DTZ001
    steps = range(2000)
    return {
        "text": [
            *VECTORS["text"],
            "",
            " a ",
            "Größe",
            "東京",
            "🚢",
            "it's",
            "a\nb",
            *(f"k-{i}" for i in steps),
        ],
        "integer": [
            *VECTORS["integer"],
            0,
            2**63 - 1,
            -(2**63),
            *(i * 7919 - 10**6 for i in steps if i),
        ],
        "boolean": [True, False],
        "date": [
            date(1, 1, 1),
            date(9999, 12, 31),
            *(date(1969, 12, 1) + timedelta(days=i) for i in steps),
        ],
        "timestamp": [
            *(start + timedelta(seconds=i) for i in steps),
            *(start + timedelta(microseconds=i * 999) for i in range(1, 500)),
            datetime(1900, 1, 1),  # noqa: DTZ001
        ],
    }


def snippet(engine: str) -> str:
    section = PAGE.read_text(encoding="utf-8").split(f"## {engine}\n")[1]
    return re.search(r"```sql\n(.*?)```", section, re.DOTALL)[1]


def text_of(kind: str, engine: str) -> str:
    """The expression the page's table gives for a type."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if kind in cells[0].split(", "):
            return cells[2 + ENGINES.index(engine)].strip("`")
    raise AssertionError(f"{PAGE} says nothing about {kind}")


def query(engine: str, kind: str) -> str:
    """The snippet with the type's text in the place of the key it hashes."""
    return snippet(engine).replace("chr(31), key)", f"chr(31), {text_of(kind, engine)})")


def missing(what: str) -> None:
    if os.environ.get("SLIPWAY_FULL") == "1":
        pytest.fail(f"{what} is not installed, and SLIPWAY_FULL=1 asks for every engine")
    pytest.skip(f"{what} is not installed")


def need(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return missing(module)


@pytest.fixture(scope="module")
def duckdb_run() -> Run:
    connection = need("duckdb").connect()
    types = {"text": "VARCHAR", "integer": "BIGINT"}

    def run(kind: str, sql: str, values: list[Any]) -> list[tuple[Any, int, str]]:
        connection.execute(f"CREATE OR REPLACE TABLE rows (key {types.get(kind, kind)})")
        connection.executemany("INSERT INTO rows VALUES (?)", [(value,) for value in values])
        return connection.execute(sql).fetchall()

    return run


@pytest.fixture(scope="module")
def spark_run() -> Iterator[Run]:
    sql = need("pyspark.sql")
    if not shutil.which("java"):
        missing("java")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = sql.SparkSession.builder.master("local[1]")
    options = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
    }
    session = builder.config(map=options).getOrCreate()
    types = {"text": "string", "integer": "bigint", "timestamp": "timestamp_ntz"}

    def run(kind: str, text: str, values: list[Any]) -> list[tuple[Any, int, str]]:
        frame = session.createDataFrame([(v,) for v in values], f"key {types.get(kind, kind)}")
        frame.createOrReplaceTempView("rows")
        return [tuple(row) for row in session.sql(text).collect()]

    yield run
    session.stop()


@pytest.fixture(scope="module")
def postgres_run() -> Iterator[Run]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    control = shutil.which("pg_ctl") or (found and str(found[-1]))
    if not control:
        missing("PostgreSQL (pg_ctl)")
    psycopg = need("psycopg")
    # PostgreSQL refuses to run as root.
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="slipway-pg-") as folder:
        if user:
            shutil.chown(folder, "postgres")

        def ctl(*arguments: str) -> None:
            command = [control, "-D", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

        ctl("initdb", "-o", "--username=postgres --auth=trust --encoding=UTF8 --locale=C")
        ctl("start", "-w", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses=''")
        try:
            connection = psycopg.connect(f"host={folder} user=postgres", autocommit=True)
            types = {"integer": "bigint"}

            def run(kind: str, sql: str, values: list[Any]) -> list[tuple[Any, int, str]]:
                with connection.cursor() as cursor:
                    cursor.execute("DROP TABLE IF EXISTS rows")
                    cursor.execute(f"CREATE TABLE rows (key {types.get(kind, kind)})")
                    with cursor.copy("COPY rows FROM STDIN") as copy:
                        for value in values:
                            copy.write_row((value,))
                    return cursor.execute(sql).fetchall()

            yield run
            connection.close()
        finally:
            ctl("stop", "-m", "immediate")


@pytest.mark.parametrize("kind", keys())
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_gives_every_row_the_same_part(
    engine: str, kind: str, request: pytest.FixtureRequest
) -> None:
    fixture = {"DuckDB": "duckdb_run", "Spark SQL": "spark_run", "PostgreSQL": "postgres_run"}
    run = request.getfixturevalue(fixture[engine])
    values = keys()[kind]
    frame = pd.DataFrame({"key": pd.Series(values, dtype=object if kind != "integer" else "int64")})
    bucket = buckets(hash_keys(frame, "v1"))
    names = ["test" if b < 1500 else "validation" if b < 3000 else "train" for b in bucket]
    if kind != "boolean":
        whole = split(frame, key=["key"], settings=SplitSettings(strategy="key"))
        assert whole.part.tolist() == names

    answer = {key: (number, part) for key, number, part in run(kind, query(engine, kind), values)}

    assert answer == dict(zip(values, zip(bucket.tolist(), names, strict=True), strict=True))
    for value, expected in VECTORS.get(kind, {}).items():
        assert answer[value][0] == expected
