"""XGBoost by its C interface: load a model from bytes, predict rows.

The Python package around it is not imported: it brings scipy, which costs each process 40 MB and a
quarter of a second, and its wrapper takes longer for one row than XGBoost does. Source: XGBoost's
``c_api.h``; the bits are those of ``Booster.predict``.
"""

import ctypes
import functools
import importlib.util
import json
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handler.kinds import Kind

Floats = NDArray[np.float32]

# A file with one of these words can be of a booster that XGBoost's quick prediction does not take,
# or for which it has other bits: every file of dart has the first, of whatever release.
_DART, _LINEAR = b"weight_drop", b"gblinear"
_SCANNED = 1024 * 1024  # bytes at a time, while no other thread can run
_QUIET = b'{"verbosity": 0}'  # it warns of every old file
_ROWS = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3}'
_PREDICT = (
    '{"type":%d,"training":false,"iteration_begin":0,"iteration_end":%d,'
    '"strict_shape":false,"missing":%s,"cache_id":0}'
)
_MATRIX = b'{"missing":%b,"nthread":%d}'
_QUICK = (Kind.VALUE, Kind.MARGIN)  # what XGBoost predicts without a matrix


def _load_library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("xgboost")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("XGBoost is not installed: pip install xgboost-cpu")
    path = Path(spec.submodule_search_locations[0]) / "lib" / "libxgboost.so"
    library = ctypes.CDLL(str(path))
    pointer, text, length = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
    for name, arguments in {
        "XGBSetGlobalConfig": [text],
        "XGBoosterCreate": [pointer, length, pointer],
        "XGBoosterSetParam": [pointer, text, text],
        "XGBoosterLoadModelFromBuffer": [pointer, text, length],
        "XGBoosterGetNumFeature": [pointer, pointer],
        "XGBoosterPredictFromDense": [pointer, text, text, *[pointer] * 4],
        "XGBoosterPredictFromDMatrix": [pointer, pointer, text, *[pointer] * 3],
        "XGBoosterFree": [pointer],
        "XGProxyDMatrixCreate": [pointer],
        "XGDMatrixCreateFromDense": [text, text, pointer],
        "XGDMatrixFree": [pointer],
    }.items():
        getattr(library, name).argtypes = arguments
    library.XGBGetLastError.restype = text
    return library


_xgboost = _load_library()
_ANY_NUMBER = nullcontext()


class _OfThread(threading.local):
    """What each thread has of its own: the proxy through which XGBoost sees rows.

    Where it is given none, XGBoost makes one for each prediction, and reads the limits of the
    control group from their files each time: 20 of 25 microseconds.
    """

    def __init__(self) -> None:
        self.proxy = _created(_xgboost.XGProxyDMatrixCreate)


_Lengths, _Values = ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_float)


def runtime_version() -> tuple[int, int, int]:
    """The release of XGBoost that predicts here."""
    parts = [ctypes.c_int() for _ in range(3)]
    _xgboost.XGBoostVersion(*map(ctypes.byref, parts))
    major, minor, patch = (part.value for part in parts)
    return major, minor, patch


class XgboostError(Exception):
    """XGBoost refused; the message is its own, and can quote the bytes of the file."""


