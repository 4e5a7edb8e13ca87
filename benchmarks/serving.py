"""The REST service of a fresh project beside named peers that answer with the same model.

    uv run python benchmarks/serving.py [--seconds 5] [--rounds 3] [--only ours mlflow echo]

Needs Linux and wrk (`apt-get install wrk`). The peers are installed in build/peers, by the first
run and when the project pins other versions. Each contender has one process for the model:

- ours, and ours-sklearn: the same project with a model that has no converter to ONNX
- mlflow: `mlflow models serve` of the registered model
- bentoml, litserve, litserve-batched (up to 64 rows at once), fastapi: the same fitted estimator
- echo: a bare ASGI application under uvicorn that sends back what it was sent, as the limit

The peers write no access log and have OMP_NUM_THREADS=1, which makes them faster here. Speed is
measured by wrk, one row in a request, the contenders in turn while all of them run. Boot (start to
first good answer), memory (RSS of all processes then) and the crowd are of one server at a time,
started anew in each round. The crowd: 1,000 clients that ask again as soon as they are answered,
also where they were refused; what they have asked is waited for. Figures are medians of the rounds.
"""

import argparse
import asyncio
import json
import math
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "build" / "peers"
PACKAGES = ["mlflow", "bentoml>=1.4", "litserve", "fastapi", "uvicorn[standard]"]
OURS = ["ours", "ours-sklearn"]
NAMES = [*OURS, "mlflow", "bentoml", "litserve", "litserve-batched", "fastapi", "echo"]
CLIENTS, CROWD = (1, 8, 64), 1000
START_SECONDS, ANSWER_SECONDS = 120, 120
CHAMPION = "models:/shipment-delays@champion"
MODEL = "src/shipment_delays/estimators/model.py"
EDITS = {  # to a class of the project's own, which no converter knows
    "return HistGradientBoostingClassifier(": "return Own(",
    "TRUSTED = [": 'TRUSTED = [\n    f"{PACKAGE}.estimators.model.Own",',
    "def make_model(": "class Own(HistGradientBoostingClassifier):\n    pass\n\n\ndef make_model(",
}
COMMON = f"""
import json, sys, mlflow, pandas as pd, pydantic
model, row = mlflow.sklearn.load_model("{CHAMPION}"), json.load(open("row.json"))
Row = pydantic.create_model("Row", **{{name: (type(x), ...) for name, x in row.items()}})
def answers(rows):
    return [{{"late": late}} for late in model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()]
"""
BENTOML = """
import bentoml
@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Delays:
    @bentoml.api
    def predict(self, row: Row) -> dict:
        return answers([row.model_dump()])[0]
"""
LITSERVE = """
import litserve
class Api(litserve.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return Row(**request).model_dump()
    def predict(self, asked):
        return answers(asked) if isinstance(asked, list) else answers([asked])[0]
if __name__ == "__main__":
    port, rows = map(int, sys.argv[1:])
    api = Api(max_batch_size=rows, batch_timeout=0.005 if rows > 1 else 0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
"""
FASTAPI = """
import fastapi
app = fastapi.FastAPI()
@app.post("/predict")
def predict(row: Row) -> dict:
    return answers([row.model_dump()])[0]
"""
ECHO = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
LUA = """
local bodies, requests, turn = {[==[%s]==]}, {}, 0
wrk.method, wrk.headers["Content-Type"] = "POST", "application/json"
function init()
  for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
function done(all, latency)
  local e, ms = all.errors, latency.percentile
  print("RESULT", all.requests, all.duration, e.status, e.connect + e.read + e.write + e.timeout,
    ms(latency, 50), ms(latency, 99))
end
"""


@dataclass(frozen=True)
class Server:
    """A command that serves on `{port}`, what it is sent, and whether the first answer is right."""

    command: list[str]
    folder: Path
    path: str
    bodies: list[Any]
    right: Callable[[Any], bool]
    port: int = 0
    pid: int = 0
    boot: float = math.nan


