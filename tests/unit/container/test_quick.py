"""The quick way of an invocation: whatever happens on it, the client is answered as on the other.

Each case is run twice, with the quick way and without, against an MMS that does what it is told.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from container import log, quick, upstream
from container.deadlines import Timed
from container.heads import read_request
from tests.unit.container.actors import (
    CLOSE,
    GOOD,
    LINE,
    ROW,
    SECONDS,
    Gate,
    read,
    reply,
    run,
    run_both,
    until,
)

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
MISSING = b'mme 404\n{"type": "ModelNotFoundException", "message": "Model not found: m"}'
REFUSED = b'mme 400\n{"code": 400, "type": "BadRequestException", "message": "2 columns"}'
CRASHED = b'mme 500\n{"code": 500, "type": "ModelCrashedException", "message": "it crashed"}'

pytestmark = pytest.mark.skipif(
    read_request(ROW) is None, reason="container._http was not built: there was no compiler"
)


def test_no_task(tmp_path: Path) -> None:
    """A plain invocation is answered by what reads MMS's answer; no task is made for it."""

    async def case(gate: Gate) -> Any:
        connection, wire = gate.connect()
        before = asyncio.all_tasks()
        connection.data_received(ROW)
        assert asyncio.all_tasks() == before
        assert gate.state["in flight"] == gate.state["deadlines"] == 1
        return await gate.answered(connection, wire)

    (answer,), asked, counted, said = run(tmp_path, case)
    assert answer == (
        b"HTTP/1.1 200 OK",
        {b"Content-Type": b"application/json", b"Content-Length": b"5"},
        b"[1.0]",
    )
    assert asked == [b"l", b"i", b"i"]
    assert counted == (2, {}, 2)
    assert said == 2 * [
        {
            "event": "request",
            "method": "POST",
            "status": 200,
            "in": 3,
            "out": 5,
            "path": "/models/m/invoke",
            "model": "m",
        }
    ]


@pytest.mark.parametrize(
    ("answers", "status", "operations"),
    [
        ([reply(GOOD)], 200, b"i"),
        ([b"|".join(reply(GOOD)[at : at + 1] for at in range(len(reply(GOOD))))], 200, b"i"),
        ([reply(GOOD).replace(b"\r\n\r\n", b"\r\n\r\n|")], 200, b"i"),
        ([reply(GOOD, more=b"Connection: close\r\n")], 200, b"i"),
        ([reply(REFUSED)], 400, b"i"),
        ([reply(b"mme 404\n{}")], 404, b"i"),
        ([reply(b"mme 418\nno JSON")], 418, b"i"),
        ([reply(b"mme 200\n")], 200, b"i"),
        ([reply(MISSING)], 200, b"ili"),
        ([reply(MISSING), reply(MISSING)], 200, b"ilili"),
        ([reply(b"mme 599\nthe worker died")], 200, b"it"),
        ([reply(b"mme 599\nit died"), reply(CRASHED)], 500, b"it"),
        ([reply(b'{"message": "Worker died."}', 500), reply(REFUSED)], 400, b"it"),
        ([reply(b'{"message": "Out of resources"}', 507)], 200, b"it"),
        ([reply(b'{"message": "no worker"}', 503)], 503, b"i"),
        ([reply(b"none of ours")], 503, b"i"),
        ([CLOSE], 200, b"ii"),
        ([CLOSE, CLOSE, reply(REFUSED)], 400, b"iii"),
        ([b"no HTTP\r\n\r\n"], 200, b"ii"),
    ],
)
def test_outcomes(tmp_path: Path, answers: list[bytes], status: int, operations: bytes) -> None:
    """Whatever MMS answers: the same answer, the same questions, counts and lines of the log."""

    async def case(gate: Gate) -> Any:
        gate.mms.answers = [*answers]
        first = await gate.ask()
        gate.mms.answers = []
        return first, await gate.ask()

    (first, second), asked, *_ = run_both(tmp_path, case)
    assert first[0][0].startswith(b"HTTP/1.1 %d " % status)
    assert second[0][2] == b"[1.0]"
    assert b"".join(asked[2:])[: len(operations)] == operations


def expire(gate: Gate) -> None:
    """Time passes, for all that has a deadline."""
    for one in tuple(gate.api.deadlines.open):
        timed: Timed = one
        timed.until = time.monotonic() - 1
    gate.api.deadlines.look()


@pytest.mark.parametrize("serving", [True, False])
def test_deadline(tmp_path: Path, serving: bool) -> None:
    """Who waits too long for an answer is told so, and the late answer reaches nobody."""

    async def case(gate: Gate) -> Any:
        [(connection, wire)] = await gate.in_flight()
        if not serving:
            gate.shard.serving.clear()
        expire(gate)
        answer = await gate.answered(connection, wire)
        gate.mms.silent[0].write(reply(b"mme 200\n[2.0]"))
        gate.shard.serving.set()
        return answer, await gate.ask()

    (late, after), asked, counted, _ = run_both(tmp_path, case)
    words = b"no answer in 60 s" if serving else b"the model server is restarting"
    assert words in late[0][2]
    assert late[0][0].split()[1] == (b"500" if serving else b"503")
    assert after[0][2] == b"[1.0]"
    assert asked == [b"l", b"i", b"i", b"i"]
    assert counted[0] == 3


