"""Tensor values in JSON, nested or flat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from modelservice_workers.common.datatypes import FLOATS, NUMPY_DTYPES, Array, from_bfloat16, is_finite, to_bfloat16
from modelservice_workers.common.signature import TensorSpec
from modelservice_workers.serving.oip.errors import RequestError

_BOOLEANS: Final = (frozenset({bool}), "true or false")
_WHOLE: Final = (frozenset({int}), "whole numbers")
_NUMBERS: Final = (frozenset({int, float}), "numbers")
_TEXTS: Final = (frozenset({str}), "strings")
_TAKEN: Final = {name: _WHOLE for name in NUMPY_DTYPES if "INT" in name} | {
    "BOOL": _BOOLEANS,
    "FP16": _NUMBERS,
    "BF16": _NUMBERS,
    "FP32": _NUMBERS,
    "FP64": _NUMBERS,
    "BYTES": _TEXTS,
}

# The smallest value that would be rounded to infinity.
_BEYOND: Final = {
    "FP16": 65520.0,
    "BF16": float.fromhex("0x1.ffp127"),
    "FP32": float.fromhex("0x1.ffffffp127"),
    "FP64": float("inf"),
}

# Up to here Python finds the largest of a list before numpy has begun.
_SHORT: Final = 256


def read_json(data: object, shape: Sequence[int], spec: TensorSpec) -> Array:
    """The tensor of `spec` with this shape; raises RequestError."""
    values = _flatten(data, shape, spec.name)
    allowed, description = _TAKEN[spec.datatype]
    if not allowed.issuperset(map(type, values)):
        raise RequestError(400, f"Input {spec.name} is {spec.datatype} and its data may hold {description} only.")
    try:
        return _to_array(values, spec.datatype).reshape(shape)
    except OverflowError:
        raise RequestError(400, f"Input {spec.name} holds a value that is out of range for {spec.datatype}.") from None


def write_json(array: Array, spec: TensorSpec) -> Any:
    """The values in row-major order, as orjson takes them; raises RequestError for bytes that are no text."""
    if spec.datatype == "BYTES":
        try:
            return [value.decode() for value in array.flat]
        except UnicodeDecodeError:
            raise RequestError(
                422, f"Output {spec.name} is no UTF-8 text for this input; ask for it with binary_data."
            ) from None
    if spec.datatype == "BF16":
        return from_bfloat16(array).ravel()
    return array.astype(np.float32).ravel() if spec.datatype == "FP16" else array.ravel()


def check_finite(array: Array, spec: TensorSpec) -> None:
    """Raises RequestError when a tensor holds what JSON has no numbers for."""
    if not is_finite(array, spec.datatype):
        raise RequestError(
            422,
            f"Output {spec.name} is not finite (NaN or infinite) for this input, and JSON cannot carry it; "
            "ask for it with binary_data.",
        )


def _flatten(data: object, shape: Sequence[int], name: str) -> list[Any]:
    if type(data) is not list:
        raise RequestError(400, f"Input {name} needs its values in a list called data.")
    if len(shape) > 1 and data and type(data[0]) is list:
        return _flatten_nested(data, shape, name)
    expected = math.prod(shape)
    if len(data) != expected:
        raise RequestError(400, f"Input {name} has {len(data)} values and its shape {list(shape)} needs {expected}.")
    return data


def _flatten_nested(data: list[Any], shape: Sequence[int], name: str) -> list[Any]:
    level = [data]
    for size in shape:
        if any(type(part) is not list or len(part) != size for part in level):
            raise RequestError(400, f"Input {name} has nested data that does not have its shape {list(shape)}.")
        level = list(chain.from_iterable(level))
    return level


def _to_array(values: list[Any], datatype: str) -> Array:
    dtype = NUMPY_DTYPES[datatype]
    if datatype == "BYTES":
        texts = np.empty(len(values), dtype)
        texts[:] = [value.encode() for value in values]
        return texts
    if datatype not in FLOATS:
        return np.array(values, dtype)
    beyond = _BEYOND[datatype]
    if len(values) <= _SHORT:
        if max(values) >= beyond or min(values) <= -beyond:
            raise OverflowError
        return to_bfloat16(np.array(values, np.float32)) if datatype == "BF16" else np.array(values, dtype)
    wide = np.array(values, np.float64)
    if wide.max() >= beyond or wide.min() <= -beyond:
        raise OverflowError
    return to_bfloat16(wide.astype(np.float32)) if datatype == "BF16" else wide.astype(dtype)
