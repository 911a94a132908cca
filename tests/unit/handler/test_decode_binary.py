"""NumPy's arrays and Parquet: the same numbers as their own readers give, and nothing run."""

import io
import struct
import subprocess
import sys
import tokenize
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from handler.decode import Columns, decode
from handler.errors import Fault, HandlerError

NPY, PARQUET = "application/x-npy", "application/x-parquet"
ROOT = Path(__file__).parent.parent.parent.parent
CORPUS = ROOT / "tests" / "corpus" / "decode"
SEEDS = [path.read_bytes() for path in sorted(CORPUS.glob("npy/*")) if "pickle" not in path.name]
KINDS = [f"{order}{kind}" for order in "<>" for kind in ("f2", "f4", "f8", "i2", "i4", "i8", "u8")]


def saved(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(st.data(), st.sampled_from([*KINDS, "i1", "u1", "?"]), st.booleans(), st.booleans())
@settings(deadline=None)
def test_npy(data: st.DataObject, kind: str, fortran: bool, flat: bool) -> None:
    """An array of any type of number, in any order, is read as NumPy casts it."""
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    array = data.draw(arrays(kind, (1, shape[1]) if flat else shape))
    with np.errstate(over="ignore"):
        expected = array.astype(np.float64).astype(np.float32)
    body = saved(array[0] if flat else np.asfortranarray(array) if fortran else array)
    if np.isinf(expected).any():
        with pytest.raises(HandlerError, match="is infinite as a 32-bit float"):
            decode(body, NPY, Columns(shape[1]))
        return
    rows = decode(body, NPY, Columns(shape[1]))
    np.testing.assert_array_equal(rows, expected)
    assert rows.flags.c_contiguous
    assert rows.flags.aligned


@given(st.sampled_from(SEEDS), st.data())
@settings(deadline=None, max_examples=500)
def test_npy_damaged(body: bytes, data: st.DataObject) -> None:
    """A damaged array is refused, or read as NumPy reads it: never as something else."""
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, min(len(body), 130)))
        new = data.draw(st.one_of(st.binary(max_size=2), st.sampled_from([b"1", b" ", b",", b"8"])))
        body = body[:at] + new + body[at + data.draw(st.integers(0, 2)) :]
    try:
        rows = decode(body, NPY, Columns(3))
    except HandlerError as refused:
        error = refused
    else:
        error = None
    if error is not None:
        assert error.fault is Fault.BAD_REQUEST
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        array = np.load(io.BytesIO(body), allow_pickle=False)
    with np.errstate(all="ignore"):  # a NaN may be a signalling one
        expected = np.atleast_2d(array.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(rows, expected)


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3), }"


def headed(header: str) -> bytes:
    """An array of three numbers with that header."""
    padded = header.encode("latin-1").ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded + struct.pack("<3d", 1, 2, 3)


@pytest.mark.parametrize(
    "header",
    [
        *(HEADER + space for space in "\xa0\x85\v\x1c\x1f"),
        *(space + HEADER for space in "\xa0\x85\v\x1c\x1f"),
        HEADER.replace("'descr':", "'descr':\xa0"),
        HEADER.replace("'descr':", "'descr':\v"),
        HEADER.replace("'descr'", "'descr\""),
        HEADER.replace("(1, 3)", "(3)"),
        HEADER.replace("(1, 3)", "(01, 3)"),
        HEADER.replace("(1, 3)", "(,1, 3)"),
    ],
    ids=repr,
)
def test_what_python_does_not_read(header: str) -> None:
    """A header that is no dictionary of Python's, though almost: refused, as NumPy refuses it."""
    decode(headed(HEADER), NPY, Columns(3))
    body = headed(header)
    with pytest.raises((ValueError, SyntaxError, tokenize.TokenError)):
        np.load(io.BytesIO(body), allow_pickle=False)
    with pytest.raises(HandlerError) as refused:
        decode(body, NPY, Columns(3))
    assert refused.value.fault is Fault.BAD_REQUEST