def test_stopped(tmp_path: Path) -> None:
    """A drain waits for what is in flight; cut short, it answers it."""

    async def case(gate: Gate) -> Any:
        clients = await gate.in_flight(2)
        draining = asyncio.ensure_future(gate.api.drain(SECONDS))
        await asyncio.sleep(0)
        refused = await gate.ask()
        gate.mms.silent[0].write(reply(b"mme 200\n[2.0]"))
        await until(lambda: any(wire.sent for _, wire in clients))
        assert not draining.done()
        gate.api.deadlines.cut_short()
        answers = [(await gate.answered(*client))[0] for client in clients]
        assert await draining == 0
        return refused, sorted(answers, key=repr)

    (refused, answers), *_ = run_both(tmp_path, case)
    assert b"is stopping" in refused[0][2]
    assert [answer[0].split()[1] for answer in answers] == [b"200", b"503"]
    assert b"the container has stopped" in answers[1][2]


def test_handed_over_while_draining(tmp_path: Path) -> None:
    """A request that was let in before the drain is answered, also when it has to be asked anew."""

    async def case(gate: Gate) -> Any:
        [(connection, wire)] = await gate.in_flight()
        draining = asyncio.ensure_future(gate.api.drain(SECONDS))
        await asyncio.sleep(0)
        gate.mms.silent[0].close()
        answer = await gate.answered(connection, wire)
        assert await draining == 0
        return answer

    answer, asked, *_ = run_both(tmp_path, case)
    assert answer[0][2] == b"[1.0]"
    assert asked == [b"l", b"i", b"i", b"i"]


@pytest.mark.parametrize("ending", ["lost", "end"])
@pytest.mark.parametrize("last", [GOOD, MISSING, REFUSED])
def test_client_leaves(tmp_path: Path, ending: str, last: bytes) -> None:
    """A client that leaves harms nobody, and what was begun for it comes to its end."""

    async def case(gate: Gate) -> Any:
        [(connection, wire)] = await gate.in_flight()
        if ending == "lost":
            wire.close()
            connection.connection_lost(None)
        else:
            assert connection.eof_received()
        gate.mms.silent[0].write(reply(last))
        await until(lambda: not gate.state["in flight"])
        if ending == "end":
            connection.connection_lost(None)
        return read(wire.sent), wire.closed, await gate.ask()

    (sent, closed, after), *_ = run_both(tmp_path, case)
    assert len(sent) == (ending == "end")
    assert closed
    assert after[0][2] == b"[1.0]"


def test_in_order(tmp_path: Path) -> None:
    """What comes on the connection meanwhile, whole or in parts, is answered after it."""

    async def case(gate: Gate) -> Any:
        [(connection, wire)] = await gate.in_flight()
        connection.data_received(PING + ROW)
        connection.data_received(ROW[:30])
        assert not wire.sent
        gate.mms.silent[0].write(reply(b"mme 200\n[2.0]"))
        await until(lambda: len(read(wire.sent)) == 3)
        connection.data_received(ROW[30:])
        await until(lambda: len(read(wire.sent)) == 4)
        connection.data_received(ROW)
        connection.data_received(ROW + PING + ROW)
        return await gate.answered(connection, wire, 8)

    answers, asked, *_ = run_both(tmp_path, case)
    bodies = [answer[2] for answer in answers]
    assert bodies[0] == b"[2.0]"
    assert [body for body in bodies if body != b"[1.0]" and b"starting" not in body] == [b"[2.0]"]
    assert asked == [b"l", *[b"i"] * 7]


def test_lanes_and_queues(tmp_path: Path) -> None:
    """Who finds no free lane waits for one; who finds too many waiting is refused."""

    async def case(gate: Gate) -> Any:
        clients = await gate.in_flight(2, waiting=2)
        refused = await gate.answered(*clients[3])
        assert not any(wire.sent for _, wire in clients[:3])
        for writer in gate.mms.silent:
            writer.write(reply(b"mme 200\n[2.0]"))
        return refused, [await gate.answered(*client) for client in clients[:3]]

    (refused, answers), *_ = run_both(tmp_path, case, MME_MODEL_QUEUE="3")
    assert b"queue full: 3 requests wait for m" in refused[0][2]
    assert [answer[0][2] for answer in answers] == [b"[2.0]", b"[2.0]", b"[1.0]"]


