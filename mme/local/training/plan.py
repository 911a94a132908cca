"""What a training job runs, as plain data, and which host gets which key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from mme.local.control import errors
from mme.local.control.errors import RequestError

SHARDED, REPLICATED = "ShardedByS3Key", "FullyReplicated"
MAX_RUN_SECONDS = 86400  # where the request does not say
_READ_AS_FILES = ("File", "FastFile")


@dataclass(frozen=True)
class Channel:
    """One input.

    Attributes:
        name: of its folder.
        url: what keys begin with.
        sharded: each host gets some of the keys; else all get all.
        about: what ``inputdataconfig.json`` says of it.
    """

    name: str
    url: str
    sharded: bool
    about: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """A job.

    Attributes:
        name: the job's.
        hosts: their names.
        instance_type: of each.
        hyperparameters: texts, as the platform hands them over.
        channels: the inputs.
        output_url: the prefix; results go to ``OUTPUT/JOB/output``.
        compressed: as ``model.tar.gz``; else file by file.
        checkpoint_url: what ``checkpoints`` is copied to and from, if it is.
        max_run_seconds: then it is stopped.
        environment: of the container.
        metrics: the patterns of metrics, by name.
    """

    name: str
    hosts: tuple[str, ...]
    instance_type: str
    hyperparameters: Mapping[str, str]
    channels: tuple[Channel, ...]
    output_url: str
    compressed: bool
    checkpoint_url: str | None
    max_run_seconds: int
    environment: Mapping[str, str]
    metrics: tuple[tuple[str, str], ...]

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a job's document."""
        algorithm, where = document["AlgorithmSpecification"], document["ResourceConfig"]
        output, stopping = document["OutputDataConfig"], document.get("StoppingCondition", {})
        return cls(
            name=document["TrainingJobName"],
            hosts=tuple(f"algo-{number + 1}" for number in range(where["InstanceCount"])),
            instance_type=where["InstanceType"],
            hyperparameters=document.get("HyperParameters", {}),
            channels=tuple(map(_channel, document.get("InputDataConfig", []))),
            output_url=output["S3OutputPath"].rstrip("/"),
            compressed=output.get("CompressionType", "GZIP") == "GZIP",
            checkpoint_url=document.get("CheckpointConfig", {}).get("S3Uri"),
            max_run_seconds=stopping.get("MaxRuntimeInSeconds", MAX_RUN_SECONDS),
            environment=document.get("Environment", {}),
            metrics=tuple(
                (one["Name"], one["Regex"]) for one in algorithm.get("MetricDefinitions", [])
            ),
        )

    @property
    def results_url(self) -> str:
        """What the keys of all results begin with."""
        return f"{self.output_url}/{self.name}/output"

    @property
    def model_url(self) -> str:
        """Where the model is: one archive, or a prefix."""
        return (
            f"{self.results_url}/model.tar.gz" if self.compressed else f"{self.results_url}/model/"
        )


def _channel(given: Mapping[str, Any]) -> Channel:
    source = given["DataSource"]["S3DataSource"]
    distribution = source.get("S3DataDistributionType", REPLICATED)
    about = {
        "TrainingInputMode": given.get("InputMode", "File"),
        "S3DistributionType": distribution,
        "RecordWrapperType": given.get("RecordWrapperType", "None"),
    }
    if "ContentType" in given:
        about["ContentType"] = given["ContentType"]
    return Channel(given["ChannelName"], source["S3Uri"], distribution == SHARDED, about)


def check(asked: Mapping[str, Any]) -> None:
    """Refuse what is not emulated, or what AWS refuses.

    Raises:
        RequestError: it is so.
    """
    for field in ("AlgorithmSpecification", "ResourceConfig"):
        if field not in asked:
            raise RequestError(f"A training job needs {field}.")
    if "TrainingImage" not in asked["AlgorithmSpecification"]:
        raise RequestError("AlgorithmSpecification needs TrainingImage.")
    for needed in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if needed not in asked["ResourceConfig"]:
            raise RequestError(f"ResourceConfig needs {needed}.")
    _as_files("TrainingInputMode", asked["AlgorithmSpecification"]["TrainingInputMode"])
    for channel in asked.get("InputDataConfig", []):
        _check_channel(channel)
    stopping = asked.get("StoppingCondition", {})
    longest = stopping.get("MaxRuntimeInSeconds", MAX_RUN_SECONDS)
    wait = stopping.get("MaxWaitTimeInSeconds")
    if asked.get("EnableManagedSpotTraining") and (wait is None or wait < longest):
        raise RequestError(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds."
        )


def _check_channel(channel: Mapping[str, Any]) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise RequestError(f"Channel {channel['ChannelName']} needs DataSource.S3DataSource.")
    if source["S3DataType"] != "S3Prefix":
        raise errors.not_emulated(f"S3DataType {source['S3DataType']}")
    _as_files("InputMode", channel.get("InputMode", "File"))
    for field in ("CompressionType", "RecordWrapperType"):
        if channel.get(field, "None") != "None":
            raise errors.not_emulated(f"{field} {channel[field]} of a channel")


def _as_files(field: str, mode: str) -> None:
    if mode not in _READ_AS_FILES:
        raise errors.not_emulated(f"{field} {mode}")


def shared_out(keys: Sequence[str], hosts: int, sharded: bool) -> list[list[str]]:
    """The keys that each host gets: all of them, or each every so many."""
    if not sharded:
        return [list(keys) for _ in range(hosts)]
    return [list(keys[host::hosts]) for host in range(hosts)]
