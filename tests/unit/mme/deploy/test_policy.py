"""The execution role's documents: the least that hosting needs, each held to what is ours."""

import fnmatch
from typing import Any

import pytest

from mme.deploy import policy
from mme.deploy.config import Config
from mme.deploy.names import Account, Names

WHERE = Account("aws", "eu-west-1", "123456789012")
ARN = "arn:aws:{}:eu-west-1:123456789012:{}"
KEY = ARN.format("kms", "key/1234")
GROUP = ARN.format("logs", "log-group:/aws/sagemaker/Endpoints/houses")
REPOSITORY = ARN.format("ecr", "repository/xgboost-mme/houses")
# AWS lets these be granted on all resources alone: its Service Authorization Reference has no
# resource types for them.
ON_ALL = {
    *("ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions"),
    *("ec2:DescribeSubnets", "ec2:DescribeSecurityGroups"),
}
VPC = {"subnets": ["subnet-1", "subnet-2"], "security_groups": ["sg-1"]}


def permissions(where: Account = WHERE, **more: Any) -> list[dict[str, Any]]:
    document = {
        "name": "houses",
        "models": "s3://ours/models/",
        "instance_type": "ml.m5.large",
        "instance_count": 1,
    }
    statements = policy.permissions(Names(where, Config.from_document(document | more)))
    assert statements["Version"] == "2012-10-17"
    return list(statements["Statement"])


def may(statements: list[dict[str, Any]], action: str, resource: str, **context: str) -> bool:
    """Whether they allow an action, as AWS evaluates the few kinds of condition that they have."""
    return any(
        action in one["Action"]
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in one["Resource"])
        and all(
            key.replace(":", "_") in context
            and any(
                fnmatch.fnmatchcase(context[key.replace(":", "_")], value)
                if operator == "StringLike"
                else context[key.replace(":", "_")] == value
                for value in ([values] if isinstance(values, str) else values)
            )
            for operator, wanted in one.get("Condition", {}).items()
            for key, values in wanted.items()
        )
        for one in statements
    )


@pytest.mark.parametrize(
    "more", [{}, {"vpc": VPC}, {"kms_key": KEY}, {"vpc": VPC, "kms_key": KEY}], ids=str
)
def test_shape(more: dict[str, Any]) -> None:
    """Every action is named in full, once, and on all resources only where AWS knows no other."""
    statements = permissions(**more)
    actions = [action for one in statements for action in one["Action"]]
    assert len(actions) == len(set(actions))
    assert not [action for action in actions if "*" in action]
    for one in statements:
        assert one["Effect"] == "Allow"
        assert set(one) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        if "*" in one["Resource"]:
            assert set(one["Action"]) <= ON_ALL
    sids = [one["Sid"] for one in statements]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


def test_models() -> None:
    """Objects of the prefix are read, and no others listed."""
    found = permissions()
    assert may(found, "s3:GetObject", "arn:aws:s3:::ours/models/deep/a.tar.gz")
    assert not may(found, "s3:GetObject", "arn:aws:s3:::ours/models-b/a.tar.gz")
    assert not may(found, "s3:GetObject", "arn:aws:s3:::ours-too/models/a.tar.gz")
    assert may(found, "s3:ListBucket", "arn:aws:s3:::ours", s3_prefix="models/a.tar.gz")
    assert not may(found, "s3:ListBucket", "arn:aws:s3:::ours", s3_prefix="mod")
    assert not may(found, "s3:ListBucket", "arn:aws:s3:::ours")
    assert not may(found, "s3:PutObject", "arn:aws:s3:::ours/models/a.tar.gz")


