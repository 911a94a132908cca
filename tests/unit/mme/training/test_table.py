"""CSV files as groups: what is text stays text, what is missing is missing."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mme.training.fit import Group
from mme.training.groups import groups_of
from mme.training.table import Share, Table
from mme.training.workers import StoppedError

TEXT = """\ufeffcity,A,PRICE,B
007,1,10,0.1
7,,20,NA
NA,3,null,1e39
7,-4.5,40,16777217
"two\nlines",0x,1,2
""".replace("0x", "inf")


def groups(path: Path) -> list[Group]:
    table = Table("city", "PRICE")
    table.read(path, path.name)
    return list(table.groups())


def test_as_pandas_reads_it(tmp_path: Path) -> None:
    """A group, a missing cell, an infinite one: all as pandas has them, gzip too."""
    (tmp_path / "h.csv").write_text(TEXT)
    with gzip.open(tmp_path / "h.csv.gz", "wt") as packed:
        packed.write(TEXT)
    # A mark keeps pandas from reading NA as a missing value, which it does after converters, too.
    frame = pd.read_csv(tmp_path / "h.csv", converters={"city": "={}".format})
    frame["city"] = frame.city.str.removeprefix("=")
    expected = list(groups_of(frame, "city", "PRICE"))
    assert [group.name for group in expected] == ["007", "7", "NA", "two\nlines"]
    for file in ("h.csv", "h.csv.gz"):
        found = groups(tmp_path / file)
        for one, other in zip(found, expected, strict=True):
            assert (one.name, one.features, one.target) == (
                other.name,
                other.features,
                other.target,
            )
            assert one.rows.dtype == np.float32
            np.testing.assert_array_equal(one.rows, other.rows)
            np.testing.assert_array_equal(one.labels, other.labels)


def test_every_word_for_missing(tmp_path: Path) -> None:
    """The words that pandas takes for a missing value are those that we take."""
    words = ["", "#N/A", "-nan", "<NA>", "N/A", "NULL", "NaN", "None", "n/a", "null", "1.#IND"]
    lines = "".join(f"x,1,{word}\n" for word in words)
    (tmp_path / "h.csv").write_text(f"city,PRICE,A\n{lines}")
    (group,) = groups(tmp_path / "h.csv")
    assert np.isnan(group.rows).all()
    assert pd.read_csv(tmp_path / "h.csv").A.isna().all()


def test_shares() -> None:
    """Each group is one host's, the same one always; hosts have about as many."""
    names = [f"group-{number}" for number in range(1000)]
    owners = {name: [host for host in range(4) if Share(host, 4).has(name)] for name in names}
    assert all(len(found) == 1 for found in owners.values())
    counts = [sum(found == [host] for found in owners.values()) for host in range(4)]
    assert min(counts) > 200


def test_looked_at(tmp_path: Path) -> None:
    """Somebody is told every few thousand rows, and may end it."""
    lines = "".join(f"g{number % 7},1,2\n" for number in range(10_000))
    (tmp_path / "h.csv").write_text(f"city,PRICE,A\n{lines}")
    told: list[int] = []
    Table("city", "PRICE", look=told.append).read(tmp_path / "h.csv", "h.csv")
    assert len(told) >= 2
    assert told[0] < 10_000

    def stop(_: int) -> None:
        raise StoppedError

    table = Table("city", "PRICE", look=stop)
    with pytest.raises(StoppedError):
        table.read(tmp_path / "h.csv", "h.csv")
    assert table.seen < 10_000
