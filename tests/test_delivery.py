"""The delivery line of a GitHub project, executed: what each event starts, and what stops it.

The line itself is real: clean checkouts, the wheel, its contract, training and promotion. Where
only the order of things is asked for, the targets of the Makefile do no more than say so.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from workflow import Run, evaluate

from conftest import ROOT, Project, environment

FULL = os.environ.get("SLIPWAY_FULL") == "1"

PUBLIC = {"private": False, "default_branch": "main"}
PUSH = {"event_name": "push", "ref": "refs/heads/main", "event": {"repository": PUBLIC}}
SECRET = "not-for-the-log"

HOLLOW = """\
setup lint types gates test verify train promote image monitor retrain:
	@echo "did $@"
build:
	@mkdir dist && echo wheel > dist/one.whl
	@echo '{"bomFormat": "CycloneDX"}' > dist/sbom.cdx.json
update:
	@mkdir -p var && printf '# Slipway 0.1.0 to 0.2.0\\n\\nDrift.\\n' > var/update.md
"""


def pushed(**other: Any) -> dict[str, Any]:
    return PUSH | other


def asked(goal: str, ref: str = "main", kind: str = "branch") -> dict[str, Any]:
    return PUSH | {
        "event_name": "workflow_dispatch",
        "inputs": {"goal": goal},
        "ref_name": ref,
        "ref_type": kind,
    }


def scheduled(cron: str) -> dict[str, Any]:
    return {"event_name": "schedule", "event": {"schedule": cron}}


def succeeded(results: dict[str, str]) -> set[str]:
    return {name for name, result in results.items() if result == "success"}


def commit(project: Project) -> None:
    """Commit past the gates, as somebody in a hurry would."""
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--allow-empty", "--message", "In a hurry")


def workflow(project: Project, file: str = "ci.yml") -> Path:
    return project.path / ".github/workflows" / file


# ---------------------------------------------------------------- what each event starts


@pytest.fixture(scope="module")
def hollow(render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose targets do nothing but say that they were called."""
    project = render(tmp_path_factory.mktemp("hollow") / "project")
    project.write("local.mk", HOLLOW)
    project.git("init", "--quiet")
    commit(project)
    return project


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (PUSH, "check build verify attest"),
        (pushed(event={"repository": PUBLIC | {"private": True}}), "check build verify"),
        (pushed(event_name="pull_request"), "check build verify"),
        (asked("verify"), "check build verify attest"),
        (asked("train"), "check build verify attest train promote"),
        (asked("image"), "check build verify attest image"),
        (asked("image", "v1.2", "tag"), "check build verify attest image"),
        (asked("image", "topic"), "check build verify attest"),
    ],
)
def test_an_event_starts_its_part_of_the_line(
    hollow: Project, tmp_path: Path, event: dict[str, Any], wanted: str
) -> None:
    run = Run(hollow, tmp_path, event)
    results = run.workflow("ci.yml")

    assert succeeded(results) == set(wanted.split())
    assert set(results.values()) <= {"success", "skipped"}, run.logs
    assert all("did " in run.logs[job] for job in ["check", *({"train", "image"} & {*run.logs})])
    assert len(run.attested) == (2 if "attest" in wanted else 0)


ALARM = """\
	@mkdir -p var/reports && echo '{"verdict": "alarm"}' > var/reports/monitoring.json
	@echo Drift; exit 1
"""
CRONS = {"morning": "17 5 * * *", "retraining": "47 5 1 */1 *", "template": "27 5 * * 1"}


