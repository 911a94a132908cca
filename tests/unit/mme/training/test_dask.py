"""Training on a real Dask cluster of two processes, over loopback."""

from collections.abc import Iterator

import distributed
import joblib
import pytest

from mme.train import Trained, train_groups
from tests.unit.mme.training.support import houses

NAMES = [f"g{number}" for number in range(12)]


@pytest.fixture
def cluster() -> Iterator[distributed.Client]:
    """A client of two workers, of one thread each."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


def _executed(dask_worker: distributed.Worker) -> int:
    """On a worker: how many tasks it has done, of which training has all."""
    return int(dask_worker.state.executed_count)


def test_two_workers(cluster: distributed.Client) -> None:
    """Inside Dask's backend both workers train, and the archives are the same bytes as without."""
    frame = houses(NAMES, rows=30)
    with joblib.parallel_config(backend="dask", wait_for_workers_timeout=30):
        found = {one.name: one for one in train_groups(frame, "city", "PRICE")}
    expected = {one.name: one for one in train_groups(frame, "city", "PRICE", jobs=1)}
    assert found.keys() == set(NAMES)
    for name, one in found.items():
        other = expected[name]
        assert isinstance(one, Trained)
        assert isinstance(other, Trained)
        assert one.archive == other.archive
    counts = cluster.run(_executed)
    assert len(counts) == 2
    assert all(counts.values()), counts