def run(*command: str, cwd: Path) -> str:
    """Run a command, return what it prints, and stop with what it said where it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def make_project(where: Path, edits: dict[str, str]) -> Path:
    """Make a project with a champion, its model.py edited before the training."""
    copy = ["copier", "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", str(ROOT), str(where)]
    run(*copy, cwd=where.parent)
    run("make", "setup", cwd=where)
    for old, new in edits.items():
        text = (where / MODEL).read_text()
        if old not in text:
            raise SystemExit(f"{MODEL} holds no {old!r} any more; fix EDITS in {__file__}.")
        (where / MODEL).write_text(text.replace(old, new))
    run(".venv/bin/shipment-delays", "train", "--allow-dirty", cwd=where)
    return where


def make_peers(project: Path) -> str:
    """Install the peers beside what the project pins, unless that was done; say the versions."""
    told = run("uv", "export", "-q", "--no-dev", "--no-emit-project", "--no-hashes", cwd=project)
    # BentoML wants an older opentelemetry, which has no part in a prediction.
    pins = re.findall(r"^(?!opentelemetry)\w.*", told, re.MULTILINE)
    wanted, listed = "\n".join(pins + PACKAGES), PEERS / "requirements.txt"
    python = ["--python", f"{PEERS}/bin/python"]
    if not listed.exists() or listed.read_text() != wanted:
        shutil.rmtree(PEERS, ignore_errors=True)
        run("uv", "venv", "-q", "--python", ".venv/bin/python", str(PEERS), cwd=project)
        run("uv", "pip", "install", *python, *wanted.split("\n"), cwd=project)
        listed.write_text(wanted)
    told = run("uv", "pip", "freeze", *python, cwd=project)
    peers = r"^(?:mlflow|bentoml|litserve|fastapi|uvicorn|scikit-learn)==.*"
    return ", ".join(re.findall(peers, told, re.MULTILINE))


def service(project: Path, path: str, bodies: list[Any], right: Callable[[Any], bool]) -> Server:
    command = [f"{project}/.venv/bin/shipment-delays", "serve", "--port", "{port}"]
    return Server(command, project, path, bodies, right)


def contenders(folder: Path, names: list[str]) -> dict[str, Server]:
    """Make the projects, their models and what the peers run; say the versions of the peers."""
    ours = make_project(folder / "ours", {})
    with serving(service(ours, "/openapi.json", [None], bool)) as server:
        row = fetch(server, "/openapi.json")["components"]["schemas"]["Row"]["example"]
    print(f"Peers: {make_peers(ours)}")
    # Many rows, so that nobody gains by remembering answers; the first is the one checked.
    shares = [1 - number / 200 for number in range(100)]
    rows = [
        {k: type(x)(x * s) if type(x) in {int, float} else x for k, x in row.items()}
        for s in shares
    ]
    inputs = [{k: x if isinstance(x, str) else float(x) for k, x in row.items()} for row in rows]
    tables = [{"columns": [*row], "data": [[*row.values()]]} for row in inputs]
    (folder / "row.json").write_text(json.dumps(inputs[0]))
    for name, source in {"bentoml": BENTOML, "litserve": LITSERVE, "fastapi": FASTAPI}.items():
        (folder / f"peer_{name}.py").write_text(COMMON + source)
    (folder / "peer_echo.py").write_text(ECHO)
    store = f"MLFLOW_TRACKING_URI=sqlite:///{ours}/var/mlflow.db"
    paths = [f"PYTHONPATH={ours}/src", f"PATH={PEERS}/bin:{os.environ['PATH']}"]
    peer = ["env", "OMP_NUM_THREADS=1", store, *paths]
    told = run(*peer, "python", "-c", f"{COMMON}print(answers([row])[0]['late'])", cwd=folder)
    late = float(told)
    near = partial(math.isclose, late, abs_tol=1e-4)

    def here(project: Path) -> Server:
        def right(told: Any) -> bool:
            return near(told["predictions"][0]["probabilities"]["true"])

        return service(project, "/predict", [{"rows": [row]} for row in rows], right)

    def there(command: str, bodies: list[Any] = inputs, **more: Any) -> Server:
        usual = {"path": "/predict", "right": lambda told: near(told["late"])}
        return Server([*peer, *command.split()], folder, bodies=bodies, **usual | more)

    made = {
        "ours": here(ours),
        "mlflow": there(
            f"mlflow models serve --env-manager local -m {CHAMPION} -p {{port}}",
            [{"dataframe_split": table} for table in tables],
            path="/invocations",
            right=lambda told: told["predictions"] == [late > 0.5],  # a label
        ),
        "bentoml": there(
            "bentoml serve peer_bentoml:Delays --host 127.0.0.1 -p {port}",
            [{"row": row} for row in inputs],
        ),
        "litserve": there("python peer_litserve.py {port} 1"),
        "litserve-batched": there("python peer_litserve.py {port} 64"),
        "fastapi": there("uvicorn peer_fastapi:app --port {port}"),
        "echo": there("uvicorn peer_echo:app --port {port}", right=lambda told: told == inputs[0]),
    }
    if "ours-sklearn" in names:
        made["ours-sklearn"] = here(make_project(folder / "second", EDITS))
    return {name: made[name] for name in names}


def fetch(server: Server, path: str, body: Any = None) -> Any:
    """Send one request on a connection of its own; an answer that is not 2xx is an error."""
    sent = None if body is None else json.dumps(body).encode()
    url, kind = f"http://127.0.0.1:{server.port}{path}", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, sent, kind)
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)


def ask(server: Server) -> float:
    """Return the milliseconds of one request; stop where the answer is not the model's."""
    start = time.perf_counter()
    told = fetch(server, server.path, server.bodies[0])
    spent = time.perf_counter() - start
    if not server.right(told):
        raise SystemExit(f"{server.command} answers wrongly: {told}")
    return 1000 * spent


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Start a server in a session of its own, and end all processes of that afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.format(port=port) for part in server.command]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        streams = {"stdout": log, "stderr": log}
        process = subprocess.Popen(command, cwd=server.folder, start_new_session=True, **streams)
        server = replace(server, port=port, pid=process.pid)
        try:
            while math.isnan(server.boot):
                with suppress(OSError):  # nobody there yet, or not ready
                    ask(server)
                    server = replace(server, boot=time.perf_counter() - start)
                if process.poll() is not None or time.perf_counter() - start > START_SECONDS:
                    log.seek(0)
                    raise SystemExit(f"{command} does not answer:\n{log.read()[-3000:]}")
                time.sleep(0.02)
            yield server
        finally:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a session, at need by force."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + 10
        for pid in members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        while members(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
    process.wait()


def members(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def megabytes(server: Server) -> float:
    """Return the resident memory of all processes of a server."""
    pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in members(server.pid)]
    return sum(map(int, pages)) * resource.getpagesize() / 1e6


def load(server: Server, clients: int, seconds: int) -> tuple[float, ...]:
    """Return good answers per second, p50 and p99 in ms, and how many requests failed."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % "]==], [==[".join(map(json.dumps, server.bodies)))
        script.flush()
        how = ["-t1", f"-c{clients}", f"-d{seconds}s", f"--timeout={ANSWER_SECONDS}s"]
        url = f"http://127.0.0.1:{server.port}{server.path}"
        said = run("wrk", *how, "-s", script.name, url, cwd=server.folder)
    line = said.rpartition("RESULT")[2].split()
    answers, spent, refused, broken, p50, p99 = map(float, line)
    ask(server)
    return 1e6 * (answers - refused) / spent, p50 / 1000, p99 / 1000, refused + broken


async def crowd(server: Server, seconds: int) -> tuple[float, list[tuple[int, float]]]:
    """Return how long the crowd was served, and status (0: none) and ms of each request."""
    seen, begin = [], time.perf_counter()
    head = f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    bodies = [json.dumps(body) for body in server.bodies]
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies]

    async def client(number: int) -> None:
        reader = writer = None
        while (start := time.perf_counter()) < begin + seconds:
            told = b""
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writer.write(requests[number % len(requests)])
                    told = (await reader.readuntil(b"\r\n\r\n")).lower()
                    await reader.readexactly(int(told.partition(b"content-length:")[2].split()[0]))
            except (OSError, asyncio.IncompleteReadError):
                told = b""
            if not told or b"connection: close" in told:
                writer = writer and writer.close()
            status = int(told[9:12] or 0)
            seen.append((status, 1000 * (time.perf_counter() - start)))
        if writer:
            writer.close()

    await asyncio.gather(*map(client, range(CROWD)))
    return time.perf_counter() - begin, seen


def medians(rows: list[tuple[float, ...]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def heading(*columns: str) -> None:
    print("\n| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))


def speed(servers: dict[str, Server], seconds: int, rounds: int) -> list[str]:
    """Print how fast each contender answers; return what failed."""
    seen = defaultdict(list)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serving(one)) for name, one in servers.items()}
        for name, server in servers.items():
            load(server, max(CLIENTS), 1)  # to warm it up
            if name in OURS:
                print(f"Runtime of {name}: {fetch(server, '/model')['runtime']}")
        for _ in range(rounds):  # in turn, so that a noisy neighbour disturbs all
            for clients in CLIENTS:
                for name, server in servers.items():
                    seen[clients, name].append(load(server, clients, seconds))
    figures = ["requests/s", "p50 ms", "p99 ms", "to mlflow", "to best peer", "to echo"]
    heading("clients", "contender", *figures)
    for clients in CLIENTS:
        table = {name: medians(seen[clients, name]) for name in servers}
        rates = {name: row[0] for name, row in table.items()}
        peers = [rate for name, rate in rates.items() if name not in {*OURS, "echo"}]
        others = [rates.get("mlflow"), max(peers, default=None), rates.get("echo")]
        for name, (rate, p50, p99, _) in table.items():
            ratios = " | ".join(f"{rate / other:.3f}" if other else "" for other in others)
            print(f"| {clients} | {name} | {rate:.0f} | {p50:.2f} | {p99:.2f} | {ratios} |")
    failed = {key: sum(row[3] for row in rows) for key, rows in seen.items()}
    return [f"{name}, {n} clients: {bad:.0f} failed" for (n, name), bad in failed.items() if bad]


def alone(servers: dict[str, Server], seconds: int, rounds: int) -> None:
    """Print boot, memory and what a crowd meets, each of one server started for it."""
    boots, crowds = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for name, contender in servers.items():
            with serving(contender) as server:
                boots[name].append((server.boot, megabytes(server)))
                before = statistics.median(ask(server) for _ in range(20))
                took, seen = asyncio.run(crowd(server, seconds))
                after = ask(server)
            good = sorted(ms for status, ms in seen if status // 100 == 2)
            refused = 100 * sum(status == 503 for status, _ in seen) / len(seen)
            failed = 100 - refused - 100 * len(good) / len(seen)
            p99 = good[int(0.99 * len(good))] if good else math.nan
            crowds[name].append((len(good) / took, refused, failed, p99, before, after))
    heading("contender", "boot s", "RSS MB")
    for name, rows in boots.items():
        print("| {} | {:.1f} | {:.0f} |".format(name, *medians(rows)))
    crowded = ["2xx/s", "503 %", "failed %", "p99 ms of 2xx", "one before, ms", "one after, ms"]
    heading(f"{CROWD} clients", *crowded)
    for name, rows in crowds.items():
        figures = "{:.0f} | {:.1f} | {:.1f} | {:.0f} | {:.1f} | {:.1f}".format(*medians(rows))
        print(f"| {name} | {figures} |")


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing. Debian, Ubuntu: apt-get install wrk")
    for name in [*os.environ]:
        if name.startswith(("MLFLOW_", "PYTHON", "VIRTUAL_ENV")):
            del os.environ[name]
    os.environ |= {"PYTHONWARNINGS": "ignore", "UVICORN_LOG_LEVEL": "warning"}
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "true"}
    os.environ["PATH"] += f":{Path(os.environ.get('UV', '')).parent}"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # for the crowd
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder  # some servers leave files behind
        servers = contenders(Path(folder), [name for name in NAMES if name in options.only])
        failed = speed(servers, options.seconds, options.rounds)
        few = {name: one for name, one in servers.items() if name in {*OURS, "mlflow"}}
        alone(few, options.seconds, options.rounds)
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
