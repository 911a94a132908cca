"""The register of models and its pages."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container import models
from container.journal import Entry, Journal
from container.models import Model, Register, State
from container.settings import Settings
from container.shards import Shard

SETTINGS = Settings.from_environ({})


async def _shard() -> Shard:
    return Shard(0, Path("/nowhere"), SETTINGS)


def filled(count: int) -> tuple[Register, Shard]:
    import asyncio

    shard = asyncio.run(_shard())
    register = Register()
    for number in reversed(range(count)):
        register.add(Model(f"m{number:04}", f"/m/{number}", "/m", shard))
    return register, shard


@pytest.mark.parametrize(("count", "limit"), [(0, 1), (1, 1), (100, 100), (101, 100), (250, 7)])
def test_paging_terminates(count: int, limit: int) -> None:
    """Page after page every model comes once, in order, and no page but the first is empty."""
    register, _ = filled(count)
    names: list[str] = []
    token = ""
    while True:
        page = register.page(str(limit), token)
        models = page["models"]
        assert isinstance(models, list)
        assert models or not token
        names += [model["modelName"] for model in models]
        if "nextPageToken" not in page:
            break
        token = str(page["nextPageToken"])
    assert names == [f"m{number:04}" for number in range(count)]


def test_a_shard_counts_its_models() -> None:
    """A shard's count follows what is added and removed, however often it is removed."""
    register, shard = filled(3)
    model = register.get("m0001")
    assert model is not None
    register.remove(model)
    register.remove(model)
    assert (shard.models, register.get("m0001")) == (2, None)


def test_removing_spares_a_successor() -> None:
    """Removing a model does not remove another that has taken its name since."""
    register, shard = filled(1)
    old = register.get("m0000")
    assert old is not None
    register.remove(old)
    successor = Model("m0000", "/new", "/new", shard)
    register.add(successor)
    register.remove(old)
    assert register.get("m0000") is successor


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=40))
def test_names_in_order(events: list[tuple[str, bool]]) -> None:
    """Whatever comes and goes, in whatever order: the listing is sorted, and has who is there."""
    register, shard = filled(0)
    there: set[str] = set()
    for name, comes in events:
        known = register.get(name)
        assert (known is not None) is (name in there)
        if comes and known is None:
            register.add(Model(name, f"/{name}", f"/{name}", shard))
            there.add(name)
        elif not comes and known is not None:
            register.remove(known)
            there.discard(name)
    listed = register.page("", "")["models"]
    assert listed == [{"modelName": name, "modelUrl": f"/{name}"} for name in sorted(there)]
    assert len(register) == shard.models == len(there)


def test_restore(tmp_path: Path) -> None:
    """The next gate has what was ready; what was half loaded or unloaded it is told of, once."""
    _, shard = filled(0)
    path = tmp_path / "journal"
    register = Register(Journal(path))
    for name in ("ready", "loading", "unloading", "gone", "again"):
        register.add(Model(name, f"/url/{name}", "/links/end/here", shard))
    for name in ("ready", "unloading", "gone", "again"):
        register.set_state(_known(register, name), State.READY)
    register.set_state(_known(register, "unloading"), State.UNLOADING)
    for name in ("gone", "again"):
        register.remove(_known(register, name))
    register.add(Model("again", "/url/again", "/url/again", shard))
    register.set_state(_known(register, "again"), State.READY)

    _, shard = filled(0)
    restored = Register(Journal(path))
    begun = restored.restore([shard])
    assert sorted(model.name for model in begun) == ["loading", "unloading"]
    assert len(restored) == shard.models == 2
    for name, directory in (("ready", "/links/end/here"), ("again", "/url/again")):
        model = _known(restored, name)
        assert (model.url, model.directory) == (f"/url/{name}", directory)
        assert (model.state, model.load_is_over, model.shard) == (State.READY, True, shard)
    listed = restored.page("", "")["models"]
    assert listed == [{"modelName": n, "modelUrl": f"/url/{n}"} for n in ("again", "ready")]
    assert Register(Journal(path)).restore([shard]) == []
    assert gc.isenabled()
    gc.unfreeze()


def test_an_entry_of_more_shards(tmp_path: Path) -> None:
    """A gate that starts with fewer shards finds a place for each model."""
    _, shard = filled(0)
    journal = Journal(tmp_path / "journal")
    journal.note(Entry("m", "/m", "", 7, True), 1)
    register = Register(journal)
    assert register.restore([shard]) == []
    assert _known(register, "m").directory == "/m"
    gc.unfreeze()


def test_collections_pass_over_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there are many new ones, the collector is told to leave them alone."""
    monkeypatch.setattr(models, "_FREEZE_MODELS", 100)
    before = gc.get_freeze_count()
    register, _ = filled(99)
    assert gc.get_freeze_count() == before
    try:
        register, _ = filled(100)
        assert gc.get_freeze_count() > before + 100
        assert len(register) == 100
    finally:
        gc.unfreeze()


MANY = """
import asyncio
from pathlib import Path
from container.models import Model, Register, State
from container.settings import Settings
from container.shards import Shard

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

async def main():
    shard = Shard(0, Path("/nowhere"), Settings.from_environ({}))
    register, before = Register(), resident()
    for number in range(200_000):
        name = f"{number:032x}"
        model = Model(name, f"/opt/ml/models/{name}/model", f"/opt/ml/models/{name}/model", shard)
        model.target = f"customer-{number:08}.tar.gz"
        register.add(model)
        register.set_state(model, State.READY)
    print((resident() - before) // 200_000)

asyncio.run(main())
"""


def test_memory() -> None:
    """A model takes at most 500 bytes of the gate, for there may be a million of them."""
    command = [sys.executable, "-c", MANY]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env=environ
    )
    assert 100 < int(said.stdout) <= 500


def _known(register: Register, name: str) -> Model:
    model = register.get(name)
    assert model is not None
    return model
