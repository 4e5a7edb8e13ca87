"""What this process runs on: commit, versions, lock file."""

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version

from .paths import PACKAGE, project_root

TELLING = [
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "skops",
    "onnxruntime",
    "lightgbm",
    "xgboost",
]
"""Packages whose version can change a prediction."""


@dataclass(frozen=True)
class Commit:
    """The state of the code."""

    id: str | None
    """None where the project is in no git repository, or has no commit yet."""
    changes: int
    """Files that differ from the commit, new ones included."""

    @property
    def clean(self) -> bool:
        """Whether the commit tells exactly which code ran."""
        return self.id is not None and not self.changes


def commit() -> Commit:
    """Return the commit of the project, or the one its wheel was built from."""
    root = project_root()
    head = _git("rev-parse", "HEAD")
    if head is None:
        built = PACKAGE / "resources" / "commit.txt"
        return Commit(built.read_text().strip() if built.exists() else None, 0)
    changes = _git("status", "--porcelain", "--untracked-files=all", "--", str(root)) or ""
    return Commit(head, len(changes.splitlines()))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a prediction."""
    found = {"python": platform.python_version()}
    for name in TELLING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def process() -> dict[str, str]:
    """Return what tells this process from others, so that a crashed run can be told later."""
    return {"pid": str(os.getpid()), "host": platform.node()}


def lock_digest() -> str | None:
    """Return the SHA-256 of the project's `uv.lock`, None where there is none."""
    lock = project_root() / "uv.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None


def requirements() -> list[str]:
    """Return this project's direct dependencies, pinned to what is installed."""
    names = [
        line.split(";")[0].split("[")[0].split(">")[0].split("=")[0].split("<")[0].strip()
        for line in distribution(PACKAGE.name).requires or []
        if "extra ==" not in line
    ]
    return sorted(f"{name}=={version(name)}" for name in names)


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