class Booster:
    """A model that XGBoost holds. Several threads may ask it at once.

    Args:
        data: a model as JSON or UBJ; not empty, or XGBoost ends the process.
        threads: that one prediction uses.
        rounds: that a prediction uses, from the first; 0 for all.
        missing: the number that stands for a missing value, as NaN always does.

    Attributes:
        num_features: columns that a row must have.
        size: bytes of the artifact.

    Raises:
        XgboostError: XGBoost does not take the bytes.
    """

    __slots__ = (
        *("_handle", "_missing", "_one_at_a_time", "_rounds", "_threads", "_through_matrix"),
        *("num_features", "size"),
    )

    def __init__(
        self, data: bytes, threads: int, rounds: int = 0, missing: float = math.nan
    ) -> None:
        _xgboost.XGBSetGlobalConfig(_QUIET)  # which each thread has of its own
        self._handle = _created(_xgboost.XGBoosterCreate, None, 0)
        _check(_xgboost.XGBoosterLoadModelFromBuffer(self._handle, data, len(data)))
        _check(_xgboost.XGBoosterSetParam(self._handle, b"nthread", b"%d" % threads))
        features = ctypes.c_uint64()
        _check(_xgboost.XGBoosterGetNumFeature(self._handle, ctypes.byref(features)))
        self.num_features = features.value
        self.size = len(data)
        self._threads, self._rounds, self._missing = threads, rounds, missing
        linear = _contains(data, _LINEAR)
        self._through_matrix = linear or _contains(data, _DART)
        self._one_at_a_time: AbstractContextManager[object] = _ANY_NUMBER
        if linear:  # XGBoost promises it for trees alone
            self._one_at_a_time = threading.Lock()

    def __del__(self, free: Callable[..., int] = _xgboost.XGBoosterFree) -> None:
        if handle := getattr(self, "_handle", None):
            free(handle)

    def predict(self, rows: Floats, kind: Kind = Kind.VALUE) -> Floats:
        """Predict.

        Args:
            rows: float32 [n, num_features], C-contiguous, NaN where a value is missing.
            kind: what of each row.

        Returns:
            float32, the bits of ``Booster.predict``: values and margins [n], or [n, k] for k
            classes or targets; contributions [n, f + 1] or [n, k, f + 1], the bias last; leaves
            [n, trees], or [n] of one tree.

        Raises:
            XgboostError: XGBoost cannot predict so with this model.
        """
        lengths, dimensions, values = _Lengths(), ctypes.c_uint64(), _Values()
        out = ctypes.byref(lengths), ctypes.byref(dimensions), ctypes.byref(values)
        array = _ROWS % (rows.__array_interface__["data"][0], *rows.shape)
        config = _predict_config(kind, self._rounds, self._missing)
        if self._through_matrix or kind not in _QUICK:
            about = _MATRIX % (_number(self._missing).encode(), self._threads)
            _xgboost.XGBSetGlobalConfig(_QUIET)
            matrix = _created(_xgboost.XGDMatrixCreateFromDense, array, about)
            predict = _xgboost.XGBoosterPredictFromDMatrix
            try:
                with self._one_at_a_time:
                    _check(predict(self._handle, matrix, config, *out))
            finally:
                _xgboost.XGDMatrixFree(matrix)
        else:
            _check(
                _xgboost.XGBoosterPredictFromDense(
                    self._handle, array, config, _of_thread.proxy, *out
                )
            )
        # XGBoost uses the memory again for this thread's next prediction, so it is copied at once.
        shape = lengths[: dimensions.value]
        copied = ctypes.string_at(values, rows.itemsize * math.prod(shape))
        return np.frombuffer(copied, dtype=np.float32).reshape(shape)


@functools.lru_cache(maxsize=1024)
def _predict_config(kind: Kind, rounds: int, missing: float) -> bytes:
    return (_PREDICT % (kind, rounds, _number(missing))).encode()


def _number(value: float) -> str:
    """As XGBoost reads it; no row that comes here has infinite values, so NaN stands for those."""
    return json.dumps(float(value) if math.isfinite(value) else math.nan)


def _created(create: Callable[..., int], *arguments: object) -> int:
    handle = ctypes.c_void_p()
    _check(create(*arguments, ctypes.byref(handle)))
    return handle.value or 0


def _check(status: int) -> None:
    if status:
        message = _xgboost.XGBGetLastError().decode("utf-8", "replace")
        if "bad_alloc" in message:
            raise MemoryError(message)
        raise XgboostError(message)


def _contains(data: bytes, word: bytes) -> bool:
    return any(
        data.find(word, start, start + _SCANNED + len(word)) >= 0
        for start in range(0, len(data), _SCANNED)
    )


_of_thread = _OfThread()
