"""Training on Amazon SageMaker, in the project's own container, and an endpoint that answers there.

Credentials and region come from where all AWS tools find them; `[remote]` says the rest.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from ..utils import config
from ..utils.config import Remote, Settings
from ..utils.environment import ENDPOINT
from ..utils.errors import UsageError

STOP = "aws sagemaker stop-training-job --training-job-name {name}"
LOGS = "aws logs tail /aws/sagemaker/TrainingJobs --log-stream-name-prefix {name} --follow"


def submit(name: str, variables: dict[str, str], remote: Remote) -> None:
    """Start a training job.

    UsageError where a setting is missing, or AWS refuses: no credentials, no such role, no right.
    """
    for setting in ("role", "output"):
        if not getattr(remote, setting):
            raise UsageError(f"config.toml: [remote] {setting} is missing, and SageMaker needs it.")
    with _explained():
        boto3.client("sagemaker").create_training_job(**_request(name, variables, remote))


def look(name: str) -> tuple[str, bool, str | None]:
    """Return what a job is at, whether that is its end, and why it failed where it did."""
    with _explained():
        job = boto3.client("sagemaker").describe_training_job(TrainingJobName=name)
    status = said = job["SecondaryStatus"]
    if job["TrainingJobStatus"] not in {"Completed", "Failed", "Stopped"}:
        return said, False, None
    if "BillableTimeInSeconds" in job:
        paid, ran = job["BillableTimeInSeconds"], job["TrainingTimeInSeconds"]
        said += f": {paid} s to be paid for {ran} s of {job['ResourceConfig']}"
    return said, True, None if status == "Completed" else job.get("FailureReason") or status


def deploy(name: str, variables: dict[str, str], remote: Remote) -> str:
    """Let the endpoint of this name answer from the image, and say so once it does.

    An endpoint that is there goes on answering until the new machine does, or for good where that
    never happens. An image takes each new champion by itself: only another image, machine or
    setting is news.

    UsageError where AWS refuses, or the image did not answer.
    """
    container = {"Image": remote.image, "Environment": variables | {ENDPOINT: name}}
    model = {"ExecutionRoleArn": remote.role, "PrimaryContainer": container} | _network(remote)
    told = json.dumps([model, remote.instance], sort_keys=True)
    made = f"{name}-{sha256(told.encode()).hexdigest()[:12]}"
    variant = {"VariantName": "service", "ModelName": made, "InitialInstanceCount": 1}
    variants = [variant | {"InstanceType": remote.instance}]
    with _explained():
        client = boto3.client("sagemaker")
        there = _endpoint(client, name)
        if there and there["EndpointStatus"] == "Failed":  # AWS lets nothing else be done with it
            client.delete_endpoint(EndpointName=name)
            client.get_waiter("endpoint_deleted").wait(EndpointName=name)
            there = None
        models = client.list_models(NameContains=made)["Models"]
        if made not in [one["ModelName"] for one in models]:
            client.create_model(ModelName=made, **model)
        if not client.list_endpoint_configs(NameContains=made)["EndpointConfigs"]:
            client.create_endpoint_config(EndpointConfigName=made, ProductionVariants=variants)
        if there is None:
            client.create_endpoint(EndpointName=name, EndpointConfigName=made)
        elif there["EndpointConfigName"] != made:
            client.update_endpoint(EndpointName=name, EndpointConfigName=made)
        sys.stderr.write(f"Endpoint {name}: waiting until {made} answers.\n")
        with suppress(WaiterError):
            client.get_waiter("endpoint_in_service").wait(EndpointName=name)
        now = client.describe_endpoint(EndpointName=name)
    # Where an update fails, AWS goes back to the old image and calls that in service.
    if (now["EndpointStatus"], now["EndpointConfigName"]) != ("InService", made):
        why = now.get("FailureReason", f"it is {now['EndpointStatus']}.")
        raise UsageError(
            f"The new version is the champion, but the endpoint {name} does not answer from "
            f"{remote.image}: {why} See `aws logs tail /aws/sagemaker/Endpoints/{name}`."
        )
    return f"The endpoint {name} answers from {remote.image}."


def need_journal(settings: Settings) -> None:
    """Refuse an endpoint that would keep its predictions on its own disk."""
    if settings.service.journal is None:
        raise UsageError(
            "[service] journal is missing: predictions would be lost with the endpoint's disk. "
            "Put a database URL into the secret that [remote] secret names."
        )


def take_secret() -> Settings:
    """Put the variables of the secret that `[remote]` names in force, and return the settings."""
    if name := config.load().remote.secret:
        with _explained():
            found = boto3.client("secretsmanager").get_secret_value(SecretId=name)
        try:
            held = json.loads(found["SecretString"]).items()
        except (KeyError, ValueError, AttributeError):
            raise UsageError(f"The secret {name} holds no JSON object of variables.") from None
        os.environ.update({variable: str(value) for variable, value in held})
        config.load.cache_clear()
    return config.load()


def _endpoint(client: Any, name: str) -> dict[str, Any] | None:
    try:
        return client.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error):
            return None
        raise


def _request(name: str, variables: dict[str, str], remote: Remote) -> dict[str, Any]:
    seconds = 60 * remote.max_minutes
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": remote.image, "TrainingInputMode": "File"},
        "RoleArn": remote.role,
        "HyperParameters": variables,
        "OutputDataConfig": {"S3OutputPath": remote.output},
        "ResourceConfig": {
            "InstanceType": remote.instance,
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
        "EnableManagedSpotTraining": remote.spot,
    }
    if remote.spot:  # the limit for waiting includes the training itself
        waiting = seconds + 60 * remote.wait_minutes
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = waiting
    if remote.channels:
        whole = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
        request["InputDataConfig"] = [
            {"ChannelName": table, "DataSource": {"S3DataSource": whole | {"S3Uri": uri}}}
            for table, uri in remote.channels.items()
        ]
    return request | _network(remote)


def _network(remote: Remote) -> dict[str, Any]:
    private = {"Subnets": remote.subnets, "SecurityGroupIds": remote.security_groups}
    return {"VpcConfig": private} if remote.subnets else {}


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        said = " ".join(str(error).split())
        raise UsageError(
            f"AWS: {said} Credentials, rights and region are those of your AWS profile: "
            "`aws sts get-caller-identity` shows them."
        ) from None
