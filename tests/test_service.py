"""The service in trouble: what it acknowledged is kept, what it refuses it explains."""

import asyncio
import json
import random
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from serve import Service, crowd, serving

from conftest import Project
from slipway_template.service.journal import Journal

Row = dict[str, Any]


@pytest.fixture(scope="session")
def sent(samples: Path) -> list[Row]:
    """Rows as a caller sends them, with key, customer and time."""
    rows = pd.read_parquet(samples / "rows.parquet").drop(columns=["late", "delivery_days"])
    read: list[Row] = json.loads(rows.to_json(orient="records", date_format="iso"))
    return read


def journal(project: Project, query: str = "SELECT id FROM predictions") -> list[Any]:
    """What a query finds in the journal's database, once it holds all that was noted."""
    file = project.path / "var" / "journal.db"
    Journal(f"sqlite:///{file}", 30).take_in()
    with closing(sqlite3.connect(file)) as database:
        return [row[0] for row in database.execute(query)]


@contextmanager
def load(service: Service, rows: list[Row], clients: int = 8) -> Iterator[list[tuple[int, Any]]]:
    """Ask without a pause until the block ends; yields (status, body) of every answer so far."""
    answers: list[tuple[int, Any]] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
            while not ended.is_set():
                try:
                    answer = client.post(f"{service.url}/predict", json=random.choice(rows))
                    answers.append((answer.status_code, answer.json()))
                except httpx.TransportError:
                    if service.process.poll() is not None:
                        return
                    answers.append((0, "the connection broke"))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)


def acknowledged(answers: list[tuple[int, Any]]) -> list[str]:
    return [one["id"] for code, body in answers if code == 200 for one in body["predictions"]]


def replayed(project: Project, names: list[str]) -> Counter[str]:
    """Replay many predictions in one process, and count the verdicts."""
    package = project.package
    verdicts = project.python(
        "import json\n"
        f"from {package}.service.journal import open_journal\n"
        f"from {package}.service.replay import replay\n"
        f"from {package}.training import tracking\n"
        f"from {package}.utils import config\n"
        "settings = config.load(); client = tracking.connect(settings)\n"
        "journal = open_journal(settings)\n"
        f"names = {names!r}\n"
        "print(json.dumps([replay(client, settings, journal, n).verdict for n in names]))"
    )
    return Counter(verdicts)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.long)])
def test_kill_9_under_load_loses_no_acknowledged_prediction(
    trained: Project, sent: list[Row], kills: int
) -> None:
    kept: list[str] = []
    for _ in range(kills):
        with serving(trained) as service, load(service, sent) as answers:
            wait_for(lambda: acknowledged(answers))
            time.sleep(random.uniform(0.1, 0.5))
            service.kill()
        assert acknowledged(answers)
        kept += acknowledged(answers)

    assert not set(kept) - set(journal(trained))
    assert replayed(trained, random.sample(kept, 40)) == {"identical": 40}
    told = trained.cli("replay", kept[0])
    assert told.stdout.startswith("identical: ")
    assert trained.json("replay", kept[0])["differences"] == []