def test_pickles_are_not_run(tmp_path: Path) -> None:
    """An array of objects is refused by its type, before a byte of its data is looked at."""
    marker = tmp_path / "marker"
    array = np.empty((1, 3), object)
    array[:] = [[Touch(str(marker))] * 3]
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    with pytest.raises(HandlerError, match=r"type is '\|O'; send floats"):
        decode(file.getvalue(), NPY, Columns(3))
    assert not marker.exists()
    np.load(io.BytesIO(file.getvalue()), allow_pickle=True)
    assert marker.exists()  # so the pickle would have


class Touch:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path(self.path),)


def table_bytes(table: pyarrow.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def test_parquet_in_batches() -> None:
    """Many rows, in groups and batches, come in their order; nulls are missing."""
    numbers = [*range(10), None]
    table = pyarrow.table({"a": numbers, "b": [n and n / 2 for n in numbers], "c": [True] * 11})
    file = io.BytesIO()
    parquet.write_table(table, file, row_group_size=4)
    expected = table.to_pandas().astype(np.float32).to_numpy()
    for size in (1, 2, 3, 64):
        with mock.patch("handler.decode.parquet._BATCH_ROWS", size):
            rows = decode(file.getvalue(), PARQUET, Columns(3))
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"a": [1], "b": ["2"]}, "column 'b' is of type 'string'; send numbers"),
        ({"a": [1], "b": [[2]]}, "column 'b' is of type 'list<"),
        ({"a": [1], "b": [{"c": 1}]}, "column 'b' is of type 'struct<"),
        ({"a": [1]}, "the table has 1 columns, the model has 2"),
        ({"a": pyarrow.array([], "f4"), "b": pyarrow.array([], "f4")}, "the table has no rows"),
        ({"a": [1.0], "b": [1e39]}, "row 1, column 2 is infinite"),
    ],
)
def test_parquet_mistakes(table: dict[str, object], words: str) -> None:
    """What is no table of the model's columns is refused with the column."""
    with pytest.raises(HandlerError) as error:
        decode(table_bytes(pyarrow.table(table)), PARQUET, Columns(2))
    assert error.value.fault is Fault.BAD_REQUEST
    assert error.value.message.startswith(words)


def test_parquet_is_refused_before_it_is_read() -> None:
    """A small file of many rows is refused by its metadata alone."""
    body = (CORPUS / "parquet" / "400-rows-that-fill-the-memory.parquet").read_bytes()
    with (
        mock.patch("pyarrow.parquet.ParquetFile.iter_batches", side_effect=AssertionError),
        pytest.raises(HandlerError, match="9000000 rows of 3 features; send at most 8738133"),
    ):
        decode(body, PARQUET, Columns(3))


@pytest.mark.parametrize("module", ["pyarrow", "pyarrow.parquet"])
def test_without_pyarrow(module: str) -> None:
    """Where pyarrow is not installed, the type is not read, and the answer says so."""
    with (
        mock.patch.dict(sys.modules, {module: None}),
        pytest.raises(HandlerError, match="pyarrow is not installed") as error,
    ):
        decode(b"PAR1", PARQUET, Columns(3))
    assert error.value.fault is Fault.UNSUPPORTED_MEDIA_TYPE


def test_pyarrow_is_loaded_when_it_is_needed() -> None:
    """Nobody who sends no Parquet pays for its library; who does writes nothing to a disk."""
    body = CORPUS / "parquet" / "200-5-rows-groups.parquet"
    code = f"""
import resource, sys
from handler.decode import Columns, decode
decode(b"1,2,3", "text/csv", Columns(3))
assert not any(name.startswith("pyarrow") for name in sys.modules)
body = open({str(body)!r}, "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # a byte in any file ends the process
print(len(decode(body, "application/x-parquet", Columns(3))))
"""
    command = [sys.executable, "-B", "-c", code]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "5\n"
