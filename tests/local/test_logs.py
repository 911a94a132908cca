"""CloudWatch Logs by boto3 against the real child: streams that keep their newest events."""

import time
import uuid
from typing import Any

import pytest

from mme.local.aws.logs import MOST_EVENTS
from tests.local.moto import MotoChild

NOW = int(1000 * time.time()) - 100_000


@pytest.fixture(scope="session")
def logs(moto: MotoChild) -> Any:
    """A client."""
    return moto.client("logs")


@pytest.fixture
def stream(logs: Any) -> dict[str, str]:
    """A stream of the test's own."""
    where = {"logGroupName": f"/group/{uuid.uuid4().hex}", "logStreamName": "variant/i-1"}
    logs.create_log_group(logGroupName=where["logGroupName"])
    logs.create_log_stream(**where)
    return where


def put(logs: Any, stream: dict[str, str], numbers: range) -> None:
    """Events with the numbers as messages, a millisecond apart."""
    for start in range(numbers.start, numbers.stop, 1000):
        events = [
            {"timestamp": NOW + number, "message": f"event {number}"}
            for number in numbers[start - numbers.start :][:1000]
        ]
        logs.put_log_events(**stream, logEvents=events)


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["message"].split()[1]) for event in events]


def test_events_come_back(logs: Any, stream: dict[str, str]) -> None:
    """What is put is got, filtered and described."""
    put(logs, stream, range(100))
    got = logs.get_log_events(**stream, startFromHead=True, limit=10)
    assert numbers(got["events"]) == list(range(10))
    assert numbers(logs.get_log_events(**stream, limit=10)["events"]) == list(range(90, 100))
    found = logs.filter_log_events(
        logGroupName=stream["logGroupName"], filterPattern="event", startTime=NOW + 95
    )
    assert numbers(found["events"]) == list(range(95, 100))
    assert {event["logStreamName"] for event in found["events"]} == {stream["logStreamName"]}
    (described,) = logs.describe_log_streams(logGroupName=stream["logGroupName"])["logStreams"]
    assert described["logStreamName"] == stream["logStreamName"]
    assert (described["firstEventTimestamp"], described["lastEventTimestamp"]) == (NOW, NOW + 99)


def test_a_stream_keeps_its_newest_events(logs: Any, stream: dict[str, str]) -> None:
    """The oldest go when there are too many, and who follows the stream misses nothing."""
    put(logs, stream, range(MOST_EVENTS))
    read = logs.get_log_events(**stream, startFromHead=True)
    assert len(read["events"]) == MOST_EVENTS
    put(logs, stream, range(MOST_EVENTS, MOST_EVENTS + 1500))
    more = logs.get_log_events(**stream, startFromHead=True, nextToken=read["nextForwardToken"])
    assert numbers(more["events"]) == list(range(MOST_EVENTS, MOST_EVENTS + 1500))
    all_events = logs.get_log_events(**stream, startFromHead=True)["events"]
    assert numbers(all_events) == list(range(1500, MOST_EVENTS + 1500))
    none = logs.get_log_events(**stream, startFromHead=True, nextToken=more["nextForwardToken"])
    assert none["events"] == []


def test_many_events_take_no_memory(moto: MotoChild, logs: Any, stream: dict[str, str]) -> None:
    """A stream that is full grows no more, whatever is written."""
    put(logs, stream, range(MOST_EVENTS + 1000))
    before = moto.memory_bytes()
    put(logs, stream, range(MOST_EVENTS + 1000, 4 * MOST_EVENTS))
    assert moto.memory_bytes() - before < 16 << 20
