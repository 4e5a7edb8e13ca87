"""Connects to MLflow: a server where MLFLOW_TRACKING_URI names one, else a store under `var/`."""

import logging
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# A server that is away is given up after a quarter of a minute, one that is stuck after two.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import mlflow
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from ..utils.config import Settings, without_password
from ..utils.errors import UsageError
from ..utils.paths import PACKAGE

MODEL = PACKAGE.name.replace("_", "-")
"""The name of the registered model, and of the experiment."""

logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what it can't do, it raises as well

FROZEN_PATHS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""Columns in which the embedded store keeps absolute paths."""


def connect(settings: Settings) -> MlflowClient:
    """Point MLflow to the project's store, made now if need be, and return a client.

    UsageError where a server is named that does not answer, or lets nobody in, or where the
    project's own store can't be used.
    """
    server = os.environ.get("MLFLOW_TRACKING_URI")
    database, artifacts = settings.var / "mlflow.db", (settings.var / "artifacts").as_uri()
    uri = server or _embedded_store(database, artifacts)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if not server:  # MLflow names the store in the environment, where it would pass for a server
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    client = MlflowClient()
    try:
        missing = client.get_experiment_by_name(MODEL) is None
        if missing and server:
            mlflow.set_experiment(MODEL)
        elif missing:  # MLflow's pages made the store, or renamed the experiment
            client.create_experiment(MODEL, artifacts)
    except mlflow.MlflowException as error:
        said = str(error).splitlines()[0]
        raise UsageError(f"MLflow at {without_password(uri)} does not answer: {said}") from None
    return client


def is_embedded() -> bool:
    """Tell whether the store is the project's own, not a server shared with others."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


def experiment(client: MlflowClient) -> str:
    """Return the id of the project's experiment; UsageError where it was deleted."""
    found = client.get_experiment_by_name(MODEL)
    if found.lifecycle_stage != "active":
        uri = without_password(mlflow.get_tracking_uri())
        raise UsageError(
            f"The experiment {MODEL} was deleted in MLflow. To restore it: MLFLOW_TRACKING_URI="
            f"{uri} uv run mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return str(found.experiment_id)


def _embedded_store(database: Path, artifacts: str) -> str:
    """Return the URI of the project's own store."""
    try:
        if not database.exists():
            database.parent.mkdir(parents=True, exist_ok=True)
            _make_store(database, artifacts)
        _relocate(database, artifacts)
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise UsageError(
            f"{database}, which holds all runs and versions, can't be used: "
            f"{str(error).splitlines()[0]}. Look for a full disk or missing rights; where the file "
            "itself is spoilt, get it back from a backup."
        ) from None
    return f"sqlite:///{database}"


def _make_store(database: Path, artifacts: str) -> None:
    """Make the database aside and link it into place, since MLflow's own migrations don't lock."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        private = Path(folder) / "mlflow.db"
        store = SqlAlchemyStore(f"sqlite:///{private}", folder)
        store.create_experiment(MODEL, artifacts)
        store.engine.dispose()
        with closing(sqlite3.connect(private)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=WAL")
        with suppress(FileExistsError):  # another process was first; its store is as good
            os.link(private, database)


def _relocate(database: Path, artifacts: str) -> None:
    """Fix the absolute paths in the store after the project was moved or copied."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        (there,) = connection.execute(query, [MODEL]).fetchone() or [artifacts]
        if there == artifacts:
            return
        for table, column in FROZEN_PATHS.items():
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608 - names of our own
                [there, artifacts],
            )
