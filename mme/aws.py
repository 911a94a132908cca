"""The one door to AWS: sessions as the AWS CLI makes them, and errors as one line with the cure."""

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config

from mme.errors import CommandError

ATTEMPTS = 10  # at one call, with boto3's own waits between them, unless the user has chosen
_FIRST_ATTEMPTS = 3
CONNECTIONS = 32  # at once, for who works in parallel
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN_KEYS = {
    *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "AuthFailure"),
}
_SLOWER = {
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded"),
    *("TooManyRequestsException", "SlowDown", "RequestThrottled"),
}
_LOG_IN = "log in anew: aws sso login, or new keys"


class Aws:
    """An account in a region, as the AWS CLI would find them, and clients of its services.

    Args:
        profile: of the AWS CLI's files; else as the CLI chooses.
        region: else as the CLI chooses.

    Raises:
        CommandError: there is no such profile, or no region.
    """

    def __init__(self, profile: str | None = None, region: str | None = None) -> None:
        with one_line():
            self._core = botocore.session.Session(profile=profile)
            # As the AWS CLI does; boto3 by itself knows AWS_DEFAULT_REGION alone.
            region = region or os.environ.get("AWS_REGION")
            self._session = boto3.Session(botocore_session=self._core, region_name=region)
            chosen = self._session.region_name
        if chosen is None:
            raise CommandError("no region: give --region, or set AWS_REGION")
        self.region = str(chosen)
        self._clients: dict[tuple[str, int], Any] = {}

    def client(self, service: str, attempts: int = ATTEMPTS) -> Any:
        """The client of a service; it tries so many times where AWS asks for slower.

        Raises:
            CommandError: AWS_ENDPOINT_URL is none.
        """
        key = service, attempts
        if key not in self._clients:
            config = Config(max_pool_connections=CONNECTIONS)
            if self._core.get_config_variable("max_attempts") is None:
                retries = {"mode": "standard", "total_max_attempts": attempts}
                config = config.merge(Config(retries=retries))
            self._clients[key] = self._make(service, config)
        return self._clients[key]

    def _make(self, service: str, config: Config) -> Any:
        try:
            return self._session.client(service, config=config)
        except ValueError as error:
            like = "AWS_ENDPOINT_URL is such as http://localhost:4599"
            raise CommandError(f"{error}: {like}") from None

    @functools.cached_property
    def identity(self) -> str:
        """The ARN of who calls."""
        return str(self._caller["Arn"])

    @functools.cached_property
    def account(self) -> str:
        """The account's twelve digits."""
        return str(self._caller["Account"])

    @property
    def partition(self) -> str:
        """``aws``, or that of China or of the government."""
        return self.identity.split(":")[1]

    @functools.cached_property
    def _caller(self) -> dict[str, Any]:
        # The first call of every command: who has no network hears of it soon.
        config = Config(retries={"mode": "standard", "total_max_attempts": _FIRST_ATTEMPTS})
        return dict(self._make("sts", config).get_caller_identity())


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Make every error of AWS, or of the way to it, one line that says what to do.

    Raises:
        CommandError: with status 1.
    """
    try:
        yield
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        raise CommandError(explain(error), status=1) from None


def code(error: Exception) -> str:
    """What AWS calls an error; empty where it is none of AWS's."""
    if isinstance(error, exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def model_said(response: Mapping[str, Any]) -> str:
    """The sentence of a container in a ModelError's response, without what is around it."""
    text = str(response.get("OriginalMessage") or response["Error"].get("Message", ""))
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):  # not of our container
        return " ".join(text.split())


def is_slower(error: Exception) -> bool:
    """Whether AWS asks for fewer calls: the same one may succeed later."""
    return code(error) in _SLOWER


def explain(error: Exception) -> str:
    """One line: what is wrong, and the cure where there is one."""
    if isinstance(error, exceptions.ClientError):
        return _of_aws(error)
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no credentials: aws configure, or set AWS_PROFILE"
    if isinstance(error, exceptions.NoRegionError):
        return "no region: give --region, or set AWS_REGION"
    if isinstance(error, exceptions.SSOError | exceptions.TokenRetrievalError):
        return f"{text}: {_LOG_IN}"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return f"{text}: is there a network, and is AWS_ENDPOINT_URL right?"
    return text


def _of_aws(error: exceptions.ClientError) -> str:
    name = code(error)
    message = " ".join(str(error.response["Error"].get("Message", "")).split())
    operation = error.operation_name
    if name in _DENIED:
        action = re.search(r"perform: ([\w-]+:\w+)", message)
        what = action[1] if action else operation
        return f"{message or 'access denied'}: whoever calls needs the permission {what}"
    if name in _EXPIRED:
        return f"the credentials have expired: {_LOG_IN}"
    if name in _UNKNOWN_KEYS:
        return f"AWS does not know these credentials ({name}): aws configure, or set AWS_PROFILE"
    if name in _SLOWER:
        return (
            f"{operation} was refused again and again ({name}): too many calls at once in this "
            "account; run it again later, what is done stays done"
        )
    if name == "ResourceLimitExceeded":
        quota = re.search(r"limit '([^']+)'", message)
        what = f" '{quota[1]}'" if quota else ""
        return f"{message.rstrip('.')}: ask for more at Service Quotas, Amazon SageMaker,{what}"
    return f"{operation}: {name}: {message}"
