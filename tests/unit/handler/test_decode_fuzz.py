"""Rows as nobody should write them: whatever comes, rows or a client's mistake come of it, soon."""

import contextlib
import csv
import gc
import io
import json
import re
import signal
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import orjson
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from handler.decode import Columns, Floats, decode
from handler.decode.cells import MOST_CELLS
from handler.encode import encode
from handler.errors import Fault, HandlerError
from tests.unit.handler.records import Record, framed

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "decode"
CASES = sorted(CORPUS.glob("*/*"))
TYPES = {
    "csv": "text/csv",
    "libsvm": "text/libsvm",
    "json": "application/json",
    "jsonlines": "application/jsonlines",
    "npy": "application/x-npy",
    "recordio": "application/x-recordio-protobuf",
    "parquet": "application/x-parquet",
}
NAMED = [f"{form}-named" for form in ("csv", "json", "jsonlines", "parquet")]
FORMS = [*TYPES, *NAMED]  # the folders of the corpus
NAMES = ("lot", "rooms", "year, built", "é")  # of the columns, for those that are named
SEEDS = {form: [path.read_bytes() for path in CASES if path.parent.name == form] for form in FORMS}
TOKENS = [
    *(b",", b"\n", b"\r\n", b"\r", b'"', b" ", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc2\x85", b";"),
    *(b"-", b"+", b".", b"e", b"_", b"0x1", b"1e400", b"1e-400", b"9" * 30, b"0" * 99, b"-0"),
    *(b"nan", b"NaN", b"inf", b"-Infinity", b"null", b"true", b"false", b"x", "٣".encode()),
    *(b":", b"0:", b"1:2", b"qid:1", b"2147483648:1", b"-1:1", b"3:1"),
    *(b"[", b"]", b"{", b"}", b"[" * 2000, b'{"instances":', b'"1"', b"\\ud800"),
    *(b'"features":', b'"keys":[1],', b'"values":', b'"shape":[3],', b'"lot":1,', b"lot,rooms"),
    *(b"\x93NUMPY", b"<f8", b">u2", b"|O", b"True", b"(3,)", b"(1, 3)", b"L", b"\x0a\x23\xd7\xce"),
    *(b"\xff" * 10, b"\x80\x01", b"\x0a\x06values", b"\0\0\0\x20", b"\0\0\x80\x7f", b"PAR1"),
]
COLUMNS = 3  # that each file of the corpus is for
SECONDS, BYTES, BYTES_A_BYTE = 5.0, 16 * 1024**2, 64  # that reading a body may take


quick = settings(deadline=None, max_examples=200)
finite = st.floats(width=32, allow_nan=True, allow_infinity=False)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(finite, min_size=width, max_size=width), min_size=1, max_size=9)
)


def read(body: bytes, form: str, columns: int = COLUMNS, base: int = 0) -> Floats | str:
    """The rows, or the words in which they are refused; what must hold of any is checked here."""
    try:
        named = NAMES[:columns] if form in NAMED else ()
        rows = decode(body, TYPES[form.removesuffix("-named")], Columns(columns, named), base)
    except HandlerError as refused:
        error = refused
    else:
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        assert rows.ndim == 2
        assert rows.shape[1] == columns
        assert 1 <= len(rows) <= _most_rows(body, form, columns)
        assert not np.isinf(rows).any()
        return rows
    assert error.fault is Fault.BAD_REQUEST
    assert error.message.isprintable()
    assert len(error.message) < (600 if form in NAMED else 200)  # which lists names
    return error.message


def _most_rows(body: bytes, form: str, columns: int) -> int:
    """As many as such a body can have."""
    match form:
        case "npy":
            return len(body) // columns
        case "recordio":
            return len(body) // 8
        case "parquet" | "parquet-named":
            return MOST_CELLS // columns
    return body.count(b"\n") + body.count(b"[") + body.count(b"{") + 1


def same(one: Floats | str, other: Floats | str) -> None:
    """The same rows, or a mistake in the same row."""
    if isinstance(one, str) or isinstance(other, str):
        assert isinstance(one, str)
        assert isinstance(other, str)
        assert re.findall(r"^row \d+", one) == re.findall(r"^row \d+", other)
    else:
        np.testing.assert_array_equal(one, other)


