"""A repository with code and data of its own takes Slipway in, as the how-to says."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT, Project

HOW_TO = ROOT / "docs" / "how-to" / "adopt-a-repository.md"
DATA = "data/raw/customers.csv"

OLD = {
    "README.md": "# Churn\n\nOf 2023.\n",
    "Makefile": "clean:\n\trm -rf data\n",
    "pyproject.toml": '[project]\nname = "churn"\nversion = "0"\n',
    ".gitignore": "/data/\n",
    "churn/__init__.py": "",
    "churn/modeling/train.py": (
        "import pandas as pd\nfrom sklearn.model_selection import train_test_split\n\n"
        'train, test = train_test_split(pd.read_csv("data/raw/customers.csv"))\n'
    ),
    "notebooks/1.0-look.md": "Nothing to see.\n",
    "reports/figures/.gitkeep": "",
    "docs/notes.md": "Call Ada.\n",
}


@pytest.fixture
def old(tmp_path: Path) -> Project:
    """A repository laid out as cookiecutter-data-science does it, with code and data."""
    project = Project(tmp_path / "churn", "churn_model")
    for name, text in OLD.items():
        project.write(name, text)
    project.write(DATA, "shipment_id,late\n1,False\n")
    project.git("init", "--quiet")
    project.commit("Three years of work")
    return project


def steps(template: Path) -> list[str]:
    """Return the commands of the how-to, with the names of this repository."""
    names = {
        "PACKAGE": "churn",
        "PROJECT": "Churn model",
        "TEMPLATE": str(template),
        "COMMAND": "churn-model",
        "FILE": DATA,
        "TARGET": "late",
        "KEY": "shipment_id",
    }
    found = re.findall(r"```sh\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    return [re.sub(r"\b[A-Z]{3,}\b", lambda one: names.get(one[0], one[0]), sh) for sh in found]


def test_nothing_of_theirs_is_lost(
    old: Project, template: Path, render: Callable[..., Project], tmp_path: Path
) -> None:
    room, bring, _ = steps(template)
    old.run("bash", "-euc", room)
    old.run("bash", "-euc", bring.partition("make setup")[0])

    moved = {"README.md", "Makefile", "pyproject.toml", ".gitignore"}
    for name, text in OLD.items():
        goes = name in moved or name.startswith("churn/")
        now = f"legacy/{name.lstrip('.')}" if goes else name
        assert (old.path / now).read_text() == text
    assert (old.path / DATA).exists()
    fresh = render(tmp_path / "fresh", project_name="Churn model")
    for file in (path for path in fresh.path.rglob("*") if path.is_file()):
        name = file.relative_to(fresh.path)
        assert (old.path / name).read_text().startswith(file.read_text()), name
    assert "customers.csv" not in old.git("status", "--porcelain", "--untracked-files=all")


def test_a_file_in_the_way_is_never_overwritten_unasked(old: Project, template: Path) -> None:
    old.run("uvx", "copier", "copy", "--quiet", "--defaults", template, ".", code=None)

    assert old.git("diff", "HEAD") == ""


@pytest.mark.long
def test_it_lives_afterwards(old: Project, samples: Path, template: Path) -> None:
    shutil.copy(samples / "train.csv", old.path / DATA)
    slow = {"CHURN_MODEL__SERVICE__LATENCY_BUDGET_MS": "60000"}  # this machine may be busy
    for commands in steps(template):
        old.run("bash", "-euc", commands, **slow)

    assert old.champion() == 1
    assert "churn/modeling/train.py:4" in old.make("gates", code=2), "legacy code is judged too"
    old.git("rm", "-rq", "legacy")
    old.commit("Moved in")
    old.make("check")
    assert "is the newest" in old.make("update")
