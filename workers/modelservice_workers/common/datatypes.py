"""Tensor datatypes of the Open Inference Protocol and their numpy counterparts.

BF16, which numpy does not have, travels as UINT16 bit patterns; BYTES as object arrays of `bytes`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

NUMPY_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}

FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})

_EXPONENT: Final = 0x7F80
_HALF_BELOW: Final = 0x7FFF


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Bit patterns of finite FP32 values rounded to the nearest BF16, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + _HALF_BELOW + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(patterns: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The values of BF16 bit patterns."""
    return (patterns.astype(np.uint32) << 16).view(np.float32)


def is_finite(array: Array, datatype: str) -> bool:
    """Whether a tensor holds neither NaN nor an infinity."""
    if datatype not in FLOATS:
        return True
    if datatype == "BF16":
        return not ((array & _EXPONENT) == _EXPONENT).any()
    return bool(np.isfinite(array).all())


def size_bytes(array: Array) -> int:
    """Memory that the values of a tensor take."""
    return sum(map(len, array.flat)) if array.dtype.kind == "O" else array.nbytes
