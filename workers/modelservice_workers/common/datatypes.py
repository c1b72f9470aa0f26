"""Tensor datatypes of the Open Inference Protocol and their numpy counterparts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

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
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}

# Known to the protocol, yet not carried by this server's JSON tensors.
NOT_IN_JSON: Final = frozenset({"BYTES", "FP16", "BF16"})

DATATYPES: Final = frozenset(NUMPY_DTYPES) | NOT_IN_JSON
