"""A project's own life: set up, check, demo, and a commit that its gates let pass, or not."""

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_render import MATRIX, OPTIONS

from conftest import BYTECODE, Project, carry_bytecode, environment

TARGETS = """
    help setup demo check lint types gates test format data train promote rollback reproduce audit
    serve predict replay monitor ui notebook build verify image update upgrade clean
"""
"""The targets that people, CI and this repository rely on."""

COMMANDS = "train promote rollback reproduce audit serve predict replay outcomes monitor"

ELSEWHERE = {"TZ": "Asia/Kathmandu", "LC_ALL": "C"}
"""Not where the template is made: another time zone, and no language."""

LIVES: dict[str, dict[str, Any]] = {
    "default": {"project_name": "Late shipments of the whole firm", "package_name": "late"},
    "regression-rest": {"task": "regression", "delivery": "rest", "project_name": "Trip times"},
    "classification-batch": {"delivery": "batch", "license": "MIT", "ci": "gitlab"},
}


def interpreter(version: str) -> str:
    """Return where a Python is: uv looks along the path, but not into the folders of pyenv."""
    found = subprocess.run(
        ["uv", "python", "find", version],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 0:
        return found.stdout.strip()
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for one in folder.glob(f"{version}.*/bin/python"):
        return str(one)
    pytest.skip(f"Python {version} is not on this machine")


@pytest.fixture(
    scope="module",
    params=[
        "default",
        pytest.param("regression-rest", marks=pytest.mark.long),
        pytest.param("classification-batch", marks=pytest.mark.long),
    ],
)
def lived(
    request: pytest.FixtureRequest,
    render: Callable[..., Project],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Project, dict[str, Any], str]:
    """A project after `make setup demo`, its answers, and all that was said."""
    answers = LIVES[request.param]
    project = render(tmp_path_factory.mktemp("lived") / "my project", **answers)
    project.make("setup")
    said = project.make("demo", **ELSEWHERE)
    carry_bytecode(project.path / ".venv", BYTECODE)
    return project, answers, said


def test_the_first_day_ends_with_a_served_model(
    lived: tuple[Project, dict[str, Any], str],
) -> None:
    project, answers, said = lived
    summary = said[said.rindex("\nmodel ") :]

    assert "the champion" in summary or "promoted: yes" in summary
    assert ("served " in summary) == (answers.get("delivery") != "batch")
    assert ("batch " in summary) == (answers.get("delivery") != "rest")
    assert project.versions() == [1]
    assert project.champion() == 1
    if answers.get("delivery") == "rest":
        return
    with (project.path / "var/demo/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000
    assert {row["model_version"] for row in rows} == {"1"}
    assert {row["prediction"] for row in rows} == {"true", "false"}


def test_it_passes_its_own_checks(lived: tuple[Project, dict[str, Any], str]) -> None:
    """A suite that collects nothing, or skips most of it, would also end well."""
    project, _, _ = lived
    said = project.make("check", **ELSEWHERE)
    passed = int(re.search(r"(\d+) passed", said)[1])
    skipped = int(found[1]) if (found := re.search(r"(\d+) skipped", said)) else 0

    assert "All checks passed." in said
    assert passed > 50
    assert skipped <= passed / 10


def test_the_first_day_changes_no_file_that_git_keeps(
    lived: tuple[Project, dict[str, Any], str],
) -> None:
    project, _, _ = lived
    new = project.git("status", "--porcelain", "--untracked-files=all").splitlines()

    assert [line for line in new if not line.startswith("??")] == []
    assert not [line for line in new if re.search(r"var/|\.venv/|cache|\.db|\.log", line)]
    if not project.git("log", "--oneline", "-1", code=None).startswith("fatal"):
        return
    said = project.commit("Start from Slipway")
    assert "Failed" not in said
    assert project.git("status", "--porcelain") == ""


def test_the_environment_stays_small(lived: tuple[Project, dict[str, Any], str]) -> None:
    project, _, _ = lived
    installed = [p for p in (project.path / ".venv").rglob("*") if p.is_file()]
    total = sum(p.lstat().st_size for p in installed if "__pycache__" not in p.parts)

    assert total < 900e6, f"{total / 1e6:.0f} MB"


def test_what_is_tried_out_goes_nowhere_near_production(
    lived: tuple[Project, dict[str, Any], str], tmp_path: Path
) -> None:
    """Settings name production's places: the project's tests and its wheel's write elsewhere."""
    project, answers, _ = lived
    places = f'[paths]\nvar = "{tmp_path}/var"\ntables = "{tmp_path}/tables"\n'
    kept = project.config.read_text()
    said = re.sub(r"^\[training\]", rf"{places}\n[training]", kept, flags=re.MULTILINE)
    journal = f'journal = "sqlite:///{tmp_path}/journal.db"\napi_key = "s3cret"\nmax_rows = 2'
    said = said.replace("[service]", f"[service]\n{journal}")
    project.config.write_text(said)
    assert ("journal" in said) == (answers.get("delivery") != "batch")
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "Production")

    suite = project.run(project.path / ".venv/bin/python", "-m", "pytest", "tests/service").stdout
    verified = project.make("build", "verify")
    project.git("reset", "--quiet", "--hard", "HEAD~1")

    assert re.search(r"^\d+ passed", suite, re.MULTILINE), suite
    assert re.search(r"^[34] passed", verified, re.MULTILINE), verified
    assert [*tmp_path.iterdir()] == []


def test_help_lists_every_target(lived: tuple[Project, dict[str, Any], str]) -> None:
    project, _, _ = lived
    listed = project.make()

    for target in TARGETS.split():
        assert re.search(rf"^  {target} +[A-Z]", listed, re.MULTILINE), f"help lacks {target}"
        project.make("--dry-run", target)


def test_commands_are_explained(lived: tuple[Project, dict[str, Any], str]) -> None:
    project, _, _ = lived
    listed = project.cli("--help").stdout

    for name in COMMANDS.split():
        assert re.search(rf"^ +{name}\s+[A-Z]", listed, re.MULTILINE), f"--help lacks {name}"
        assert "--json" in project.cli(name, "--help").stdout
    for verb in ["ingest", "check", "history", "adopt", "sample"]:
        assert "--json" in project.cli("data", verb, "--help").stdout
    assert "--json" in project.cli("config", "show", "--help").stdout


def test_a_wheel_can_be_built(project: Project) -> None:
    project.make("build")

    assert len(list((project.path / "dist").glob("*.whl"))) == 1


def test_files_to_score_may_have_spaces_in_their_names(trained: Project) -> None:
    rows, scores = trained.path / "var/my rows.csv", trained.path / "var/my scores.csv"
    trained.cli("data", "sample", rows, "--rows", "50")
    trained.make("predict", f"INPUT={rows}", f"OUTPUT={scores}")

    assert len(scores.read_text().splitlines()) == 51
    assert "required: INPUT, OUTPUT" in trained.make("predict", code=2)


def test_before_setup_each_target_says_what_is_missing(
    render: Callable[..., Project], tmp_path: Path
) -> None:
    project = render(tmp_path / "project")
    project.git("init", "--quiet")

    for target in ["train", "check", "predict", "demo"]:
        assert "Not set up yet: run `make setup`" in project.make(target, code=2)
    assert "Wheel gate" in project.make("verify", code=2)
    assert not (project.path / ".venv").exists()


def test_a_copied_folder_does_not_work_on_the_other(project: Project, tmp_path: Path) -> None:
    copy = Project(tmp_path / "a copy", project.package)
    shutil.copytree(project.path, copy.path, symlinks=True)
    assert "Not set up yet: run `make setup`" in copy.make("audit", code=2)
    copy.make("setup")
    assert copy.make("audit")


def test_targets_named_together_run_one_after_the_other(project: Project) -> None:
    project.write("local.mk", "one: ## Ours\n\t@sleep 0.5; echo one\ntwo:\n\t@echo two\n")

    assert project.make("one", "two", MAKEFLAGS="-j2") == "one\ntwo\n"
    assert re.search(r"^  one +Ours$", project.make(), re.MULTILINE)


def test_targets_hand_their_arguments_on(project: Project) -> None:
    assert "\npytest 9" in project.make("test", "ARGS=--version")
    assert '"findings": []' in project.make("audit", "ARGS=--json")


def test_an_upgrade_that_fails_changes_nothing(project: Project, tmp_path: Path) -> None:
    project.make("upgrade", code=2, UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path))

    assert project.git("status", "--porcelain") == ""


