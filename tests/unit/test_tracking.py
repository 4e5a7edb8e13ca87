"""The project's own store, as MLflow's pages or an accident left it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from slipway_template.training.tracking import MODEL, connect, experiment
from slipway_template.utils.errors import UsageError


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path / "mlflow.db"
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def test_a_store_without_the_experiment_gets_it(database: Path) -> None:
    settings = SimpleNamespace(var=database.parent)
    SqlAlchemyStore(f"sqlite:///{database}", "mlflow-artifacts:/").engine.dispose()  # `make ui`
    for name in ["another", "a third"]:  # the second time it was renamed there
        client = connect(settings)
        place = client.get_experiment(experiment(client)).artifact_location
        assert place == (database.parent / "artifacts").as_uri()
        client.rename_experiment(experiment(client), name)

    client = connect(settings)
    number = experiment(client)
    client.delete_experiment(number)
    with pytest.raises(UsageError, match=f"{MODEL} was deleted.* --experiment-id {number}$"):
        experiment(connect(settings))


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "no such table"), (b"nothing" * 99, "not a database")]
)
def test_a_store_that_can_not_be_read_is_named(database: Path, content: bytes, said: str) -> None:
    database.write_bytes(content)
    with pytest.raises(UsageError, match=f"{database}, which holds .*: .*{said}.* backup"):
        connect(SimpleNamespace(var=database.parent))
    assert database.read_bytes() == content


def test_what_mlflow_can_not_do_is_raised_without_a_stack_beside(
    database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = connect(SimpleNamespace(var=database.parent))
    with closing(sqlite3.connect(database)) as store:
        store.execute("ALTER TABLE experiments RENAME TO gone")
    with pytest.raises(mlflow.MlflowException):
        experiment(client)
    assert "Traceback" not in capfd.readouterr().err
