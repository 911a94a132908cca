"""What the resources of an endpoint are called; all but the endpoint's name follow from it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from mme.aws import Aws
from mme.deploy.config import Config

TAG = "xgboost-mme:endpoint"  # on everything that is made; its value is the endpoint's name
VARIANT = "AllTraffic"
_LONGEST_BUCKET, _LONGEST_ROLE, _LONGEST_NAME = 63, 64, 63
_DIGEST_LETTERS = 8


@dataclass(frozen=True, slots=True)
class Account:
    """Where: an account of AWS, in a region."""

    partition: str
    region: str
    account: str

    @classmethod
    def of(cls, aws: Aws) -> "Account":
        """That of a session."""
        return cls(aws.partition, aws.region, aws.account)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    @property
    def registry(self) -> str:
        """ECR's host."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"{self.account}.dkr.ecr.{self.region}.{suffix}"


@dataclass(frozen=True, slots=True)
class Names:
    """The names for one endpoint.

    Attributes:
        where: the account.
        config: what is wanted.
    """

    where: Account
    config: Config

    @property
    def endpoint(self) -> str:
        """Of the endpoint."""
        return self.config.name

    @property
    def dashboard(self) -> str:
        """Of CloudWatch's dashboard, which has no tags, and is the same in all regions."""
        return f"xgboost-mme-{self.endpoint}-{self.where.region}"

    @property
    def tags(self) -> dict[str, str]:
        """Of everything."""
        return {TAG: self.endpoint} | self.config.tags

    @property
    def role(self) -> str:
        """The execution role that we make; roles are the same in all regions."""
        return _short(f"xgboost-mme-{self.endpoint}-{self.where.region}", _LONGEST_ROLE)

    @property
    def role_arn(self) -> str:
        """Of the role that is used, ours or not."""
        made = f"arn:{self.where.partition}:iam::{self.where.account}:role/{self.role}"
        return self.config.role or made

    @property
    def made_bucket(self) -> str:
        """The bucket that we make where it is wanted; names of buckets are the world's."""
        name = f"{self.endpoint}-{self.where.account}-{self.where.region}".lower()
        return _short(name, _LONGEST_BUCKET)

    @property
    def own_bucket(self) -> str | None:
        """The same, if it is wanted: nobody names one."""
        return None if self.config.prefix or self.config.bucket else self.made_bucket

    @property
    def uploads(self) -> str:
        """What the keys of a folder's archives begin with."""
        return f"{self.endpoint}/"

    @property
    def prefix(self) -> tuple[str, str]:
        """Bucket and key prefix of the models."""
        return self.config.prefix or (self.config.bucket or self.made_bucket, self.uploads)

    @property
    def models_url(self) -> str:
        """The same as a URL."""
        bucket, prefix = self.prefix
        return f"s3://{bucket}/{prefix}"

    @property
    def repository(self) -> str:
        """The repository that we make, where the image is of this machine."""
        return f"xgboost-mme/{self.endpoint.lower()}"

    @property
    def log_group(self) -> str:
        """SageMaker's, for what the containers write."""
        return f"/aws/sagemaker/Endpoints/{self.endpoint}"

    @property
    def scaled(self) -> str:
        """What Application Auto Scaling calls the variant."""
        return f"endpoint/{self.endpoint}/variant/{VARIANT}"

    def alarm(self, what: str) -> str:
        """An alarm's."""
        return f"xgboost-mme-{self.endpoint}-{what}"

    @property
    def undoing_alarms(self) -> list[str]:
        """The alarms that undo an update."""
        wished = self.config.alarms
        given = {"errors": wished.errors_per_minute, "latency": wished.latency_ms}
        return [self.alarm(what) for what, limit in given.items() if limit is not None]

    def version(self, content: Any) -> str:
        """A model's or a configuration's, which cannot be changed: another for other content."""
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.versions}-{digest[:_DIGEST_LETTERS]}"

    @property
    def versions(self) -> str:
        """What the names of all versions begin with."""
        return self.endpoint[: _LONGEST_NAME - 1 - _DIGEST_LETTERS].rstrip("-")


def _short(name: str, longest: int) -> str:
    """The name, or its beginning and a digest of it."""
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LETTERS]
    return f"{name[: longest - 1 - _DIGEST_LETTERS].rstrip('-')}-{digest}"
