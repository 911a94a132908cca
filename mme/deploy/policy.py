"""The execution role of an endpoint: who may take it, and the least that it must be able to do.

What hosting needs is said by AWS's page "How to use SageMaker AI execution roles", section
"CreateModel API: execution role permissions", which grants it on all resources. Here each
permission is held to the endpoint's own prefix, log group and repository.
"""

import re
from typing import Any

from mme.deploy.image import is_uri
from mme.deploy.names import Account, Names

Document = dict[str, Any]
_VERSION = "2012-10-17"  # of the policy language
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)"
    r"\.(amazonaws\.com(\.cn)?|on\.aws)/(?P<repository>[^:@]+)(:[^@]+)?(@.+)?"
)
# Page "Amazon SageMaker AI metrics in Amazon CloudWatch": invocations, and instances.
_NAMESPACES = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]


def trust(where: Account) -> Document:
    """Who may take the role: SageMaker, and for this account alone.

    The condition is that of the page "Cross-service confused deputy prevention".
    """
    principal = {"Service": "sagemaker.amazonaws.com"}
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": principal,
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": where.account}},
            }
        ],
    }


def permissions(names: Names) -> Document:
    """What the role may do."""
    statements = [
        *_models(names),
        *_observed(names),
        *_image(names),
        *_network(names),
        *_key(names),
    ]
    return {"Version": _VERSION, "Statement": statements}


def _allow(sid: str, actions: list[str], resources: list[str], **condition: Any) -> Document:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


def _models(names: Names) -> list[Document]:
    """The archives. Without the list, S3 says 403 where it would say that there is no object."""
    bucket, prefix = names.prefix
    arn = f"arn:{names.where.partition}:s3:::{bucket}"
    return [
        _allow("ReadModels", ["s3:GetObject"], [f"{arn}/{prefix}*"]),
        _allow("ListModels", ["s3:ListBucket"], [arn], StringLike={"s3:prefix": [f"{prefix}*"]}),
    ]


def _observed(names: Names) -> list[Document]:
    """Logs and metrics; metrics have no resources to hold them to."""
    group = names.where.arn("logs", f"log-group:{names.log_group}")
    return [
        _allow(
            "WriteLogs",
            [
                *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
                "logs:DescribeLogStreams",
            ],
            [group, f"{group}:*"],
        ),
        _allow(
            "WriteMetrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            StringEquals={"cloudwatch:namespace": _NAMESPACES},
        ),
        *_alarms(names),
    ]


def _alarms(names: Names) -> list[Document]:
    """To see those that undo an update, as the page "Auto-Rollback Configuration" asks."""
    arns = [names.where.arn("cloudwatch", f"alarm:{name}") for name in names.undoing_alarms]
    return [_allow("WatchAlarms", ["cloudwatch:DescribeAlarms"], arns)] if arns else []


def _image(names: Names) -> list[Document]:
    """To pull the image, where it is in ECR; the token is for no repository in particular."""
    repository = _repository(names)
    if repository is None:
        return []
    return [
        _allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            "PullImage",
            ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
            [repository],
        ),
    ]


def _repository(names: Names) -> str | None:
    """The ARN of the image's repository."""
    if not is_uri(names.config.image):
        return names.where.arn("ecr", f"repository/{names.repository}")
    found = _ECR.fullmatch(names.config.image)
    if found is None:
        return None
    where = f"{found['region']}:{found['account']}"
    return f"arn:{names.where.partition}:ecr:{where}:repository/{found['repository']}"


def _network(names: Names) -> list[Document]:
    """To attach the containers to a network, as the same page says for a private VPC.

    What describes has no resources to hold it to; what creates is held to the subnets and the
    groups, whoever owns them.
    """
    vpc = names.config.vpc
    if vpc is None:
        return []
    ec2 = f"arn:{names.where.partition}:ec2:{names.where.region}"
    interfaces = f"{ec2}:{names.where.account}:network-interface/*"
    return [
        _allow(
            "ReadNetwork",
            [
                *("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions"),
                *("ec2:DescribeSubnets", "ec2:DescribeSecurityGroups"),
            ],
            ["*"],
        ),
        _allow(
            "AttachToNetwork",
            ["ec2:CreateNetworkInterface"],
            [
                interfaces,
                *(f"{ec2}:*:subnet/{one}" for one in vpc.subnets),
                *(f"{ec2}:*:security-group/{one}" for one in vpc.security_groups),
            ],
        ),
        _allow(
            "KeepInterfaces",
            [
                *("ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface"),
                "ec2:DeleteNetworkInterfacePermission",
            ],
            [interfaces],
        ),
    ]


def _key(names: Names) -> list[Document]:
    """To read encrypted models, through S3 alone, and to have disks encrypted.

    Pages "Protect data at rest using encryption" and, for the grant, ``CreateEndpointConfig``,
    whose ``KmsKeyId`` needs a key that lets the endpoint's role use it.
    """
    key = names.config.kms_key
    if not key:
        return []
    suffix = names.where.registry.partition(".amazonaws.")[2]
    through = f"s3.{names.where.region}.amazonaws.{suffix}"
    return [
        _allow("ReadEncrypted", ["kms:Decrypt"], [key], StringEquals={"kms:ViaService": through}),
        _allow(
            "EncryptDisks",
            ["kms:CreateGrant"],
            [key],
            Bool={"kms:GrantIsForAWSResource": "true"},
        ),
    ]