@pytest.mark.parametrize(
    ("when", "monitor", "wanted"),
    [
        ("morning", "", {"monitor": "success", "retrain": "skipped"}),
        ("morning", ALARM, {"monitor": "failure", "retrain": "success"}),
        (
            "morning",
            "\t@echo MLflow is away; exit 2\n",
            {"monitor": "failure", "retrain": "skipped"},
        ),
        ("retraining", "", {"monitor": "skipped", "retrain": "success"}),
        ("template", "", {"monitor": "skipped", "retrain": "skipped"}),
    ],
)
def test_the_schedule_monitors_retrains_and_looks_for_updates(
    hollow: Project, tmp_path: Path, when: str, monitor: str, wanted: dict[str, str]
) -> None:
    env = {"GITHUB_API_URL": "http://127.0.0.1:9"}  # nobody is there
    if monitor:
        hollow.write("local.mk", f"{HOLLOW}monitor:\n{monitor}")
        commit(hollow)
    try:
        run = Run(hollow, tmp_path, scheduled(CRONS[when]), env=env)
        results = run.workflow("schedule.yml")
    finally:
        hollow.write("local.mk", HOLLOW)
        commit(hollow)

    updates = "failure" if when == "template" else "skipped"
    assert results == wanted | {"template-update": updates}
    if when == "template":
        assert "No issue was opened" in run.logs["template-update"]
        assert "Traceback" not in run.logs["template-update"]


