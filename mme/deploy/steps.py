"""The steps of a plan, as plain data: what each will do, and all that doing it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mme.deploy.archives import Archive

_ROLE_NOT_YET = "assume role|access model data|not authorized|does not have permission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of AWS.

    Attributes:
        sign: ``+`` makes, ``~`` changes, ``-`` deletes.
        what: for who reads the plan.
        service: of boto3, as are the next two.
        patience: errors whose text has this are tried again for a while: a role that was made
            just now is not known everywhere yet.
    """

    sign: str
    what: str
    service: str
    operation: str
    parameters: dict[str, Any]
    patience: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """An image of this machine's Docker goes to a repository."""

    sign: ClassVar[str] = "+"
    what: str
    image: str
    repository_uri: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Archives go to S3."""

    sign: ClassVar[str] = "+"
    what: str
    archives: Sequence[Archive]
    bucket: str
    prefix: str
    tags: dict[str, str]
    kms_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Until the endpoint is in service with a configuration, or, with none, until it is gone."""

    sign: ClassVar[str] = " "
    what: str
    endpoint: str
    config: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """The objects below a prefix go, those that are tagged as the endpoint's."""

    sign: ClassVar[str] = "-"
    what: str
    bucket: str
    prefix: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """A bucket of ours goes, unless somebody else's objects are in it."""

    sign: ClassVar[str] = "-"
    what: str
    bucket: str


Step = Call | Push | Upload | Wait | Clear | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps, one after another.

    Attributes:
        steps: what is done.
        notes: what should be known about it.
        instances: how many there are afterwards.
    """

    steps: list[Step]
    notes: list[str] = field(default_factory=list)
    instances: int = 0

    def __str__(self) -> str:
        lines = [f"  {step.sign} {step.what}\n" for step in self.steps]
        return "".join(lines + [f"  note: {note}\n" for note in self.notes])


def sagemaker(sign: str, what: str, operation: str, **parameters: Any) -> Call:
    """A call of SageMaker's control plane."""
    return Call(
        sign=sign,
        what=what,
        service="sagemaker",
        operation=operation,
        parameters=parameters,
        patience=_ROLE_NOT_YET if sign == "+" else "",
    )


def call(sign: str, what: str, service: str, operation: str, **parameters: Any) -> Call:
    """A call of AWS."""
    return Call(sign=sign, what=what, service=service, operation=operation, parameters=parameters)