def bounded(size: int, act: Callable[[], object]) -> None:
    """What reads so many bytes takes little time of the processor; and little memory, once more."""

    def end(*_: object) -> None:
        raise AssertionError(f"{size} bytes take more than {SECONDS} s")

    before = signal.signal(signal.SIGVTALRM, end)
    gc.disable()  # it takes the longer, the more other tests have left
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        act()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
        signal.signal(signal.SIGVTALRM, before)
    tracemalloc.start()
    try:
        act()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= BYTES + BYTES_A_BYTE * size


@st.composite
def mutated(draw: st.DrawFn, form: str) -> bytes:
    """A body of the corpus, damaged."""
    data = draw(st.sampled_from(SEEDS[form]))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 10]))
        new = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3), st.just(data[:30])))
        data = data[:start] + new + data[end:]
    return data


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_corpus(case: Path) -> None:
    """Each file of the corpus is so many rows, or is refused, as its name begins with."""
    rows = read(case.read_bytes(), case.parent.name)
    status, count = case.name.split("-")[:2]
    assert status == ("400" if isinstance(rows, str) else "200"), rows
    assert isinstance(rows, str) or len(rows) == int(count)


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data(), columns=st.integers(1, 4), base=st.integers(0, 1), block=st.integers(1, 50))
@quick
def test_damaged(form: str, data: st.DataObject, columns: int, base: int, block: int) -> None:
    """Arbitrary and damaged bodies: read alike in the fast way, the slow one, and in blocks."""
    body = data.draw(st.one_of(mutated(form), mutated(form), st.binary(max_size=200)))
    rows = read(body, form, columns, base)
    with (
        mock.patch("handler.decode.cells.packed", side_effect=TypeError),
        mock.patch("handler.decode.recordio._read_alike", return_value=None),
    ):
        same(read(body, form, columns, base), rows)
    with (
        mock.patch("handler.decode.csv._BLOCK_BYTES", block),
        mock.patch("handler.decode.cells._BLOCK_ROWS", block),
        mock.patch("handler.decode.parquet._BATCH_ROWS", block),
    ):
        same(read(body, form, columns, base), rows)


@given(
    st.from_regex(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", fullmatch=True, alphabet="01579.e+-")
)
@quick
def test_number(text: str) -> None:
    """A number is the nearest of 32 bits to the nearest of 64, in every format that has it."""
    with np.errstate(over="ignore"):
        expected = np.float32(float(text))
    bodies = {"csv": f"{text},0", "libsvm": f"0:{text} 1:0"}
    with contextlib.suppress(ValueError):
        json.loads(text)
        bodies |= {"json": f"[{text}, 0]", "jsonlines": f'{{"features": [{text}, 0]}}'}
        bodies["json-named"] = f'{{"rooms": 0, "lot": {text}}}'
    for form, body in bodies.items():
        rows = read(body.encode(), form, 2)
        if np.isinf(expected):
            name = " ('lot')" if form in NAMED else ""
            assert rows == f"row 1, column 1{name} is infinite as a 32-bit float"
        else:
            assert not isinstance(rows, str), rows
            assert rows.tolist() == [[expected, 0]]


def _csv(table: Floats, **how: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, **how).writerows(table.tolist())
    return text.getvalue().encode()


def _saved(table: Floats) -> bytes:
    data = io.BytesIO()
    np.savetxt(data, table, "%.9g", ",")
    return data.getvalue()


def _sparse(table: Floats, number: str) -> bytes:
    lines = (
        " ".join([f"{row} qid:{row}", *(f"{i}:{number % v}" for i, v in cells if v == v)])
        for row, cells in enumerate(map(enumerate, table.tolist()))
    )
    return "\n".join(lines).encode()


def _named(table: Floats) -> list[dict[str, float]]:
    return [dict(zip(NAMES, row, strict=False)) for row in table.tolist()]


def _lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _npy(table: Floats) -> bytes:
    data = io.BytesIO()
    np.save(data, table)
    return data.getvalue()


def _records(table: Floats, kind: str) -> bytes:
    frames = []
    for row in table.tolist():
        record = Record()
        getattr(record.features["values"], kind).values.extend(row)
        frames.append(framed(record.SerializeToString()))
    return b"".join(frames)


def _sparse_records(table: Floats) -> bytes:
    frames = []
    for row in table.tolist():
        record = Record()
        tensor = record.features["values"].float32_tensor
        tensor.shape.append(len(row))
        for key, value in enumerate(row):
            if value == value:
                tensor.keys.append(key)
                tensor.values.append(value)
        frames.append(framed(record.SerializeToString()))
    return b"".join(frames)


def _parquet(table: Floats, names: Sequence[str]) -> bytes:
    data = io.BytesIO()
    columns = {name: table[:, place] for place, name in enumerate(names[: table.shape[1]])}
    parquet.write_table(pyarrow.table(columns), data)
    return data.getvalue()


def _with_header(table: Floats) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, NAMES[: table.shape[1]][::-1])
    writer.writeheader()
    writer.writerows(_named(table))
    return text.getvalue().encode()


