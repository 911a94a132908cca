"""Every fault that a model or a request can have, each with its HTTP answer."""

import enum
import json

from sagemaker_inference.errors import GenericInferenceToolkitError


class Fault(enum.Enum):
    """A fault category: its HTTP status, and the ``type`` that the answer's body names."""

    BAD_REQUEST = (400, "BadRequestException")
    MODEL_NOT_FOUND = (404, "ModelNotFoundException")
    NOT_ACCEPTABLE = (406, "NotAcceptableException")
    UNSUPPORTED_MEDIA_TYPE = (415, "UnsupportedMediaTypeException")
    BAD_MODEL = (500, "BadModelException")
    MODEL_CRASHED = (500, "ModelCrashedException")
    OUT_OF_MEMORY = (507, "OutOfMemoryException")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def type(self) -> str:
        """The error's type, as clients of Multi Model Server know it."""
        return self.value[1]


class HandlerError(GenericInferenceToolkitError):  # type: ignore[misc]  # the toolkit is untyped
    """A fault with the one sentence that names its cause and its cure."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(fault.status, message, fault.type)
        self.fault = fault
        self.message: str = message

    def body(self) -> bytes:
        """The answer's body: ``{"code", "type", "message"}`` and a newline, as MMS writes it."""
        error = {"code": self.fault.status, "type": self.fault.type, "message": self.message}
        return json.dumps(error, indent=2).encode() + b"\n"
