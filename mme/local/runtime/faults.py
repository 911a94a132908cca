"""Every error that an invocation can end with, in AWS's words, as boto3 knows them."""

import json


class InvokeError(Exception):
    """An invocation's error.

    Args:
        status: of HTTP.
        code: names the exception that boto3 raises; empty for one without a class.
        fields: of the body; ``Message`` among them.
    """

    def __init__(self, status: int, code: str, **fields: object) -> None:
        super().__init__(str(fields.get("Message", "")))
        self.status, self.code, self.fields = status, code, fields

    def body(self) -> bytes:
        """The answer's body."""
        return json.dumps(self.fields).encode()


def invalid(message: str, **fields: object) -> InvokeError:
    """What the client asked cannot be."""
    return InvokeError(400, "ValidationError", Message=message, **fields)


def no_endpoint(name: str, account: str) -> InvokeError:
    """There is no such endpoint, or it is not in service."""
    return invalid(f"Endpoint {name} of account {account} not found.")


def not_multi_model(name: str) -> InvokeError:
    """A target model was named to an endpoint that has one model."""
    return invalid(
        f"Endpoint {name} is not a multi-model endpoint and does not support target model header.",
        ErrorCode="TARGET_MODEL_HEADER_NOT_SUPPORTED",
    )


def no_target(request_id: str) -> InvokeError:
    """No target model was named to a multi-model endpoint."""
    return invalid(
        f"Request {request_id} is missing a target model header. "
        "A multi-model endpoint needs TargetModel."
    )


def no_object(bucket: str, key: str) -> InvokeError:
    """The target model is not in S3."""
    return invalid(
        f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is "
        "an object located at the URL and that the role passed to CreateModel has permissions to "
        "download the model."
    )


def not_ready(target: str) -> InvokeError:
    """The model is still being downloaded or loaded."""
    return InvokeError(
        429,
        "ModelNotReadyException",
        Message=f"Model {target} is still being downloaded or loaded on the instance. Retry later.",
    )


def of_model(endpoint: str, region: str, account: str, status: int, body: bytes) -> InvokeError:
    """The container answered with an error."""
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
    text = body.decode("utf-8", "replace")
    whose = "client" if 400 <= status < 500 else "server"
    return InvokeError(
        424,
        "ModelError",
        ErrorCode=f"{whose.upper()}_ERROR_FROM_MODEL",
        LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
        Message=(
            f'Received {whose} error ({status}) from primary with message "{text}". See {console}'
            f"#logEventViewer:group={group} in account {account} for more information."
        ),
        OriginalMessage=text,
        OriginalStatusCode=status,
    )


def timed_out(endpoint: str, region: str, account: str) -> InvokeError:
    """The container did not answer in time."""
    reason = (
        "Your invocation timed out while waiting for a response from container primary. Review the "
        "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
    )
    return of_model(endpoint, region, account, 0, reason.encode())


def unavailable(message: str) -> InvokeError:
    """There is nobody to ask now; boto3 tries again."""
    return InvokeError(503, "ServiceUnavailable", Message=message)


def internal() -> InvokeError:
    """Something that must not happen."""
    return InvokeError(500, "InternalFailure", Message="mme local failed; its output says why.")


def too_large(limit: int) -> InvokeError:
    """The body is over the limit; AWS's answer has no type."""
    return InvokeError(413, "", Message=f"HTTP content length exceeded {limit} bytes.")
