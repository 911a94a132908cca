"""What models, endpoints, training jobs and the like have in common: their names, and the store.

Names are the same in all regions here; a resource's ARN has the region that it was made in.
"""

import time
from typing import Any, NamedTuple

from mme.local.control.errors import existing, missing
from mme.local.control.store import Store

Fields = dict[str, Any]
_INTERNAL = "Deployment"  # of an endpoint's document: nobody is told


class Kind(NamedTuple):
    """A kind of resource.

    Attributes:
        key: in ARNs and in the store.
        noun: in errors.
        title: what its fields' names begin with.
    """

    key: str
    noun: str
    title: str

    @property
    def name_field(self) -> str:
        """The field that has the name."""
        return f"{self.title}Name"

    @property
    def status_field(self) -> str:
        """The field that has the status, where there is one."""
        return f"{self.title}Status"

    @property
    def list_field(self) -> str:
        """The field of a list's answer that has the list."""
        return f"{self.title}{'Summaries' if self.title == 'TrainingJob' else 's'}"

    @property
    def arn_field(self) -> str:
        """The field that has the ARN."""
        return f"{self.title}Arn"


MODEL = Kind("model", "model", "Model")
CONFIG = Kind("endpoint-config", "endpoint configuration", "EndpointConfig")
ENDPOINT = Kind("endpoint", "endpoint", "Endpoint")
TRAINING_JOB = Kind("training-job", "training job", "TrainingJob")
KINDS = {kind.key: kind for kind in (MODEL, CONFIG, ENDPOINT, TRAINING_JOB)}


class Resources:
    """All resources.

    Args:
        store: keeps them.
        account: of AWS.
    """

    def __init__(self, store: Store, account: str) -> None:
        self._store, self._account = store, account

    def arn(self, kind: Kind, name: str, region: str) -> str:
        """The ARN of a resource of that name."""
        return f"arn:aws:sagemaker:{region}:{self._account}:{kind.key}/{name}"

    def begin(self, kind: Kind, name: str, region: str) -> Fields:
        """The first fields of a new resource.

        Raises:
            RequestError: there is one of that name.
        """
        found = self._store.get(kind.key, name)
        if found is not None:
            raise existing(kind.noun, found[kind.arn_field])
        return {
            kind.name_field: name,
            kind.arn_field: self.arn(kind, name, region),
            "CreationTime": round(time.time(), 3),
        }

    def keep(self, kind: Kind, document: Fields) -> None:
        """Keep a document."""
        self._store.put(kind.key, document[kind.name_field], document)

    def find(self, kind: Kind, name: str, region: str) -> Fields:
        """A resource's document.

        Raises:
            RequestError: there is none of that name.
        """
        found = self._store.get(kind.key, name)
        if found is None:
            raise missing(kind.noun, self.arn(kind, name, region))
        return found

    def describe(self, kind: Kind, name: str, region: str) -> Fields:
        """What Describe answers.

        Raises:
            RequestError: there is none of that name.
        """
        found = self.find(kind, name, region)
        found.pop(_INTERNAL, None)
        return found

    def all(self, kind: Kind) -> list[Fields]:
        """All documents of a kind."""
        return self._store.all(kind.key)

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a resource."""
        self._store.remove(kind.key, name)
