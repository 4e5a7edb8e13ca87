"""Runs a GitHub workflow on this machine, job by job, and fails where the platform would.

Each job begins in an empty folder. What an action does is told below; a key, an action or a
context that is not known here is an error, so that nothing passes unseen.
"""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conftest import Project, environment

JOB = {
    "concurrency",
    "env",
    "environment",
    "if",
    "needs",
    "outputs",
    "permissions",
    "runs-on",
    "steps",
}
STEP = {"env", "id", "if", "name", "run", "uses", "with"}
TOKEN = re.compile(r"'(?:[^']|'')*'|&&|\|\||!=|==|!|\(\)|[()]|[A-Za-z_][\w.-]*|\s+")
PYTHON = {"&&": " and ", "||": " or ", "!": " not ", "true": "True", "false": "False"}
STATUS = ("always()", "failure()", "cancelled()")


class StepFailed(Exception):
    """A step failed, for this reason."""


@dataclass
class Run:
    """One run of a workflow: its event, what it may read, and what came of each job."""

    project: Project
    folder: Path
    event: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    attested: list[tuple[str, str]] = field(default_factory=list)
    """Digest of what was signed, and what was said of it."""

    def artifact(self, name: str) -> Path:
        return self.folder / "artifacts" / name

    def workflow(self, file: str, *, done: tuple[str, ...] = ()) -> dict[str, str]:
        """Run all jobs of a file, in their order, and return how each ended.

        Jobs in `done` count as having succeeded already; their artifacts must be there.
        """
        text = (self.project.path / ".github/workflows" / file).read_text()
        flow = yaml.safe_load(text)
        inputs = self._triggered(flow[True])  # to YAML, `on` is a truth value
        self.results = dict.fromkeys(done, "success")
        waiting = {name: job for name, job in flow["jobs"].items() if name not in done}
        while waiting:
            name = next(n for n, job in waiting.items() if not {*needs(job)} & {*waiting})
            job = waiting.pop(name)
            assert set(job) - {"timeout-minutes"} <= JOB, f"{name}: {set(job) - JOB}"
            granted = job.get("permissions", flow["permissions"])
            about = self.event | {"token": f"{name} may {json.dumps(granted)}"}
            context = {
                "github": {"repository": "team/project", "ref_type": "branch"} | about,
                "inputs": inputs,
                "needs": {
                    need: {"result": self.results[need], "outputs": self.outputs.get(need, {})}
                    for need in needs(job)
                },
                "steps": {},
                "vars": self.variables,
                "secrets": self.secrets,
            }
            failed = any(self.results[need] != "success" for need in needs(job))
            if not holds(job.get("if", "true"), context, failed=failed):
                self.results[name] = "skipped"
                continue
            self.results[name] = self._job(name, job, flow.get("env", {}), context, granted)
        return self.results

    def _triggered(self, on: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs; an event that would start nothing is an error."""
        settings = on[self.event["event_name"]] or {}
        if self.event["event_name"] == "schedule":
            assert self.event["event"]["schedule"] in [one["cron"] for one in settings]
        wanted = settings.get("inputs", {}) if isinstance(settings, dict) else {}
        given = {n: self.event.get("inputs", {}).get(n, w["default"]) for n, w in wanted.items()}
        assert all(given[name] in wanted[name]["options"] for name in given)
        return given

    def _job(
        self, name: str, job: dict[str, Any], shared: Any, context: Any, granted: dict[str, str]
    ) -> str:
        place = self.folder / "jobs" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        said, failed = "", False
        for step in job["steps"]:
            assert set(step) <= STEP, f"{name}: {set(step) - STEP}"
            if not holds(step.get("if", "true"), context, failed=failed):
                continue
            env = shared | job.get("env", {}) | step.get("env", {})
            env = {key: fill(value, context) for key, value in env.items()}
            options = {k: fill(v, context) for k, v in step.get("with", {}).items()}
            try:
                if "run" in step:
                    minutes = job.get("timeout-minutes", 360)
                    said += self._shell(fill(step["run"], context), place, env, minutes)
                else:
                    self._action(step["uses"].partition("@")[0], place, options, granted)
            except StepFailed as reason:
                said += f"{reason}\n"
                failed = True
            if "id" in step:
                told = (self.folder / "output").read_text().splitlines()
                outputs = dict(line.split("=", 1) for line in told)
                context["steps"][step["id"]] = {"outputs": outputs}
        self.outputs[name] = {k: fill(v, context) for k, v in job.get("outputs", {}).items()}
        self.logs[name] = said
        return "failure" if failed else "success"

    def _shell(self, script: str, place: Path, env: dict[str, str], minutes: int) -> str:
        given = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "team/project",
            "GITHUB_WORKSPACE": str(place),
            "GITHUB_OUTPUT": str(self.folder / "output"),
        }
        (self.folder / "output").write_text("")
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=place,
            env=environment() | given | self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60 * minutes,
            check=False,
        )
        said = f"$ {script}\n{done.stdout}"
        if done.returncode:
            raise StepFailed(f"{said}ended with {done.returncode}")
        return said

    def _action(
        self, action: str, place: Path, options: dict[str, str], granted: dict[str, str]
    ) -> None:
        if action == "actions/checkout":
            depth = [] if options.get("fetch-depth") == "0" else ["--depth=1"]
            source = f"file://{self.project.path}"
            self.project.run("git", "clone", "--quiet", *depth, source, place)
        elif action == "actions/upload-artifact":
            path, kept = place / options["path"], self.artifact(options["name"])
            if not path.exists() and options.get("if-no-files-found") != "error":
                return
            if not path.is_dir() or not any(path.iterdir()) or kept.exists():
                raise StepFailed(f"{path} can't be uploaded as {options['name']}")
            shutil.copytree(path, kept)
        elif action == "actions/download-artifact":
            if not self.artifact(options["name"]).exists():
                raise StepFailed(f"there is no artifact {options['name']}")
            target = place / options.get("path", ".")
            shutil.copytree(self.artifact(options["name"]), target, dirs_exist_ok=True)
        elif action == "actions/attest":
            if {"attestations", "id-token"} - {key for key in granted if granted[key] == "write"}:
                raise StepFailed("Resource not accessible by integration")
            (subject,) = place.glob(options["subject-path"])
            said = "provenance"
            if "sbom-path" in options:
                said = json.loads((place / options["sbom-path"]).read_text())["bomFormat"]
            self.attested.append((hashlib.sha256(subject.read_bytes()).hexdigest(), said))
        else:
            raise AssertionError(f"{action} is not known here")


def needs(job: dict[str, Any]) -> list[str]:
    named = job.get("needs", [])
    return [named] if isinstance(named, str) else named


def holds(condition: str, context: dict[str, Any], *, failed: bool) -> bool:
    """Tell whether a job or step runs: without a status function, only if nothing failed before."""
    asked = any(status in condition for status in STATUS)
    return bool((asked or not failed) and evaluate(condition, context, failed=failed))


def fill(value: Any, context: dict[str, Any]) -> str:
    """Put values in the place of ${{ … }}."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(
        r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1].strip(), context) or ""), text
    )


def evaluate(expression: str, context: dict[str, Any], *, failed: bool = False) -> Any:
    """Evaluate an expression; whatever is absent is nothing, as on the platform."""
    parts = TOKEN.findall(expression)
    assert "".join(parts) == expression, f"can't be read: {expression}"
    functions = {"always": True, "failure": failed, "success": not failed, "cancelled": False}

    def look(path: str) -> Any:
        root, *rest = path.split(".")
        found = context[root]
        for key in rest:
            found = (found or {}).get(key)
        return found

    code = ""
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if following == "()":
            code += str(functions[part])
        elif part != "()" and re.match(r"[A-Za-z_]", part) and part not in PYTHON:
            code += f"look({part!r})"
        elif part != "()":
            code += PYTHON.get(part, part)
    return eval(code.strip(), {"__builtins__": {}, "look": look})
