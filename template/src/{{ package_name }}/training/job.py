"""Training inside a container that SageMaker or Kubernetes started: the folder /opt/ml.

Before, `input/config/hyperparameters.json` holds variables of the environment, and `input/data/`
a folder for each channel. Afterwards `model/` holds the model's files, and `output/failure` the
reason where the job failed.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient

from ..utils import config, environment
from ..utils.config import PREFIX
from ..utils.errors import GateRefused, UsageError
from . import registry
from .train import TrainingResult

FOLDER = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
NAME, COMMIT, OPTIONS = "TRAINING_JOB_NAME", "TRAINING_JOB_COMMIT", "TRAINING_JOB_OPTIONS"
"""Variables of the environment; SageMaker sets the first by itself."""


def is_here() -> bool:
    """Tell whether this process is such a job."""
    return NAME in os.environ


def run(train: Callable[[], TrainingResult], options: argparse.Namespace) -> TrainingResult:
    """Train as the one who sent the job said, and leave what the platform expects.

    `train` goes by the settings then in force, and by `options`, where those of the job are set.
    """
    try:
        _take_in(options)
        outcome = train()
    except SystemExit:
        _fail("Stopped from outside, by its time limit or by hand.")
        raise
    except BaseException as error:
        _fail(str(error) or type(error).__name__)
        raise
    _deliver(outcome)
    if outcome.reasons:
        _fail(f"Version {outcome.version} was not promoted. {' '.join(outcome.reasons)}")
    return outcome


def _take_in(options: argparse.Namespace) -> None:
    file = FOLDER / "input/config/hyperparameters.json"
    os.environ.update(json.loads(file.read_text()) if file.exists() else {})
    for option in os.environ.get(OPTIONS, "").split():
        setattr(options, option, True)
    os.environ["MLFLOW_RUN_CONTEXT"] = json.dumps({"job": os.environ[NAME]})  # tags of the run
    if channels := {folder.name: _only_file(folder) for folder in FOLDER.glob("input/data/*/")}:
        os.environ[f"{PREFIX}data__sources".upper()] = json.dumps(channels)
    config.load.cache_clear()
    if config.load().remote.secret:
        from .sagemaker import take_secret  # noqa: PLC0415 - there is no AWS on Kubernetes

        take_secret()
    sent, here = os.environ.get(COMMIT), environment.commit().id
    if sent and sent != here:
        raise GateRefused(
            f"Image gate: the image was built from commit {here}, the job was sent from {sent}. "
            "Build the image again and push it, then name it in [remote] image."
        )


def _only_file(channel: Path) -> str:
    files = [path for path in channel.rglob("*") if path.is_file()]
    if len(files) != 1:
        raise UsageError(f"The channel {channel.name} holds {len(files)} files instead of one.")
    return str(files[0])


def _deliver(outcome: TrainingResult) -> None:
    """Put the model's files, which lie in MLflow already, where SageMaker collects them."""
    if os.access(FOLDER / "model", os.W_OK):
        found = registry.version(MlflowClient(), outcome.version)
        settings = config.load()
        registry.fetch(found, settings)
        files = settings.var / "models" / found.digest
        shutil.copytree(files, FOLDER / "model", dirs_exist_ok=True)


def _fail(reason: str) -> None:
    with suppress(OSError):  # the folder is not there, or not ours: standard error says it as well
        (FOLDER / "output/failure").write_text(reason.strip().splitlines()[0][:1024])
