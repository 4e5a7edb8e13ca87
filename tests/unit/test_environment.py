"""What a registered model names as its requirements, and as the commit it was made from."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from slipway_template.utils import environment


def test_requirements_that_do_not_hold_here_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = SimpleNamespace(
        requires=[
            "pandas>=3.1,<4",
            "numpy; python_version >= '3'",
            "nowhere; sys_platform == 'none'",
            "pyspark>=4; extra == 'spark'",
            "deltalake[pandas] >= 1 ; extra == 'spark' or python_version >= '3'",
        ]
    )
    monkeypatch.setattr(environment, "distribution", lambda _: declared)
    assert environment.requirements() == [
        f"{name}=={version(name)}" for name in ["deltalake", "numpy", "pandas"]
    ]


def test_where_git_can_not_tell_of_changes_no_commit_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "project_root", lambda: tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    (tmp_path / "a").touch()
    for said in (["init", "-q"], ["add", "a"], [*author, "commit", "-qm", "One"]):
        subprocess.run(["git", *said], cwd=tmp_path, check=True)
    assert environment.commit().clean

    (tmp_path / ".git/index").write_text("broken")
    assert environment.commit() == environment.Commit(None, 0)
