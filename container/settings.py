"""Every limit and every environment variable of the container, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from container import resources

SINGLE_ROOT = Path("/opt/ml/model")  # where SageMaker lays the one model of an endpoint or a job


class SettingsError(Exception):
    """An environment variable holds what it cannot mean; the message is the one line to print."""


def _setting(variable: str, default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"variable": variable, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment may change. docs/03-settings.md is made from this class."""

    port: int = _setting(
        "SAGEMAKER_BIND_TO_PORT", 8080, "The one public port: every call of the API comes in here."
    )
    bind_address: str = _setting(
        "MME_BIND_ADDRESS",
        "",
        "The address to listen on, such as `127.0.0.1`; by default all, as the platform needs.",
    )
    multi_model: bool = _setting(
        "SAGEMAKER_MULTI_MODEL",
        True,
        "`true` on a multi-model endpoint. `false` serves the one model in the model root at "
        "`POST /invocations`, for an ordinary endpoint and for batch transform. Where neither it "
        "nor `MME_MODEL_ROOT` is set, it is `false` if there is anything in `/opt/ml/model`.",
    )
    safe_port_range: range | None = _setting(
        "SAGEMAKER_SAFE_PORT_RANGE",
        None,
        "Ports that inner servers may take, such as `25000-25999`. Checked, and kept by taking "
        "none: all that is inside listens on Unix sockets in a private directory.",
    )
    model_root: Path = _setting(
        "MME_MODEL_ROOT",
        Path("/opt/ml/models"),
        "Models are read from below this directory and from nowhere else "
        "(`/opt/ml/model` when not multi-model).",
    )
    temporary_directory: Path = _setting(
        "TMPDIR",
        Path("/tmp"),  # noqa: S108  # a private directory is made in it
        "The one place that is written: sockets and small files, in a private directory below it.",
    )
    shards: int = _setting(
        "MME_SHARDS",
        0,
        "Worker processes that share the models out among them; 0 takes one for two CPUs, the best "
        "for single rows. For bodies of a thousand rows, one a CPU answers a quarter more.",
    )
    lanes: int = _setting(
        "MME_LANES",
        16,
        "Connections from MMS to each shard: requests that it works on at once; at most 1024.",
    )
    worker: Path = _setting(
        "MME_WORKER",
        Path("mme-worker"),
        "The program that MMS starts for a shard. A Python runs MMS's own worker with our handler: "
        "slower, and right only with `MME_LANES=1`, since each lane is then a process.",
    )
    max_request_bytes: int = _setting(
        "MME_MAX_REQUEST_BYTES", 25 * 1024 * 1024, "A larger body is refused with 413."
    )
    model_queue: int = _setting(
        "MME_MODEL_QUEUE",
        256,
        "Invocations of one model that may be in flight or wait; more are refused with 503.",
    )
    queue: int = _setting(
        "MME_QUEUE",
        2048,
        "Invocations of all models that may be in flight or wait; more are refused with 503.",
    )
    max_connections: int = _setting(
        "MME_MAX_CONNECTIONS",
        4096,
        "Clients' connections at once, fewer where the limit of descriptors is lower; one more "
        "takes the place of one on which nothing happens, or is refused with 503.",
    )
    access_log: bool = _setting("MME_ACCESS_LOG", True, "`false` writes no line for each request.")
    metric_models: int = _setting(
        "MME_METRIC_MODELS",
        100,
        "Models that metrics count one by one; all others are counted as `other`.",
    )
    emf: bool = _setting(
        "MME_EMF",
        False,
        "`true` or `1` writes metrics of each model to the log once a minute in CloudWatch's "
        "embedded metric format, which makes CloudWatch metrics of them.",
    )
    receive_deadline_seconds: int = _setting(
        "MME_RECEIVE_DEADLINE_SECONDS",
        60,
        "A request that has begun must be received whole within this time, and its answer read.",
    )
    invoke_deadline_seconds: int = _setting(
        "MME_INVOKE_DEADLINE_SECONDS",
        60,
        "An invocation is answered within this time, with an error if need be; the platform "
        "waits no longer.",
    )
    load_deadline_seconds: int = _setting(
        "MME_LOAD_DEADLINE_SECONDS",
        300,
        "A load or unload is answered within this time; the platform waits 360 s.",
    )
    start_deadline_seconds: int = _setting(
        "MME_START_DEADLINE_SECONDS",
        120,
        "The container gives up when its shards do not serve within this time; the platform "
        "gives up after 4 minutes.",
    )
    drain_seconds: int = _setting(
        "MME_DRAIN_SECONDS",
        25,
        "After SIGTERM, requests in flight may take this long; the platform kills after 30 s.",
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Where it says nothing of the mode, what lies in ``SINGLE_ROOT`` does.

        Raises:
            SettingsError: a value cannot be read, or is out of range.
        """
        values: dict[str, Any] = {}
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            if text := environ.get(variable, ""):
                values[setting.name] = _read(variable, text, setting.default)
        values["shards"] = values.get("shards", 0) or max(1, resources.cpus() // 2)
        if "multi_model" not in values and "model_root" not in values:
            values["multi_model"] = not _holds_something(SINGLE_ROOT)
        if not values.get("multi_model", True):
            values.setdefault("model_root", SINGLE_ROOT)
        return cls(**values)

    @property
    def mode(self) -> dict[str, str]:
        """The variables that say which mode it is, for a process that must not decide again."""
        multi_model = "true" if self.multi_model else "false"
        return {"SAGEMAKER_MULTI_MODEL": multi_model, "MME_MODEL_ROOT": str(self.model_root)}


def _holds_something(directory: Path) -> bool:
    """Whether it is a directory that is not empty; one that we may not read is taken for one."""
    try:
        return any(directory.iterdir())
    except PermissionError:
        return True  # loading from it fails, and says why
    except OSError:
        return False


def _read(variable: str, text: str, default: object) -> object:
    text = text.strip()
    if variable == "SAGEMAKER_SAFE_PORT_RANGE":
        return _read_range(variable, text)
    if isinstance(default, Path):
        return Path(text)
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise SettingsError(f"{variable} is {text!r}: it must be true or false")
        return text.lower() in ("true", "1")
    return _read_number(variable, text)


def _read_number(variable: str, text: str) -> int:
    lowest, highest = 1, 2**31 - 1  # MMS takes its limits as Java integers
    if variable.endswith("_PORT"):
        highest = 65535
    elif variable == "MME_SHARDS":
        lowest = 0
    elif variable == "MME_LANES":
        highest = 1024  # a worker has no room for more
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise SettingsError(f"{variable} is {text!r}: it must be {lowest} to {highest}")
    return int(text)


def _read_range(variable: str, text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last) <= 65535):
        raise SettingsError(f"{variable} is {text!r}: it must be two ports such as 25000-25999")
    return range(int(first), int(last) + 1)
