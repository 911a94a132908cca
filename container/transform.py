"""What batch transform asks before it sends anything: how much at once."""

from container import resources
from container.settings import Settings

_MB = 1024 * 1024
_MOST_MB = 100  # of all requests at once; the platform takes no larger product


def parameters(settings: Settings, cpus: int = 0) -> dict[str, object]:
    """The answer of ``GET /execution-parameters``: a request for each CPU, each as large as may be.

    Args:
        settings: of the container.
        cpus: that it may use; 0 looks how many there are.
    """
    cpus = cpus or resources.cpus()
    at_once = min(cpus, settings.shards * settings.lanes, settings.model_queue, settings.queue)
    at_once = min(at_once, _MOST_MB)
    payload = min(settings.max_request_bytes // _MB, _MOST_MB // at_once)
    return {
        "MaxConcurrentTransforms": at_once,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": max(1, payload),  # it must be a whole number, and 0 means no limit
    }
