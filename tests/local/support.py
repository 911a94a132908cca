"""What tests of the local endpoint share."""

import contextlib
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from mme import artifacts
from mme.process import LocalProcess
from tests.support import wait_until

ROLE = "arn:aws:iam::123456789012:role/any"
ROW = b"1,2,3,4,5,6"
MODEL_FILE = "xgboost-model"
SECONDS = 120
FAILURE_SECONDS = 2  # for which a load that failed is remembered here


class Local(LocalProcess):
    """A running ``mme local``, with boto3 clients for it and short words for what tests do."""

    def __init__(self, state: Path, *words: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(state, *words, environ=environ)
        self.state = state
        self._clients: dict[str, Any] = {}

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client; tests set nothing that a user would not."""
        if options:
            return self._new(service, **options)
        if service not in self._clients:
            self._clients[service] = self._new(service)
        return self._clients[service]

    def _new(self, service: str, **options: Any) -> Any:
        session = boto3.Session("local", "local", region_name="us-east-1")
        return session.client(service, endpoint_url=self.url, **options)

    def close(self) -> None:
        """Close what this side holds."""
        for client in self._clients.values():
            client.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def bucket(self, name: str, models: Mapping[str, bytes]) -> Path:
        """A bucket of archives, laid as files; its folder."""
        folder = self.state / "s3" / name
        folder.mkdir(parents=True, exist_ok=True)
        for target, data in models.items():
            drop(folder, target, data)
        return folder

    def create(
        self,
        name: str,
        bucket: str,
        environment: Mapping[str, str] | None = None,
        cache: str = "Enabled",
        wait: bool = True,
        **variant: Any,
    ) -> None:
        """An endpoint over a bucket, as boto3 makes it."""
        sagemaker = self.client("sagemaker")
        container = {
            "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:latest",
            "Mode": "MultiModel",
            "ModelDataUrl": f"s3://{bucket}/",
            "Environment": dict(environment or {}),
            "MultiModelConfig": {"ModelCacheSetting": cache},
        }
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=[container])
        self.configure(name, name, **variant)
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        if wait:
            self.in_service(name)

    def configure(self, config: str, model: str, **variant: Any) -> None:
        """An endpoint configuration of one variant."""
        described = {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            **variant,
        }
        self.client("sagemaker").create_endpoint_config(
            EndpointConfigName=config, ProductionVariants=[described]
        )

    def in_service(self, name: str) -> dict[str, Any]:
        """Wait with boto3's own waiter; the endpoint's description."""
        sagemaker = self.client("sagemaker")
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
        described: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
        return described

    def invoke(self, name: str, target: str | None, body: bytes = ROW, **more: Any) -> Any:
        """The prediction, from JSON."""
        if target is not None:
            more["TargetModel"] = target
        answer = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, ContentType="text/csv", Body=body, **more
        )
        return json.loads(answer["Body"].read())

    def page(self, path: str = "state") -> Any:
        """What the page is given."""
        with urllib.request.urlopen(f"{self.url}/_mme/{path}", timeout=SECONDS) as answer:  # noqa: S310  # our own URL
            return json.load(answer)

    def instances(self, name: str) -> list[dict[str, Any]]:
        """The instances of an endpoint, as the page shows them."""
        (endpoint,) = [one for one in self.page()["endpoints"] if one["name"] == name]
        return [one for variant in endpoint["variants"] for one in variant["instances"]]

    def delete(self, name: str) -> None:
        """Delete an endpoint and wait until it has gone."""
        sagemaker = self.client("sagemaker")
        sagemaker.delete_endpoint(EndpointName=name)

        def gone() -> bool:
            with contextlib.suppress(sagemaker.exceptions.ClientError):
                sagemaker.describe_endpoint(EndpointName=name)
                return False
            return True

        wait_until(gone, SECONDS, f"{name} gone")


def drop(folder: Path, target: str, data: bytes) -> None:
    """Put an archive with one model file into a bucket's folder."""
    path = folder / target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(artifacts.pack({MODEL_FILE: data}))
