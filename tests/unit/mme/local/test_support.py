"""The table of support says what the control plane does, field by field."""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore import xform_name
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from moto.sagemaker.responses import SageMakerResponse

from mme.local import support
from mme.local.control import Control
from mme.local.store import Store
from mme.local.support import Level
from mme.local.validation import service
from tests.unit.mme.local.plane import (
    ACCOUNT,
    REGION,
    ROLE,
    MemoryEndpoints,
    arn,
    bucket,
    container,
    variant,
)

DRIVEN = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint")
# One of them fits each pattern of the fields that are driven.
TEXTS = (
    *("1", "/metrics", "s3://data/models/", "text/csv", ROLE),
    *(f"arn:aws:sns:{REGION}:{ACCOUNT}:t", arn("reserved-capacity", "any"), "mig-1g.5gb"),
)
# A value of each real field that makes a difference.
PRIMARY = container()
OTHERS: dict[str, Any] = {
    "ModelName": "other",
    "Image": "other",
    "Mode": "SingleModel",
    "ModelDataUrl": "s3://data/",
    "Environment": {"A": "b"},
    "MultiModelConfig.ModelCacheSetting": "Disabled",
    "EndpointConfigName": "other",
    "MetricsConfig.EnableEnhancedMetrics": False,
    "MetricsConfig.MetricPublishFrequencyInSeconds": 30,
    "VariantName": "other",
    "InstanceType": "ml.c5.large",
    "InitialInstanceCount": 3,
    "InitialVariantWeight": 3.0,
    "VolumeSizeInGB": 77,
    "ModelDataDownloadTimeoutInSeconds": 77,
    "ContainerStartupHealthCheckTimeoutInSeconds": 77,
    "EndpointName": "other",
    "RetainAllVariantProperties": True,
    "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
}


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        answers: of all operations, in their order.
        deployed: what runs in the end.
        described: all that is said of it afterwards.
    """

    answers: list[Any]
    deployed: Any
    described: list[Any]

    @property
    def effects(self) -> tuple[Any, Any]:
        """All but descriptions."""
        return self.answers, self.deployed


class World:
    """A control plane, and requests that make and update an endpoint with it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def requests(self) -> dict[str, dict[str, Any]]:
        """The requests, without anything that need not be."""
        return {
            "CreateModel": {"ModelName": "m", "PrimaryContainer": container()},
            "CreateEndpointConfig": {
                "EndpointConfigName": "c",
                "ProductionVariants": [variant()],
                "MetricsConfig": {
                    "EnableEnhancedMetrics": True,
                    "MetricPublishFrequencyInSeconds": 10,
                },
            },
            "CreateEndpoint": {"EndpointName": "e", "EndpointConfigName": "c"},
            "UpdateEndpoint": {"EndpointName": "e", "EndpointConfigName": "c"},
        }

    def outcome(self, requests: dict[str, dict[str, Any]]) -> Outcome:
        """Make all requests; before the update, the endpoint is scaled."""
        return asyncio.run(self._outcome(requests))

    async def _outcome(self, requests: dict[str, dict[str, Any]]) -> Outcome:
        with contextlib.closing(Store(self._root / "store")) as store:
            for kind in ("model", "endpoint-config", "endpoint", "tags"):
                for document in store.all(kind):
                    names = [key for key in document if key.endswith("Name")]
                    for name in names:
                        store.remove(kind, str(document[name]))
            endpoints = MemoryEndpoints(store)
            control = Control(store, endpoints, bucket(self._root / "s3"), ACCOUNT)

            async def call(operation: str, **asked: Any) -> Any:
                _, answer = await control.call(operation, json.dumps(asked).encode(), REGION)
                return json.loads(answer)

            answers = []
            described = []
            for operation in DRIVEN:
                if operation == "UpdateEndpoint":
                    await call(
                        "UpdateEndpointWeightsAndCapacities",
                        EndpointName="e",
                        DesiredWeightsAndCapacities=[
                            {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
                        ],
                    )
                    described.append(await call("DescribeEndpoint", EndpointName="e"))
                answers.append(await call(operation, **requests[operation]))
            described += [
                await call("DescribeModel", ModelName="m"),
                await call("DescribeEndpointConfig", EndpointConfigName="c"),
                await call("DescribeEndpoint", EndpointName="e"),
            ]
            for kind, name in (("model", "m"), ("endpoint-config", "c"), ("endpoint", "e")):
                described.append(await call("ListTags", ResourceArn=arn(kind, name)))
            found = store.get("endpoint", "e")
            return Outcome(answers, found and found["Deployment"], described)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)