WRITERS: dict[str, tuple[str, Callable[[Floats], bytes]]] = {
    "answer": ("csv", lambda table: encode(table, "text/csv")),
    "csv": ("csv", _csv),
    "csv, quoted": ("csv", lambda table: _csv(table, quoting=csv.QUOTE_ALL, lineterminator="\n")),
    "numpy": ("csv", _saved),
    "libsvm": ("libsvm", lambda table: _sparse(table, "%r")),
    "libsvm, short": ("libsvm", lambda table: _sparse(table, "%.9g")),
    "answer in JSON": ("json", lambda table: encode(table, "application/json")),
    "json": ("json", lambda table: json.dumps(table.tolist(), indent=1).encode()),
    "orjson": ("json", lambda table: orjson.dumps({"instances": table.tolist()})),
    "csv, header": ("csv-named", _with_header),
    "json, objects": ("json-named", lambda table: json.dumps(_named(table)).encode()),
    "jsonlines": ("jsonlines", lambda table: _lines(table.tolist())),
    "jsonlines, objects": ("jsonlines-named", lambda table: _lines(_named(table))),
    "npy": ("npy", _npy),
    "npy, double": ("npy", lambda table: _npy(table.astype(np.float64))),
    "npy, transposed": ("npy", lambda table: _npy(np.asfortranarray(table))),
    "records": ("recordio", lambda table: _records(table, "float32_tensor")),
    "records, double": ("recordio", lambda table: _records(table, "float64_tensor")),
    "records, sparse": ("recordio", _sparse_records),
    "parquet": ("parquet", lambda table: _parquet(table, "abcd")),
    "parquet, names": ("parquet-named", lambda table: _parquet(table, NAMES)),
}


@pytest.mark.parametrize("writer", WRITERS)
@given(table=tables)
@quick
def test_round_trip(writer: str, table: list[list[float]]) -> None:
    """What any writer makes of any finite numbers is read as the same numbers."""
    expected = np.array(table, dtype=np.float32)
    form, write = WRITERS[writer]
    rows = read(write(expected), form, expected.shape[1])
    assert not isinstance(rows, str), rows
    np.testing.assert_array_equal(rows, expected)


