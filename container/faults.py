"""Every fault that the gate itself answers, with its HTTP answer; a model's are the handler's."""

import enum
import json


class Fault(enum.Enum):
    """A fault category: its HTTP status, and the ``type`` that the answer's body names.

    The types are those of Multi Model Server, which its clients know, where it has one.
    """

    BAD_REQUEST = (400, "BadRequestException")
    RESOURCE_NOT_FOUND = (404, "ResourceNotFoundException")
    MODEL_NOT_FOUND = (404, "ModelNotFoundException")
    METHOD_NOT_ALLOWED = (405, "MethodNotAllowedException")
    CONFLICT = (409, "ConflictStatusException")
    TOO_LARGE = (413, "RequestEntityTooLargeException")
    UNSUPPORTED_MEDIA_TYPE = (415, "UnsupportedMediaTypeException")
    INTERNAL = (500, "InternalServerException")
    MODEL_CRASHED = (500, "ModelCrashedException")
    OUT_OF_MEMORY = (507, "OutOfMemoryException")
    UNAVAILABLE = (503, "ServiceUnavailableException")
    CLIENT_GONE = (499, "ClientGoneException")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def type(self) -> str:
        """The error's type."""
        return self.value[1]


class FaultError(Exception):
    """A fault with the one sentence that names its cause and its cure.

    Args:
        fault: its category.
        message: the sentence.
        retry_after: seconds; of a fault that passes.
    """

    def __init__(self, fault: Fault, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The answer's body: ``{"code", "type", "message"}``."""
        error = {"code": self.fault.status, "type": self.fault.type, "message": self.message}
        return pretty(error)


def pretty(value: object) -> bytes:
    """JSON as Multi Model Server writes it: two blanks an indent, one newline at the end."""
    return json.dumps(value, indent=2).encode() + b"\n"


def not_found(name: str) -> FaultError:
    """The fault of a model that is not in the register."""
    return FaultError(Fault.MODEL_NOT_FOUND, f"Model not found: {name}")
