"""moto's CloudWatch Logs with streams that keep their newest events and no more."""

import threading
import weakref
from typing import Any

from moto.logs.models import LogEvent, LogsBackend, LogStream, logs_backends
from moto.logs.urls import url_bases, url_paths

MOST_EVENTS = 10_000  # of a stream


def install() -> None:
    """Make moto use it; to be called before CloudWatch Logs is used."""
    logs_backends.backend = BoundedLogsBackend


class BoundedLogsBackend(LogsBackend):
    """moto's Logs, in bounded memory."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._lock = threading.Lock()
        self._dropped: weakref.WeakKeyDictionary[LogStream, int] = weakref.WeakKeyDictionary()

    @property
    def _url_module(self) -> Any:
        return _Urls

    def put_log_events(
        self, log_group_name: str, log_stream_name: str, log_events: list[dict[str, Any]]
    ) -> tuple[str, dict[str, Any]]:
        """As moto does; then drop the stream's oldest events, if there are too many."""
        with self._lock:
            answer = super().put_log_events(log_group_name, log_stream_name, log_events)
            stream = self.groups[log_group_name].streams[log_stream_name]
            surplus = len(stream.events) - MOST_EVENTS
            if surplus > 0:
                stream.events.sort(key=lambda event: event.timestamp)
                del stream.events[:surplus]
                self._dropped[stream] = self._dropped.get(stream, 0) + surplus
            tracked: list[LogEvent] = LogEvent.instances_tracked  # type: ignore[attr-defined]  # of moto's metaclass
            tracked.clear()  # it would keep all events that ever were
        return answer

    def get_log_events(
        self,
        log_group_name: str,
        log_group_id: str,
        log_stream_name: str,
        start_time: str,
        end_time: str,
        limit: int,
        next_token: str | None,
        start_from_head: str,
    ) -> tuple[list[dict[str, Any]], str | None, str | None]:
        """As moto does, with tokens that count the events that were dropped, too."""
        group = self._find_log_group(log_group_id=log_group_id, log_group_name=log_group_name)
        stream = group.streams.get(log_stream_name)
        dropped = self._dropped.get(stream, 0) if stream is not None else 0
        events, backward, forward = super().get_log_events(
            log_group_name,
            log_group_id,
            log_stream_name,
            start_time,
            end_time,
            limit,
            _moved(next_token, -dropped),
            start_from_head,
        )
        return events, _moved(backward, dropped), _moved(forward, dropped)


class _Urls:
    """What moto takes from the module of a backend's class."""

    url_bases, url_paths = url_bases, url_paths


def _moved(token: str | None, by: int) -> str | None:
    """The token of another place in the stream: ``f/`` or ``b/`` and the number of an event."""
    if token is None or not token[2:].lstrip("-").isdecimal():
        return token
    return f"{token[:2]}{int(token[2:]) + by:056d}"
