"""Training elsewhere: sent by one command, run by the wheel's own entry point, tracked by a server.

SageMaker is moto's server, which keeps a job and runs nothing; Kubernetes is a few lines that speak
its API to the real kubectl. Both start the container's command as the platform would.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serve import free_port

from conftest import Project, environment, reset

heavy = pytest.mark.long
ROLE = "arn:aws:iam::123456789012:role/training"
AWS = {
    "AWS_ACCESS_KEY_ID": "anybody",
    "AWS_SECRET_ACCESS_KEY": "anything",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ALLOW_HTTP": "true",
}
REMOTE = """
[remote]
image = "registry.example/shipment-delays:1"
"""
SAGEMAKER = f'{REMOTE}role = "{ROLE}"\noutput = "s3://bucket/models"\n'


# ---------------------------------------------------------------- two projects


def make(render: Callable[..., Project], path: Path, platform: str, remote: str) -> Project:
    project = render(path, remote_training=platform)
    project.config.write_text(project.config.read_text() + remote)
    project.replace(project.config, "sample:20000", "sample:4000")
    project.make("setup")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", "Start from Slipway")
    return project


@pytest.fixture(scope="module")
def for_sagemaker(
    render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return make(render, tmp_path_factory.mktemp("sagemaker") / "project", "sagemaker", SAGEMAKER)


@pytest.fixture(scope="module")
def for_kubernetes(
    render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    return make(render, tmp_path_factory.mktemp("kubernetes") / "project", "kubernetes", REMOTE)


@pytest.fixture
def sagemaker(for_sagemaker: Project) -> Iterator[Project]:
    """A project that trains on SageMaker, to be edited freely: everything is put back."""
    yield for_sagemaker
    reset(for_sagemaker)


@pytest.fixture
def kubernetes(for_kubernetes: Project) -> Iterator[Project]:
    """The same for Kubernetes."""
    yield for_kubernetes
    reset(for_kubernetes)


@pytest.mark.parametrize("name", [pytest.param("for_sagemaker", marks=heavy), "for_kubernetes"])
def test_it_passes_its_own_tests_of_training_elsewhere(
    request: pytest.FixtureRequest, name: str
) -> None:
    project: Project = request.getfixturevalue(name)

    said = project.run(".venv/bin/pytest", "--color=no", "tests/model/test_job.py").stdout

    assert re.search(r"\b1\d passed", said), said


def refused(project: Project, platform: str, code: int = 2, **env: str) -> str:
    """Send a job that is sent back at once, and return the one line that says why."""
    done = project.cli("train", "--on", platform, "--json", code=code, **env)
    said = done.stderr.splitlines()[-1]
    assert json.loads(done.stdout)["error"] == said
    return said


def test_another_platform_is_an_update_away(kubernetes: Project) -> None:
    said = refused(kubernetes, "sagemaker")
    assert 'make update ARGS="--data remote_training=sagemaker"' in said


# ---------------------------------------------------------------- the parts of the way round


@dataclass
class Container:
    """`docker run IMAGE train`: the wheel and what uv.lock says, and nothing of the project."""

    python: Path
    slug: str
    folder: Path
    """Each run gets a folder of its own, with the /opt/ml of that run."""

    def run(
        self,
        arguments: list[str],
        variables: dict[str, str],
        before: dict[str, bytes] | None = None,
    ) -> tuple[subprocess.Popen[str], Path]:
        """Start it on a read-only root, where only /project/var, /opt/ml and /tmp can be written.

        `variables` are all of its environment, `before` is what lies under /opt/ml.
        """
        here = self.folder / f"{time.monotonic_ns()}"
        for name in ("project/var", "tmp", "opt/ml/output", "opt/ml/model"):
            (here / name).mkdir(parents=True)
        for name, content in (before or {}).items():
            (here / "opt/ml" / name).parent.mkdir(parents=True, exist_ok=True)
            (here / "opt/ml" / name).write_bytes(content)
        own = {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "SAGEMAKER_BASE_DIR": str(here / "opt/ml"),
            "TMPDIR": str(here / "tmp"),
        }
        command = [str(self.python.parent / self.slug), *arguments]
        started = subprocess.Popen(
            confined([here / name for name in ("project/var", "tmp", "opt/ml")], command),
            cwd=here / "project",
            env=own | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return started, here / "opt/ml"


def confined(writable: list[Path], command: list[str]) -> list[str]:
    """Return the command on a read-only root, where the kernel lets us have one."""
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        return command
    binds = " && ".join(f"mount --bind {path} {path}" for path in writable)
    script = f'{binds} && mount -o remount,ro,bind / && cd "$PWD" && exec "$@"'
    return [*apart, "sh", "-c", script, "sh", *command]


def build(project: Project, folder: Path) -> Container:
    """Build the wheel, and install it as the Dockerfile does."""
    project.make("build")
    locked = ["uv", "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project"]
    project.run(*locked, "-o", folder / "requirements.txt")
    project.run("uv", "venv", "--quiet", folder / "env")
    [wheel] = (project.path / "dist").glob("*.whl")
    install = ["uv", "pip", "install", "--quiet", "--python", folder / "env/bin/python"]
    project.run(*install, "--require-hashes", "-r", folder / "requirements.txt")
    project.run(*install, "--no-deps", wheel)
    return Container(folder / "env/bin/python", project.slug, folder / "runs")


@pytest.fixture(scope="module")
def tracking(
    for_sagemaker: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A real MLflow server, and the variables that lead to it."""
    folder, port = tmp_path_factory.mktemp("tracking"), free_port()
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = ["uv", "run", "--quiet", "--isolated", "--only-group", "ui", "mlflow", "server"]
    server = subprocess.Popen(
        [
            *command,
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", folder / "artifacts"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        ],
        cwd=for_sagemaker.path,
        env=environment() | settings,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{url}/health").close()
            break
        except OSError:
            assert server.poll() is None
            time.sleep(1)
    yield {"MLFLOW_TRACKING_URI": url}
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()


def champion(server: dict[str, str], slug: str) -> int:
    """Ask the server, past all of the project's own code."""
    query = f"api/2.0/mlflow/registered-models/alias?name={slug}&alias=champion"
    with urllib.request.urlopen(f"{server['MLFLOW_TRACKING_URI']}/{query}") as answer:
        return int(json.load(answer)["model_version"]["version"])


# ---------------------------------------------------------------- SageMaker


@dataclass
class SageMaker:
    """What moto leaves out: a machine that takes each job, runs its container and marks its end."""

    container: Container
    endpoint: str
    jobs: dict[str, Any]
    client: Any
    stopping: threading.Event = field(default_factory=threading.Event)
    output: dict[str, str] = field(default_factory=dict)
    machines: list[threading.Thread] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        return AWS | {"AWS_ENDPOINT_URL": self.endpoint}

    def watch(self) -> None:
        taken: set[str] = set()
        while not self.stopping.wait(0.2):
            for name, job in list(self.jobs.items()):
                if name not in taken:
                    taken.add(name)
                    self.machines.append(threading.Thread(target=self.train, args=[job]))
                    self.machines[-1].start()

    def train(self, job: Any) -> None:
        """Run one job, as the documentation of SageMaker says of a container."""
        before = {"input/config/hyperparameters.json": json.dumps(job.hyper_parameters).encode()}
        for channel in job.input_data_config or []:
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://")
            bucket, _, key = uri.partition("/")
            content = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            before[f"input/data/{channel['ChannelName']}/{Path(key).name}"] = content
        name = job.training_job_name
        variables = self.variables | {"TRAINING_JOB_NAME": name}
        started, folder = self.container.run(["train"], variables, before)
        job.secondary_status = "Training"
        self.output[name] = started.communicate(timeout=300)[0]
        if started.returncode == 0:
            archive = folder / "model.tar.gz"
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(folder / "model", arcname=".")
            _, _, key = job.model_artifacts["S3ModelArtifacts"].partition("s3://bucket/")
            self.client.put_object(Bucket="bucket", Key=key, Body=archive.read_bytes())
            job.secondary_status = job.training_job_status = "Completed"
            return
        failure = folder / "output/failure"
        reason = failure.read_text() if failure.exists() else ""
        job.failure_reason = f"AlgorithmError: {reason}, exit code: {started.returncode}"
        job.secondary_status = job.training_job_status = "Failed"


@pytest.fixture(scope="module")
def platform(
    for_sagemaker: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SageMaker]:
    """moto's server with a bucket, and a machine beside it that runs what is sent there."""
    boto3 = pytest.importorskip("boto3")
    from moto.sagemaker.models import FakeTrainingJob, sagemaker_backends
    from moto.server import ThreadedMotoServer

    make_job = FakeTrainingJob.__init__

    def unfinished(job: Any, **request: Any) -> None:
        make_job(job, **request)
        job.training_job_status, job.secondary_status = "InProgress", "Starting"

    server = ThreadedMotoServer(port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    session = boto3.Session("anybody", "anything", region_name="eu-central-1")
    client = session.client("s3", endpoint_url=endpoint)
    client.create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    jobs = sagemaker_backends["123456789012"]["eu-central-1"].training_jobs
    folder = tmp_path_factory.mktemp("container")
    machine = SageMaker(build(for_sagemaker, folder), endpoint, jobs, client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeTrainingJob, "__init__", unfinished)
        watching = threading.Thread(target=machine.watch)
        watching.start()
        yield machine
        machine.stopping.set()
        watching.join()
        for one in machine.machines:
            one.join()
    server.stop()


@heavy
def test_sagemaker_trains_registers_and_promotes(
    sagemaker: Project, platform: SageMaker, tracking: dict[str, str], tmp_path: Path
) -> None:
    """With tables in an object store, so that the same version of the data is used there."""
    elsewhere = platform.variables | tracking | {"SHIPMENT_DELAYS__PATHS__TABLES": "s3://bucket/t"}
    ingested = sagemaker.json("data", "ingest", **elsewhere)["tables"][0]

    done = sagemaker.cli("train", "--on", "sagemaker", "--json", code=None, **elsewhere)

    assert done.returncode == 0, done.stderr + "\n".join(platform.output.values())
    result = json.loads(done.stdout)
    assert (result["promoted"], result["reasons"]) == (True, [])
    assert result["data"]["shipments"]["fingerprint"] == ingested["fingerprint"]
    assert champion(tracking, sagemaker.slug) == result["version"]
    assert "Training" in done.stderr
    assert "Completed" in done.stderr
    [(name, job)] = platform.jobs.items()
    assert f"aws logs tail /aws/sagemaker/TrainingJobs --log-stream-name-prefix {name}" in (
        done.stderr
    )
    assert (job.role_arn, job.enable_managed_spot_training) == (ROLE, True)
    assert job.stopping_condition == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}

    # What SageMaker keeps is the model that was registered, to the byte.
    archive = tmp_path / "model.tar.gz"
    key = f"models/{name}/output/model.tar.gz"
    archive.write_bytes(platform.client.get_object(Bucket="bucket", Key=key)["Body"].read())
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    script = (
        f"from {sagemaker.package}.training.artifact import digest; from pathlib import Path\n"
        f"import json; print(json.dumps(digest(Path('{tmp_path}/model'))))"
    )
    query = f"api/2.0/mlflow/model-versions/get?name={sagemaker.slug}&version={result['version']}"
    with urllib.request.urlopen(f"{tracking['MLFLOW_TRACKING_URI']}/{query}") as answer:
        tags = {one["key"]: one["value"] for one in json.load(answer)["model_version"]["tags"]}
    assert tags["digest"] == sagemaker.python(script)
    assert tags["commit"] == sagemaker.git("rev-parse", "HEAD").strip()

    # From here it is a version as any other: it scores, and can be had again.
    sagemaker.cli("data", "sample", "rows.csv", "--rows", "50", "--seed", "3")
    assert sagemaker.json("predict", "rows.csv", "out.csv", **elsewhere)["scored"] == 50
    again = sagemaker.json("reproduce", result["run_id"], **elsewhere)
    assert again["verdict"] == "identical"


@heavy
def test_an_endpoint_answers_from_the_image(  # noqa: PLR0915 - one endpoint's life
    sagemaker: Project,
    platform: SageMaker,
    tracking: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deployed at once, left alone by the next model, moved to an image that answers."""
    import boto3
    from moto.sagemaker.models import sagemaker_backends
    from moto.sagemaker.responses import SageMakerResponse

    def update_endpoint(asked: SageMakerResponse) -> str:  # which moto lacks
        told = json.loads(asked.body)
        endpoint = backend.endpoints[told["EndpointName"]]
        if comes_up:  # AWS goes back to the old machine where the new one never answers
            endpoint.endpoint_config_name = told["EndpointConfigName"]
        return json.dumps({"EndpointArn": endpoint.arn})

    comes_up = True
    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    backend = sagemaker_backends["123456789012"]["eu-central-1"]
    session = boto3.Session("anybody", "anything", region_name="eu-central-1")
    secrets = session.client("secretsmanager", endpoint_url=platform.endpoint)
    secrets.create_secret(Name="ours", SecretString="{}")
    train = ("train", "--on", "sagemaker", "--deploy")
    elsewhere = platform.variables | tracking
    sent = len(platform.jobs)
    assert "journal is missing" in sagemaker.cli(*train, code=2, **elsewhere).stderr
    assert len(platform.jobs) == sent
    first, newer, broken = (f"registry.example/shipment-delays:{n}" for n in (1, 2, 3))
    image = "SHIPMENT_DELAYS__REMOTE__IMAGE"
    elsewhere |= {"SHIPMENT_DELAYS__REMOTE__SECRET": "ours", image: first}

    def deploy(what: str, code: int = 0) -> str:
        variables = elsewhere | {image: what}
        done = sagemaker.run(
            sagemaker.path / ".venv/bin/python", "-c", script, code=code, **variables
        )
        return done.stdout + done.stderr

    script = DEPLOY.format(package=sagemaker.package)
    said = sagemaker.cli(*train, **elsewhere).stderr
    assert f"endpoint shipment-delays answers from {first}" in said
    [model] = backend._models.values()
    container = model.primary_container
    assert (container["Image"], model.execution_role_arn) == (first, ROLE)

    def start() -> tuple[subprocess.Popen[str], Path]:
        variables = elsewhere | container["Environment"]
        return platform.container.run(["serve"], variables)

    # Without a database for its journal it does not start ...
    lost, _ = start()
    assert "[service] journal is missing" in lost.communicate(timeout=60)[0]
    assert lost.returncode == 2

    secrets.put_secret_value(SecretId="ours", SecretString='["journal"]')
    lost, _ = start()
    assert "The secret ours holds no JSON object of variables." in lost.communicate(timeout=60)[0]
    assert lost.returncode == 2

    # ... and with one it answers as SageMaker asks.
    journal = {"SHIPMENT_DELAYS__SERVICE__JOURNAL": "sqlite:///var/ours.db"}
    journal["SHIPMENT_DELAYS__SERVICE__KEEP_DAYS"] = 30
    secrets.put_secret_value(SecretId="ours", SecretString=json.dumps(journal))
    service, folder = start()
    try:
        while ask("ping") is None:
            assert service.poll() is None, service.communicate()[0]
            time.sleep(0.2)
        row = sagemaker.python(EXAMPLE.format(package=sagemaker.package))
        answer = json.loads(ask("invocations", json.dumps(row).encode()))
        assert answer["model"]["version"] == champion(tracking, sagemaker.slug)
    finally:
        service.terminate()
        service.communicate(timeout=60)
    with closing(sqlite3.connect(folder.parents[1] / "project/var/ours.db")) as database:
        [(kept,)] = database.execute("SELECT id FROM predictions").fetchall()
    assert kept == answer["predictions"][0]["id"]

    def at() -> str:
        [endpoint] = backend.endpoints.values()
        [named] = backend.endpoint_configs[endpoint.endpoint_config_name].production_variants
        its: str = backend._models[named["ModelName"]].primary_container["Image"]
        return its

    assert f"answers from {first}" in deploy(first)
    assert len(backend.endpoint_configs) == 1
    assert f"answers from {newer}" in deploy(newer)
    assert at() == newer

    comes_up = False
    assert f"does not answer from {broken}: it is InService" in deploy(broken, code=1)
    assert at() == newer
    [endpoint] = backend.endpoints.values()
    endpoint.endpoint_status = "Failed"
    assert f"answers from {newer}" in deploy(newer)
    assert [one.endpoint_status for one in backend.endpoints.values()] == ["InService"]
    assert at() == newer


DEPLOY = """
from {package}.training import remote, sagemaker
from {package}.utils import config, errors
try:
    print(sagemaker.deploy("shipment-delays", remote._variables(), config.load().remote))
except errors.UsageError as error:
    raise SystemExit(str(error))
"""
EXAMPLE = """
import json
from {package}.data.columns import describe
from {package}.data.sample import example_row
from {package}.preprocessing.schema import Rows
from {package}.utils import config
schema = Rows.to_schema()
print(json.dumps(example_row(schema, describe(schema, config.load().data)), default=str))
"""


def ask(path: str, body: bytes | None = None) -> str | None:
    """Ask an endpoint's container at the port that SageMaker wants; None where nobody is there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:8080/{path}", body) as answer:
            return answer.read().decode()
    except urllib.error.URLError:
        return None


@heavy
def test_several_jobs_at_once_each_with_its_own_settings(
    sagemaker: Project, platform: SageMaker, tracking: dict[str, str]
) -> None:
    elsewhere = platform.variables | tracking
    sent = [
        subprocess.Popen(
            ["make", "--silent", "train", "ON=sagemaker", "ARGS=--json --no-promote"],
            cwd=sagemaker.path,
            env=environment() | elsewhere | {"SHIPMENT_DELAYS__SPLIT__SEED": str(seed)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2, 3)
    ]
    done = [one.communicate(timeout=300) for one in sent]

    assert [one.returncode for one in sent] == [0, 0, 0], done
    results = [json.loads(out.splitlines()[-1]) for out, _ in done]
    assert len({one["version"] for one in results}) == 3
    assert len({one["metrics"]["validation"]["log_loss"] for one in results}) == 3
    assert not any(one["promoted"] for one in results)


@heavy
def test_a_file_in_s3_is_the_source_in_the_job(
    sagemaker: Project, platform: SageMaker, tracking: dict[str, str], samples: Path
) -> None:
    platform.client.upload_file(str(samples / "train.csv"), "bucket", "raw/train.csv")
    channels = json.dumps({"shipments": "s3://bucket/raw/train.csv"})

    done = sagemaker.json(
        *("train", "--on", "sagemaker", "--no-promote"),
        **platform.variables | tracking,
        SHIPMENT_DELAYS__DATA__SOURCES='{"shipments": "train.csv"}',
        SHIPMENT_DELAYS__REMOTE__CHANNELS=channels,
    )

    assert done["data"]["shipments"]["source"].endswith("/input/data/shipments/train.csv")
    assert done["data"]["shipments"]["rows"] == 4000


@heavy
def test_a_job_that_fails_says_why(
    sagemaker: Project, platform: SageMaker, tracking: dict[str, str]
) -> None:
    elsewhere = platform.variables | tracking
    before = champion(tracking, sagemaker.slug)

    # A gate in the job says no: the version is there, its reasons as well.
    done = sagemaker.cli(
        *("train", "--on", "sagemaker", "--json"),
        code=1,
        **elsewhere,
        SHIPMENT_DELAYS__PROMOTION__THRESHOLD="0.0001",
    )
    result = json.loads(done.stdout)
    assert result["version"] > before
    assert result["reasons"][0].startswith("Threshold gate:")
    job = list(platform.jobs.values())[-1]
    assert f"Version {result['version']} was not promoted. Threshold gate:" in job.failure_reason

    # The image is another commit's.
    sagemaker.write("docs/new.md", "New.\n")
    sagemaker.git("add", "--all")
    sagemaker.git("commit", "--quiet", "--no-verify", "--message", "Newer than the image")
    said = sagemaker.cli("train", "--on", "sagemaker", code=1, **elsewhere).stderr
    assert "ended without a model: AlgorithmError: Image gate: the image was built from" in said
    assert champion(tracking, sagemaker.slug) == before


@heavy
def test_aws_says_no(sagemaker: Project, platform: SageMaker, tracking: dict[str, str]) -> None:
    """Without credentials, without a region, without a role."""
    nobody = {"AWS_ENDPOINT_URL": platform.endpoint, "HOME": "/"} | tracking
    nobody |= {"AWS_EC2_METADATA_DISABLED": "true"}
    said = refused(sagemaker, "sagemaker", **nobody, AWS_DEFAULT_REGION="eu-central-1")
    assert "AWS: Unable to locate credentials" in said
    assert "specify a region" in refused(sagemaker, "sagemaker", **nobody)

    sagemaker.replace(sagemaker.config, "role =", "# role =")
    sagemaker.git("commit", "--quiet", "--no-verify", "--all", "--message", "No role")
    assert "[remote] role" in refused(sagemaker, "sagemaker", **platform.variables, **tracking)


@heavy
def test_who_stops_waiting_is_told_that_the_job_goes_on(
    sagemaker: Project, platform: SageMaker, tracking: dict[str, str]
) -> None:
    command = sagemaker.path / ".venv/bin" / sagemaker.slug
    waiting = subprocess.Popen(
        [command, "train", "--on", "sagemaker", "--no-promote"],
        cwd=sagemaker.path,
        env=environment() | platform.variables | tracking,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in waiting.stderr:
        if line.startswith("  "):  # how the job is: it sleeps until it looks again
            break
    waiting.send_signal(signal.SIGINT)
    said = waiting.stderr.read()

    assert waiting.wait(timeout=30) == 130
    name = list(platform.jobs)[-1]
    assert f"To stop it: aws sagemaker stop-training-job --training-job-name {name}" in said
    assert "Traceback" not in said
    while platform.jobs[name].training_job_status == "InProgress":
        time.sleep(0.5)
    assert platform.jobs[name].training_job_status == "Completed"


@heavy
def test_promotions_of_several_machines_wait_for_each_other(
    sagemaker: Project, tracking: dict[str, str]
) -> None:
    script = f"""
import json, threading, time
from mlflow import MlflowClient
from {sagemaker.package}.training import registry, tracking
from {sagemaker.package}.utils import config
from {sagemaker.package}.utils.errors import GateRefused
client = tracking.connect(config.load())
inside, most, served = [], 0, []
def promote(number):
    global most
    with registry._switching_on_server(client):
        inside.append(number)
        most = max(most, len(inside))
        time.sleep(0.3)
        inside.remove(number)
        served.append(number)
machines = [threading.Thread(target=promote, args=[number]) for number in range(6)]
[machine.start() for machine in machines]
[machine.join() for machine in machines]
client.create_registered_model(registry.MODEL + "-promotion-lock")  # killed while it held the lock
registry.LOCK_SECONDS = 1
try:
    promote(6)
except GateRefused as refusal:
    print(json.dumps([most, sorted(served), str(refusal)]))
client.delete_registered_model(registry.MODEL + "-promotion-lock")
"""
    done = sagemaker.run(sagemaker.path / ".venv/bin/python", "-c", script, **tracking)

    most, served, refusal = json.loads(done.stdout)
    assert (most, served) == (1, [0, 1, 2, 3, 4, 5])
    assert "delete the registered model shipment-delays-promotion-lock" in refusal


# ---------------------------------------------------------------- Kubernetes


@dataclass
class Cluster:
    """As much of the API as kubectl asks for, and a machine that runs what it is sent.

    A manifest that the API's schemas refuse is refused; each Job gets one pod.
    """

    container: Container
    secret: dict[str, str]
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    machines: list[threading.Thread] = field(default_factory=list)
    output: list[str] = field(default_factory=list)

    def create(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        import kubernetes_validate

        try:
            kubernetes_validate.validate(job, "1.31", strict=True)
        except kubernetes_validate.ValidationError as error:
            return 422, failure(422, "Invalid", error.message)
        name = job["metadata"]["name"]
        self.jobs[name] = job | {"status": {}}
        self.pods[name] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-x",
                "labels": {"job-name": name},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "status": {"phase": "Pending"},
        }
        self.machines.append(threading.Thread(target=self.train, args=[name]))
        self.machines[-1].start()
        return 201, self.jobs[name]

    def train(self, name: str) -> None:
        pod = self.jobs[name]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        variables = {one["name"]: one["value"] for one in container["env"]}
        variables |= self.secret if container["envFrom"][0]["secretRef"] else {}
        started, folder = self.container.run(container["args"], variables)
        self.pods[name]["status"]["phase"] = "Running"
        self.output.append(started.communicate(timeout=300)[0])
        message = folder / container["terminationMessagePath"].removeprefix("/opt/ml/")
        ended = {"exitCode": started.returncode, "reason": "Error" if started.returncode else ""}
        ended |= {"message": message.read_text()} if message.exists() else {}
        worked = started.returncode == 0
        self.pods[name]["status"] = {
            "phase": "Succeeded" if worked else "Failed",
            "containerStatuses": [{"name": "train", "state": {"terminated": ended}}],
        }
        last = {"type": "Complete" if worked else "Failed", "status": "True"}
        self.jobs[name]["status"] = {"conditions": [last | {"reason": "PodFailurePolicy"}]}

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        path, _, query = path.partition("?")
        if path in DISCOVERY:
            return 200, DISCOVERY[path]
        name = path.rpartition("/")[2]
        if path.startswith(JOBS) and name in self.jobs:
            return 200, self.jobs[name]
        if path == "/api/v1/namespaces/training/pods":
            wanted = query.partition("labelSelector=job-name%3D")[2].partition("&")[0]
            items = [pod for name, pod in self.pods.items() if name == wanted]
            return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        return 404, failure(404, "NotFound", f"{path} was not found")


JOBS = "/apis/batch/v1/namespaces/training/jobs"
BATCH = {"groupVersion": "batch/v1", "version": "v1"}
STRICT = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
KIND = {"group": "batch", "version": "v1", "kind": "Job"}
DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "batch", "versions": [BATCH], "preferredVersion": BATCH}],
    },
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"]}
        ],
    },
    "/apis/batch/v1": {
        "kind": "APIResourceList",
        "groupVersion": "batch/v1",
        "resources": [
            {"name": "jobs", "kind": "Job", "namespaced": True, "verbs": ["create", "get"]}
        ],
    },
    "/openapi/v3": {"paths": {"apis/batch/v1": {"serverRelativeURL": "/openapi/v3/batch"}}},
    "/openapi/v3/batch": {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.31"},
        "paths": {
            "/apis/batch/v1/namespaces/{namespace}/jobs/{name}": {
                "patch": {
                    "parameters": [STRICT],
                    "x-kubernetes-group-version-kind": KIND,
                    "responses": {},
                }
            }
        },
    },
}


