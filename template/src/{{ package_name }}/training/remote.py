"""Training on another machine: what a job is told, and what came of it.

`sagemaker` and `kubernetes` each submit a job and wait for it; `job` is its other end.
"""

import os
import secrets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module

from mlflow import MlflowClient

from ..utils import environment
from ..utils.config import PREFIX, Settings, without_password
from ..utils.errors import GateRefused, Stop, UsageError
from . import registry
from .job import COMMIT, NAME, OPTIONS
from .tracking import MODEL, connect
from .train import Outcome

NOT_FOR_A_JOB = {"paths__var", "service__api_key", "service__journal"}


@dataclass(frozen=True)
class Job:
    """One training elsewhere."""

    name: str
    variables: dict[str, str]
    """What its environment holds beside what the platform puts there."""


def train_on(
    platform: str, settings: Settings, *, promote: bool = True, allow_dirty: bool = False
) -> Outcome:
    """Train in the project's image on `sagemaker` or `kubernetes`, and wait for the end.

    Raises
    ------
    UsageError
        The job could not reach the tracking server or the data, or the platform refuses it.
    GateRefused
        The image can't hold what is here, as some of it is in no commit.
    Stop
        The job failed before there was a model.
    """
    place = import_module(f".{platform}", __package__)
    job = _prepare(settings, promote=promote, allow_dirty=allow_dirty)
    client = connect(settings)
    place.submit(job, settings.remote)
    sys.stderr.write(f"Job {job.name}. Its output: {place.LOGS.format(name=job.name)}\n")
    try:
        failure = place.wait(job.name)
    except BaseException:
        stop = place.STOP.format(name=job.name)
        sys.stderr.write(f"The job goes on, and so do its costs. To stop it: {stop}\n")
        raise
    return _outcome(client, job.name, failure)


def _prepare(settings: Settings, *, promote: bool, allow_dirty: bool) -> Job:
    if not settings.remote.image:
        raise UsageError(
            "config.toml: [remote] image is missing: name the project's image as the platform "
            "can pull it. `make image` builds it."
        )
    commit = environment.commit()
    if not commit.clean and not allow_dirty:
        raise GateRefused(
            f"Commit gate: {commit.changes} file(s) here differ from commit "
            f"{(commit.id or 'none')[:8]}, so no image holds them. Commit, build the image and "
            "push it, or pass --allow-dirty."
        )
    _reach_data(settings)
    name = f"{MODEL}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    options = {"no_promote": not promote, "allow_dirty": allow_dirty}
    variables = {
        NAME: name,
        COMMIT: "" if allow_dirty else commit.id or "",
        OPTIONS: " ".join(option for option, given in options.items() if given),
        "MLFLOW_TRACKING_URI": _server(),
    } | {
        variable: value
        for variable, value in os.environ.items()
        if variable.lower().startswith(PREFIX)
        and variable.lower().removeprefix(PREFIX) not in NOT_FOR_A_JOB
    }
    for variable, value in variables.items():
        if without_password(value) != value:
            raise UsageError(
                f"{variable} holds a password, which all who may look at jobs could read. Leave it "
                "out, and give it to the job as a secret ([remote] secret, or train-job.yaml)."
            )
    return Job(name, {variable: value for variable, value in variables.items() if value})


def _server() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://", "arn:")):
        raise UsageError(
            f"A job elsewhere can't track its run in {uri or 'var/mlflow.db'}, which is on this "
            "machine. Set MLFLOW_TRACKING_URI to an MLflow server that both can reach."
        )
    return uri


def _reach_data(settings: Settings) -> None:
    """Refuse a job that would find neither the tables nor their sources."""
    if "://" in settings.tables:
        return
    sources = settings.data.sources.items()
    here = [
        f"{name} ({source})"
        for name, source in sources
        if "://" not in source
        and not source.startswith("sample:")
        and name not in settings.remote.channels
    ]
    if here:
        raise UsageError(
            f"A job elsewhere can't read {', '.join(here)}, on this machine. Set [paths] tables "
            "to an object store, such as s3://bucket/tables, and `make data`."
        )


def _outcome(client: MlflowClient, job: str, failure: str | None) -> Outcome:
    """Find in MLflow what the job left there. Runs that were taken down with their machine end."""
    experiment = client.get_experiment_by_name(MODEL)
    runs = client.search_runs([experiment.experiment_id], f"tags.job = '{job}'")
    for run in runs:
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    for run in runs:  # the newest first
        made = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run.info.run_id}'")
        if made:
            number, run_id = int(made[0].version), run.info.run_id
            decided = registry.decision(made[0]) or {"promoted": False, "reasons": []}
            reasons = decided["reasons"] or ([failure] if failure else [])
            return Outcome(run_id, number, decided["promoted"], reasons, registry.record(run_id))
    raise Stop(f"The job {job} ended without a model: {failure or 'nobody said why'}")
