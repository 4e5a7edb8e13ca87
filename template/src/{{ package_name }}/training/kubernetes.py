"""Training as a Kubernetes Job, in the project's own container.

The job is ops/kubernetes/train-job.yaml; cluster and namespace are those of your kubectl.
"""

import json
import shutil
import subprocess
from typing import Any

import yaml

from ..utils.config import Remote
from ..utils.errors import UsageError
from ..utils.paths import project_root

MANIFEST = "ops/kubernetes/train-job.yaml"
STOP = "kubectl delete job {name}"
LOGS = "kubectl logs --follow job/{name}"


def submit(name: str, variables: dict[str, str], remote: Remote) -> None:
    """Create the Job.

    UsageError where kubectl or the manifest is missing, or the cluster refuses.
    """
    file = project_root() / MANIFEST
    if not file.exists():
        raise UsageError(f"{MANIFEST} is missing; get it back from git.")
    manifest = yaml.safe_load(file.read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"]["activeDeadlineSeconds"] = 60 * remote.max_minutes
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["image"] = remote.image
    told = [{"name": variable, "value": value} for variable, value in variables.items()]
    container["env"] = [*container.get("env", []), *told]
    _kubectl("create", "--filename", "-", text=json.dumps(manifest))


def look(name: str) -> tuple[str, bool, str | None]:
    """Return what a job is at, whether that is its end, and why it failed where it did.

    What keeps it from starting is told too. Why it failed is the container's termination message.
    """
    job, pods = _get("job", name), _get("pods", "--selector", f"job-name={name}")["items"]
    pods.sort(key=lambda pod: pod["metadata"]["creationTimestamp"])
    pod: dict[str, Any] = pods[-1]["status"] if pods else {"phase": "Waiting for a pod"}
    containers = [status["state"] for status in pod.get("containerStatuses", [])]
    waiting = [state["waiting"]["reason"] for state in containers if "waiting" in state]
    now = " ".join([pod.get("phase", "Pending"), *waiting])
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] == "True" and condition["type"] == "Complete":
            return now, True, None
        if condition["status"] == "True" and condition["type"] == "Failed":
            ended = [state["terminated"] for state in containers if "terminated" in state]
            last = ended[0].get("message") or ended[0].get("reason") if ended else None
            return now, True, last or f"{condition.get('reason')}: {condition.get('message')}"
    return now, False, None


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
