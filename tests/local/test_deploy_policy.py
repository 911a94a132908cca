"""The execution role's permissions, as moto enforces them on real boto3 with the role's keys.

moto compares actions with resources where it knows the resource, which it does for S3 alone (of all
else, it asks for permission on ``*``), calls CloudWatch ``monitoring``, whose name no policy has,
and does not look at conditions of a role's permissions.
What the document says of these is tested in ``tests/unit/mme/deploy/test_policy.py``.
"""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mme.deploy import policy
from mme.deploy.config import Config
from mme.deploy.names import Account, Names
from tests.local.moto import MotoChild

ACCOUNT = "123456789012"
PREFIX, OTHER = "models/", "other/"
Client = Callable[[str], Any]


def denied(call: Callable[..., Any], **words: Any) -> bool:
    """Whether a call is refused for want of a permission; any other error is an error."""
    try:
        call(**words)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "403"):
            return True
        raise
    return False


@pytest.fixture
def role(own: MotoChild) -> Client:
    """Clients with the keys of the role, of a moto that enforces what the role may do."""
    names = Names(
        Account("aws", "us-east-1", ACCOUNT),
        Config(
            name="houses", models=f"s3://ours/{PREFIX}", instance_type="ml.m5.large",
            instance_count=1,
        ),
    )  # fmt: skip
    s3, iam = own.client("s3"), own.client("iam")
    for bucket in ("ours", "theirs"):
        s3.create_bucket(Bucket=bucket)
        for prefix in (PREFIX, OTHER, "models-of-others/"):
            s3.put_object(Bucket=bucket, Key=f"{prefix}a.tar.gz", Body=b"x")
    iam.create_role(
        RoleName=names.role, AssumeRolePolicyDocument=json.dumps(policy.trust(names.where))
    )
    iam.put_role_policy(
        RoleName=names.role,
        PolicyName="xgboost-mme",
        PolicyDocument=json.dumps(policy.permissions(names)),
    )
    keys = own.client("sts").assume_role(RoleArn=names.role_arn, RoleSessionName="endpoint")
    # From here on it enforces: no call is let through for being among the first.
    plain = {"Content-Type": "text/plain"}  # as a form, moto would not see it
    enforce = urllib.request.Request(f"{own.url}/moto-api/reset-auth", b"0", plain)  # noqa: S310  # our own
    urllib.request.urlopen(enforce, timeout=30).close()  # noqa: S310  # our own
    session = boto3.Session(
        keys["Credentials"]["AccessKeyId"],
        keys["Credentials"]["SecretAccessKey"],
        keys["Credentials"]["SessionToken"],
        region_name="us-east-1",
    )
    return lambda service: session.client(service, endpoint_url=own.url)


def test_permissions(role: Client) -> None:
    """The role reads its models, and can do nothing else in S3 nor anywhere."""
    s3 = role("s3")
    assert s3.get_object(Bucket="ours", Key=f"{PREFIX}a.tar.gz")["Body"].read() == b"x"
    assert s3.list_objects_v2(Bucket="ours", Prefix=PREFIX)["KeyCount"] == 1
    for bucket, prefix in {
        ("ours", OTHER), ("ours", "models-of-others/"), ("theirs", PREFIX)
    }:  # fmt: skip
        assert denied(s3.get_object, Bucket=bucket, Key=f"{prefix}a.tar.gz")
    assert denied(s3.list_objects_v2, Bucket="theirs")
    assert denied(s3.list_buckets)
    for key in (f"{PREFIX}a.tar.gz", f"{PREFIX}new.tar.gz"):
        assert denied(s3.put_object, Bucket="ours", Key=key, Body=b"y")
        assert denied(s3.delete_object, Bucket="ours", Key=key)
    assert denied(s3.put_object_tagging, Bucket="ours", Key=f"{PREFIX}a.tar.gz",
                  Tagging={"TagSet": []})  # fmt: skip
    assert denied(s3.delete_bucket, Bucket="ours")
    assert denied(s3.put_bucket_policy, Bucket="ours", Policy="{}")
    assert role("ecr").get_authorization_token()["authorizationData"]
    for service, operation, words in [
        ("iam", "create_user", {"UserName": "me"}),
        ("iam", "put_role_policy",
         {"RoleName": "xgboost-mme-houses", "PolicyName": "all", "PolicyDocument": "{}"}),
        ("sts", "assume_role",
         {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/other", "RoleSessionName": "again"}),
        ("sagemaker", "create_model", {"ModelName": "a", "ExecutionRoleArn": "a" * 20}),
        ("sagemaker", "delete_endpoint", {"EndpointName": "houses"}),
        ("ecr", "put_image", {"repositoryName": "ours", "imageManifest": "{}"}),
        ("ecr", "create_repository", {"repositoryName": "ours"}),
        ("cloudwatch", "delete_alarms", {"AlarmNames": ["a"]}),
        ("logs", "delete_log_group", {"logGroupName": "/aws/sagemaker/Endpoints/houses"}),
        ("ec2", "describe_subnets", {}),
        ("kms", "list_keys", {}),
    ]:  # fmt: skip
        assert denied(getattr(role(service), operation), **words), operation