@pytest.fixture
def tracker() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A platform that keeps issues, for whoever may open them."""
    issues: list[dict[str, Any]] = []

    class Tracker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, issues)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if '"issues": "write"' not in self.headers["Authorization"]:
                self.answer(403, {"message": "Resource not accessible by integration"})
                return
            issues.append(body | {"html_url": f"issue {len(issues) + 1}", "path": self.path})
            self.answer(201, issues[-1])

        def answer(self, code: int, body: Any) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tracker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", issues
    server.shutdown()


def test_an_update_is_proposed_once(
    hollow: Project, tmp_path: Path, tracker: tuple[str, list[dict[str, Any]]]
) -> None:
    url, issues = tracker
    event = scheduled(CRONS["template"])
    run = Run(hollow, tmp_path, event, env={"GITHUB_API_URL": url})

    assert run.workflow("schedule.yml")["template-update"] == "success", run.logs
    (issue,) = issues
    assert issue["title"] == "Slipway 0.1.0 to 0.2.0"
    assert "Drift." in issue["body"]
    assert issue["path"] == "/repos/team/project/issues"
    assert "Opened issue 1" in run.logs["template-update"]
    assert "may {" not in run.logs["template-update"], "the token is in the log"

    assert run.workflow("schedule.yml")["template-update"] == "success"
    assert len(issues) == 1
    assert "open issue already" in run.logs["template-update"]


def test_an_update_that_fails_is_told_as_well(
    hollow: Project, tmp_path: Path, tracker: tuple[str, list[dict[str, Any]]]
) -> None:
    url, issues = tracker
    hollow.write("local.mk", f"{HOLLOW}\t@echo Both sides changed the same lines.; exit 1\n")
    commit(hollow)
    try:
        event = scheduled(CRONS["template"])
        run = Run(hollow, tmp_path, event, env={"GITHUB_API_URL": url})
        results = run.workflow("schedule.yml")
    finally:
        hollow.write("local.mk", HOLLOW)
        commit(hollow)

    assert results["template-update"] == "failure"
    assert len(issues) == 1


def test_the_runner_reads_conditions_as_the_platform_does() -> None:
    context = {
        "github": {"event": {"a": None}, "name": "x"},
        "needs": {"a-b": {"result": "skipped"}},
    }

    assert evaluate("github.name == 'x' && !github.event.a.b", context)
    assert not evaluate("github.name != 'x' || github.event.repository.private", context)
    assert evaluate("always() && (needs.a-b.result == 'skipped')", context)
    assert not evaluate("success()", context, failed=True)
    with pytest.raises(AssertionError, match="can't be read"):
        evaluate("github.name + 1", context)


# ---------------------------------------------------------------- the line, for real


@pytest.fixture(
    scope="module", params=[("check",), pytest.param((), marks=pytest.mark.long)], ids=["", "check"]
)
def line(
    born: Project, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Run:
    """A push to the default branch, from the clean checkout to the verified wheel."""
    run = Run(
        born, tmp_path_factory.mktemp("line"), PUSH, secrets={"MLFLOW_TRACKING_PASSWORD": SECRET}
    )
    results = run.workflow("ci.yml", done=request.param)
    wanted = {"check", "build", "verify", "attest"}
    assert succeeded(results) == wanted, run.logs
    return run


def recorded(run: Run) -> dict[str, Any]:
    return json.loads((run.artifact("wheel") / "wheel.json").read_text())


def sha256(file: Path) -> str:
    return subprocess.check_output(["sha256sum", file], text=True).split()[0]


def test_the_digest_is_the_same_from_build_to_service(line: Run) -> None:
    """The contract tests compare it with what GET /model of the installed wheel says."""
    (wheel,) = line.artifact("wheel").glob("*.whl")
    record = recorded(line)

    assert sha256(wheel) == record["sha256"]
    assert record["commit"] == line.project.git("rev-parse", "HEAD").strip()
    assert record["changes"] == 0
    assert line.attested == [(record["sha256"], "provenance"), (record["sha256"], "CycloneDX")]
    assert re.search(r"^4 passed", line.logs["verify"], re.MULTILINE), line.logs["verify"]


def test_the_same_commit_gives_the_same_wheel_anywhere(line: Run, tmp_path: Path) -> None:
    project = Project(tmp_path / "elsewhere", line.project.package)
    subprocess.run(
        ["sh", "-c", f"umask 077; git clone -q {line.project.path} {project.path}"],
        env=environment(),
        check=True,
    )
    project.write("src/litter.py", "print()\n")
    project.write(f"src/{project.package}/__pycache__/main.pyc", "litter\n")
    (project.path / "src/litter.py").unlink()
    project.make("build")

    assert sha256(next((project.path / "dist").glob("*.whl"))) == recorded(line)["sha256"]


def test_the_bill_of_materials_is_what_is_installed(line: Run) -> None:
    said = json.loads((line.artifact("wheel") / "sbom.cdx.json").read_text())
    listed = {part["name"] for part in said["components"]}
    pyproject = tomllib.loads((line.project.path / "pyproject.toml").read_text())
    wanted = {re.split(r"[\[>;=]", one)[0] for one in pyproject["project"]["dependencies"]}

    assert wanted <= listed
    assert not {"pytest", "ruff", "mypy"} & listed


def test_nothing_secret_is_logged(line: Run) -> None:
    assert all(SECRET not in said for said in line.logs.values())


@pytest.mark.long
def test_training_and_promotion_follow(line: Run, tmp_path: Path) -> None:
    """The runs share a folder here, as they share a server and an object store elsewhere."""
    prefix = f"{line.project.package.upper()}__"
    env = {f"{prefix}PATHS__VAR": str(tmp_path / "shared")}
    event = asked("train")
    secrets = {"MLFLOW_TRACKING_PASSWORD": SECRET}
    run = Run(line.project, tmp_path, event, env=env, secrets=secrets)
    done = ("check", "build", "verify", "attest")

    assert succeeded(run.workflow("ci.yml", done=done)) == {*done, "train", "promote"}, run.logs
    assert "Version 1 is the champion" in run.logs["promote"]
    assert all(SECRET not in said for said in run.logs.values())

    run.env[f"{prefix}PROMOTION__THRESHOLD"] = "0.0001"  # no model is that good
    results = run.workflow("ci.yml", done=done)
    assert (results["train"], results["promote"]) == ("success", "failure")
    assert "Threshold gate" in run.logs["promote"]

    watch = Run(line.project, tmp_path, scheduled(CRONS["retraining"]), env=env)
    assert watch.workflow("schedule.yml")["retrain"] == "failure"
    assert "Threshold gate" in watch.logs["retrain"]
    del env[f"{prefix}PROMOTION__THRESHOLD"]
    watch.event = scheduled(CRONS["morning"])
    assert watch.workflow("schedule.yml")["monitor"] == "success", watch.logs


# ---------------------------------------------------------------- broken on purpose


def check(*command: str | Path) -> str:
    """Run a linter and return what it says; nothing where it has nothing to say."""
    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def zizmor(*paths: Path) -> str:
    return check("zizmor", "--offline", "--no-progress", "--quiet", *paths)


def schema(*files: Path) -> str:
    return check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)


def test_the_definitions_are_sound(hollow: Project) -> None:
    for folder in (hollow.path / ".github/workflows", ROOT / ".github/workflows"):
        assert zizmor(folder) == ""
        assert schema(*folder.glob("*.yml")) == ""


PIN = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
FLAWS = {
    "an action that may change": (PIN, "actions/checkout@v7", zizmor, "unpinned-uses"),
    "more rights than needed": (
        "contents: read",
        "contents: write",
        zizmor,
        "excessive-permissions",
    ),
    "credentials left behind": ("persist-credentials: false", "clean: true", zizmor, "artipacked"),
    "text of a stranger run as code": (
        "- run: make check",
        "- run: make check ARGS='${{ github.event.pull_request.title }}'",
        zizmor,
        "template-injection",
    ),
    "a key with a typo": ("timeout-minutes: 10", "timeout-minute: 10", schema, "timeout-minute"),
    "a need without a job": ("runs-on: ubuntu-24.04", "run-on: ubuntu", schema, "runs-on"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_in_the_definition_is_named(hollow: Project, tmp_path: Path, flaw: str) -> None:
    old, new, linter, finding = FLAWS[flaw]
    text = workflow(hollow).read_text()
    assert old in text
    file = tmp_path / ".github/workflows/ci.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace(old, new))

    assert finding in linter(file)


BREAKS = {
    "an artifact of another name": ("name: wheel", "name: whl", "build", "there is no artifact"),
    "no right to sign": ("id-token: write", "id-token: read", "verify", "not accessible"),
    "nothing to upload": (
        "path: dist\n          if",
        "path: out\n          if",
        "check",
        "uploaded",
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_line_that_is_broken_fails(hollow: Project, tmp_path: Path, broken: str) -> None:
    old, new, last, reason = BREAKS[broken]
    before = workflow(hollow).read_text()
    hollow.replace(workflow(hollow), old, new)
    if "artifact" in broken:  # in one of two places
        workflow(hollow).write_text(before.replace(old, new, 1))
    try:
        run = Run(hollow, tmp_path, PUSH)
        results = run.workflow("ci.yml")
    finally:
        workflow(hollow).write_text(before)

    assert results[last] == "success"
    (failed,) = (name for name, result in results.items() if result == "failure")
    assert reason in run.logs[failed]


def test_a_failing_check_stops_everything_behind_it(project: Project, tmp_path: Path) -> None:
    project.write("tests/code/test_a.py", "import os\n")
    commit(project)
    run = Run(project, tmp_path, asked("image"))
    results = run.workflow("ci.yml")

    assert results.pop("check") == "failure"
    assert set(results.values()) == {"skipped"}
    assert "F401" in run.logs["check"]
    assert not run.artifact("wheel").exists()


def one_byte_more(_: Project, dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")


def another_beside_it(_: Project, dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    shutil.copy(wheel, dist / wheel.name.replace("0.1.0", "0.0.9"))


def of_another_commit(project: Project, dist: Path) -> None:
    project.write("scripts/later.py", '"""Later."""\n')
    commit(project)
    project.make("build")
    shutil.copytree(project.path / "dist", dist, dirs_exist_ok=True)
    project.git("reset", "--quiet", "--hard", "HEAD~1")


def of_uncommitted_code(project: Project, dist: Path) -> None:
    project.write("scripts/later.py", '"""Later."""\n')
    project.make("build")
    shutil.copytree(project.path / "dist", dist, dirs_exist_ok=True)


def without_its_record(_: Project, dist: Path) -> None:
    (dist / "wheel.json").unlink()


@pytest.mark.parametrize(
    ("swap", "reason"),
    [
        (one_byte_more, "is not the wheel that was built: its SHA-256 is"),
        (another_beside_it, "-0.0.9-"),
        (of_another_commit, "was built from"),
        (of_uncommitted_code, "holds uncommitted work"),
        (without_its_record, "there is no dist/wheel.json"),
    ],
)
def test_a_wrong_wheel_is_refused(
    project: Project,
    line: Run,
    tmp_path: Path,
    swap: Callable[[Project, Path], None],
    reason: str,
) -> None:
    run = Run(project, tmp_path, PUSH)
    shutil.copytree(line.artifact("wheel"), run.artifact("wheel"))
    swap(project, run.artifact("wheel"))
    results = run.workflow("ci.yml", done=("check", "build"))

    assert (results["verify"], results["attest"]) == ("failure", "skipped")
    (said,) = (text for text in run.logs["verify"].splitlines() if "Wheel gate: " in text)
    assert reason in said
