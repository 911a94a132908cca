"""The operations of the gate on the handler's models, and what of them takes long."""

import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handler import directory, forest, memory
from handler.artifact import Artifact
from handler.booster import Booster
from handler.errors import Fault, HandlerError
from handler.memory import MIB, Room, heap_bytes
from handler.model import Part
from handler.resident import resident
from handler.service import Service
from handler.settings import Settings
from handler.traits import Traits
from handler.trial import check
from tests.support import saved, train
from tests.unit.handler import forests

ROW = b"1,2,3,4,5,6"


def ask(
    service: Service,
    operation: str,
    body: bytes = b"",
    name: str = "m",
    more: Mapping[str, str] = {},
) -> tuple[int, bytes]:
    headers = {
        "mme-operation": operation,
        "mme-model": name,
        "mme-content-type": "text/csv",
        **more,
    }
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
        ("invoke", b"\n".join([ROW] * 6000), True, True),
        ("unload", b"", False, True),
    ],
)
@pytest.mark.parametrize("forest", [True, False])
def test_what_takes_long(
    operation: str, body: bytes, small: bool, large: bool, tmp_path: Path, forest: bool
) -> None:
    """Large bodies take long, fewer rows do for a large model, and so does letting that go."""
    service = Service(Settings(forest=forest))
    body = body * 10 if forest else body
    ask(service, "load", laid(tmp_path / "small", saved(train())), "small")
    trees = train(num_parallel_tree=40, max_depth=8)
    ask(service, "load", laid(tmp_path / "large", saved(trees)), "large")
    for name, long in (("small", small), ("large", large), ("absent", False)):
        headers = {"mme-operation": operation, "mme-model": name, "mme-content-type": "text/csv"}
        assert service.takes_long(headers, body) is long


def test_what_xgboost_alone_has(tmp_path: Path) -> None:
    """Asked for contributions, a forest is as if it were gone; loaded again, XGBoost has it."""
    service = Service(Settings())
    place = laid(tmp_path / "m", saved(train()))
    small = json.loads(ask(service, "load", place)[1])["bytes"]
    answer = ask(service, "invoke", ROW)
    wish = {"mme-attributes": "output=contributions"}
    assert ask(service, "invoke", ROW, more=wish)[0] == 404
    assert ask(service, "invoke", ROW)[0] == 404
    large = json.loads(ask(service, "load", place)[1])["bytes"]
    assert small < large
    status, body = ask(service, "invoke", ROW, more=wish)
    assert status == 200
    (row,) = json.loads(body)["predictions"]
    assert len(row["contributions"]) == 7
    assert ask(service, "invoke", ROW) == answer
    assert ask(service, "unload")[0] == 200
    assert json.loads(ask(service, "load", place)[1])["bytes"] == small


def test_what_a_model_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is always asked for leaves is XGBoost's from the first; no forest, no 404.

    It is checked as others of XGBoost's are: what a forest's reader takes may harm XGBoost.
    """
    checked = []

    def watched(one: Artifact, threads: int) -> tuple[Part, int]:
        checked.append(one.path.name)
        return check(one, threads)

    monkeypatch.setattr("handler.admission.check", watched)
    place = laid(tmp_path / "m", saved(train()))
    (tmp_path / "m" / "mme.json").write_text('{"output": ["leaf_indices"]}')
    service = Service(Settings())
    assert ask(service, "load", place)[0] == 200
    status, body = ask(service, "invoke", ROW)
    assert status == 200
    assert all(leaf >= 0 for leaf in json.loads(body)["predictions"][0]["leaf_indices"])
    assert checked == ["m.ubj"]


needs_forest = pytest.mark.skipif(not forest.AVAILABLE, reason="there was no compiler")


@needs_forest
@pytest.mark.parametrize(
    ("file", "kind"),
    [(forests.leaf(outputs=3000), "text/csv"), (forests.leaf(features=2**24), "text/libsvm")],
    ids=["outputs", "features"],
)
def test_wide_work_takes_long(tmp_path: Path, file: bytes, kind: str) -> None:
    """A small body for a small model may be much to compute: it does not hold the loop."""
    service = Service(Settings())
    ask(service, "load", laid(tmp_path / "m", file))
    for rows, long in ((1, kind == "text/libsvm"), (2000, True)):
        body = b"1\n" * rows
        headers = {"mme-operation": "invoke", "mme-model": "m", "mme-content-type": kind}
        assert service.takes_long(headers, body) is long
        assert (service.quick("m", kind, "", body) is None) is long


@needs_forest
def test_too_wide_an_answer_is_not_made(tmp_path: Path) -> None:
    """What would be too much for an answer is refused before it is computed."""
    service = Service(Settings(max_response_bytes=10**6))
    ask(service, "load", laid(tmp_path / "m", forests.leaf(outputs=3000)))
    assert ask(service, "invoke", b"1\n" * 10)[0] == 200
    status, body = ask(service, "invoke", b"1\n" * 20_000)
    assert status == 400
    assert b"at least 240000000 bytes, at most are 1000000; send fewer rows" in body


@needs_forest
def test_names_are_counted(tmp_path: Path) -> None:
    """Names that are much to hold count as memory, and few are kept when their models go."""
    service = Service(Settings())
    names = [f"a-name-of-a-column-{number}" for number in range(1000)]
    few = laid(tmp_path / "few", forests.leaf(features=1000))
    place = laid(tmp_path / "many", forests.leaf(features=1000, names=names))
    sizes = [
        json.loads(ask(service, "load", at, name)[1])["bytes"]
        for name, at in (("few", few), ("many", place))
    ]
    assert sizes[1] - sizes[0] > sum(map(len, names)) + 50 * len(names)
    ask(service, "unload", name="many")
    assert service._room._held == sizes[0]
    for number in range(40):
        names[0] = f"{number}"
        place = laid(tmp_path / f"{number}", forests.leaf(features=1000, names=names))
        assert ask(service, "load", place)[0] == 200
    kept = {
        one.names for one in gc.get_objects() if isinstance(one, Traits) and len(one.names) == 1000
    }
    assert len(kept) < 20


@needs_forest
def test_what_is_known_is_shared(tmp_path: Path) -> None:
    """A million models that are alike have one note among them."""
    service = Service(Settings())
    wide = forests.leaf(features=1000, names=[f"name {number}" for number in range(1000)])
    for number, data in enumerate([saved(train()), wide] * 3):
        ask(service, "load", laid(tmp_path / f"{number}", data), f"{number}")
    notes = {id(getattr(model, "note", None)) for model in service._models.values()}
    assert len(service._models) == 6
    assert len(notes) == 2


@needs_forest
def test_a_late_load_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two loads of a name that both come to an end, one stays, and one is counted."""
    service = Service(Settings())
    place, sizes = laid(tmp_path / "m", saved(train())), []

    def with_another(*given: Any, **more: Any) -> Any:
        monkeypatch.undo()
        sizes.append(service.load("m", Path(place.decode()), 1e9))
        return resident(*given, **more)

    monkeypatch.setattr("handler.service.resident", with_another)
    sizes.append(service.load("m", Path(place.decode()), 1e9))
    assert sizes == [service._room._held] * 2


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
    gc.collect()  # what other tests left is not to go meanwhile
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
