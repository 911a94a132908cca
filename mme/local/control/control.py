"""SageMaker's control plane: requests checked and answered as AWS does."""

import functools
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from mme.local.aws.objects import Objects
from mme.local.control import errors, listing, support, tags
from mme.local.control.catalogue import Catalogue, check_weights
from mme.local.control.errors import RequestError
from mme.local.control.resources import CONFIG, ENDPOINT, MODEL, Fields, Kind, Resources
from mme.local.control.store import Store
from mme.local.control.support import Level
from mme.local.control.tags import Tags
from mme.local.control.validation import SAGEMAKER, operation_model, parse
from mme.local.runtime.deployment import Deployment
from mme.local.training.operations import Jobs, Operations

logger = logging.getLogger(__name__)
_HOLD_SECONDS = 20  # of DescribeEndpoint, so that boto3's waiter, which asks every 30 s, asks once
_IN_SERVICE = "InService"
_SETTLED = (_IN_SERVICE, "Failed", "OutOfService", "UpdateRollbackFailed")
_LISTED = {  # of each kind, beside the name, the ARN and the time
    MODEL: (),
    CONFIG: (),
    ENDPOINT: ("LastModifiedTime", "EndpointStatus"),
}


class Endpoints(Protocol):
    """Who runs endpoints, and writes their documents to the store."""

    async def create(self, document: Fields) -> None:
        """Begin with a new endpoint."""

    async def update(self, name: str, document: Fields) -> None:
        """Begin to replace what an endpoint runs."""

    async def scale(self, name: str, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        """Begin to give variants other weights and numbers of instances."""

    async def delete(self, name: str) -> None:
        """Begin to delete an endpoint."""

    async def settled(self, name: str, seconds: float) -> None:
        """Return when an endpoint is not changing any more, or the time is over."""


Handler = Callable[[Fields, str], Awaitable[Fields]]


class Control:
    """Answers the operations of SageMaker that are not moto's.

    Args:
        store: keeps what there is.
        endpoints: runs endpoints.
        objects: of S3.
        jobs: runs training jobs.
        account: of AWS.
    """

    def __init__(
        self,
        store: Store,
        endpoints: Endpoints,
        objects: Objects,
        jobs: Jobs,
        account: str = "123456789012",
    ) -> None:
        self._endpoints = endpoints
        self._resources = Resources(store, account)
        self._catalogue = Catalogue(self._resources, objects)
        self._tags = Tags(store)
        self._handlers: dict[str, Handler] = {
            "CreateModel": self._create_model,
            "CreateEndpointConfig": self._create_config,
            "CreateEndpoint": self._create_endpoint,
            "DescribeEndpoint": self._describe_endpoint,
            "UpdateEndpoint": self._update_endpoint,
            "UpdateEndpointWeightsAndCapacities": self._scale_endpoint,
            "DeleteEndpoint": self._delete_endpoint,
        }
        for kind in (MODEL, CONFIG):
            self._handlers[f"Describe{kind.title}"] = functools.partial(self._describe, kind)
            self._handlers[f"Delete{kind.title}"] = functools.partial(self._delete, kind)
        for kind in (MODEL, CONFIG, ENDPOINT):
            self._handlers[f"List{kind.title}s"] = functools.partial(self._list, kind)
        self._handlers |= Operations(self._resources, self._tags, jobs).handlers()
        for operation in tags.OPERATIONS:
            self._handlers[operation] = functools.partial(self._tag, operation)

    def owns(self, operation: str, body: bytes) -> bool:
        """Whether a request is answered here, be it with an error; others are moto's."""
        if operation in tags.OPERATIONS:
            return tags.is_ours(body)
        return support.level(operation) is not Level.MOTO

    async def call(self, operation: str, body: bytes, region: str) -> tuple[int, bytes]:
        """Answer a request; every error is an answer.

        Args:
            operation: its name.
            body: JSON.
            region: that the request is signed for.

        Returns:
            The status, and the body.
        """
        try:
            operation_model(SAGEMAKER, operation)
            if operation not in self._handlers:
                raise errors.not_emulated(operation)
            asked = parse(operation, body)
            field = support.refused_field(operation, asked)
            if field is not None:
                raise errors.not_emulated(field)
            answer = await self._handlers[operation](asked, region)
        except RequestError as error:
            return error.answer()
        except (OSError, sqlite3.Error) as error:
            logger.exception("%s could not be answered", operation)
            return RequestError(str(error), "InternalFailure", 500).answer()
        return 200, json.dumps(answer).encode()

    async def _create_model(self, asked: Fields, region: str) -> Fields:
        given = tags.check(asked.pop("Tags", []))
        return self._keep(MODEL, self._catalogue.new_model(asked, region), given)

    async def _create_config(self, asked: Fields, region: str) -> Fields:
        given = tags.check(asked.pop("Tags", []))
        return self._keep(CONFIG, self._catalogue.new_config(asked, region), given)

    def _keep(self, kind: Kind, document: Fields, given: list[Fields]) -> Fields:
        self._tags.put(document[kind.arn_field], given)
        self._resources.keep(kind, document)
        return {kind.arn_field: document[kind.arn_field]}

    async def _describe(self, kind: Kind, asked: Fields, region: str) -> Fields:
        return self._resources.describe(kind, asked[kind.name_field], region)

    async def _delete(self, kind: Kind, asked: Fields, region: str) -> Fields:
        found = self._resources.find(kind, asked[kind.name_field], region)
        self._resources.remove(kind, found[kind.name_field])
        self._tags.forget(found[kind.arn_field])
        return {}

    async def _list(self, kind: Kind, asked: Fields, region: str) -> Fields:  # noqa: ARG002  # as all handlers
        shown = (kind.name_field, kind.arn_field, "CreationTime", *_LISTED[kind])
        return listing.page(kind, self._resources.all(kind), asked, shown)

    async def _tag(self, operation: str, asked: Fields, region: str) -> Fields:  # noqa: ARG002  # as all handlers
        return self._tags.answer(operation, asked)

    async def _create_endpoint(self, asked: Fields, region: str) -> Fields:
        given = tags.check(asked.get("Tags", []))
        document = self._resources.begin(ENDPOINT, asked["EndpointName"], region)
        document |= self._content(asked, region)
        document |= {"EndpointStatus": "Creating", "LastModifiedTime": document["CreationTime"]}
        self._tags.put(document["EndpointArn"], given)
        await self._endpoints.create(document)
        return {"EndpointArn": document["EndpointArn"]}

    def _content(self, asked: Fields, region: str) -> Fields:
        """The fields that an endpoint has from its configuration, and from who deploys it."""
        config = self._resources.find(CONFIG, asked["EndpointConfigName"], region)
        names = {variant["ModelName"] for variant in config["ProductionVariants"]}
        models = {name: self._resources.find(MODEL, name, region) for name in names}
        deployment = Deployment.from_documents(config, models)
        if len({variant.multi_model for variant in deployment.variants}) > 1:
            raise errors.not_emulated("An endpoint with multi-model variants and others")
        content = {
            "EndpointConfigName": config["EndpointConfigName"],
            "Deployment": deployment.to_json(),
        }
        if "DeploymentConfig" in asked:
            content["LastDeploymentConfig"] = asked["DeploymentConfig"]
        if "MetricsConfig" in config:
            content["MetricsConfig"] = config["MetricsConfig"]
        return content

    async def _describe_endpoint(self, asked: Fields, region: str) -> Fields:
        found = self._resources.find(ENDPOINT, asked["EndpointName"], region)
        await self._endpoints.settled(found["EndpointName"], _HOLD_SECONDS)
        return self._resources.describe(ENDPOINT, asked["EndpointName"], region)

    def _settled(self, asked: Fields, region: str) -> Fields:
        """The endpoint that a request is to change.

        Raises:
            RequestError: it is changing already.
        """
        found = self._resources.find(ENDPOINT, asked["EndpointName"], region)
        if found["EndpointStatus"] not in _SETTLED:
            raise errors.in_progress(found["EndpointArn"])
        return found

    def _in_service(self, asked: Fields, region: str) -> Fields:
        found = self._settled(asked, region)
        if found["EndpointStatus"] != _IN_SERVICE:
            raise RequestError(
                f'Cannot update endpoint "{found["EndpointArn"]}" with status '
                f'"{found["EndpointStatus"]}": all that can be done with it is to delete it.'
            )
        return found

    async def _update_endpoint(self, asked: Fields, region: str) -> Fields:
        found = self._in_service(asked, region)
        content = self._content(asked, region)
        if asked.get("RetainAllVariantProperties"):
            excluded = asked.get("ExcludeRetainedVariantProperties", [])
            left_out = {one["VariantPropertyType"] for one in excluded}
            content["Deployment"] = _retained(content["Deployment"], found, left_out)
        if asked.get("RetainDeploymentConfig") and "LastDeploymentConfig" in found:
            content.setdefault("LastDeploymentConfig", found["LastDeploymentConfig"])
        for field in ("FailureReason", "LastDeploymentConfig", "MetricsConfig"):
            found.pop(field, None)
        await self._endpoints.update(found["EndpointName"], found | content)
        return {"EndpointArn": found["EndpointArn"]}

    async def _scale_endpoint(self, asked: Fields, region: str) -> Fields:
        found = self._in_service(asked, region)
        weights = {one["VariantName"]: one["DesiredWeight"] for one in found["ProductionVariants"]}
        wanted: dict[str, tuple[float | None, int | None]] = {}
        for one in asked["DesiredWeightsAndCapacities"]:
            name, count = one["VariantName"], one.get("DesiredInstanceCount")
            if name not in weights:
                raise RequestError(
                    f'The variant name(s) "{name}" is/are not present within endpoint '
                    f'configuration "{found["EndpointConfigName"]}".'
                )
            if count == 0:
                raise RequestError(f"DesiredInstanceCount of variant {name} must be above zero.")
            weights[name] = one.get("DesiredWeight", weights[name])
            wanted[name] = (one.get("DesiredWeight"), count)
        check_weights(list(weights.values()))
        await self._endpoints.scale(found["EndpointName"], wanted)
        return {"EndpointArn": found["EndpointArn"]}

    async def _delete_endpoint(self, asked: Fields, region: str) -> Fields:
        found = self._settled(asked, region)
        await self._endpoints.delete(found["EndpointName"])
        self._tags.forget(found["EndpointArn"])
        return {}


def _retained(deployment: Fields, endpoint: Fields, left_out: set[str]) -> Fields:
    """A deployment with the weights and the numbers of instances that the endpoint has now."""
    now = {one["VariantName"]: one for one in endpoint["ProductionVariants"]}
    new = Deployment.from_json(deployment)
    wanted = {}
    for variant in new.variants:
        weight, count = variant.weight, variant.instance_count
        if variant.name in now and "DesiredWeight" not in left_out:
            weight = now[variant.name]["DesiredWeight"]
        if variant.name in now and "DesiredInstanceCount" not in left_out:
            count = now[variant.name]["DesiredInstanceCount"]
        wanted[variant.name] = (weight, count)
    return new.scaled(wanted).to_json()