def failure(code: int, reason: str, message: str) -> dict[str, Any]:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return status | {"code": code, "reason": reason, "message": message}


@pytest.fixture(scope="module")
def cluster(
    for_kubernetes: Project, tracking: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """A cluster, and the variables that lead kubectl and MLflow's client to their servers."""
    assert shutil.which("kubectl"), "kubectl (Debian's kubernetes-client) is not installed"
    folder = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(build(for_kubernetes, folder), {"FROM_THE_SECRET": "1"})

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(*cluster.answer(self.path))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path.startswith(f"{JOBS}?")
            self.send(*cluster.create(json.loads(text)))

        def send(self, code: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever).start()
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "namespace": "training"}}],
        "clusters": [
            {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        ],
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    yield cluster, tracking | {"KUBECONFIG": str(folder / "kubeconfig"), "HOME": str(folder)}
    for one in cluster.machines:
        one.join()
    server.shutdown()


@heavy
def test_kubernetes_trains_registers_and_promotes(
    kubernetes: Project, cluster: tuple[Cluster, dict[str, str]]
) -> None:
    api, elsewhere = cluster

    done = kubernetes.cli(
        *("train", "--on", "kubernetes", "--json"),
        code=None,
        **elsewhere,
        SHIPMENT_DELAYS__TRAINING__SEED="11",
        SHIPMENT_DELAYS__REMOTE__MAX_MINUTES="7",
    )

    assert done.returncode == 0, done.stderr + "\n".join(api.output)
    result = json.loads(done.stdout)
    assert result["promoted"]
    assert champion(elsewhere, kubernetes.slug) == result["version"]
    assert "Succeeded" in done.stderr
    [(name, job)] = api.jobs.items()
    assert f"kubectl logs --follow job/{name}" in done.stderr
    assert job["spec"]["activeDeadlineSeconds"] == 420
    assert job["spec"]["template"]["spec"]["containers"][0]["image"].startswith("registry.example")


@heavy
def test_a_kubernetes_job_that_fails_says_why(
    kubernetes: Project, cluster: tuple[Cluster, dict[str, str]], tmp_path: Path
) -> None:
    _, elsewhere = cluster
    manifest = kubernetes.path / "ops/kubernetes/train-job.yaml"
    dirty = ("train", "--on", "kubernetes", "--allow-dirty")

    kubernetes.replace(manifest, "args: [train]", "args: [reproduce, nothing]")
    said = kubernetes.cli(*dirty, code=1, **elsewhere).stderr
    assert "ended without a model: " in said

    kubernetes.replace(manifest, "restartPolicy: Never", "restartPolicies: Never")
    said = kubernetes.cli(*dirty, code=2, **elsewhere).stderr
    assert "kubectl create: " in said
    assert "restartPolicies" in said

    (tmp_path / "git").symlink_to(shutil.which("git"))
    said = kubernetes.cli(*dirty, code=2, **elsewhere | {"PATH": str(tmp_path)}).stderr
    assert "kubectl is not installed" in said

    manifest.unlink()
    assert "train-job.yaml is missing" in kubernetes.cli(*dirty, code=2, **elsewhere).stderr
