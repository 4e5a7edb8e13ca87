"""Training on another machine: what a job is told, and what came of it.

`sagemaker` and `kubernetes` each submit a job and look how it is; `job` is its other end.
"""

import os
import secrets
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType

from mlflow import MlflowClient

from ..utils import environment
from ..utils.config import PREFIX, Settings, without_password
from ..utils.errors import GateRefused, Stop, UsageError
from . import registry
from .job import COMMIT, NAME, OPTIONS
from .tracking import MODEL, connect
from .train import TrainingResult

NOT_FOR_A_JOB = {"paths__var", "service__api_key", "service__journal"}
POLL_SECONDS = 5


def train_on(
    platform: str,
    settings: Settings,
    *,
    promote: bool = True,
    allow_dirty: bool = False,
    deploy: bool = False,
) -> TrainingResult:
    """Train in the project's image on `sagemaker` or `kubernetes`, and wait for the end.

    `deploy` lets SageMaker's endpoint answer from that image, once the version is the champion.

    UsageError where the job could not reach the tracking server or the data, the platform refuses
    it, or the endpoint does not answer; GateRefused where the image can't hold what is here, as
    some of it is in no commit; Stop where the job failed before there was a model.
    """
    place = import_module(f".{platform}", __package__)
    if deploy and settings.remote.secret is None:  # before anything is paid for
        place.need_journal(settings)
    variables = _prepare(settings, promote=promote, allow_dirty=allow_dirty)
    name, client = variables[NAME], connect(settings)
    place.submit(name, variables, settings.remote)
    try:
        sys.stderr.write(f"Job {name}. Its output: {place.LOGS.format(name=name)}\n")
        failure = _wait(place, name)
    except BaseException:
        stop = place.STOP.format(name=name)
        sys.stderr.write(f"The job goes on, and so do its costs. To stop it: {stop}\n")
        raise
    outcome = _outcome(client, name, failure)
    if deploy and outcome.promoted:
        sys.stderr.write(f"{place.deploy(MODEL, _variables(), settings.remote)}\n")
    return outcome


def _prepare(settings: Settings, *, promote: bool, allow_dirty: bool) -> dict[str, str]:
    """Return what the job's environment holds beside what the platform puts there."""
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
    _refuse_what_is_only_here(settings)
    options = {"no_promote": not promote, "allow_dirty": allow_dirty}
    job = {
        NAME: f"{MODEL}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        COMMIT: "" if allow_dirty else commit.id or "",
        OPTIONS: " ".join(option for option, given in options.items() if given),
    }
    return {variable: value for variable, value in (job | _variables()).items() if value}


def _variables() -> dict[str, str]:
    """Return what goes along of this environment: the tracking server, and settings."""
    variables = {"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]} | {
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
    return variables


def _refuse_what_is_only_here(settings: Settings) -> None:
    """Refuse a job that would find neither the tables nor their sources, or not the store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://", "arn:")):
        raise UsageError(
            f"A job elsewhere can't track its run in {uri or 'var/mlflow.db'}, which is on this "
            "machine. Set MLFLOW_TRACKING_URI to an MLflow server that both can reach."
        )
    here = [
        f"{name} ({source})"
        for name, source in settings.data.sources.items()
        if "://" not in source
        and not source.startswith("sample:")
        and name not in settings.remote.channels
    ]
    if here and "://" not in settings.tables:
        raise UsageError(
            f"A job elsewhere can't read {', '.join(here)}, on this machine. Set [paths] tables "
            "to an object store, such as s3://bucket/tables, and `make data`."
        )


def _wait(place: ModuleType, name: str) -> str | None:
    """Follow a job to its end; return why it failed, None where it did not."""
    said = ""
    while True:
        now, ended, failure = place.look(name)
        if now != said:
            sys.stderr.write(f"  {now}\n")
            said = now
        if ended:
            return failure
        time.sleep(POLL_SECONDS)


def _outcome(client: MlflowClient, job: str, failure: str | None) -> TrainingResult:
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
            (decided,) = registry.decisions(made[0])[-1:] or [{"promoted": False, "reasons": []}]
            reasons = decided["reasons"] or ([failure] if failure else [])
            promoted, record = decided["promoted"], registry.record(run_id)
            return TrainingResult(run_id, number, promoted, reasons, record)
    raise Stop(f"The job {job} ended without a model: {failure or 'nobody said why'}")