MANY = 100_000
EMPTY_ROW = b'{"features":{"keys":[],"values":[],"shape":[%d]}}' % MANY
EMPTY_RECORD = "0a110a0676616c756573120712051a03a08d06"
NPY_HEAD = b"\x93NUMPY\x01\0\xd0\x0f{'descr': '<f4', 'fortran_order': False, 'shape': "
HOSTILE = {  # the columns of the model, and the body
    "digits.csv": (1, b"1" * MANY),
    "digits-and-a-letter.csv": (1, b"1" * MANY + b"x"),
    "blanks.csv": (2, b"1," + b" " * MANY + b"x"),
    "line-feeds.csv": (3, b"\n" * MANY),
    "line-feeds-wide.csv": (MANY, b"\n" * 1000),
    "labels-wide.csv": (MANY, b"1\n" * 1000),
    "digits-and-a-letter.libsvm": (1, b"0:" + b"1" * MANY + b"x"),
    "digits-of-an-index.libsvm": (3, b"1" * MANY + b":1"),
    "letters.libsvm": (3, b"0:" + b"x" * MANY),
    "indices.libsvm": (3, b"1 " + b"2147483648:1 " * 10_000),
    "labels-wide.libsvm": (MANY, b"1\n" * 1000),
    "digits.json": (1, b"[" + b"1" * MANY + b"]"),
    "digits-and-a-nan.json": (2, b"[NaN, " + b"1" * MANY + b"]"),
    "lists-and-their-ends.json": (3, b"[" * MANY + b"]" * MANY),
    "objects.json": (3, b'{"instances":' * MANY),
    "keys.json": (3, b"{" + b",".join(b'"%d":0' % n for n in range(10_000)) + b"}"),
    "empty-lists.json": (3, b"[" + b"[]," * 30_000 + b"[]]"),
    "empty-objects.json-named": (3, b"[" + b"{}," * 30_000 + b"{}]"),
    "keys.json-named": (3, b"{" + b",".join(b'"%d":0' % n for n in range(10_000)) + b"}"),
    "twice.json-named": (3, b"{" + b'"lot":0,' * 10_000 + b'"lot":0}'),
    "colons.json-named": (3, b'{"' + b":" * MANY + b'":0}'),
    "sparse-wide.json": (MANY, b"[" + b",".join([EMPTY_ROW] * 1000) + b"]"),
    "shape.json": (3, b'{"features":{"keys":[],"values":[],"shape":[' + b"9," * MANY + b"9]}}"),
    "header.csv-named": (3, b",".join(b"c%d" % n for n in range(20_000)) + b"\n1"),
    "header-of-one-name.csv-named": (3, b"lot," * 20_000 + b"\n1"),
    "quote-not-closed.csv-named": (3, b'"' + b"a\n" * MANY),
    "quotes.csv-named": (3, b'""' * MANY),
    "line-feeds.jsonlines": (3, b"\n" * MANY),
    "lists.jsonlines": (3, b"[" * MANY + b"\n" + b"[" * MANY),
    "sparse-wide.jsonlines": (MANY, b"\n".join([EMPTY_ROW] * 1000)),
    "blanks.npy": (3, NPY_HEAD + b"(" + b" " * 4000 + b"x"),
    "commas.npy": (3, NPY_HEAD + b"(" + b"1," * 2000 + b"), }"),
    "digits.npy": (3, NPY_HEAD + b"(" + b"1" * 4000 + b",3)}"),
    "empty-frames.recordio": (3, framed(b"") * 10_000),
    "sparse-wide.recordio": (MANY, framed(bytes.fromhex(EMPTY_RECORD)) * 2000),
    "first-parts.recordio": (3, framed(b"", 1) + framed(b"", 2) * 10_000),
    "fields.recordio": (3, framed(b"\x0a\0" * (MANY // 2))),
    "numbers.recordio": (3, framed(b"\x0a\xc0\x9a\x0c" + b"\x12\0" * (MANY // 2))),
    "bits.recordio": (3, framed(b"\xff" * MANY)),
    "magic.parquet": (3, b"PAR1" + b"\x15" * MANY + MANY.to_bytes(4, "little") + b"PAR1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    """What is made to take long, or much memory, or to nest too deep does not."""
    columns, body = HOSTILE[name]
    decode(SEEDS["parquet"][0], TYPES["parquet"], Columns(COLUMNS))  # its library is loaded once
    bounded(len(body), lambda: read(body, name.rpartition(".")[2], columns))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_booleans(encoding: str) -> None:
    """A boolean does not pass for a number."""
    assert isinstance(read("[[1, 2, 3], [4, true, 6]]".encode(encoding), "json"), str)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_booleans_in_other_encodings(encoding: str) -> None:
    """Nor does it in an encoding that Python's reader takes for JSON."""
    test_booleans(encoding)


@pytest.mark.parametrize(
    ("form", "body"), [("csv", b"-0.0,1,2"), ("libsvm", b"0:-0"), ("json", b"[-0.0, 1, 2]")]
)
def test_zero_keeps_its_sign(form: str, body: bytes) -> None:
    """A value is ``np.float32(float(text))``, of zeros too."""
    rows = read(body, form)
    assert not isinstance(rows, str)
    assert np.signbit(rows[0, 0])


def test_place_of_a_blank_line() -> None:
    """A mistake has the same words wherever a long body is cut."""
    body = b"1,2,3\r\n" * 9 + b"\r\n1,2,3\r\n"
    words = "row 10 has 0 columns, the model has 3"
    assert read(body, "csv") == words
    for block in range(1, 30):
        with mock.patch("handler.decode.csv._BLOCK_BYTES", block):
            assert read(body, "csv") == words
