"""Every error that the control plane answers with, in AWS's words."""

import json


class RequestError(Exception):
    """A request that is refused; boto3 raises it as a ClientError.

    Args:
        message: in words.
        kind: the error's code.
        status: of HTTP.
    """

    def __init__(
        self, message: str = "", kind: str = "ValidationException", status: int = 400
    ) -> None:
        super().__init__(message)
        self.kind, self.status = kind, status

    def answer(self) -> tuple[int, bytes]:
        """The status, and the body."""
        fields = {"__type": self.kind} | ({"message": str(self)} if str(self) else {})
        return self.status, json.dumps(fields).encode()


def unreadable(message: str = "") -> RequestError:
    """The body is no JSON, or has a value of another type than its field; AWS says little."""
    return RequestError(message, "SerializationException")


def unknown_operation() -> RequestError:
    """SageMaker has no such operation."""
    return RequestError(kind="UnknownOperationException")


def not_emulated(what: str) -> RequestError:
    """AWS could do this and we cannot: better refused than ignored."""
    return RequestError(f"{what} is not emulated by mme local.")


def missing(noun: str, arn: str) -> RequestError:
    """There is no such model, endpoint configuration or endpoint."""
    return RequestError(f'Could not find {noun} "{arn}".')


def existing(noun: str, arn: str) -> RequestError:
    """There is one of that name already."""
    return RequestError(f'Cannot create already existing {noun} "{arn}".')


def no_data(url: str) -> RequestError:
    """Nothing is in S3 where a model's data should be."""
    return RequestError(f"Could not find model data at {url}.")


def in_progress(arn: str) -> RequestError:
    """The endpoint is changing; whatever is asked for has to wait."""
    return RequestError(f'Cannot update in-progress endpoint "{arn}".')