def test_promotion_and_rollback_under_load_fail_no_request(
    trained: Project, sent: list[Row]
) -> None:
    """Nor does a champion with one changed byte, which never answers."""
    assert trained.json("train", "--no-promote")["version"] == 2
    fast = {f"{trained.package.upper()}__SERVICE__POLL_SECONDS": "0.1"}
    with serving(trained, **fast) as service, load(service, sent, clients=4) as answers:
        trained.cli("promote", "2", "--allow-dirty")
        wait_for(lambda: service.get("/model").body["version"] == 2)
        trained.cli("rollback")
        wait_for(lambda: service.get("/model").body["version"] == 1)
        switched = len(answers) + 4  # each client may hold one from before
        for model in (trained.path / "var").rglob("model.onnx"):
            spoilt = bytearray(model.read_bytes())
            spoilt[len(spoilt) // 2] ^= 1
            model.write_bytes(spoilt)
        point_champion_to(trained, 2)
        wait_for(lambda: "Digest gate" in service.log.read_text())
        wait_for(lambda: len(answers) > switched + 100)
    assert {code for code, _ in answers} == {200}
    assert {body["model"]["version"] for _, body in answers[switched:]} == {1}
    assert {body["model"]["version"] for _, body in answers} == {1, 2}
    found = journal(trained, "SELECT DISTINCT version FROM predictions ORDER BY version")
    assert found == [1, 2]


def test_the_service_goes_on_without_mlflow(trained: Project, sent: list[Row]) -> None:
    trained.cli("promote", "1", "--challenger")
    section = f"{trained.package.upper()}__SERVICE__"
    fast = {f"{section}POLL_SECONDS": "0.1", f"{section}CHALLENGER_SHARE": "1"}
    with serving(trained, **fast) as service:
        for store in trained.path.glob("var/mlflow.db*"):
            store.write_bytes(b"spoilt" * 100)
        wait_for(lambda: "the present ones go on: MLflow does not tell" in service.log.read_text())
        given = service.post({"rows": sent[:5]}).body["predictions"]
        assert {one["group"] for one in given} == {"challenger"}
        assert service.get("/health/ready").code == 200


def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(
    trained: Project, sent: list[Row]
) -> None:
    limit = ("bash", "-c", 'ulimit -f 4000; exec "$@"', "bash")  # files of at most 4 MB
    with serving(trained, prefix=limit) as service:
        kept, refused = [], None
        for _ in range(400):
            answer = service.post({"rows": sent})
            if answer.code != 200:
                refused = answer
                break
            kept += [one["id"] for one in answer.body["predictions"]]
        assert refused is not None
        assert (refused.code, refused.headers["retry-after"]) == (503, "1")
        assert "could not be recorded" in refused.body["detail"]
        assert service.get("/health/ready").code == 503
        assert service.get("/health/live").code == 200
    assert kept
    assert not set(kept) - set(journal(trained))


def test_too_many_at_once_get_503_and_then_all_is_well(trained: Project, sent: list[Row]) -> None:
    small = {f"{trained.package.upper()}__SERVICE__QUEUE": "8"}
    with serving(trained, **small) as service:
        answers = asyncio.run(crowd(service, sent, size=1_000))
        codes = Counter(one.status_code for one in answers)
        assert set(codes) == {200, 503}
        assert all("retry-after" in one.headers for one in answers if one.status_code == 503)
        start = time.monotonic()
        assert service.ids(sent[:1])
        assert time.monotonic() - start < 1
        figures = service.get("/metrics").body
    assert f'requests_total{{code="503",version="1"}} {codes[503]:.1f}' in figures
    assert len(journal(trained)) == codes[200] + 1


def test_several_workers_answer_and_their_figures_add_up(trained: Project, sent: list[Row]) -> None:
    with serving(trained, "--workers", "2") as service:
        with load(service, sent) as answers:
            time.sleep(2)
        count = len(acknowledged(answers))
        time.sleep(0.2)  # the worker that is not asked notes its last answers a moment later
        figures = service.get("/metrics").body
    line = next(line for line in figures.splitlines() if line.startswith("requests_total"))
    assert float(line.split()[-1]) == count == len(journal(trained))


def test_a_service_says_where_it_answers_and_workers_end_with_their_parent(
    trained: Project,
) -> None:
    with serving(trained, "--workers", "2") as service:
        wait_for(lambda: "Answering at" in service.log.read_text())
        assert service.log.read_text().count(f"Answering at {service.url} with version 1;") == 1
        port = service.url.rpartition(":")[2]
        assert f"{port} can't be used" in trained.cli("serve", "--port", port, code=2).stderr
        service.process.kill()  # the parent alone
        service.process.wait()
        wait_for(lambda: not answers(service))
        with suppress(ProcessLookupError):  # they may still be writing
            service.kill()


def answers(service: Service) -> bool:
    with suppress(OSError):
        return service.get("/health/live").code == 200
    return False


def test_ten_thousand_broken_bodies_crash_nothing(trained: Project, sent: list[Row]) -> None:
    chosen = random.Random(7)
    with serving(trained) as service, httpx.Client() as client:
        codes: Counter[int] = Counter()
        for _ in range(10_000):
            body = broken(chosen, chosen.choice(sent))
            answer = client.post(f"{service.url}/predict", content=body)
            codes[answer.status_code] += 1
            if answer.status_code == 422:
                assert answer.json()["detail"][0]["loc"][0] == "body"
        assert set(codes) <= {200, 422}
        assert codes[422] > 5_000
        assert service.ids(sent[:1])


ODD: list[Any] = [None, "", "x" * 5_000, -1, 1e308, 10**400, [], {}, True, "NaN", "\x00", "é\ud7ff"]


def broken(chosen: random.Random, row: Row) -> bytes:
    """Change a valid body in one of the ways that callers manage to."""
    row = dict(row)
    name = chosen.choice(list(row))
    way = chosen.randrange(6)
    if way == 0:
        row[name] = chosen.choice(ODD)
    elif way == 1:
        del row[name]
    elif way == 2:
        row[chosen.choice(["", "Ärger", name.upper(), "__class__"])] = chosen.choice(ODD)
    body = json.dumps({"rows": [row]} if chosen.random() < 0.5 else row).encode()
    if way == 3:
        body = body[: chosen.randrange(len(body))]
    elif way == 4:
        spoilt = bytearray(body)
        for _ in range(chosen.randrange(1, 6)):
            spoilt[chosen.randrange(len(spoilt))] = chosen.randrange(256)
        body = bytes(spoilt)
    elif way == 5:
        body = chosen.choice([b"", b"[]", b"null", b'{"rows": 3}', b"[" * 100_000, body * 2])
    return body


def test_limits_and_the_api_key_are_kept(trained: Project, sent: list[Row]) -> None:
    prefix = f"{trained.package.upper()}__SERVICE__"
    rules = {f"{prefix}API_KEY": "s3cret", f"{prefix}MAX_MEGABYTES": "0.01"}
    with serving(trained, **rules) as service:
        without, wrong = service.post(sent[0]), service.post(sent[0], **{"X-API-Key": "no"})
        right = service.post(sent[0], **{"X-API-Key": "s3cret"})
        large = service.post({"rows": sent}, **{"X-API-Key": "s3cret"})
        assert service.get("/health/ready").code == service.get("/metrics").code == 200
    assert [without.code, wrong.code, right.code, large.code] == [401, 401, 200, 413]
    assert "X-API-Key" in without.body["detail"]
    shown = trained.cli("config", "show", **rules).stdout
    assert "s3cret" not in shown


def test_a_service_told_to_stop_answers_what_it_took(trained: Project, sent: list[Row]) -> None:
    with serving(trained) as service, load(service, sent) as answers:
        time.sleep(0.5)
        service.process.terminate()
        service.process.wait(30)
    assert {code for code, _ in answers} <= {200, 0}
    assert not set(acknowledged(answers)) - set(journal(trained))


def test_file_service_and_replay_give_the_same(trained: Project, samples: Path) -> None:
    """Twenty thousand rows with nulls, extremes and categories that training never saw."""
    file = samples / "many.parquet"
    trained.cli("data", "sample", file, "--rows", "20000", "--seed", "9")
    rows = pd.read_parquet(file).drop(columns=["late", "delivery_days"])
    rows.loc[::7, ["weight_kg", "items", "declared_value", "goods", "insured"]] = None
    rows.loc[::11, "carrier"] = "never seen before"
    rows.loc[::13, "distance_km"] = 0.0
    rows.loc[1::13, ["weight_kg", "distance_km"]] = [100.0, 5000.0]
    rows.to_parquet(file, index=False)
    done = trained.json("predict", file, "many.out.parquet")
    assert (done["scored"], done["rejected"]) == (20_000, 0)
    wanted = pd.read_parquet(trained.path / "many.out.parquet")
    bodies = json.loads(rows.to_json(orient="records", date_format="iso", double_precision=15))
    with serving(trained) as service:
        given = []
        for start in range(0, 20_000, 2_000):
            answer = service.post({"rows": bodies[start : start + 2_000]})
            assert answer.code == 200, str(answer.body)[:500]
            given += answer.body["predictions"]
    assert [one["prediction"] for one in given] == wanted["prediction"].tolist()
    shares = [one["probabilities"]["true"] for one in given]
    pd.testing.assert_series_equal(
        pd.Series(shares), wanted["probability_true"], check_names=False, rtol=0, atol=1e-6
    )
    names = [one["id"] for one in given[:: 20_000 // 200]]
    assert replayed(trained, names) == {"identical": len(names)}


def point_champion_to(project: Project, version: int) -> None:
    """Move the alias past every gate, as somebody does in MLflow's own page."""
    with closing(sqlite3.connect(project.path / "var" / "mlflow.db")) as database, database:
        database.execute(
            "UPDATE registered_model_aliases SET version = ? WHERE alias = 'champion'", [version]
        )


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_outcomes_tell_how_good_each_version_is(
    trained: Project, sent: list[Row], samples: Path
) -> None:
    with serving(trained) as service:
        service.ids(sent)
    truth = pd.read_parquet(samples / "rows.parquet")[["shipment_id", "late"]]
    truth.to_csv(trained.path / "var" / "late.csv", index=False)
    done = trained.json("outcomes", trained.path / "var" / "late.csv")
    assert (done["rows"], done["matched"], done["unmatched"]) == (len(sent), len(sent), 0)
    assert [(one["version"], one["predictions"]) for one in done["results"]] == [(1, len(sent))]
    assert done["results"][0]["mean"] < 0.3
    shutil.rmtree(trained.path / "var" / "out.delta", ignore_errors=True)
    assert trained.json("journal", "export", "var/out.delta")["rows"] == len(sent)
    again = trained.json("predict", "var/out.delta", "var/again.delta")
    assert again["scored"] == len(sent)
