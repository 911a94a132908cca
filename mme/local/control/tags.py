"""The tags of models, endpoint configurations and endpoints; those of the rest are moto's."""

import json
import re

from mme.local.control.errors import RequestError, missing
from mme.local.control.resources import KINDS, Fields
from mme.local.control.store import Store

OPERATIONS = ("AddTags", "ListTags", "DeleteTags")
_MOST = 50
_STORED = "tags"
_ARN = re.compile(r"arn:[^:]*:sagemaker:[^:]*:[^:]*:([^/]+)/(.*)", re.DOTALL)


def is_ours(body: bytes) -> bool:
    """Whether a request is about a resource of ours; one that cannot be read is ours to refuse."""
    try:
        arn = json.loads(body)["ResourceArn"]
        parts = _ARN.fullmatch(arn)
    except (ValueError, TypeError, KeyError, RecursionError):
        return True
    return parts is None or parts[1] in KINDS


class Tags:
    """The tags.

    They are documents of their own, since an endpoint's document is not ours to write.

    Args:
        store: keeps them, and the resources.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def answer(self, operation: str, asked: Fields) -> Fields:
        """Answer a request.

        Raises:
            RequestError: there is no such resource, or it would have too many tags.
        """
        arn = self._find(asked["ResourceArn"])
        tags = self._of(arn)
        if operation == "ListTags":
            return {"Tags": tags}
        if operation == "AddTags":
            return {"Tags": self.put(arn, [*tags, *check(asked["Tags"])])}
        self.put(arn, [tag for tag in tags if tag["Key"] not in asked["TagKeys"]])
        return {}

    def _find(self, arn: str) -> str:
        """The ARN as the resource has it."""
        parts = _ARN.fullmatch(arn)
        kind = KINDS.get(parts[1]) if parts is not None else None
        if parts is None or kind is None:
            raise RequestError(f'"{arn}" is no ARN of a resource that can have tags here.')
        found = self._store.get(kind.key, parts[2])
        if found is None or found[kind.arn_field].lower() != arn.lower():
            raise missing(kind.noun, arn)
        return str(found[kind.arn_field])

    def _of(self, arn: str) -> list[Fields]:
        found = self._store.get(_STORED, arn)
        return [] if found is None else list(found["Tags"])

    def put(self, arn: str, tags: list[Fields]) -> list[Fields]:
        """Keep a resource's tags; of those with the same key, the last.

        Raises:
            RequestError: they are too many.
        """
        by_key = {tag["Key"]: tag for tag in tags}
        if len(by_key) > _MOST:
            raise RequestError(f'A resource has at most {_MOST} tags: "{arn}".')
        self._store.put(_STORED, arn, {"Tags": list(by_key.values())})
        return list(by_key.values())

    def forget(self, arn: str) -> None:
        """The resource has gone."""
        self._store.remove(_STORED, arn)


def check(tags: list[Fields]) -> list[Fields]:
    """Refuse tags that no resource can have, before one is made.

    Raises:
        RequestError: two have the same key, or a key is kept for AWS.
    """
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise RequestError("Duplicate tag keys found.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise RequestError("aws: prefixed tag key names are not allowed for external use.")
    return tags