def test_a_part_of_another_repository_is_judged_too(
    render: Callable[..., Project], tmp_path: Path
) -> None:
    project = render(tmp_path / "whole/part")
    project.run("git", "init", "--quiet", "..")

    assert "its commits meet no gate" in project.make("setup")
    project.write("scripts/a.py", SPLIT)
    said = project.make("gates", code=2)
    assert re.findall(r"^(.*?)\.{3,}.*Failed$", said, re.MULTILINE) == ["seeds"], said


def test_a_wheel_without_git_is_one_line(project: Project) -> None:
    wheel = [project.path / ".venv/bin/python", "ops/wheel.py", "check"]
    assert project.run(*wheel, code=1, PATH="/nowhere").stderr == (
        "git is not on the PATH; install it.\n"
    )


def test_uv_is_fetched_where_it_is_missing(render: Callable[..., Project], tmp_path: Path) -> None:
    """Only the recipe that fetches it: `make setup` is one line more."""
    project = render(tmp_path / "project")
    python, make = shutil.which("python3", path=environment()["PATH"]), shutil.which("make")
    (tmp_path / "bin").mkdir()
    for tool in [python, make, *map(shutil.which, ["sh", "env", "bash", "git", "awk", "grep"])]:
        (tmp_path / "bin" / Path(tool).name).symlink_to(Path(tool).absolute())
    project.make(".tools/bin/uv", PATH=f"{tmp_path}/bin")

    assert "uv" in project.run(project.path / ".tools/bin/uv", "--version").stdout


