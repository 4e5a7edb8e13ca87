"""Lists models and runs that nobody could trace, and what a crash has left behind."""

import os
import platform
import time
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

from ..training import registry
from ..training.registry import CHAMPION
from ..training.tracking import MODEL
from ..utils.config import Settings
from ..utils.errors import GateRefused

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Finding:
    """Something that should not be, and what to do about it."""

    kind: str
    what: str
    advice: str


def audit(
    client: MlflowClient, settings: Settings, *, mend: bool = False, now: float | None = None
) -> list[Finding]:
    """Look through all runs, models, versions and aliases of the project.

    Parameters
    ----------
    mend
        Whether crashed runs are marked as killed, and their unfinished models deleted.
    now
        Seconds since 1970; by default the present.
    """
    experiment = client.get_experiment_by_name(MODEL)
    place = [experiment.experiment_id]
    return [
        *_crashed_runs(client, place, mend=mend),
        *_unfinished_models(client, place, mend=mend),
        *_versions(client),
        *_aliases(client),
        *_stale_champion(client, settings, now or time.time()),
    ]


def _crashed_runs(client: MlflowClient, place: list[str], *, mend: bool) -> list[Finding]:
    found = []
    for run in client.search_runs(place, "attributes.status = 'RUNNING'"):
        tags, run_id = run.data.tags, run.info.run_id
        if tags.get("host") != platform.node() or _alive(int(tags.get("pid", 0))):
            continue
        if mend:
            client.set_terminated(run_id, "KILLED")
        done = "marked as killed" if mend else "mark it with `audit --mend`"
        found.append(Finding("crashed run", f"run {run_id} is RUNNING, its process is gone", done))
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def _unfinished_models(client: MlflowClient, place: list[str], *, mend: bool) -> list[Finding]:
    running = {
        run.info.run_id for run in client.search_runs(place, "attributes.status = 'RUNNING'")
    }
    found = []
    for model in client.search_logged_models(place):
        if model.status != LoggedModelStatus.PENDING or model.source_run_id in running:
            continue
        if mend:
            client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
            client.delete_logged_model(model.model_id)
        done = "deleted" if mend else "delete it with `audit --mend`"
        found.append(
            Finding("unfinished model", f"model {model.model_id} was never finished", done)
        )
    return found


def _versions(client: MlflowClient) -> list[Finding]:
    """Versions without a run, a record, a digest or a commit."""
    found = []
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        name, tags = f"version {version.version}", version.tags
        advice = "find out who made it; delete it, or train anew"
        try:
            client.get_run(version.run_id or "")
            gaps = registry.record(version.run_id).gaps()
        except MlflowException:
            found.append(Finding("zombie", f"{name} comes from no run", advice))
            continue
        except GateRefused as refusal:
            found.append(Finding("zombie", f"{name}: {refusal}", advice))
            continue
        if gaps or "digest" not in tags:
            lacking = ", ".join(gaps or ["a digest"])
            found.append(Finding("zombie", f"{name} lacks {lacking}", advice))
        if tags.get("commit") == "none" or tags.get("changes", "0") != "0":
            what = f"{name} was made from code that is in no commit"
            found.append(Finding("dirty commit", what, "commit, then train anew"))
    return found


def _aliases(client: MlflowClient) -> list[Finding]:
    """Aliases whose version, or whose model's files, are gone."""
    found = []
    for name, number in _known_aliases(client).items():
        try:
            source = client.get_model_version(MODEL, str(number)).source
            gone = not mlflow.artifacts.list_artifacts(source)
        except (MlflowException, OSError):
            gone = True
        if gone:
            what = f"{name} points to version {number}, whose files are gone"
            found.append(Finding("alias", what, "promote another version, or roll back"))
    return found


def _known_aliases(client: MlflowClient) -> dict[str, str]:
    try:
        return dict(client.get_registered_model(MODEL).aliases)
    except MlflowException:
        return {}


def _stale_champion(client: MlflowClient, settings: Settings, now: float) -> list[Finding]:
    number = _known_aliases(client).get(CHAMPION)
    if number is None:
        return []
    made = client.get_model_version(MODEL, str(number)).creation_timestamp
    days = (now * 1000 - made) / DAY_MS
    limit = settings.monitoring.retrain_every_days
    if days <= limit:
        return []
    what = f"champion version {number} is {days:.0f} days old, the limit is {limit}"
    return [Finding("stale champion", what, "make train")]
