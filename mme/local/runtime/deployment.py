"""What an endpoint runs, as plain data: its variants, each with its container and its instances."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

MULTI_MODEL = "MultiModel"
_VOLUME_GB = 30  # what instances have where a variant does not say
_START_SECONDS = 240  # the platform's default
_METRICS_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One production variant: a container, the instances that run it, its share of the traffic.

    Attributes:
        model_data_url: an S3 prefix of archives; of a model that is not multi-model, one archive.
        cache_enabled: keep models in memory after an invocation.
        volume_gb: of an instance's disk.
        start_seconds: the container must answer ``/ping`` within this time.
    """

    name: str
    model_name: str
    image: str
    model_data_url: str
    multi_model: bool
    cache_enabled: bool
    environment: Mapping[str, str]
    instance_type: str
    instance_count: int
    weight: float
    volume_gb: int
    start_seconds: int

    @classmethod
    def from_documents(cls, variant: Mapping[str, Any], model: Mapping[str, Any]) -> Self:
        """Make it from a ``ProductionVariants`` element and the model's description."""
        container = (model.get("Containers") or [model.get("PrimaryContainer") or {}])[0]
        caching = container.get("MultiModelConfig", {}).get("ModelCacheSetting", "Enabled")
        started = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _START_SECONDS)
        return cls(
            name=variant["VariantName"],
            model_name=variant["ModelName"],
            image=container.get("Image", ""),
            model_data_url=container.get("ModelDataUrl", ""),
            multi_model=container.get("Mode", "SingleModel") == MULTI_MODEL,
            cache_enabled=caching == "Enabled",
            environment=dict(container.get("Environment", {})),
            instance_type=variant["InstanceType"],
            instance_count=variant.get("InitialInstanceCount", 1),
            weight=variant.get("InitialVariantWeight", 1.0),
            volume_gb=variant.get("VolumeSizeInGB", _VOLUME_GB),
            start_seconds=started,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """All variants of an endpoint, and how often its metrics are published, in seconds.

    It is kept with the endpoint: whoever deletes the configuration or a model afterwards does not
    take them from an endpoint that runs.
    """

    variants: tuple[Variant, ...]
    metrics_seconds: int = field(default=_METRICS_SECONDS)

    @classmethod
    def from_documents(
        cls, config: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]
    ) -> Self:
        """Make it from an endpoint configuration and the models that it names."""
        metrics = config.get("MetricsConfig", {})
        seconds = metrics.get("MetricPublishFrequencyInSeconds", _METRICS_SECONDS)
        return cls(
            variants=tuple(
                Variant.from_documents(variant, models[variant["ModelName"]])
                for variant in config["ProductionVariants"]
            ),
            metrics_seconds=seconds if metrics.get("EnableEnhancedMetrics") else _METRICS_SECONDS,
        )

    def scaled(self, wanted: Mapping[str, tuple[float, int]]) -> Self:
        """The same with other weights and numbers of instances, by variant."""
        variants = tuple(
            dataclasses.replace(
                variant, weight=wanted[variant.name][0], instance_count=wanted[variant.name][1]
            )
            for variant in self.variants
        )
        return dataclasses.replace(self, variants=variants)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` made."""
        variants = tuple(Variant(**variant) for variant in value["variants"])
        return cls(variants=variants, metrics_seconds=value["metrics_seconds"])

    def to_json(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return dataclasses.asdict(self)
