"""What goes back to the gate, also where something went wrong."""

from typing import NamedTuple

from sagemaker_inference import content_types

from handler.errors import Fault, HandlerError


class Answer(NamedTuple):
    """What goes back: an HTTP status, the content type of the body, and the body."""

    status: int
    content_type: str
    body: bytes

    def for_gate(self) -> bytes:
        """The body with its status in front, since MMS closes the connection on any but 2xx."""
        return b"mme %d\n%b" % (self.status, self.body)


class PassedOnError(Exception):
    """An answer that is a fault already."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def fault_answer(error: Exception) -> Answer:
    """The answer for whatever went wrong: one sentence, never a traceback."""
    if isinstance(error, PassedOnError):
        return error.answer
    if isinstance(error, MemoryError):
        error = HandlerError(Fault.OUT_OF_MEMORY, "not enough memory; unload models and try again")
    elif not isinstance(error, HandlerError):
        cause = str(error).partition("\n")[0]
        sentence = f"the model failed: {type(error).__name__}: {cause}"
        error = HandlerError(Fault.BAD_MODEL, sentence)
    return Answer(error.fault.status, content_types.JSON, error.body())
