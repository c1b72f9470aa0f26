"""Tensor values as raw bytes: little-endian, row-major; BYTES elements behind their 4-byte lengths."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from modelservice_workers.common.datatypes import NUMPY_DTYPES, Array
from modelservice_workers.common.signature import TensorSpec
from modelservice_workers.serving.oip.errors import RequestError

_LENGTH: Final = struct.Struct("<I")


def read_binary(raw: memoryview, shape: Sequence[int], spec: TensorSpec) -> Array:
    """The tensor of `spec` with this shape; a read-only view of `raw` unless its elements are BYTES.

    Raises RequestError.
    """
    if spec.datatype == "BYTES":
        return _read_elements(raw, shape, spec)
    dtype = NUMPY_DTYPES[spec.datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise RequestError(
            400,
            f"Input {spec.name} has a binary_data_size of {len(raw)}, and {spec.datatype} of shape {list(shape)} "
            f"needs {expected} bytes.",
        )
    array: Array = np.frombuffer(raw, dtype).reshape(shape)
    if spec.datatype == "BOOL" and (array.view(np.uint8) > 1).any():
        raise RequestError(400, f"Input {spec.name} is BOOL and its bytes may be 0 and 1 only.")
    return array


def write_binary(array: Array, spec: TensorSpec) -> bytes:
    """The values of a tensor as the protocol sends them."""
    if spec.datatype != "BYTES":
        return array.tobytes()
    return b"".join([part for value in array.flat for part in (_LENGTH.pack(len(value)), value)])


def _read_elements(raw: memoryview, shape: Sequence[int], spec: TensorSpec) -> Array:
    values = []
    at = 0
    while at < len(raw):
        end = at + _LENGTH.size
        if end <= len(raw):
            start, end = end, end + _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw):
            raise RequestError(
                400, f"Input {spec.name} has an element at byte {at} that goes beyond its {len(raw)} bytes."
            )
        values.append(bytes(raw[start:end]))
        at = end
    expected = math.prod(shape)
    if len(values) != expected:
        raise RequestError(
            400, f"Input {spec.name} has {len(values)} values and its shape {list(shape)} needs {expected}."
        )
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array.reshape(shape)
