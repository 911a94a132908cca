"""Acts on the scaling policies that are registered with moto."""

import asyncio
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from mme.local.aws.clients import Clients
from mme.local.control.errors import RequestError
from mme.local.control.scaling import Decision, Limits, Policy, Seen, after, decide
from mme.local.control.validation import check, message, parse_json

logger = logging.getLogger(__name__)
_SERVICE, _NAMESPACE = "application-autoscaling", "sagemaker"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_MOST_ACTIVITIES, _MOST_MINUTES = 1000, 15  # that are remembered
_PAGE = 50
_IN_SERVICE, _IN_PROGRESS = "InService", "InProgress"

Described = dict[str, Any]


class Instance(Protocol):
    """One instance."""

    @property
    def invocations(self) -> int:
        """How often it has been invoked."""


class Pool(Protocol):
    """The instances of a variant."""

    @property
    def instances(self) -> Sequence[Instance]:
        """All of them."""


class Endpoint(Protocol):
    """One endpoint."""

    @property
    def document(self) -> Described:
        """What Describe answers."""

    @property
    def pools(self) -> Mapping[str, Pool]:
        """By variant."""


class Endpoints(Protocol):
    """Who runs endpoints."""

    def all(self) -> Sequence[Endpoint]:
        """All of them."""

    async def scale(self, name: str, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        """Begin to give variants other weights and numbers of instances."""


class Registered(NamedTuple):
    """A scalable target, and its policies."""

    target: Described
    policies: list[Described]


class Autoscaler:
    """Looks at each registered variant once a minute, and scales it as its policies say.

    Args:
        url: of moto.
        endpoints: that there are.
        minute_seconds: a minute; shorter ones make all of it quicker, cooldowns too.
    """

    def __init__(self, url: str, endpoints: Endpoints, minute_seconds: float) -> None:
        self._endpoints, self._minute_seconds = endpoints, minute_seconds
        self._clients = Clients(url)
        self._totals: dict[str, int] = {}  # by resource, a minute ago
        self._seen: dict[str, Seen] = {}
        self._minute = 0
        self._activities: deque[Described] = deque(maxlen=_MOST_ACTIVITIES)  # the newest first
        self._refused: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(self._minute_seconds)
            try:
                await self.look()
            except (BotoCoreError, ClientError) as error:  # moto is being started again
                logger.warning("policies of automatic scaling cannot be read: %s", error)

    async def look(self) -> None:
        """A minute is over: count, decide, scale."""
        self._minute += 1
        documents = [endpoint.document for endpoint in self._endpoints.all()]
        registered: dict[str, Registered] = {}
        for region in sorted({document["EndpointArn"].split(":")[3] for document in documents}):
            registered |= await asyncio.to_thread(self._read, region)
        for endpoint in self._endpoints.all():
            wanted = self._decide(endpoint, registered)
            if wanted:  # nobody has come between, so it is in service still
                await self._endpoints.scale(endpoint.document["EndpointName"], wanted)

    def _decide(
        self, endpoint: Endpoint, registered: Mapping[str, Registered]
    ) -> dict[str, tuple[None, int]]:
        """How many instances the variants of an endpoint shall have, those that scale now."""
        self._finish(endpoint)
        wanted, document = {}, endpoint.document
        for variant in document["ProductionVariants"]:
            name = variant["VariantName"]
            resource = _resource(document, variant)
            self._count(resource, endpoint, variant)
            if document["EndpointStatus"] != _IN_SERVICE:
                continue
            if resource not in registered:
                continue
            seen = self._seen[resource]
            limits = Limits.from_description(registered[resource].target)
            policies = self._policies(resource, registered[resource])
            decision = decide(policies, limits, seen, self._minute)
            if decision is not None:
                self._seen[resource] = after(seen, decision, self._minute)
                self._begin(resource, decision)
                wanted[name] = (None, decision.instances)
        return wanted

    def _read(self, region: str) -> dict[str, Registered]:
        """What is registered, by resource."""
        client = self._clients.get(_SERVICE, region)
        found = {}
        for page in client.get_paginator("describe_scalable_targets").paginate(
            ServiceNamespace=_NAMESPACE
        ):
            for target in page["ScalableTargets"]:
                found[target["ResourceId"]] = Registered(target, [])
        for page in client.get_paginator("describe_scaling_policies").paginate(
            ServiceNamespace=_NAMESPACE
        ):
            for policy in page["ScalingPolicies"]:
                if policy["ResourceId"] in found:
                    found[policy["ResourceId"]].policies.append(policy)
        return found

    def _count(self, resource: str, endpoint: Endpoint, variant: Described) -> None:
        """Note how often each instance was invoked in the minute that is over."""
        pool = endpoint.pools.get(variant["VariantName"])
        total = sum(one.invocations for one in pool.instances) if pool is not None else 0
        before, self._totals[resource] = self._totals.get(resource), total
        instances = variant["DesiredInstanceCount"]
        seen = self._seen.get(resource, Seen(instances))
        if endpoint.document["EndpointStatus"] != _IN_SERVICE or seen.instances != instances:
            before = None  # it was no full minute with so many
        minutes: tuple[float, ...] = ()
        if before is not None:
            each = max(0, total - before) / max(1, variant["CurrentInstanceCount"])
            minutes = (*seen.minutes, each)[-_MOST_MINUTES:]
        self._seen[resource] = seen._replace(instances=instances, minutes=minutes)

    def _policies(self, resource: str, registered: Registered) -> list[Policy]:
        """The policies to act on; of another one it is said once that it is none."""
        policies = []
        for described in registered.policies:
            policy = Policy.from_description(described)
            if isinstance(policy, Policy):
                policies.append(policy)
            elif (resource, described["PolicyName"]) not in self._refused:
                self._refused.add((resource, described["PolicyName"]))
                self._refuse(resource, described["PolicyName"], policy)
        return policies

    def _refuse(self, resource: str, policy: str, reason: str) -> None:
        logger.warning("policy %s of %s is not acted on: %s", policy, resource, reason)
        activity = self._note(resource, f"Attempting to act on policy {policy}.", "it was put")
        _end(activity, "Failed", reason)

    def _begin(self, resource: str, decision: Decision) -> None:
        cause = "the capacity was outside the limits of the scalable target"
        if decision.policy is not None:
            cause = f"monitor alarm TargetTracking-{resource} triggered policy {decision.policy}"
        self._note(resource, f"Setting desired instance count to {decision.instances}.", cause)

    def _note(self, resource: str, description: str, cause: str) -> Described:
        """Keep an activity that begins."""
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "ServiceNamespace": _NAMESPACE,
            "ResourceId": resource,
            "ScalableDimension": _DIMENSION,
            "Description": description,
            "Cause": cause,
            "StartTime": round(time.time(), 3),
            "StatusCode": _IN_PROGRESS,
        }
        self._activities.appendleft(activity)
        return activity

    def _finish(self, endpoint: Endpoint) -> None:
        """Note the end of changes, once the endpoint is in service."""
        document = endpoint.document
        if document["EndpointStatus"] != _IN_SERVICE:
            return
        instances = {
            _resource(document, variant): variant["DesiredInstanceCount"]
            for variant in document["ProductionVariants"]
        }
        for activity in self._activities:
            resource = activity["ResourceId"]
            if resource not in instances or activity["StatusCode"] != _IN_PROGRESS:
                continue
            if "FailureReason" in document:
                _end(activity, "Failed", document["FailureReason"])
                continue
            _end(
                activity,
                "Successful",
                f"Successfully set desired instance count to {instances[resource]}. "
                "Change successfully fulfilled by sagemaker.",
            )

    def activities(self, body: bytes) -> tuple[int, bytes]:
        """Answer DescribeScalingActivities.

        Args:
            body: JSON.

        Returns:
            The status of HTTP, and the body.
        """
        try:
            asked, found = check(_SERVICE, "DescribeScalingActivities", parse_json(body))
            if found:
                raise RequestError(message(found))
        except RequestError as error:
            return error.answer()
        for endpoint in self._endpoints.all():
            self._finish(endpoint)
        chosen = [
            activity
            for activity in self._activities
            if all(
                asked.get(field, activity[field]) == activity[field]
                for field in ("ServiceNamespace", "ResourceId", "ScalableDimension")
            )
        ]
        identities = [activity["ActivityId"] for activity in chosen]
        token = asked.get("NextToken")
        start = identities.index(token) if token in identities else 0
        end = start + min(asked.get("MaxResults", _PAGE), _PAGE)
        answer: Described = {"ScalingActivities": chosen[start:end]}
        if end < len(chosen):
            answer["NextToken"] = identities[end]
        return 200, json.dumps(answer).encode()


def _resource(document: Described, variant: Described) -> str:
    return f"endpoint/{document['EndpointName']}/variant/{variant['VariantName']}"


def _end(activity: Described, status: str, reason: str) -> None:
    activity["EndTime"] = round(time.time(), 3)
    activity["StatusCode"], activity["StatusMessage"] = status, reason
