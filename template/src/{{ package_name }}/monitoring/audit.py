"""Lists models and runs that nobody could trace, and what a crash has left behind."""

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run
from mlflow.entities.model_registry import ModelVersion
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
    """Which column, version or run, and by how much."""
    advice: str


def audit(
    client: MlflowClient, settings: Settings, *, fix: bool = False, now: float | None = None
) -> list[Finding]:
    """Look through all runs, models, versions and aliases of the project.

    A run of another machine counts as crashed after a day. `fix` marks crashed runs as killed, and
    deletes their unfinished models. `now` is in seconds since 1970, by default the present.
    """
    now_ms = 1000 * (now or time.time())
    versions = client.search_model_versions(f"name = '{MODEL}'")
    return [
        *_left_by_a_crash(client, now_ms, fix=fix),
        *_versions(client, versions, now_ms - DAY_MS * settings.monitoring.window_days),
        *_aliases(client, versions, settings.monitoring.retrain_every_days, now_ms),
    ]


def _left_by_a_crash(client: MlflowClient, now_ms: float, *, fix: bool) -> Iterator[Finding]:
    place = [client.get_experiment_by_name(MODEL).experiment_id]
    going = set()
    for run in client.search_runs(place, "attributes.status = 'RUNNING'"):
        name = run.info.run_id
        host = run.data.tags.get("host", "an unknown machine")
        away = host != platform.node()
        if now_ms - run.info.start_time < DAY_MS if away else _alive(run):
            going.add(name)
            continue
        if fix:
            client.set_terminated(name, "KILLED")
        done = "marked as killed" if fix else "mark it with `audit --fix`"
        how = f"for more than a day, on {host}" if away else "its process is gone"
        yield Finding("crashed run", f"run {name} is RUNNING, {how}", done)
    for model in mlflow.search_logged_models(place, output_format="list"):  # of all pages
        if model.status != LoggedModelStatus.PENDING or model.source_run_id in going:
            continue
        if fix:
            client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
            client.delete_logged_model(model.model_id)
        done = "deleted" if fix else "delete it with `audit --fix`"
        yield Finding("unfinished model", f"model {model.model_id} was never finished", done)


def _alive(run: Run) -> bool:
    """Tell whether the process of a run of this machine goes on."""
    try:
        pid = int(run.data.tags.get("pid", 0))
        os.kill(pid, 0)
    except (OSError, OverflowError, ValueError) as error:  # the tag may be another tool's
        return isinstance(error, PermissionError)
    return pid > 0


def _versions(
    client: MlflowClient, versions: list[ModelVersion], since_ms: float
) -> Iterator[Finding]:
    """Versions without a run, a record, a digest or a commit; what new ones found of champions."""
    for version in versions:
        name, tags = f"version {version.version}", version.tags
        try:
            record = registry.record(version.run_id or "(none)")
            if record.decay and version.creation_timestamp > since_ms:
                advice = "see what changed in the world, or in how outcomes are taken down"
                yield Finding("performance", f"{record.decay}, says the training of {name}", advice)
            lacking = record.gaps()
            if client.get_run(version.run_id).info.lifecycle_stage != "active":
                lacking.append("its run, which was deleted")
        except (GateRefused, MlflowException):
            lacking = ["a run with a record"]
        if "digest" not in tags:
            lacking.append("a digest")
        if lacking:
            advice = "find out who made it; delete it, or train anew"
            yield Finding("zombie", f"{name} lacks {', '.join(lacking)}", advice)
        if tags.get("commit") == "none" or tags.get("changes", "0") != "0":
            what = f"{name} was made from code that is in no commit"
            yield Finding("dirty commit", what, "commit, then train anew")


def _aliases(
    client: MlflowClient, versions: list[ModelVersion], most_days: int, now_ms: float
) -> Iterator[Finding]:
    """Aliases whose files are gone; a champion that is gone, never passed or is past its date."""
    aliases = client.get_registered_model(MODEL).aliases if versions else {}
    once = [str(one.version) for one in versions if _passed(one)]
    if once and CHAMPION not in aliases:
        what = f"there is no champion, though there was one (version {', '.join(once)})"
        yield Finding("alias", what, "make promote")
    known = {str(one.version): one for one in versions}
    other = "promote another version, or roll back"
    for name, number in aliases.items():
        try:
            version = known[str(number)]
            gone = not mlflow.artifacts.list_artifacts(version.source)
        except (KeyError, MlflowException, OSError):
            gone = True
        if gone:
            what = f"{name} points to version {number}, whose files are gone"
            yield Finding("alias", what, other)
        elif name == CHAMPION:
            if _passed(version) is False:
                what = f"champion version {number} passed no gate: its alias was set by hand"
                yield Finding("alias", what, other)
            days = (now_ms - version.creation_timestamp) / DAY_MS
            if days > most_days:
                what = f"champion version {number} is {days:.0f} days old, the limit is {most_days}"
                newest, advice = max(versions, key=lambda one: int(one.version)), "make train"
                last = registry.decisions(newest)[-1:]
                if last and not last[0]["promoted"]:
                    why = " ".join(last[0]["reasons"]).rstrip(".")
                    advice = f"version {newest.version} was refused: {why}"
                yield Finding("stale champion", what, advice)


def _passed(version: ModelVersion) -> bool | None:
    """Tell whether a version ever became champion by a decision; None before the first one."""
    told = registry.decisions(version)
    led = [one for one in told if one["promoted"] and one.get("champion") == int(version.version)]
    return bool(led) if told else None
