"""Numbers of JSON, however they are written, become those that XGBoost makes of them."""

import numpy as np
import pytest

from handler import forest
from handler.booster import Booster
from handler.kinds import Kind
from tests.unit.handler import forests

pytestmark = forests.BUILT
LEAVES = 2000


def number(random: np.random.Generator) -> str:
    """A finite number in one of the ways in which programs write them."""
    value = float(np.frombuffer(random.bytes(4), np.float32)[0])
    value = value if abs(value) < 3e38 else 1.0
    middle = (value + float(np.nextafter(np.float32(value), np.float32(1e38)))) / 2
    way = random.integers(8)
    return [
        f"{value:.{random.integers(17)}E}",
        repr(value) if "." in repr(value) else f"{value:e}",
        f"{middle:.{random.integers(5, 25)}e}",
        f"{random.integers(2**26)}.{random.choice(['0', '5', '25', '50'])}",
        f"{random.integers(-(10**9), 10**9)}E{random.integers(-54, 29)}",
        f"{(random.integers(2**23) + 0.5) * 2.0**-149:.{random.integers(6, 9)}E}",
        f"{random.normal():.{random.integers(1, 25)}f}",
        str(random.choice(["-0.0", "0E0", "-0E-5", "1e-400", "0.0000001e7", "-1e+2"])),
    ][way]


@pytest.mark.parametrize("seed", range(5))
def test_numbers(seed: int) -> None:
    """The leaves of one tree: a row for each, whose answer is what was read."""
    random = np.random.default_rng(seed)
    tree = forests.tree(random, LEAVES - 1, 1, way=-1)
    texts = [number(random) for _ in range(LEAVES)]
    texts = [text if abs(float(text)) < 3e38 else "1.5" for text in texts]
    conditions, node = [""] * (2 * LEAVES - 1), 0
    for place, text in enumerate(texts[:-1]):
        conditions[node], conditions[tree["left_children"][node]] = f"{place}.5", text
        node = tree["right_children"][node]
    conditions[node] = texts[-1]
    document = forests.template("reg:squarederror")
    document = forests.planted(random, document, [tree], features=1, base="0E0")
    tree["split_conditions"] = ["@"]
    data = forests.written(document, "json").replace(b'"@"', ",".join(conditions).encode())
    read = forest.read(data)
    assert read is not None
    rows = np.arange(LEAVES, dtype=np.float32).reshape(-1, 1)
    found = forest.Trees(read[0]).predict(rows, Kind.MARGIN)
    expected = Booster(data, 1).predict(rows, Kind.MARGIN)
    different = np.flatnonzero(found.view("u4") != expected.view("u4"))
    assert [texts[place] for place in different] == []
