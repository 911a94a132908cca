"""XGBoost by its C interface, for what is asked most: load trees from bytes, predict dense rows.

The Python wrapper spends more time around such a call than XGBoost spends in it, and keeps some
kilobytes for each model. Source: XGBoost's ``c_api.h``; the bits are those of ``Booster.predict``.
"""

import ctypes
import math

import numpy as np
from numpy.typing import NDArray
from xgboost.libpath import find_lib_path

Floats = NDArray[np.float32]

_QUIET = b'{"verbosity": 0}'  # it warns of every old file
_ALL_ROUNDS = (
    b'{"type":0,"training":false,"iteration_begin":0,"iteration_end":0,'
    b'"strict_shape":false,"missing":NaN,"cache_id":0}'
)
_ROWS = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3}'

_library = ctypes.CDLL(find_lib_path()[0])
_pointer, _text, _length = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
_library.XGBGetLastError.restype = _text
_library.XGBSetGlobalConfig.argtypes = [_text]
_library.XGBoosterCreate.argtypes = [_pointer, _length, _pointer]
_library.XGBoosterSetParam.argtypes = [_pointer, _text, _text]
_library.XGBoosterLoadModelFromBuffer.argtypes = [_pointer, _text, _length]
_library.XGBoosterGetNumFeature.argtypes = [_pointer, _pointer]
_library.XGBoosterPredictFromDense.argtypes = [_pointer, _text, _text, *[_pointer] * 4]
_library.XGBoosterFree.argtypes = [_pointer]
_predict = _library.XGBoosterPredictFromDense
_Shape = ctypes.POINTER(ctypes.c_uint64)
_Values = ctypes.POINTER(ctypes.c_float)


class XgboostError(Exception):
    """XGBoost refused; the message is its own, and can quote the bytes of the file."""


class Booster:
    """Trees that XGBoost holds. Predictions may be asked from several threads at once.

    Args:
        data: a model as JSON or UBJ.
        threads: that one prediction uses.

    Raises:
        XgboostError: XGBoost does not take the bytes.
    """

    __slots__ = ("_handle", "num_features")

    def __init__(self, data: bytes, threads: int) -> None:
        _library.XGBSetGlobalConfig(_QUIET)  # it is kept for each thread of its own
        handle = ctypes.c_void_p()
        _check(_library.XGBoosterCreate(None, 0, ctypes.byref(handle)))
        self._handle = handle.value
        _check(_library.XGBoosterLoadModelFromBuffer(self._handle, data, len(data)))
        _check(_library.XGBoosterSetParam(self._handle, b"nthread", b"%d" % threads))
        features = ctypes.c_uint64()
        _check(_library.XGBoosterGetNumFeature(self._handle, ctypes.byref(features)))
        self.num_features = features.value

    def __del__(self) -> None:
        if handle := getattr(self, "_handle", None):
            _library.XGBoosterFree(handle)

    def predict(self, rows: Floats) -> Floats:
        """Predict with all rounds.

        Args:
            rows: float32 [n, num_features], C-contiguous, NaN where a value is missing.

        Returns:
            float32 [n], or [n, k] for k classes or targets.

        Raises:
            XgboostError: XGBoost cannot predict with this model.
        """
        shape, dimensions, values = _Shape(), ctypes.c_uint64(), _Values()
        _check(
            _predict(
                self._handle,
                _ROWS % (rows.__array_interface__["data"][0], *rows.shape),
                _ALL_ROUNDS,
                None,
                ctypes.byref(shape),
                ctypes.byref(dimensions),
                ctypes.byref(values),
            )
        )
        # XGBoost uses the memory again for the next prediction of this thread: copied at once.
        lengths = shape[: dimensions.value]
        size = rows.itemsize * math.prod(lengths)
        copied = np.frombuffer(ctypes.string_at(values, size), dtype=np.float32)
        return copied if len(lengths) == 1 else copied.reshape(lengths)


def _check(status: int) -> None:
    if status:
        raise XgboostError(_library.XGBGetLastError().decode("utf-8", "replace"))
