"""Model versions, and the aliases that say which of them answer or did so before."""

import contextlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ..utils.config import Settings
from ..utils.errors import GateRefused, UsageError
from .artifact import Artifact, digest, open_artifact
from .record import Record
from .tracking import MODEL, is_embedded

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
RECORD_FILE = "record.json"
LOCK_SECONDS = 60
NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
"""What MLflow answers where there is no model yet, or no such alias."""


@dataclass(frozen=True)
class Registered:
    """A version as the registry knows it."""

    version: int
    run_id: str
    digest: str
    source: str


def register(client: MlflowClient, run_id: str, model_uri: str, record: Record) -> int:
    """Make a finished run's model a version, once a freshly loaded copy has proved itself.

    GateRefused if it can't be loaded again, or answers its golden sample otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=folder))
        found = digest(local)
        if open_artifact(local, found).about.runtime != "sklearn":
            open_artifact(local, found, runtime="sklearn")
    with contextlib.suppress(MlflowException):  # there since the first training
        client.create_registered_model(MODEL)
    tags = {
        "digest": found,
        "commit": record.commit or "none",
        "changes": str(record.changes),
        "data": json.dumps({name: table.version for name, table in record.data.items()}),
    }
    model_id = model_uri.removeprefix("models:/")  # without it a server takes no such source
    made = client.create_model_version(MODEL, model_uri, run_id, tags, model_id=model_id)
    return int(made.version)


def alias(client: MlflowClient, name: str) -> Registered | None:
    """Return the version that an alias points to, None where there is none.

    UsageError where MLflow does not answer: to take that for none would let anybody be promoted.
    """
    try:
        return _known(client.get_model_version_by_alias(MODEL, name))
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        said = str(error).partition("\n")[0]
        raise UsageError(f"MLflow does not tell which version is the {name}: {said}") from None


def version(client: MlflowClient, number: int | None) -> Registered:
    """Return a version by its number, or the newest one; UsageError where there is none."""
    if number is None:
        found = client.search_model_versions(
            f"name = '{MODEL}'", order_by=["version_number DESC"], max_results=1
        )
        if not found:
            raise UsageError("No model is registered yet: run `make train`.")
        return _known(found[0])
    try:
        return _known(client.get_model_version(MODEL, str(number)))
    except MlflowException as error:
        if error.error_code not in NOT_THERE and number < 1 << 31:  # as far as databases count
            raise
        raise UsageError(f"Version {number} is not registered.") from None


def champion(client: MlflowClient) -> Registered:
    """Return the version that answers for production; UsageError before the first promotion."""
    found = alias(client, CHAMPION)
    if found is None:
        raise UsageError("There is no champion yet: run `make train`, or `make promote`.")
    return found


def fetch(registered: Registered, settings: Settings, *, lenient: bool = False) -> Artifact:
    """Return a version's artifact, downloaded once into a folder named by its digest.

    GateRefused if it fails a gate of `open_artifact`, or its rules are others now. `lenient` lets
    other library versions and rules pass, as when two models are compared.
    """
    if not registered.digest:
        raise GateRefused(
            f"Digest gate: version {registered.version} was registered without one, by hand or by "
            "another tool; promote another version, or train anew."
        )
    cache = settings.var / "models" / registered.digest
    try:
        if not cache.exists() or digest(cache) != registered.digest:
            _download(registered, cache)
        strict = settings.service.environment == "refuse" and not lenient
        return open_artifact(cache, registered.digest, strict=strict, own_rules=not lenient)
    except (MlflowException, OSError) as error:
        raise GateRefused(f"Version {registered.version} can't be loaded: {error}") from None
    except GateRefused as refusal:
        raise GateRefused(f"Version {registered.version} was refused. {refusal}") from None


def _download(registered: Registered, cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        local = Path(mlflow.artifacts.download_artifacts(registered.source, dst_path=folder))
        if not any(local.iterdir()):  # all that MLflow says of a folder that is away
            said = f"{registered.source} holds no files; is the artifact store there?"
            raise FileNotFoundError(said)
        if digest(local) == registered.digest:  # anybody may set the tag, and it may be a path
            shutil.rmtree(cache, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process was first
                local.rename(cache)


def record(run_id: str) -> Record:
    """Return the record of a run; GateRefused where it has none."""
    try:
        text = mlflow.artifacts.load_text(f"runs:/{run_id}/{RECORD_FILE}")
        return Record.model_validate_json(text)
    except (MlflowException, OSError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise GateRefused(
            f"Record gate: run {run_id} has no record that can be read; train anew. ({why})"
        ) from None


@contextlib.contextmanager
def switching(settings: Settings) -> Iterator[None]:
    """Let only one promotion or rollback happen at a time; GateRefused while another one does."""
    settings.var.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(FileLock(settings.var / "promotion.lock", timeout=LOCK_SECONDS))
        except Timeout:
            raise GateRefused("Another promotion is under way; try again in a minute.") from None
        if not is_embedded():
            held.enter_context(_switching_on_server(MlflowClient()))
        yield


@contextlib.contextmanager
def _switching_on_server(client: MlflowClient) -> Iterator[None]:
    """Do the same among machines: of all that create a model of one name, a server lets one."""
    name, given_up = f"{MODEL}-promotion-lock", time.time() + LOCK_SECONDS
    while True:
        try:
            client.create_registered_model(name, description="Held while a promotion is under way.")
            break
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        if time.time() > given_up:
            raise GateRefused(
                "Another promotion is under way; try again in a minute. If none is, one was "
                f"killed: delete the registered model {name} (`make ui`)."
            )
        time.sleep(0.5)
    try:
        yield
    finally:
        with contextlib.suppress(MlflowException):  # if it is not gone, the next one is told so
            client.delete_registered_model(name)


def switch(client: MlflowClient, new: Registered, old: Registered | None) -> None:
    """Point `champion` to `new` and remember `old`."""
    moves = [(CHAMPION, new)]
    if old is not None and old.version != new.version:
        # What is left of a switch that is killed never leads back to a version before `old`, and
        # a rollback does not lose the version it goes back to.
        going_back = alias(client, PREVIOUS) == new
        moves = [*moves, (PREVIOUS, old)] if going_back else [(PREVIOUS, old), *moves]
    for name, to in moves:
        client.set_registered_model_alias(MODEL, name, str(to.version))
    if alias(client, CHALLENGER) == new:
        client.delete_registered_model_alias(MODEL, CHALLENGER)


def refused(client: MlflowClient) -> list[int]:
    """Return the versions whose last decision was against them, oldest first."""
    found = client.search_model_versions(f"name = '{MODEL}'")
    last = {int(one.version): decisions(one)[-1:] for one in found}
    return sorted(number for number, told in last.items() if told and not told[0]["promoted"])


def decisions(about: ModelVersion) -> list[dict[str, Any]]:
    """Return what was decided about a version, oldest first. Tags that people set are none."""
    tags = sorted(about.tags.items())
    return [json.loads(text) for name, text in tags if re.match(r"decision \d{4}-\d\d-\d\dT", name)]


def note_decision(client: MlflowClient, about: Registered, decision: dict[str, Any]) -> None:
    """Keep a decision, refusals too, as a tag of the version it was about."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = json.dumps(decision | {"time": now})
    client.set_model_version_tag(MODEL, str(about.version), f"decision {now}", text)


def _known(found: ModelVersion) -> Registered:
    return Registered(
        version=int(found.version),
        run_id=found.run_id or "",
        digest=found.tags.get("digest", ""),
        source=found.source or "",
    )
