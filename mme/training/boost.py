"""XGBoost's Python package, also in the image, where SciPy is not.

The package names ``scipy.sparse`` when it is imported, and uses it for sparse data alone, of which
training here has none; SciPy would be a third of the image. Import ``xgboost`` from here.
"""

import sys
import types

try:
    import scipy.sparse  # noqa: F401  # only whether it is there
except ModuleNotFoundError:
    _scipy, _sparse = types.ModuleType("scipy"), types.ModuleType("scipy.sparse")
    for _name in ("csr_array", "csr_matrix", "csc_array", "csc_matrix", "coo_array", "coo_matrix"):
        setattr(_sparse, _name, type(_name, (), {}))  # which nothing is an instance of
    _scipy.__dict__["sparse"] = _sparse
    sys.modules |= {"scipy": _scipy, "scipy.sparse": _sparse}

import xgboost

__all__ = ["xgboost"]
