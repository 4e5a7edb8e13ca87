"""The registry: versions and their aliases in a store of MLflow, one promotion at a time."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from slipway_template.training import registry, tracking
from slipway_template.training.record import Record, Table
from slipway_template.training.registry import MODEL, Registered
from slipway_template.utils.errors import GateRefused, UsageError

RECORD = Record(
    data={
        "rows": Table(version=2, fingerprint="f", source="s", rows=1, bad=0),
        "more": Table(version=0, fingerprint="f", source="s", rows=1, bad=0),
    },
    **{name: {"a": 1} for name in ("split", "seeds", "seconds", "importance", "feature_seconds")},
    settings={},
    commit="c" * 40,
    changes=3,
    lock="l",
    versions={"python": "3.11"},
    metrics={},
    warnings=[],
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    var = tmp_path_factory.mktemp("var")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tracking.connect(SimpleNamespace(var=var))
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.fixture
def client(store: MlflowClient) -> Iterator[MlflowClient]:
    """A client of a store that has no version yet."""
    yield store
    for model in store.search_registered_models():
        store.delete_registered_model(model.name)


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    return SimpleNamespace(var=tmp_path / "a" / "var", service=SimpleNamespace(environment="warn"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How models were opened; they need not be any."""
    calls: list[dict[str, Any]] = []

    def note(folder: Path, expected: str, **options: Any) -> Any:
        files = sorted(path.name for path in folder.iterdir())
        calls.append({"digest": expected, "files": files, **options})
        runtime = "sklearn" if "plain" in files else "onnx"
        return SimpleNamespace(about=SimpleNamespace(runtime=runtime))

    monkeypatch.setattr(registry, "open_artifact", note)
    return calls


def versions(client: MlflowClient, count: int, **tags: str) -> list[Registered]:
    """Register some versions."""
    client.create_registered_model(MODEL)
    for number in range(1, count + 1):
        client.create_model_version(MODEL, f"file:///m{number}", tags={"digest": "d"} | tags)
    return [registry.version(client, number) for number in range(1, count + 1)]


def logged(client: MlflowClient, name: str = "file") -> tuple[str, str, Path]:
    """Return a run, the address of a model of one file that it logged, and that file."""
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    run = client.create_run(experiment).info.run_id
    model = client.create_logged_model(experiment, name="model", source_run_id=run)
    folder = Path(model.artifact_location.removeprefix("file://"))
    folder.mkdir(parents=True)
    (folder / name).write_text(name)
    client.finalize_logged_model(model.model_id, "READY")
    return run, f"models:/{model.model_id}", folder / name


