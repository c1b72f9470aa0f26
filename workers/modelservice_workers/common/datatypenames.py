"""Names of the tensor datatypes of the Open Inference Protocol, for those who need no arrays."""

from __future__ import annotations

from typing import Final

DATATYPES: Final = frozenset(
    {
        "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "BF16", "FP32",
        "FP64", "BYTES",
    }
)  # fmt: skip
