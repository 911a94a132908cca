"""Text that a forest reads itself: the numbers of the general reader, or none."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler import forest
from handler.decode.cells import MOST_CELLS
from handler.forest import Forest
from handler.traits import Traits
from tests.unit.handler import forests
from tests.unit.handler import test_decode_fuzz as fuzz
from tests.unit.handler.forests import Floats

pytestmark = forests.BUILT
quick = settings(deadline=None, max_examples=300)
CSV = -1  # in place of the index of libsvm's first feature
MOST_TREES = 60


def stump(column: int, value: np.float32, leaves: Sequence[float]) -> dict[str, Any]:
    """A tree that tells a number from the one before it and the one behind."""
    with np.errstate(over="ignore"):
        behind = np.nextafter(value, np.float32(np.inf))
    behind = behind if np.isfinite(behind) else value
    random = np.random.default_rng(0)
    one = forests.tree(random, 2, 1, way=-1)
    one["split_indices"][:] = column
    one["split_conditions"][:] = [value, leaves[0], behind, leaves[1], leaves[2]]
    one["default_left"][:] = [0, 0, 1, 0, 0]
    one["tree_param"]["num_feature"] = str(column + 1)
    return one


def teller(rows: Floats, objective: str = "reg:squarederror", **told: Any) -> Forest:
    """A forest whose answers to these rows tell each number to the last bit."""
    random = np.random.default_rng(len(rows))
    places = np.argwhere(~np.isnan(rows))[:MOST_TREES].tolist()
    cells = [(column, rows[row, column]) for row, column in places]
    groups = forests.CLASSES if objective.startswith("multi:") else 1
    trees = [stump(*cell, random.normal(size=3).tolist()) for cell in cells]
    while len(trees) % groups or not trees:
        trees.append(stump(0, np.float32(0.5), [1, 2, 3]))
    document = forests.template(objective)
    planted = forests.planted(
        random, document, trees, features=rows.shape[1], groups=groups, base="5E-1"
    )
    traits = Traits(features=rows.shape[1], **told)
    found = forest.grow(forests.written(planted, "ubj"), traits)
    assert found is not None
    return found


def check(body: bytes, form: str, columns: int, base: int, **told: Any) -> bool:
    """Compare an answer with the general reader's rows; whether there was one."""
    rows = fuzz.read(body, form, columns, base)
    mark = CSV if form == "csv" else base
    if isinstance(rows, str):
        answer = teller(np.zeros((1, columns), np.float32)).answer(body, mark)
        assert answer is None, rows
        return False
    asked = teller(rows, **told)
    answer = asked.answer(body, mark)
    if answer is None:
        return False
    expected = forest.Trees(asked).predict(rows)
    assert answer == expected.tolist()
    return True


FORMS = ("csv", "libsvm")


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data(), columns=st.integers(1, 4), base=st.integers(0, 1))
@settings(deadline=None, max_examples=800)
def test_damaged(form: str, data: st.DataObject, columns: int, base: int) -> None:
    """Arbitrary and damaged bodies: what the general reader refuses is not read here either."""
    bodies = st.one_of(fuzz.mutated(form), altered(form), altered(form), st.binary(max_size=200))
    check(data.draw(bodies), form, columns, base)


CELLS = st.one_of(
    st.integers(-1000, 10**6).map(str),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e38, 1e38).map(repr),
    st.floats(-1e9, 1e9).map(lambda value: f"{value:.6g}"),
    st.floats(-1e30, 1e30).map(lambda value: f"{value:.3E}"),
    st.floats(-1e15, 1e15).map(lambda value: f"{value:+.3f}"),
    st.sampled_from(["0", "-0", "-0.0", "1e5", "+7", ".5", "5.", "1e-45", "1E+2", "007", "1e-400"]),
    st.sampled_from(["16777217", "0.1", "3.4028235e38", "123456789012345678901", "1e-7", "5e-324"]),
)
BLANKS = st.sampled_from(["", "", "", " ", "  ", "\t"])
LINE_ENDS = st.sampled_from(["\n", "\r\n"])


@st.composite
def plain(draw: st.DrawFn, form: str, columns: int, base: int) -> bytes:
    """A body as clients send them."""
    lines = []
    for _ in range(draw(st.integers(1, 5))):
        cells = draw(st.lists(CELLS, min_size=columns, max_size=columns))
        holes = draw(st.sets(st.integers(0, columns - 1), max_size=columns - 1))
        if form == "csv":
            fields = ["" if place in holes else cell for place, cell in enumerate(cells)]
            if columns > 1 and draw(st.integers(0, 9)) == 0:
                fields = [""] * columns
            lines.append(",".join(draw(BLANKS) + field + draw(BLANKS) for field in fields))
        else:
            pairs = [
                f"{place + base}:{cell}" for place, cell in enumerate(cells) if place not in holes
            ]
            label = draw(st.sampled_from([[], ["1"], ["0.5"], ["-1"]]))
            words = label + draw(st.permutations(pairs))
            gap = draw(st.sampled_from([" ", "  ", "\t"]))
            lines.append(gap.join(words or ["0"]) + draw(BLANKS))
    end = draw(LINE_ENDS)
    return (end.join(lines) + draw(st.sampled_from(["", end]))).encode()