# ---------------------------------------------------------------- the gates of a commit


def notebook(source: str, outputs: list[dict[str, Any]]) -> str:
    cell = {
        "cell_type": "code",
        "id": "planted",
        "source": source.splitlines(keepends=True),
        "metadata": {},
        "execution_count": None,
        "outputs": outputs,
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {
        "cells": [cell],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1) + "\n"


SPLIT = """from sklearn.model_selection import train_test_split

train, test = train_test_split([1, 2, 3, 4])
"""
PRINTED = [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"

FAULTS: dict[str, tuple[str, str, str]] = {
    "unformatted": ("scripts/a.py", "x = {  'a':1 }\n", "formatting"),
    "style": ("scripts/a.py", "import os\n", "style and likely bugs"),
    "type error": ("src/PACKAGE/utils/a.py", '"""A."""\n\nx: int = "one"\n', "types"),
    "unseeded split": ("scripts/a.py", SPLIT, "seeds"),
    "unseeded split in a notebook": ("notebooks/a.ipynb", notebook(SPLIT.rstrip(), []), "seeds"),
    "notebook output": (
        "notebooks/a.ipynb",
        notebook("print(1)", PRINTED),
        "notebooks without outputs",
    ),
    "large file": ("docs/a.bin", "\0" * 2_000_000, "large files"),
    "merge marker": (
        "docs/a.md",
        "<<<<<<< HEAD\none\n=======\nother\n>>>>>>> branch\n",
        "merge markers",
    ),
    "broken TOML": ("docs/a.toml", "x = \n", "valid TOML"),
    "broken YAML": ("docs/a.yaml", "a: [1\n", "valid YAML"),
    "secret": ("docs/a.md", f"key = {KEY}\n", "secrets"),
    "import against the arrows": (
        "src/PACKAGE/data/a.py",
        '"""A."""\n\nfrom ..training import registry\n\n__all__ = ["registry"]\n',
        "imports between rooms",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_commit_with_a_fault_is_stopped(project: Project, fault: str) -> None:
    name, text, gate = FAULTS[fault]
    file = project.write(name.replace("PACKAGE", project.package), text)
    head = project.git("rev-parse", "HEAD")

    said = project.commit(code=1)

    failed = re.findall(r"^(.*?)\.{3,}.*Failed$", said, re.MULTILINE)
    assert failed == [gate], said
    places = [name.replace("PACKAGE", project.package), ".".join(file.with_suffix("").parts[-3:])]
    assert any(place in said for place in places), said
    assert project.git("rev-parse", "HEAD") == head


def test_a_module_that_others_import_can_not_go(project: Project) -> None:
    (project.source / "utils/steps.py").unlink()

    said = project.commit(code=1)

    assert re.findall(r"^(.*?)\.{3,}.*Failed$", said, re.MULTILINE) == ["types"], said


def test_ci_judges_a_script_beside_the_folders(project: Project) -> None:
    project.write("run.py", "x = {  'a':1 }\n")

    assert "run.py" in project.make("lint", code=2)


def test_ci_judges_files_of_any_name(project: Project) -> None:
    project.write("notebooks/first look, zoë.ipynb", notebook(SPLIT.rstrip(), []))

    said = project.make("gates", code=2)

    assert re.findall(r"^(.*?)\.{3,}.*Failed$", said, re.MULTILINE) == ["seeds"], said
    assert "notebooks/first look, zoë.ipynb: cell 1, line 3: train_test_split()" in said


def test_notebooks_are_run_as_jupyter_runs_them(project: Project) -> None:
    cell = "if True:\n    %matplotlib inline\n    display(open('explore.ipynb').name)\n"
    project.write("notebooks/a.ipynb", notebook(cell, []))

    project.make("test", "ARGS=tests/code/test_notebooks.py -k a.ipynb")


def test_a_new_dependency_needs_its_lock(project: Project) -> None:
    project.replace(project.path / "pyproject.toml", "# Yours:", '"rich",\n    # Yours:')

    said = project.commit(code=1)

    assert re.findall(r"^(.*?)\.{3,}.*Failed$", said, re.MULTILINE) == ["lock file in sync"], said
    assert "uv.lock" in said


def test_sound_work_passes_the_gates(project: Project) -> None:
    project.write("scripts/a.py", SPLIT.replace("4])", "4], random_state=0)"))
    project.write("notebooks/a.ipynb", notebook("print(1)", []))
    project.write("docs/two.yaml", "a: 1\n---\nb: 2\n")

    said = project.commit()

    assert "Failed" not in said
    assert project.git("status", "--porcelain") == ""


@pytest.mark.long
@pytest.mark.parametrize("answers", MATRIX, ids=lambda one: "-".join(one.values()))
def test_every_two_answers_live_together(
    render: Callable[..., Project], tmp_path: Path, answers: dict[str, Any]
) -> None:
    answers = answers | {"python_version": OPTIONS["python_version"][0]}
    project = render(tmp_path / "project", **answers)

    project.make("setup")
    said = project.make("check", "demo")

    assert "All checks passed." in said
    assert project.champion() == 1
    shutil.rmtree(tmp_path / "project")


@pytest.mark.parametrize(
    "version",
    [pytest.param(one, marks=pytest.mark.long) for one in OPTIONS["python_version"][:-1]]
    + OPTIONS["python_version"][-1:],
)
def test_the_lowest_python_will_do(
    render: Callable[..., Project], tmp_path: Path, version: str
) -> None:
    """Newer ones get newer libraries, and these other types."""
    project = render(tmp_path / "project", python_version=version)

    project.make("setup", "check", "demo", UV_PYTHON=interpreter(version))

    assert project.python("import json, sys; print(json.dumps(sys.version))").startswith(version)
