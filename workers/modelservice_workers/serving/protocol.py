"""Open Inference Protocol v2, REST with JSON tensors: requests to arrays, arrays to responses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from modelservice_workers.common.datatypes import DATATYPES, NOT_IN_JSON, NUMPY_DTYPES
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.engine import Array

_NUMBER_TYPES: Final = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "whole numbers"),
    "u": (frozenset({int}), "whole numbers"),
    "f": (frozenset({int, float}), "numbers"),
}


class RequestError(Exception):
    """A request that cannot be answered; `message` is one sentence for its sender."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """Arrays in the order of the signature, the positions of the wanted outputs, and the id to echo."""

    id: str | None
    inputs: list[Array]
    outputs: Sequence[int]


def parse_request(body: bytes, signature: Signature) -> InferenceRequest:
    """Read and check an inference request; raises RequestError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"The body is not valid JSON: {error}.") from None
    if type(document) is not dict:
        raise RequestError(400, "The body must be a JSON object with inputs.")
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise RequestError(400, "The id must be a string.")
    _check_parameters(document, "The request")
    outputs = _select_outputs(document.get("outputs"), signature.outputs)
    return InferenceRequest(identity, _read_inputs(document.get("inputs"), signature.inputs), outputs)


def render_response(
    model_name: str,
    model_version: str,
    request: InferenceRequest,
    specs: Sequence[TensorSpec],
    outputs: Sequence[Array],
) -> bytes:
    """The JSON body of an answer; `outputs` are finite and in the order of `specs`."""
    document: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if request.id is not None:
        document["id"] = request.id
    document["outputs"] = [
        {
            "name": specs[position].name,
            "datatype": specs[position].datatype,
            "shape": outputs[position].shape,
            "data": outputs[position].ravel(),
        }
        for position in request.outputs
    ]
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def render_error(message: str) -> bytes:
    """The JSON body of a refusal."""
    return orjson.dumps({"error": message})


def _check_parameters(holder: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise RequestError(400, f"{what} has parameters that are no JSON object.")
    if "binary_data_size" in parameters or parameters.get("binary_data") or parameters.get("binary_data_output"):
        raise RequestError(501, f"{what} asks for binary tensor data, which is not implemented; use JSON tensors.")
    return parameters


def _select_outputs(wanted: object, specs: Sequence[TensorSpec]) -> Sequence[int]:
    if wanted is None or wanted == []:
        positions: Sequence[int] = range(len(specs))
    elif type(wanted) is list:
        positions = [_find_output(entry, specs) for entry in wanted]
        if len(set(positions)) != len(positions):
            raise RequestError(400, "The request names an output twice.")
    else:
        raise RequestError(400, "The outputs must be a list of objects with a name.")
    for position in positions:
        if specs[position].datatype in NOT_IN_JSON:
            raise RequestError(
                501,
                f"Output {specs[position].name} is {specs[position].datatype}, which JSON tensors cannot carry "
                "and nothing else is implemented; select other outputs.",
            )
    return positions


def _find_output(entry: object, specs: Sequence[TensorSpec]) -> int:
    if type(entry) is not dict or type(entry.get("name")) is not str:
        raise RequestError(400, "Each of the outputs must be an object with a name.")
    _check_parameters(entry, f"Output {entry['name']}")
    for position, spec in enumerate(specs):
        if spec.name == entry["name"]:
            return position
    raise RequestError(400, f"The model has no output {entry['name']}; it has {_list_names(specs)}.")


def _read_inputs(given: object, specs: Sequence[TensorSpec]) -> list[Array]:
    if type(given) is not list or not given:
        raise RequestError(400, f"The request needs a list of inputs: {_list_names(specs)}.")
    entries: dict[str, dict[str, Any]] = {}
    for entry in given:
        if type(entry) is not dict or type(entry.get("name")) is not str:
            raise RequestError(400, "Each of the inputs must be an object with a name.")
        if entry["name"] in entries:
            raise RequestError(400, f"The request gives input {entry['name']} twice.")
        entries[entry["name"]] = entry
    missing = [spec.name for spec in specs if spec.name not in entries]
    if missing:
        raise RequestError(400, f"Input {missing[0]} is missing; the model takes {_list_names(specs)}.")
    if len(entries) > len(specs):
        unknown = next(iter(entries.keys() - {spec.name for spec in specs}))
        raise RequestError(400, f"The model has no input {unknown}; it takes {_list_names(specs)}.")
    sizes: dict[str, int] = {}
    return [_read_input(entries[spec.name], spec, sizes) for spec in specs]


def _list_names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs)


def _read_input(entry: Mapping[str, Any], spec: TensorSpec, sizes: dict[str, int]) -> Array:
    _check_parameters(entry, f"Input {spec.name}")
    datatype = entry.get("datatype")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise RequestError(400, f"Input {spec.name} has no known datatype; the model takes {spec.datatype}.")
    if datatype in NOT_IN_JSON:
        raise RequestError(
            501, f"Input {spec.name} is {datatype}, which is not implemented; the model takes {spec.datatype}."
        )
    if datatype != spec.datatype:
        raise RequestError(400, f"Input {spec.name} is {datatype} and the model takes {spec.datatype}.")
    shape = _read_shape(entry.get("shape"), spec, sizes)
    values = _flatten(entry.get("data"), shape, spec.name)
    return _to_array(values, shape, spec)


def _read_shape(given: object, spec: TensorSpec, sizes: dict[str, int]) -> list[int]:
    if type(given) is not list or not all(type(size) is int and size > 0 for size in given):
        raise RequestError(400, f"Input {spec.name} needs a shape: a list of whole numbers above 0.")
    if len(given) != len(spec.dims):
        raise _shape_error(given, spec)
    for size, dim in zip(given, spec.dims, strict=True):
        if isinstance(dim, Range):
            if size < dim.smallest or (dim.largest is not None and size > dim.largest):
                raise _shape_error(given, spec)
            if sizes.setdefault(dim.symbol, size) != size:
                raise RequestError(
                    400,
                    f"Input {spec.name} has shape {given}, and a size of {sizes[dim.symbol]} in place of {size} "
                    "is needed to agree with the other sizes of the request.",
                )
        elif size != dim:
            raise _shape_error(given, spec)
    return given


def _shape_error(given: list[int], spec: TensorSpec) -> RequestError:
    bounds = [
        f"{dim.smallest} to {dim.largest}" if dim.largest is not None else f"{dim.smallest} or more"
        for dim in spec.dims
        if isinstance(dim, Range)
    ]
    meaning = f" where -1 stands for {' and '.join(bounds)}" if bounds else ""
    return RequestError(400, f"Input {spec.name} has shape {given} and the model takes {list(spec.shape)}{meaning}.")


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


def _to_array(values: list[Any], shape: Sequence[int], spec: TensorSpec) -> Array:
    dtype = NUMPY_DTYPES[spec.datatype]
    allowed, description = _NUMBER_TYPES[dtype.kind]
    if not allowed.issuperset(map(type, values)):
        raise RequestError(400, f"Input {spec.name} is {spec.datatype} and its data may hold {description} only.")
    try:
        if dtype.kind == "f":
            array: Array = np.array(values, dtype=np.float64)
            if dtype.itemsize < array.itemsize:
                with np.errstate(over="ignore"):
                    array = array.astype(dtype)
                if not np.isfinite(array).all():
                    raise OverflowError
        else:
            array = np.array(values, dtype=dtype)
    except OverflowError:
        raise RequestError(400, f"Input {spec.name} holds a value that is out of range for {spec.datatype}.") from None
    return array.reshape(shape)