def test_a_version_says_what_made_it(
    client: MlflowClient, opened: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, uri, file = logged(client)
    found, create = registry.digest(file.parent), client.create_model_version

    def create_on_server(*arguments: Any, model_id: str) -> Any:
        assert model_id == uri.removeprefix("models:/")  # a server asks for it
        return create(*arguments, model_id=model_id)

    monkeypatch.setattr(client, "create_model_version", create_on_server)

    assert registry.register(client, run, uri, RECORD) == 1
    assert opened == [
        {"digest": found, "files": ["file"]},
        {"digest": found, "files": ["file"], "runtime": "sklearn"},
    ]
    made = client.get_model_version(MODEL, "1")
    assert made.tags == {
        "digest": found,
        "commit": "c" * 40,
        "changes": "3",
        "data": '{"rows": 2, "more": 0}',
    }
    assert (made.run_id, made.source) == (run, uri)
    assert registry.version(client, 1) == Registered(1, run, found, uri)

    uncommitted = RECORD.model_copy(update={"commit": None})
    run, uri, _ = logged(client, "plain")
    assert registry.register(client, run, uri, uncommitted) == 2
    assert client.get_model_version(MODEL, "2").tags["commit"] == "none"
    assert len(opened) == 3  # it has one runtime


def test_a_model_that_does_not_prove_itself_is_no_version(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise GateRefused("Golden sample gate")

    monkeypatch.setattr(registry, "open_artifact", refuse)
    run, uri, _ = logged(client)
    with pytest.raises(GateRefused, match="Golden sample gate"):
        registry.register(client, run, uri, RECORD)
    assert not client.search_model_versions(f"name = '{MODEL}'")


def test_a_registry_that_is_away_is_not_one_without_champion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = MlflowClient("http://127.0.0.1:1", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="MLflow does not tell which version is the champion: API"):
        registry.champion(away)
    with pytest.raises(MlflowException, match="API request"):
        registry.version(away, 3)


def test_before_the_first_version_the_way_there_is_told(client: MlflowClient) -> None:
    assert registry.alias(client, "champion") is None
    assert registry.refused(client) == []
    for ask, message in [
        (lambda: registry.version(client, None), "No model is registered yet: run `make train`."),
        (lambda: registry.version(client, 7), "Version 7 is not registered."),
        (
            lambda: registry.champion(client),
            "There is no champion yet: run `make train`, or `make promote`.",
        ),
    ]:
        with pytest.raises(UsageError) as caught:
            ask()
        assert str(caught.value) == message


def test_versions_are_found_by_number_and_the_newest_without(client: MlflowClient) -> None:
    made = versions(client, 11)
    assert registry.version(client, None) == made[10]
    assert registry.version(client, 9) == made[8] == Registered(9, "", "d", "file:///m9")
    client.create_registered_model("another")
    client.create_model_version("another", "file:///x")
    assert registry.version(client, None) == made[10]
    client.delete_model_version_tag(MODEL, "3", "digest")
    assert registry.version(client, 3).digest == ""


def test_the_switch_remembers_the_champion_before(client: MlflowClient) -> None:
    one, two, three = versions(client, 3)
    registry.switch(client, one, None)
    assert registry.champion(client) == registry.alias(client, "champion") == one
    assert registry.alias(client, "previous") is None

    registry.switch(client, one, one)  # promoted once more
    assert registry.alias(client, "previous") is None

    client.set_registered_model_alias(MODEL, "challenger", "2")
    assert registry.alias(client, "challenger") == two
    registry.switch(client, three, one)
    assert (registry.champion(client), registry.alias(client, "previous")) == (three, one)
    assert registry.alias(client, "challenger") == two  # still one

    registry.switch(client, two, three)
    assert (registry.champion(client), registry.alias(client, "previous")) == (two, three)
    assert registry.alias(client, "challenger") is None


@pytest.mark.parametrize("back", [False, True])
def test_a_switch_that_is_killed_halfway_leads_to_no_other_version(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    one, two, three = versions(client, 3)
    registry.switch(client, one, None)
    registry.switch(client, two, one)
    write, writes = client.set_registered_model_alias, iter("1")

    def once(*told: str) -> None:
        next(writes)
        write(*told)

    monkeypatch.setattr(client, "set_registered_model_alias", once)
    with pytest.raises(StopIteration):
        registry.switch(client, one if back else three, two)
    assert registry.champion(client) == (one if back else two)
    assert registry.alias(client, "previous") == (one if back else two)


def test_the_last_decision_counts(client: MlflowClient) -> None:
    made = versions(client, 11, other="{}", **{"decision note": "by Ann", "decision z": "3"})
    about = client.get_model_version(MODEL, "1")
    assert registry.decisions(about) == []
    for number, *decided in [(11, False), (2, True, False), (3, False, True), (10, False)]:
        for promoted in decided:
            registry.note_decision(client, made[number - 1], {"promoted": promoted, "reasons": []})
    assert registry.refused(client) == [2, 10, 11]
    told = client.get_model_version(MODEL, "2")
    decision = registry.decisions(told)[-1]
    assert decision.keys() == {"promoted", "reasons", "time"}
    noted = sorted(name for name in told.tags if name.startswith("decision 2"))
    assert noted[-1] == f"decision {decision['time']}"
    age = time.time() - time.mktime(time.strptime(decision["time"], "%Y-%m-%dT%H:%M:%S.%fZ"))
    assert abs(age + time.timezone) < 60
    client.create_registered_model("another")
    client.create_model_version("another", "file:///x", tags={noted[-1]: '{"promoted": false}'})
    assert registry.refused(client) == [2, 10, 11]


def test_a_model_is_downloaded_once_and_again_when_it_changed(
    client: MlflowClient, settings: Any, opened: list[dict[str, Any]]
) -> None:
    run, uri, file = logged(client)
    registry.register(client, run, uri, RECORD)
    opened.clear()
    known = registry.version(client, 1)
    cache = settings.var / "models" / known.digest

    assert registry.fetch(known, settings).about.runtime == "onnx"
    assert [path.name for path in cache.iterdir()] == ["file"]
    assert [path.name for path in cache.parent.iterdir()] == [known.digest]
    made = (cache / "file").stat().st_ino
    registry.fetch(known, settings, lenient=True)
    assert (cache / "file").stat().st_ino == made
    settings.service.environment = "refuse"
    registry.fetch(known, settings)
    registry.fetch(known, settings, lenient=True)
    opening = {"digest": known.digest, "files": ["file"]}
    asked = [(False, True), (False, False), (True, True), (False, False)]
    assert opened == [opening | {"strict": one, "own_rules": two} for one, two in asked]

    (cache / "file").write_text("damaged")
    registry.fetch(known, settings)
    assert (cache / "file").read_text() == "file"
    (cache / "file").write_text("damaged")
    file.unlink()
    with pytest.raises(GateRefused, match=r"can't be loaded: .* holds no files; is the artifact"):
        registry.fetch(known, settings)
    (cache / "file").write_text("file")
    file.parent.rmdir()
    registry.fetch(known, settings)  # it is still here
    with pytest.raises(GateRefused, match=r"^Version 6 can't be loaded: .*m-gone"):
        registry.fetch(Registered(6, "", "e", "models:/m-gone"), settings)


def test_a_model_that_another_process_fetched_meanwhile_is_taken(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = settings.var / "models" / "d"

    def slow(source: str, dst_path: str) -> str:
        assert (source, Path(dst_path).parent) == ("file:///m1", cache.parent)
        local = Path(dst_path) / "model"
        local.mkdir(parents=True)
        (local / "ours").touch()
        return str(local)

    def first(folder: Path, *, ignore_errors: bool) -> None:
        assert ignore_errors
        folder.mkdir()
        (folder / "theirs").touch()

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", slow)
    monkeypatch.setattr(registry, "shutil", SimpleNamespace(rmtree=first))
    ours = Path(slow("file:///m1", str(cache.parent / "another")))
    known = Registered(1, "", registry.digest(ours), "file:///m1")
    registry._download(known, cache)
    assert [path.name for path in cache.iterdir()] == ["theirs"]


def test_a_digest_that_somebody_wrote_by_hand_deletes_nothing(
    client: MlflowClient, settings: Any
) -> None:
    _, uri, _ = logged(client)
    (settings.var / "models").mkdir(parents=True)
    (settings.var / "journal.db").touch()
    with pytest.raises(GateRefused, match=r"^Version 2 was refused\. Digest gate: .* not the ones"):
        registry.fetch(Registered(2, "", "..", uri), settings)
    assert (settings.var / "journal.db").exists()


def test_what_can_not_be_fetched_names_the_version(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(GateRefused) as caught:
        registry.fetch(Registered(4, "", "", f"file://{tmp_path}"), settings)
    assert str(caught.value).startswith("Digest gate: version 4 was registered without one, by")

    def refuse(*_: Any, **__: Any) -> None:
        raise GateRefused("Environment gate: other.")

    (tmp_path / "model").mkdir()
    (tmp_path / "model/file").touch()
    monkeypatch.setattr(registry, "open_artifact", refuse)
    with pytest.raises(GateRefused) as caught:
        registry.fetch(Registered(5, "", "d", f"file://{tmp_path}/model"), settings)
    assert str(caught.value) == "Version 5 was refused. Environment gate: other."


def test_a_run_has_a_record_or_is_refused(client: MlflowClient) -> None:
    run, _, _ = logged(client)
    with pytest.raises(GateRefused) as caught:
        registry.record(run)
    said = str(caught.value)
    assert said.startswith(f"Record gate: run {run} has no record that can be read; train anew. (")
    assert "record.json" in said
    client.log_text(run, RECORD.model_dump_json(), "record.json")
    assert registry.record(run) == RECORD
    with pytest.raises(GateRefused, match="run nobody has no record"):
        registry.record("nobody")
    client.log_text(run, "{}", "record.json")  # of another tool
    with pytest.raises(GateRefused, match=f"run {run} has no record that can be read"):
        registry.record(run)


pause = threading.Event().wait
UNDER_WAY = "Another promotion is under way; try again in a minute."


def test_one_promotion_at_a_time(
    settings: Any, monkeypatch: pytest.MonkeyPatch, client: MlflowClient
) -> None:
    monkeypatch.setattr(registry, "LOCK_SECONDS", 0.1)
    for _ in range(2):  # an error lets it go
        with pytest.raises(ZeroDivisionError), registry.switching(settings):
            with pytest.raises(GateRefused) as caught, registry.switching(settings):
                pass
            assert str(caught.value) == UNDER_WAY
            raise ZeroDivisionError
    with FileLock(settings.var / "promotion.lock"):
        with pytest.raises(GateRefused), registry.switching(settings):
            pass
    assert not client.search_registered_models()


def test_one_promotion_at_a_time_on_all_machines(
    settings: Any, monkeypatch: pytest.MonkeyPatch, client: MlflowClient
) -> None:
    monkeypatch.setattr(registry, "is_embedded", lambda: False)
    monkeypatch.setattr(registry, "LOCK_SECONDS", 0.1)
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: waited.append(seconds) or pause(0.02))
    name = f"{MODEL}-promotion-lock"
    with pytest.raises(ZeroDivisionError), registry.switching(settings):
        (held,) = client.search_registered_models()
        assert (held.name, held.description) == (name, "Held while a promotion is under way.")
        raise ZeroDivisionError
    assert not client.search_registered_models()
    with registry.switching(settings):
        client.delete_registered_model(name)  # as the server did whose answer got lost

    client.create_registered_model(name)  # on another machine
    with pytest.raises(GateRefused) as caught, registry.switching(settings):
        pass
    assert str(caught.value) == (
        f"{UNDER_WAY} If none is, one was killed: delete the registered model {name} (`make ui`)."
    )
    monkeypatch.setattr(registry, "LOCK_SECONDS", 20)
    threading.Timer(0.2, client.delete_registered_model, [name]).start()
    with registry.switching(settings):
        assert client.search_registered_models()
    assert not client.search_registered_models()
    assert set(waited) == {0.5}


def test_a_server_that_fails_is_no_other_promotion(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MlflowException("broken")

    monkeypatch.setattr(registry, "is_embedded", lambda: False)
    monkeypatch.setattr(MlflowClient, "create_registered_model", fail)
    with pytest.raises(MlflowException, match="broken"), registry.switching(settings):
        pass