@pytest.mark.parametrize("how", ["expire", "leave", "lose"])
def test_waiting_for_a_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Who waits for a lane is told when time is over, is dropped when gone, outlives the lane."""
    monkeypatch.setattr(quick, "AT_ONCE_SECONDS", -1.0)
    monkeypatch.setattr(upstream, "AT_ONCE_SECONDS", -1.0)

    async def case(gate: Gate) -> Any:
        clients = await gate.in_flight(2, waiting=2)
        if how == "expire":
            expire(gate)
        elif how == "leave":
            clients[2][1].close()
            clients[2][0].connection_lost(None)
            gate.mms.silent[0].write(reply(b"mme 200\n[2.0]"))
            await until(lambda: gate.state["in flight"] == 1)
            gate.mms.silent[1].write(reply(b"mme 200\n[2.0]"))
            del clients[2]
        else:
            gate.shard.pool.abort()
        return [(await gate.answered(*client))[0][2] for client in clients]

    answers, asked, counted, said = run_both(tmp_path, case)
    statuses = [line["status"] for line in said]
    if how == "expire":
        assert all(b"no answer in 60 s" in answer for answer in answers)
        assert asked == [b"l", *[b"i"] * 3]
        assert sorted(statuses) == [200, 500, 500, 500, 500]
    elif how == "leave":
        assert answers == [b"[2.0]", b"[2.0]", b"[1.0]"]
        assert asked == [b"l", *[b"i"] * 4]
        assert sorted(statuses) == [200, 200, 200, 200, 499]
    else:
        assert answers == [b"[1.0]"] * 4
        assert asked == [b"l", *[b"i"] * 7]
    assert counted[0] == 5


def test_unload_meanwhile(tmp_path: Path) -> None:
    """An unload waits for who is in flight; who comes after it finds no model."""

    async def case(gate: Gate) -> Any:
        [(connection, wire)] = await gate.in_flight()
        unloading = asyncio.ensure_future(gate.ask(b"DELETE /models/m HTTP/1.1\r\nHost: x\r\n\r\n"))
        await asyncio.sleep(0.01)
        assert not unloading.done()
        gone = await gate.ask()
        gate.mms.silent[0].write(reply(b"mme 200\n[2.0]"))
        return await gate.answered(connection, wire), gone, await unloading

    (answer, gone, unloaded), asked, *_ = run_both(tmp_path, case)
    assert answer[0][2] == b"[2.0]"
    assert gone[0][0].split()[1] == b"404"
    assert unloaded[0][0].split()[1] == b"200"
    assert asked == [b"l", b"i", b"i", b"u"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (ROW.replace(b"/m/", b"/%6D/"), 200),
        (ROW.replace(b"/m/", b"/n/"), 404),
        (ROW.replace(b"/m/", b"//"), 400),
        (ROW.replace(b"/m/", b"/m/m/"), 404),
        (ROW.replace(b"/m/", b"/m?/"), 405),
        (ROW.replace(b"/invoke", b"/invoke?a=b"), 200),
        (ROW.replace(b"/models/m/invoke", b"/invocations"), 404),
        (ROW.replace(b"POST", b"PUT"), 405),
        (ROW.replace(b"text/csv", b"t" * 1025), 400),
        (ROW.replace(b"Host", b"X-Amzn-SageMaker-Target-Model: m.tar.gz\r\nHost"), 200),
        (LINE + b"Content-Length: 0\r\n\r\n", 400),
        (LINE + b"Content-Length: 100000\r\n\r\n" + b"1" * 100_000, 200),
        (LINE + b"Content-Length: 1000001\r\n\r\n", 413),
        (LINE + b"Transfer-Encoding: chunked\r\n\r\n3\r\n1,2\r\n0\r\n\r\n", 200),
    ],
)
def test_requests(tmp_path: Path, data: bytes, status: int) -> None:
    """Which model is meant and what is refused is the same on both ways, once and again."""

    async def case(gate: Gate) -> Any:
        return [await gate.ask(data) for _ in range(2)]

    answers, *_ = run_both(tmp_path, case)
    assert [answer[0][0].split()[1] for answer in answers] == [b"%d" % status] * 2


@pytest.mark.parametrize("length", [3, 100_000])
def test_an_idle_connection_holds_no_body(tmp_path: Path, length: int) -> None:
    """What a client has sent is let go with the answer, not with the client's next request."""

    async def case(gate: Gate) -> Any:
        connection, wire = gate.connect()
        connection.data_received(LINE + b"Content-Length: %d\r\n\r\n" % length + b"1" * length)
        await until(lambda: wire.sent)
        held = [connection._request.body, getattr(connection._ride, "_body", b"")]
        connection.connection_lost(None)
        return held

    held, *_ = run_both(tmp_path, case)
    assert held == [b"", b""]


def test_no_log(tmp_path: Path) -> None:
    """Who wants no access log has none."""

    async def case(gate: Gate) -> Any:
        await gate.ask()
        return list(log._lines)

    lines, *_, said = run_both(tmp_path, case, MME_ACCESS_LOG="false")
    assert lines == said == []