@st.composite
def altered(draw: st.DrawFn, form: str) -> bytes:
    """A plain body with a few characters of its own kind more, or less."""
    data = draw(plain(form, draw(st.integers(1, 3)), draw(st.integers(0, 1))))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        new = draw(
            st.sampled_from([b"", *fuzz.TOKENS, *(bytes([n]) for n in b"0123456789eE+-.,: ")])
        )
        data = data[:start] + new + data[start + draw(st.integers(0, 2)) :]
    return data


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data(), columns=st.integers(1, 5), base=st.integers(0, 1))
@quick
def test_plain(form: str, data: st.DataObject, columns: int, base: int) -> None:
    """What clients send is read here, whatever the model answers and a missing value is."""
    objective = data.draw(st.sampled_from(["reg:squarederror", "multi:softprob", "multi:softmax"]))
    missing = data.draw(st.sampled_from([math.nan, 0.0, -1.0, 7.0]))
    body = data.draw(plain(form, columns, base))
    assert check(body, form, columns, base, objective=objective, missing=missing)


@pytest.mark.parametrize("writer", ["answer", "csv", "numpy", "libsvm", "libsvm, short"])
@given(table=fuzz.tables)
@quick
def test_writers(writer: str, table: list[list[float]]) -> None:
    """What libraries write of numbers is read here; but they have words for what is missing."""
    rows = np.nan_to_num(np.array(table, dtype=np.float32))
    form, write = fuzz.WRITERS[writer]
    body = write(rows)
    if form == "libsvm":
        body = b"\n".join(
            b" ".join(word for word in line.split(b" ") if not word.startswith(b"qid"))
            for line in body.split(b"\n")
        )
    assert check(body, form, rows.shape[1], 0)


@given(
    st.from_regex(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", fullmatch=True, alphabet="01579.e+-")
)
@settings(deadline=None, max_examples=1000)
def test_number(text: str) -> None:
    """However a number is written, unless it is very long."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.float32(float(text)))
    for form, body in {"csv": f"{text},0", "libsvm": f"0:{text} 1:0"}.items():
        assert check(body.encode(), form, 2, 0) == bool(finite and len(text) < 400)


@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 0, 1e-16, -1e-16, 1e-13, -1e-13, 1e-8, -1e-8]),
    st.integers(9, 60),
)
@settings(deadline=None, max_examples=1000)
def test_half_way(value: float, beside: float, digits: int) -> None:
    """Numbers between two of 32 bits, or just beside that: rounded to 64 bits first."""
    with np.errstate(over="ignore"):
        next_one = float(np.nextafter(np.float32(value), np.float32(np.inf)))
    if not math.isfinite(next_one):
        return
    middle = (value + next_one) / 2
    text = f"{middle + abs(next_one - value) * beside:.{digits}g}"
    assert check(f"{text},{-middle!r}".encode(), "csv", 2, 0)


@pytest.mark.parametrize("name", [name for name in fuzz.HOSTILE if name.split(".")[-1] in FORMS])
def test_hostile(name: str) -> None:
    """What is made to take long, or much memory, does not."""
    columns, body = fuzz.HOSTILE[name]
    asked = teller(np.zeros((1, columns), np.float32))
    fuzz.bounded(len(body), lambda: asked.answer(body, CSV if name.endswith("csv") else 0))
    check(body, name.split(".")[-1], columns, 0)


@pytest.mark.parametrize("lines", [25, 26])
def test_most_cells(lines: int) -> None:
    """So many cells and no more, as the general reader has it."""
    columns = 2**20
    assert MOST_CELLS // columns == 25
    assert check(b"0 5:1\n" * lines, "libsvm", columns, 0) == (lines == 25)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_long(end: bytes) -> None:
    """A body of megabytes, of which other threads are not kept waiting."""
    rows = np.random.default_rng(2).normal(size=(40_000, 5)).astype(np.float32)
    text = io.BytesIO()
    np.savetxt(text, rows, "%.9g", ",", newline=end.decode())
    assert check(text.getvalue(), "csv", 5, 0)
    line = b" ".join(b"%d:%.9g" % (place, value) for place, value in enumerate(rows[0].tolist()))
    assert check(end.join([line] * 40_000), "libsvm", 5, 0)


REFUSED = {
    "csv": [
        *(b"", b"\n", b"\r\n", b"1,2\n\n1,2", b"1", b"1,2,3", b"1,x", b"1;2", b"1,2\n1", b"1,0x1"),
        *(
            b"1,1e999",
            b"inf,1",
            b"1,-inf",
            b"1,2\0",
            b"\0",
            b"1 2,3",
            b"1,2\r3,4",
            b"1,--2",
            b"1,1_0",
        ),
        *(b"1,2\n\xff", b"a,b\n1,2", b"1,.", b"1,e5", b"1,1e", b"1,1e+", b"1,+", "1,٣".encode()),
    ],
    "libsvm": [
        *(b"", b"\n", b"1\n\n1", b"1 2", b"2:1", b"0:1 0:1", b"0:1 00:1", b"-1:1", b"0:", b"0:x"),
        *(
            b"0:1e999",
            b"0:inf",
            b"0 :1",
            b"0: 1",
            b"x 0:1",
            b"0:1,1:2",
            b"0:1:2",
            b"1 0:1\0",
            b"1.0:1",
        ),
        *(b"4294967296:1", b"0000000000:1", b"0:1 1", b"+0:1", b"0:1\n\xff"),
    ],
}


@pytest.mark.parametrize(
    ("form", "body"), [(form, body) for form in FORMS for body in REFUSED[form]]
)
def test_refused(form: str, body: bytes) -> None:
    """What the general reader refuses in its words is nothing here."""
    asked = teller(np.zeros((1, 2), np.float32))
    assert asked.answer(body, CSV if form == "csv" else 0) is None
    if body:
        assert isinstance(fuzz.read(body, form, 2), str)
