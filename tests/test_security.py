"""What must never get out, and what must never get in."""

import json
import os
import re
import sqlite3
import threading
import zipfile
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from serve import serving

from conftest import Project

SECRETS = {
    "SHIPMENT_DELAYS__SERVICE__API_KEY": "key-Zq8ohT3x",
    "AWS_ACCESS_KEY_ID": "AKIA" + "ZQ8OHT3XWV7KLMN2",
    "AWS_SECRET_ACCESS_KEY": "aws-Zq8ohT3xWv7",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-Zq8ohT3x",
    "PGPASSWORD": "pg-Zq8ohT3x",
}
PASSWORD = "db-Zq8ohT3x"
SOURCE = f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:9/x#SELECT 1"


def leaks(text: str | bytes) -> list[str]:
    """Name the secrets that a text or a file holds."""
    content = text.encode() if isinstance(text, str) else text
    known = SECRETS | {"PASSWORD": PASSWORD}
    return [name for name, secret in known.items() if secret.encode() in content]


def test_secrets_are_in_no_record_log_or_journal(trained: Project, samples: Path) -> None:
    """Of a project whose source is a database, while it trains, serves, scores and watches."""
    whole = pd.read_csv(samples / "rows.csv").dropna().head(3).convert_dtypes()
    rows = json.loads(whole.to_json(orient="records"))
    env = SECRETS | {"SHIPMENT_DELAYS__DATA__SOURCES": json.dumps({"shipments": SOURCE})}
    said = [
        trained.cli(*command, code=None, **env)
        for command in [
            ["train", "--allow-dirty", "--json"],
            ["data", "ingest"],
            ["predict", samples / "rows.csv", "out.csv"],
            ["config", "show"],
            ["monitor", "--json"],
            ["audit"],
        ]
    ]
    with serving(trained, **env) as service:
        key = {"X-API-Key": SECRETS["SHIPMENT_DELAYS__SERVICE__API_KEY"]}
        assert service.post({"rows": rows}).code == 401
        assert service.post({"rows": rows}, **key).code == 200
        pages = [service.get(page).body for page in ("/model", "/metrics", "/openapi.json")]
    journal = SOURCE.partition("#")[0]
    lost = trained.cli("serve", code=None, **env, SHIPMENT_DELAYS__SERVICE__JOURNAL=journal)

    assert trained.versions() == [1, 2], said[0].stderr
    assert lost.returncode == 2, lost.stderr
    for done in [*said, lost]:
        assert leaks(done.stdout + done.stderr) == [], done.args
    assert leaks(service.log.read_bytes() + json.dumps(pages).encode()) == []
    written = [*trained.path.glob("var/**/*"), trained.path / "out.csv"]
    files = [path for path in written if path.is_file()]
    assert len(files) > 20
    assert {str(path): leaks(path.read_bytes()) for path in files if leaks(path.read_bytes())} == {}
    # It is not that nothing was recorded.
    with closing(sqlite3.connect(trained.path / "var/mlflow.db")) as store:
        query = "SELECT value FROM params WHERE key = 'data.sources' AND value LIKE '%postgresql%'"
        [(recorded,)] = store.execute(query).fetchall()
    assert "me:***@127.0.0.1" in recorded


def test_the_wheel_holds_the_package_and_nothing_else(project: Project) -> None:
    project.write(".env", "KEY=key-Zq8ohT3x\n")
    project.write("var/rows.csv", "a\n1\n")
    project.write("notebooks/own.ipynb", "{}")

    project.make("build")

    [wheel] = (project.path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        names = [name for name in held.namelist() if not name.endswith("/")]
        assert leaks(b"".join(held.read(name) for name in names)) == []
    allowed = (
        rf"{project.package}/(\w+/)?\w+\.py"
        rf"|{project.package}/resources/(config\.toml|built\.json)"
        rf"|{project.package}/(service/page|monitoring/report)\.html"
        r"|[\w.-]+\.dist-info/[\w.]+"
    )
    assert [name for name in names if not re.fullmatch(allowed, name)] == []
    assert len(names) > 60


def test_no_command_unpickles_anything(trained: Project, samples: Path) -> None:
    """Unpickling runs code; Python tells an audit hook of every name that it looks up for that."""
    watched = (
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event == 'pickle.find_class':\n"
        "        sys.stderr.write(f'UNPICKLED {arguments}\\n')\n"
        "sys.addaudithook(hook)\n"
        "import pickle; assert pickle.loads(pickle.dumps(hook)) is hook\n"
        f"from {trained.package}.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for command in [
        ["predict", samples / "rows.csv", "out.csv"],
        ["promote", "1", "--allow-dirty"],
        ["audit"],
    ]:
        done = trained.run(trained.path / ".venv/bin/python", "-c", watched, *command, code=None)
        assert done.returncode == 0, done.stderr
        found = re.findall("UNPICKLED .*", done.stderr)
        assert found == ["UNPICKLED ('__main__', 'hook')"], "only the one that shows it is seen"


@pytest.mark.parametrize("vulnerable", [None, "filelock"])
def test_known_vulnerabilities_are_looked_up(project: Project, vulnerable: str | None) -> None:
    """Against a service of our own that speaks as OSV does, as there is no network here."""
    asked: list[str] = []
    advisory = {
        "id": "PYSEC-2026-1",
        "summary": "Locks open by themselves",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": vulnerable}}],
    }

    class Osv(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = [query["package"]["name"] for query in queries]
            asked.extend(names)
            short = {"id": advisory["id"], "modified": advisory["modified"]}
            self.send({"results": [{"vulns": [short]} if n == vulnerable else {} for n in names]})

        def do_GET(self) -> None:
            self.send(advisory)

        def send(self, body: Any) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever).start()
        local = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        url = f"http://127.0.0.1:{server.server_port}/"
        said = project.make(
            "advisories",
            f"ARGS=--service-url {url}",
            code=2 if vulnerable else 0,
            **{name: f"{value},{os.environ.get(name, '')}" for name, value in local.items()},
        )
        server.shutdown()

    assert {"mlflow-skinny", "scikit-learn", "filelock"} <= set(asked)
    assert not {"pytest", "ruff"} & set(asked), "only what is shipped"
    assert ("PYSEC-2026-1" in said) == bool(vulnerable)
