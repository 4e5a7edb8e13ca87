"""What this process runs on: commit, wheel, versions, lock file."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from .errors import GateRefused
from .paths import PACKAGE, RESOURCES, project_root

LEARNERS = ["scikit-learn", "lightgbm", "xgboost"]
TELLING = ["numpy", "pandas", "scipy", "skops", "onnxruntime", *LEARNERS]
"""Packages whose version can change a prediction."""
ENDPOINT = "SAGEMAKER_ENDPOINT"
"""The variable that tells the service which endpoint it is."""


@dataclass(frozen=True)
class Commit:
    """The state of the code."""

    id: str | None
    """None where git tells none: there is no repository or commit, or it can't be read."""
    changes: int
    """Files that differ from the commit, new ones included."""

    @property
    def clean(self) -> bool:
        """Whether the commit tells exactly which code ran."""
        return self.id is not None and not self.changes


def commit() -> Commit:
    """Return the commit that this package was built from, or that of the project it lies in."""
    if built := _built():
        return Commit(built["commit"], built["changes"])
    head = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=all", "--", ".")
    if head is None or changes is None:
        return Commit(None, 0)
    return Commit(head, len(changes.splitlines()))


def wheel() -> str | None:
    """Return the SHA-256 of the wheel that this package was installed from.

    It is known where `ops/wheel.py` installed the wheel, and left its record in the environment.
    GateRefused where what is installed is not what the wheel held.
    """
    file = Path(sys.prefix) / "wheel.json"
    if not file.exists():
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    for name, expected in record["files"].items():
        path = PACKAGE.parent / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise GateRefused(
                f"Wheel gate: {path} is not as in {record['wheel']}, which was built and verified. "
                "Install the wheel again; settings are changed in the environment, not in the file."
            )
    return str(record["sha256"])


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a prediction."""
    found = {"python": platform.python_version()}
    for name in TELLING:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def process() -> dict[str, str]:
    """Return what tells this process from others, so that a crashed run can be told later."""
    return {"pid": str(os.getpid()), "host": platform.node()}


def lock_digest() -> str | None:
    """Return the SHA-256 of the project's `uv.lock`, None where there is none.

    A wheel knows the one that was there when it was built.
    """
    if built := _built():
        return built["lock"]
    lock = project_root() / "uv.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None


def requirements() -> list[str]:
    """Return this project's direct dependencies, pinned to what is installed."""
    wanted = map(Requirement, distribution(PACKAGE.name).requires or [])
    here = [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]
    return sorted(f"{name}=={version(name)}" for name in here)


def _built() -> dict[str, Any] | None:
    """Return what `ops/wheel.py` wrote into the wheel; there is nothing of it in the sources."""
    file = RESOURCES / "built.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            cwd=project_root(),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
