"""Training on Amazon SageMaker, in the project's own container.

Credentials and region come from where all AWS tools find them; `[remote]` says the rest.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ..utils.config import Remote
from ..utils.errors import UsageError

STOP = "aws sagemaker stop-training-job --training-job-name {name}"
LOGS = "aws logs tail /aws/sagemaker/TrainingJobs --log-stream-name-prefix {name} --follow"
GIGABYTES = 30
"""Disk of the machine."""


def submit(name: str, variables: dict[str, str], remote: Remote) -> None:
    """Start a training job.

    Raises
    ------
    UsageError
        A setting is missing, or AWS refuses: no credentials, no such role, no right.
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


def read_secret(name: str) -> dict[str, str]:
    """Return the variables that a secret of AWS Secrets Manager holds."""
    with _explained():
        found = boto3.client("secretsmanager").get_secret_value(SecretId=name)
    return dict(json.loads(found["SecretString"]))


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
            "VolumeSizeInGB": GIGABYTES,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
        "EnableManagedSpotTraining": remote.spot,
    }
    if remote.spot:  # the limit for waiting includes the training itself
        waiting = seconds + 60 * remote.wait_minutes
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = waiting
    if remote.channels:
        channels = remote.channels.items()
        request["InputDataConfig"] = [_channel(table, uri) for table, uri in channels]
    if remote.subnets:
        request["VpcConfig"] = {
            "Subnets": remote.subnets,
            "SecurityGroupIds": remote.security_groups,
        }
    return request


def _channel(name: str, uri: str) -> dict[str, Any]:
    where = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": where}}


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
