"""The second door: cookiecutter asks the same questions and makes the same project."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import copier
import pytest
import yaml

from conftest import ROOT, Project, environment

ANSWERS = [
    {},
    {"project_name": "Cologne rents 2", "task": "regression", "delivery": "batch"},
    {"license": "MIT", "ci": "none", "delivery": "rest", "latency_budget_ms": "20"},
]


def questions() -> dict[str, dict[str, object]]:
    text = yaml.safe_load((ROOT / "copier.yml").read_text())
    return {name: asked for name, asked in text.items() if not name.startswith("_")}


def test_both_doors_ask_the_same_questions_in_the_same_order() -> None:
    asked = [name for name, question in questions().items() if question.get("when") is not False]
    offered = json.loads((ROOT / "cookiecutter.json").read_text())
    assert [name for name in offered if not name.startswith("_")] == asked


def test_both_doors_offer_the_same_choices_and_the_same_default() -> None:
    offered = json.loads((ROOT / "cookiecutter.json").read_text())
    for name, question in questions().items():
        choices = question.get("choices")
        if choices is None:
            continue
        values = list(choices.values()) if isinstance(choices, dict) else choices
        assert sorted(offered[name]) == sorted(values), name
        assert offered[name][0] == question["default"], name


def through_cookiecutter(template: Path | str, where: Path, answers: dict[str, str]) -> Path:
    where.mkdir()
    given = [f"{name}={value}" for name, value in answers.items()]
    command = [sys.executable, "-m", "cookiecutter", "--no-input", str(template), *given]
    subprocess.run(command, cwd=where, env=environment() | {"HOME": str(where.parent)}, check=True)
    return next(where.iterdir())


def through_copier(template: Path, where: Path, answers: dict[str, str]) -> Path:
    data = [part for name, value in answers.items() for part in ("--data", f"{name}={value}")]
    command = [sys.executable, "-m", "copier", "copy", "--defaults", "--quiet", *data]
    subprocess.run([*command, str(template), str(where)], env=environment(), check=True)
    return where


@pytest.mark.parametrize("answers", ANSWERS, ids=["defaults", "batch", "rest"])
def test_both_doors_make_the_same_project(
    template: Path, tmp_path: Path, answers: dict[str, str]
) -> None:
    one = through_cookiecutter(template, tmp_path / "cookiecutter", answers)
    other = through_copier(template, tmp_path / "copier", answers)
    files = {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    assert files == {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    for name in files:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_project_from_cookiecutter_can_be_updated(template: Path, tmp_path: Path) -> None:
    moving = tmp_path / "git" / "template"
    shutil.copytree(template, moving)
    url = f"file://{moving}"
    made = through_cookiecutter(url, tmp_path / "cookiecutter", {"task": "regression"})
    project = Project(made, "shipment_delays")
    answers = yaml.safe_load((made / ".copier-answers.yml").read_text())
    assert (answers["_src_path"], answers["_commit"]) == (f"git+{url}", "0.1.0")

    project.write("scripts/ours.py", "print('ours')\n")
    project.git("init", "--quiet")
    project.commit("Start from Slipway")
    with (moving / "template/ruff.toml").open("a") as file:
        file.write("# A new practice.\n")
    for command in (["commit", "-qam", "Next"], ["tag", "0.2.0"]):
        subprocess.run(["git", *command], cwd=moving, env=environment(), check=True)
    copier.run_update(made, defaults=True, overwrite=True, quiet=True)

    changed = project.git("status", "--porcelain").split()
    assert changed == ["M", ".copier-answers.yml", "M", "ruff.toml"]
    assert (made / "ruff.toml").read_text().endswith("# A new practice.\n")
    assert "task: regression" in (made / ".copier-answers.yml").read_text()


def test_a_bad_answer_leaves_no_project_behind(template: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        through_cookiecutter(template, tmp_path / "cookiecutter", {"package_name": "class"})
    assert not list((tmp_path / "cookiecutter").iterdir())
