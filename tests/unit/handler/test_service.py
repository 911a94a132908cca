"""The operations of the gate on the handler's models, and what of them takes long."""

from pathlib import Path

import pytest

from handler import directory, memory
from handler.booster import Booster
from handler.errors import Fault, HandlerError
from handler.memory import MIB, Room, heap_bytes
from handler.service import Service
from handler.settings import Settings
from handler.trial import check
from tests.support import saved, train

ROW = b"1,2,3,4,5,6"


def ask(service: Service, operation: str, body: bytes = b"", name: str = "m") -> tuple[int, bytes]:
    headers = {"mme-operation": operation, "mme-model": name, "mme-content-type": "text/csv"}
    if operation == "load":
        headers["mme-directory"], body = body.decode(), b""
    answer = service.answer(headers, body)
    return answer.status, answer.body


def laid(directory: Path, data: bytes) -> bytes:
    directory.mkdir()
    (directory / "m.ubj").write_bytes(data)
    return str(directory).encode()


def test_life(tmp_path: Path) -> None:
    """A model is absent, loaded, loaded again in its place, unloaded, and absent."""
    service = Service(Settings())
    one, other = (laid(tmp_path / f"{seed}", saved(train(seed=seed))) for seed in range(2))
    assert ask(service, "invoke", ROW)[0] == 404
    assert ask(service, "unload")[0] == 200
    assert ask(service, "load", one)[0] == 200
    first = ask(service, "invoke", ROW)
    assert ask(service, "load", other)[0] == 200
    second = ask(service, "invoke", ROW)
    assert (first[0], second[0]) == (200, 200)
    assert first[1] != second[1]
    assert ask(service, "unload")[0] == 200
    assert ask(service, "invoke", ROW)[0] == 404
    assert ask(service, "dance")[0] == 400


@pytest.mark.parametrize(
    ("operation", "body", "small", "large"),
    [
        ("invoke", ROW, False, False),
        ("invoke", b"\n".join([ROW] * 500), False, True),
        ("invoke", b"\n".join([ROW] * 5000), True, True),
        ("unload", b"", False, True),
    ],
)
def test_what_takes_long(
    operation: str, body: bytes, small: bool, large: bool, tmp_path: Path
) -> None:
    """Large bodies take long, fewer rows do for a large model, and so does letting that go."""
    service = Service(Settings())
    ask(service, "load", laid(tmp_path / "small", saved(train())), "small")
    trees = train(num_parallel_tree=40, max_depth=8)
    ask(service, "load", laid(tmp_path / "large", saved(trees)), "large")
    for name, long in (("small", small), ("large", large), ("absent", small)):
        headers = {"mme-operation": operation, "mme-model": name}
        assert service.takes_long(headers, body) is long


def test_enough_is_counted() -> None:
    """Unloads add up until it is enough, and then anew."""
    room = Room()
    for _ in range(3):
        assert not room.enough(10 * MIB)
        room.free(10 * MIB)
        assert room.enough(10 * MIB)
        room.free(10 * MIB)


def test_room_for_what_went() -> None:
    """Where there is no room, there is as much as has just gone, and not more."""
    room = Room(reserve=2**50)  # more than any machine has
    with pytest.raises(HandlerError) as error:
        room.take(MIB)
    assert error.value.fault is Fault.OUT_OF_MEMORY
    assert "no memory for a model of 1.0 MB" in error.value.message
    for _ in range(100):
        room.free(MIB)
        room.take(MIB)
    with pytest.raises(HandlerError):
        room.take(1)


def test_room_for_so_much() -> None:
    """All models together take no more than they may; what went makes room."""
    room = Room(most=10 * MIB)
    room.take(6 * MIB)
    with pytest.raises(HandlerError) as error:
        room.take(5 * MIB)
    assert error.value.fault is Fault.OUT_OF_MEMORY
    assert "models hold 6.0 of 10.0 MB" in error.value.message
    room.free(6 * MIB)
    room.take(5 * MIB)
    with pytest.raises(HandlerError) as error:
        room.take(11 * MIB)
    assert error.value.fault is Fault.BAD_MODEL  # so that nothing is unloaded for it, in vain


def test_room_for_what_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit a model may take another's place, though something else has grown meanwhile."""
    limit = 1000 * MIB
    available = limit
    monkeypatch.setattr(memory, "available_bytes", lambda: (available, limit))
    room = Room(reserve=100 * MIB)
    for _ in range(17):
        room.take(50 * MIB)
        available -= 50 * MIB
    with pytest.raises(HandlerError):
        room.take(60 * MIB)
    available -= 30 * MIB
    for size in (50, 51, 50, 49):
        room.free(50 * MIB)
        room.take(size * MIB)
    with pytest.raises(HandlerError):
        room.take(50 * MIB)
    available -= 30 * MIB
    room.free(50 * MIB)
    with pytest.raises(HandlerError):
        room.take(50 * MIB)


def test_room_is_looked_at_seldom() -> None:
    """With much room the system is not asked for each model."""
    room = Room()
    for _ in range(1000):
        room.take(1000)


@pytest.mark.parametrize(("trees", "depth"), [(5, 3), (10, 5), (25, 6)])
def test_memory_of_a_model(tmp_path: Path, trees: int, depth: int) -> None:
    """A model is counted with what it takes, also by a process that has checked others before."""
    data = saved(train(max_depth=depth, num_parallel_tree=trees))
    laid(tmp_path / "m", data)
    (found,) = directory.find(tmp_path / "m").models
    counted = [check(found)[1] for _ in range(4)]
    some = [Booster(data, 1) for _ in range(20)]  # what malloc has cached is used up
    before = heap_bytes()
    many = [Booster(data, 1) for _ in range(100)]
    after = heap_bytes()
    assert before is not None
    assert after is not None
    takes = (after - before) / len(many)
    assert max(counted) == pytest.approx(min(counted), rel=0.1)
    assert counted[-1] == pytest.approx(takes, rel=0.25)
    assert len(some) == 20
