"""The register of models and its pages."""

from pathlib import Path

import pytest

from container.models import Model, Register
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
        register.add(Model(f"m{number:04}", f"/m/{number}", Path("/m"), shard))
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
    successor = Model("m0000", "/new", Path("/new"), shard)
    register.add(successor)
    register.remove(old)
    assert register.get("m0000") is successor
