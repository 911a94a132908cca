"""What the page at / shows, as JSON."""

import time
from collections.abc import Mapping
from typing import Any

from mme.local.runtime.endpoints import Endpoint, Endpoints
from mme.local.runtime.history import Events
from mme.local.runtime.instance import Instance
from mme.local.runtime.pool import Pool

_PAGE, _LARGEST_PAGE = 100, 1000


class State:
    """Reads the endpoints as they are now.

    Args:
        endpoints: that there are.
        events: evictions and errors of all.
        version: of this program.
        region: of who does not sign.
    """

    def __init__(self, endpoints: Endpoints, events: Events, version: str, region: str) -> None:
        self._endpoints, self._events = endpoints, events
        self._version, self._region = version, region

    def now(self) -> dict[str, Any]:
        """Everything but the models, of which there may be many."""
        endpoints = self._endpoints.all()
        return {
            "now": round(time.time(), 3),
            "version": self._version,
            "region": self._region,
            "endpoints": [_endpoint(endpoint) for endpoint in endpoints],
            "series": {endpoint.name: endpoint.history.to_json() for endpoint in endpoints},
            "evictions": list(self._events.evictions),
            "errors": list(self._events.errors),
        }

    def models(self, query: Mapping[str, str]) -> dict[str, Any]:
        """One page of an endpoint's resident models, the last used first.

        Args:
            query: ``endpoint``, and perhaps ``search`` (part of a target), ``offset``, ``limit``.
        """
        endpoint = self._endpoints.get(query.get("endpoint", ""))
        search = query.get("search", "").lower()
        found: dict[str, dict[str, Any]] = {}
        now, monotonic = time.time(), time.monotonic()
        for instance in _instances(endpoint) if endpoint is not None else []:
            for name, held in instance.cache.memory.held():
                target = instance.cache.targets[name]
                if search not in target.lower():
                    continue
                last_used = round(now - (monotonic - held.used_at), 3)
                model = found.setdefault(
                    target,
                    {
                        "target": target,
                        "name": name,
                        "instances": [],
                        "size_bytes": held.size,
                        "state": "resident",
                        "last_used": last_used,
                        "invocations": 0,
                    },
                )
                model["instances"].append(instance.identity)
                model["invocations"] += held.uses
                model["last_used"] = max(last_used, model["last_used"])
        offset = _number(query.get("offset"), 0)
        limit = min(_number(query.get("limit"), _PAGE), _LARGEST_PAGE)
        models = sorted(found.values(), key=lambda model: -model["last_used"])
        return {"total": len(models), "models": models[offset : offset + limit]}


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default


def _instances(endpoint: Endpoint) -> list[Instance]:
    return [one for pool in endpoint.pools.values() for one in pool.instances]


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "status": endpoint.status,
        "failure_reason": endpoint.document.get("FailureReason"),
        "config": endpoint.document["EndpointConfigName"],
        "created": endpoint.document["CreationTime"],
        "variants": [_variant(pool) for pool in endpoint.pools.values()],
    }


def _variant(pool: Pool) -> dict[str, Any]:
    variant = pool.variant
    return {
        "name": variant.name,
        "weight": pool.weight,
        "image": variant.image,
        "instance_type": variant.instance_type,
        "multi_model": variant.multi_model,
        "cache": variant.cache_enabled,
        "data_url": variant.model_data_url,
        "instances": [_instance(instance) for instance in pool.instances],
    }


def _instance(instance: Instance) -> dict[str, Any]:
    memory, disk = instance.cache.memory, instance.cache.shelf.residency
    return {
        "id": instance.identity,
        "status": instance.state.value,
        "url": f"http://{instance.container.url_host}:{instance.container.url_port}",
        "started": round(instance.started_at, 3),
        "memory_bytes": instance.memory_bytes,
        "memory_limit_bytes": instance.memory_limit_bytes,
        "disk_bytes": disk.used,
        "disk_limit_bytes": disk.capacity,
        "loaded": len(memory),
        "loading": memory.loading,
        "in_flight": instance.in_flight,
        "invocations": instance.invocations,
        "hits": memory.counts.hits,
        "loads": memory.counts.loads,
        "evictions": memory.counts.evictions,
    }
