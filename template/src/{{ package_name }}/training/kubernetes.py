"""Training as a Kubernetes Job, in the project's own container.

The job is ops/kubernetes/train-job.yaml; cluster and namespace are those of your kubectl.
"""

import json
import shutil
import subprocess
import sys
import time
from typing import Any

import yaml

from ..utils.config import Remote
from ..utils.errors import UsageError
from ..utils.paths import project_root
from .remote import Job

MANIFEST = "ops/kubernetes/train-job.yaml"
STOP = "kubectl delete job {name}"
LOGS = "kubectl logs --follow job/{name}"
POLL_SECONDS = 5


def submit(job: Job, remote: Remote) -> None:
    """Create the Job.

    Raises
    ------
    UsageError
        kubectl or the manifest is missing, or the cluster refuses.
    """
    file = project_root() / MANIFEST
    if not file.exists():
        raise UsageError(f"{MANIFEST} is missing; get it back from git.")
    _kubectl("create", "--filename", "-", text=json.dumps(_manifest(file.read_text(), job, remote)))


def wait(name: str) -> str | None:
    """Follow a job to its end; return why it failed, None where it did not."""
    said = ""
    while True:
        job, pods = _get("job", name), _get("pods", "--selector", f"job-name={name}")["items"]
        pods.sort(key=lambda pod: pod["metadata"]["creationTimestamp"])
        now = _state(pods[-1]) if pods else "Waiting for a pod"
        if now != said:
            sys.stderr.write(f"  {now}\n")
            said = now
        for condition in job.get("status", {}).get("conditions", []):
            if condition["type"] == "Complete" and condition["status"] == "True":
                return None
            if condition["type"] == "Failed" and condition["status"] == "True":
                last = _message(pods[-1]) if pods else ""
                return last or f"{condition.get('reason')}: {condition.get('message')}"
        time.sleep(POLL_SECONDS)


def _manifest(text: str, job: Job, remote: Remote) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(text)
    manifest["metadata"]["name"] = job.name
    manifest["spec"]["activeDeadlineSeconds"] = 60 * remote.max_minutes
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["image"] = remote.image
    variables = [{"name": name, "value": value} for name, value in job.variables.items()]
    container["env"] = [*container.get("env", []), *variables]
    return manifest


def _state(pod: dict[str, Any]) -> str:
    """Say what a pod is at, and what keeps it from starting: an image that can't be pulled, say."""
    waiting = [
        status["state"]["waiting"]["reason"]
        for status in pod["status"].get("containerStatuses", [])
        if "waiting" in status["state"]
    ]
    return " ".join([pod["status"].get("phase", "Pending"), *waiting])


def _message(pod: dict[str, Any]) -> str:
    """Return what the container wrote to /opt/ml/output/failure, its termination message."""
    ended = [
        status["state"]["terminated"]
        for status in pod["status"].get("containerStatuses", [])
        if "terminated" in status["state"]
    ]
    return str(ended[0].get("message") or ended[0].get("reason", "")) if ended else ""


def _get(*what: str) -> Any:
    return json.loads(_kubectl("get", *what, "--output", "json"))


def _kubectl(*arguments: str, text: str = "") -> str:
    if shutil.which("kubectl") is None:
        raise UsageError("kubectl is not installed, or not in PATH; it must reach your cluster.")
    done = subprocess.run(  # noqa: S603 - no shell
        ["kubectl", *arguments],  # noqa: S607 - whichever kubectl the user has
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise UsageError(f"kubectl {arguments[0]}: {said}")
    return done.stdout
