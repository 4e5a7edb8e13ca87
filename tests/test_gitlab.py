"""The delivery line of a GitLab project, executed by gitlab-ci-local in clean copies.

It comes from npm into build/gitlab when it is first needed; jobs run in a shell, not in an image.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_delivery import ALARM, FULL, HOLLOW, commit, sha256

from conftest import ROOT, Project, environment

TOOLS = ROOT / "build" / "gitlab"
GITLAB = TOOLS / "node_modules/.bin/gitlab-ci-local"
SCHEDULE = "CI_PIPELINE_SOURCE=schedule"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Install what runs the definitions; a machine that can't have it skips these tests."""
    lacking = [name for name in ("node", "npm", "rsync") if shutil.which(name) is None]
    if not lacking and not GITLAB.exists():
        shutil.copytree(ROOT / "tests/gitlab", TOOLS, dirs_exist_ok=True)
        quiet = ["--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(["npm", "install", *quiet], cwd=TOOLS, check=False)
        lacking = ["gitlab-ci-local"] if done.returncode else []
    if lacking:
        what = f"{', '.join(lacking)} can't be had here"
        if FULL:
            pytest.fail(f"{what}, and SLIPWAY_FULL=1 asks for it")
        pytest.skip(what)


@pytest.fixture(scope="module")
def hollow(render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose targets do nothing but say that they were called."""
    project = render(tmp_path_factory.mktemp("hollow") / "project", ci="gitlab")
    project.write("local.mk", f"{HOLLOW}issue:\n\t@grep -h . var/update.md\n")
    born_on_gitlab(project)
    return project


def born_on_gitlab(project: Project) -> None:
    project.git("init", "--quiet", "--initial-branch=main")
    project.git("remote", "add", "origin", "git@gitlab.invalid:team/project.git")
    commit(project)


def pipeline(project: Project, *options: str, **env: str) -> tuple[dict[str, str], str]:
    """Run the jobs that an event starts, and return how each ended, and all that was said."""
    quick = ["--force-shell-executor", "--shell-isolation", "--no-json-schema-validation"]
    done = subprocess.run(
        [GITLAB, *quick, *options],
        cwd=project.path,
        env=environment() | env,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    listed = re.findall(r"^ (PASS|FAIL|WARN) +(\S+)(?: +pre_script)? *$", said, re.MULTILINE)
    ended = {name: word for word, name in listed}
    assert (done.returncode == 0) == ("FAIL" not in ended.values()), said
    return ended, said


def variables(*given: str) -> list[str]:
    return [part for one in given for part in ("--variable", one)]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], "check build verify"),
        (["--manual", "train", "--manual", "promote"], "check build verify train promote"),
        (["--manual", "make-image"], "check build verify make-image"),
        (variables("CI_PIPELINE_SOURCE=merge_request_event"), "check build verify"),
        (variables(SCHEDULE, "TASK=monitor"), "monitor"),
        (variables(SCHEDULE, "TASK=retrain"), "retrain"),
        (variables(SCHEDULE, "TASK=template-update"), "template-update"),
    ],
)
def test_an_event_starts_its_part_of_the_line(
    hollow: Project, options: list[str], wanted: str
) -> None:
    ended, said = pipeline(hollow, *options)

    assert ended == dict.fromkeys(wanted.split(), "PASS"), said
    if wanted == "template-update":
        assert "# Slipway 0.1.0 to 0.2.0" in said


@pytest.mark.parametrize(
    ("breaks", "options", "wanted"),
    [
        ("lint:\n\t@exit 1\n", [], {"check": "FAIL"}),
        (
            f"monitor:\n{ALARM}",
            variables(SCHEDULE, "TASK=monitor"),
            {"monitor": "FAIL", "retrain": "PASS"},
        ),
        (
            "monitor:\n\t@exit 2\n",
            variables(SCHEDULE, "TASK=monitor"),
            {"monitor": "FAIL", "retrain": "FAIL"},
        ),
        (
            "update:\n\t@mkdir var; echo Conflict > var/update.md; exit 1\n",
            variables(SCHEDULE, "TASK=template-update"),
            {"template-update": "FAIL"},
        ),
    ],
)
def test_a_failure_stops_or_starts_what_it_should(
    hollow: Project, breaks: str, options: list[str], wanted: dict[str, str]
) -> None:
    before = (hollow.path / "local.mk").read_text()
    hollow.write("local.mk", before + breaks)
    try:
        ended, said = pipeline(hollow, *options)
    finally:
        hollow.write("local.mk", before)

    assert ended == wanted, said
    assert ("Conflict" in said) == ("update" in breaks)


# ---------------------------------------------------------------- the definition


def schema(file: Path) -> str:
    command = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", file]
    done = subprocess.run(
        [Path(sys.executable).parent / "check-jsonschema", *command],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("", "", ""),
        ("timeout: 10 minutes", "timeouts: 10 minutes", "timeouts"),
        ("make-image:", "image:", "duplicate key"),
        ("resource_group: champion", "resource_group: [champion]", "resource_group"),
    ],
)
def test_a_flaw_in_the_definition_is_named(
    hollow: Project, tmp_path: Path, old: str, new: str, finding: str
) -> None:
    text = (hollow.path / ".gitlab-ci.yml").read_text()
    assert old in text
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text(text.replace(old, new) if old else text)

    assert finding in schema(file)
    assert bool(schema(file)) == bool(finding)


# ---------------------------------------------------------------- the line, for real


@pytest.fixture(scope="module")
def locked(render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = render(tmp_path_factory.mktemp("gitlab") / "project", ci="gitlab", delivery="rest")
    project.run("uv", "lock", "--quiet")
    born_on_gitlab(project)
    return project


def kept(project: Project) -> Path:
    return project.path / ".gitlab-ci-local/artifacts/build/dist"


def test_a_wheel_that_changed_on_the_way_is_refused(locked: Project) -> None:
    definition = locked.path / ".gitlab-ci.yml"
    before = definition.read_text()
    locked.replace(definition, "    - make build\n", "    - make build\n    - echo >> dist/*.whl\n")
    commit(locked)
    try:
        ended, said = pipeline(locked, "build", "verify")
    finally:
        definition.write_text(before)
        commit(locked)

    assert ended == {"build": "PASS", "verify": "FAIL"}, said
    assert "is not the wheel that was built" in said


@pytest.mark.long
def test_from_the_checkout_to_the_champion(locked: Project, tmp_path: Path) -> None:
    prefix = f"{locked.package.upper()}__"
    env = {f"{prefix}PATHS__VAR": str(tmp_path / "shared"), "MLFLOW_TRACKING_PASSWORD": "hidden"}
    ended, said = pipeline(locked, "--manual", "train", "--manual", "promote", **env)
    wanted = ["check", "build", "verify", "train", "promote"]
    record = json.loads((kept(locked) / "wheel.json").read_text())
    (wheel,) = kept(locked).glob("*.whl")

    assert ended == dict.fromkeys(wanted, "PASS"), said
    assert sha256(wheel) == record["sha256"]
    assert record["commit"] == locked.git("rev-parse", "HEAD").strip()
    assert re.search(r"verify\s+> 3 passed", said), said
    assert "Version 1 is the champion" in said
    assert "hidden" not in said

    env[f"{prefix}PROMOTION__THRESHOLD"] = "0.0001"  # no model is that good
    ended, said = pipeline(locked, "promote", **env)
    assert ended == {"promote": "WARN"}, said  # failed; others of the line need not wait for it
    assert "Threshold gate" in said