def test_logs_and_metrics() -> None:
    """Logs go to the endpoint's group, and metrics to SageMaker's namespaces."""
    found = permissions()
    stream = f"{GROUP}:log-stream:AllTraffic/i-1"
    assert may(found, "logs:CreateLogGroup", GROUP)
    assert may(found, "logs:PutLogEvents", stream)
    assert may(found, "logs:CreateLogStream", stream)
    assert not may(found, "logs:PutLogEvents", stream.replace("houses", "houses-b"))
    assert not may(found, "logs:DeleteLogGroup", GROUP)
    name = "cloudwatch:PutMetricData"
    for namespace in ("AWS/SageMaker", "/aws/sagemaker/Endpoints"):
        assert may(found, name, "*", cloudwatch_namespace=namespace)
    assert not may(found, name, "*", cloudwatch_namespace="Mine")


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("xgboost-mme", REPOSITORY),
        ("mine/xgboost-mme:2", REPOSITORY),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/xgboost-mme/houses:abc",
            REPOSITORY,
        ),
        (
            "999999999999.dkr.ecr.us-east-1.amazonaws.com/a/b@sha256:0123",
            "arn:aws:ecr:us-east-1:999999999999:repository/a/b",
        ),
        (
            "999999999999.dkr.ecr-fips.us-east-1.amazonaws.com/a:1@sha256:0123",
            "arn:aws:ecr:us-east-1:999999999999:repository/a",
        ),
        (
            "999999999999.dkr-ecr.us-east-1.on.aws/a",
            "arn:aws:ecr:us-east-1:999999999999:repository/a",
        ),
    ],
)
def test_image(image: str, repository: str) -> None:
    """The image is pulled from its repository alone, ours or whosever it is."""
    found = permissions(image=image)
    assert may(found, "ecr:BatchGetImage", repository)
    assert may(found, "ecr:GetDownloadUrlForLayer", repository)
    assert may(found, "ecr:GetAuthorizationToken", "*")
    assert not may(found, "ecr:BatchGetImage", f"{repository}-b")
    assert not may(found, "ecr:PutImage", repository)


def test_image_elsewhere() -> None:
    """An image that is not in ECR needs nothing of ECR."""
    found = permissions(image="registry.example.com/xgboost-mme:1")
    assert not [one for one in found if "ecr:" in str(one["Action"])]


def test_network() -> None:
    """Interfaces are made in the subnets and groups that are given; else nothing of EC2."""
    assert not [one for one in permissions() if "ec2:" in str(one["Action"])]
    found = permissions(vpc=VPC)
    create = "ec2:CreateNetworkInterface"
    for kind in ("subnet/subnet-2", "security-group/sg-1", "network-interface/eni-1"):
        assert may(found, create, ARN.format("ec2", kind))
    for kind in ("subnet/subnet-3", "security-group/sg-2", "instance/i-1"):
        assert not may(found, create, ARN.format("ec2", kind))
    assert may(found, "ec2:DescribeSubnets", "*")
    assert not may(found, "ec2:DeleteSubnet", ARN.format("ec2", "subnet/subnet-1"))


def test_key() -> None:
    """The key is used through S3 and for disks, and no other key; without one, nothing of KMS."""
    assert not [one for one in permissions() if "kms:" in str(one["Action"])]
    found = permissions(kms_key=KEY)
    through = "s3.eu-west-1.amazonaws.com"
    assert may(found, "kms:Decrypt", KEY, kms_ViaService=through)
    assert not may(found, "kms:Decrypt", KEY)
    assert not may(found, "kms:Decrypt", f"{KEY}5", kms_ViaService=through)
    assert may(found, "kms:CreateGrant", KEY, kms_GrantIsForAWSResource="true")
    assert not may(found, "kms:CreateGrant", KEY)
    assert not may(found, "kms:Encrypt", KEY, kms_ViaService=through)


def test_china() -> None:
    """In China, ARNs and hosts are China's."""
    where = Account("aws-cn", "cn-north-1", "123456789012")
    key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1"
    found = permissions(where, kms_key=key)
    assert may(found, "s3:GetObject", "arn:aws-cn:s3:::ours/models/a.tar.gz")
    assert may(found, "kms:Decrypt", key, kms_ViaService="s3.cn-north-1.amazonaws.com.cn")
    image = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a:1"
    repository = "arn:aws-cn:ecr:cn-north-1:123456789012:repository/a"
    assert may(permissions(where, image=image), "ecr:BatchGetImage", repository)


def test_trust() -> None:
    """SageMaker alone takes the role, and for this account alone."""
    (statement,) = policy.trust(WHERE)["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
