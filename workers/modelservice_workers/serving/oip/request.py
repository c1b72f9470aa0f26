"""Inference requests: JSON, perhaps with the tensors' bytes behind it, to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from modelservice_workers.common.datatypenames import DATATYPES
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.oip.binarydata import read_binary
from modelservice_workers.serving.oip.errors import RequestError
from modelservice_workers.serving.oip.jsondata import read_json

_UNSUPPORTED: Final = {
    "shared_memory_region": "shared memory",
    "classification": "the classification extension",
}


@dataclass(slots=True)
class InferenceRequest:
    """Arrays in the order of the signature, the wanted outputs by position, the id to echo.

    `binary` has the positions that are to be answered as bytes; `timeout_seconds` is None where none was given.
    """

    id: str | None
    inputs: list[Array]
    outputs: Sequence[int]
    binary: frozenset[int]
    timeout_seconds: float | None


def parse_request(body: bytes, header_length: bytes | None, signature: Signature) -> InferenceRequest:
    """Read and check an inference request; raises RequestError.

    `header_length` is the value of Inference-Header-Content-Length: the size of the JSON before the tensors' bytes.
    """
    text, blobs = _split(body, header_length)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"The body is not valid JSON: {error}.") from None
    if type(document) is not dict:
        raise RequestError(400, "The body must be a JSON object with inputs.")
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise RequestError(400, "The id must be a string.")
    parameters = _read_parameters(document, "The request")
    timeout = _read_timeout(parameters)
    flag = _read_flag(parameters, "binary_data_output", "The request")
    outputs, binary = _select_outputs(document.get("outputs"), signature.outputs, default=flag)
    inputs = _read_inputs(document.get("inputs"), signature.inputs, blobs)
    return InferenceRequest(identity, inputs, outputs, binary, timeout)


def _split(body: bytes, header_length: bytes | None) -> tuple[bytes | memoryview, memoryview | None]:
    if header_length is None:
        return body, None
    if not header_length.isdigit():
        shown = header_length.decode("latin-1")
        raise RequestError(400, f"Inference-Header-Content-Length is {shown!r}; it must be a whole number of bytes.")
    length = int(header_length[:20])
    if length > len(body):
        raise RequestError(400, f"Inference-Header-Content-Length is {length} and the body has {len(body)} bytes.")
    view = memoryview(body)
    return view[:length], view[length:]


def _read_parameters(holder: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise RequestError(400, f"{what} has parameters that are no JSON object.")
    for key, meaning in _UNSUPPORTED.items():
        if key in parameters:
            raise RequestError(400, f"{what} asks for {meaning}, which this server does not have.")
    return parameters


def _read_flag(parameters: Mapping[str, Any], key: str, what: str) -> bool | None:
    value = parameters.get(key)
    if value is not None and type(value) is not bool:
        raise RequestError(400, f"{what} has a {key} that is neither true nor false.")
    return value


def _read_timeout(parameters: Mapping[str, Any]) -> float | None:
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if type(value) is not int or value < 0:
        raise RequestError(400, "The request has a timeout that is no whole number of microseconds.")
    return value / 1e6


def _select_outputs(
    wanted: object, specs: Sequence[TensorSpec], *, default: bool | None
) -> tuple[Sequence[int], frozenset[int]]:
    if wanted is None or wanted == []:
        return range(len(specs)), frozenset(range(len(specs)) if default else ())
    if type(wanted) is not list:
        raise RequestError(400, "The outputs must be a list of objects with a name.")
    chosen = [_find_output(entry, specs, default=default) for entry in wanted]
    positions = [position for position, _ in chosen]
    if len(set(positions)) != len(positions):
        raise RequestError(400, "The request names an output twice.")
    return positions, frozenset([position for position, binary in chosen if binary])


def _find_output(entry: object, specs: Sequence[TensorSpec], *, default: bool | None) -> tuple[int, bool]:
    if type(entry) is not dict or type(entry.get("name")) is not str:
        raise RequestError(400, "Each of the outputs must be an object with a name.")
    what = f"Output {entry['name']}"
    flag = _read_flag(_read_parameters(entry, what), "binary_data", what)
    for position, spec in enumerate(specs):
        if spec.name == entry["name"]:
            return position, bool(default if flag is None else flag)
    raise RequestError(400, f"The model has no output {entry['name']}; it has {_list_names(specs)}.")


def _read_inputs(given: object, specs: Sequence[TensorSpec], blobs: memoryview | None) -> list[Array]:
    if type(given) is not list or not given:
        raise RequestError(400, f"The request needs a list of inputs: {_list_names(specs)}.")
    entries: dict[str, dict[str, Any]] = {}
    raws: dict[str, memoryview] = {}
    at = 0
    for entry in given:
        if type(entry) is not dict or type(entry.get("name")) is not str:
            raise RequestError(400, "Each of the inputs must be an object with a name.")
        name = entry["name"]
        if name in entries:
            raise RequestError(400, f"The request gives input {name} twice.")
        entries[name] = entry
        size = _read_binary_size(entry, name)
        if size is not None:
            raws[name] = _take_bytes(blobs, at, size, name)
            at += size
    if blobs is not None and at != len(blobs):
        raise RequestError(400, f"{len(blobs)} bytes follow the JSON and the inputs have a binary_data_size of {at}.")
    missing = [spec.name for spec in specs if spec.name not in entries]
    if missing:
        raise RequestError(400, f"Input {missing[0]} is missing; the model takes {_list_names(specs)}.")
    if len(entries) > len(specs):
        unknown = next(iter(entries.keys() - {spec.name for spec in specs}))
        raise RequestError(400, f"The model has no input {unknown}; it takes {_list_names(specs)}.")
    sizes: dict[str, int] = {}
    return [_read_input(entries[spec.name], spec, sizes, raws.get(spec.name)) for spec in specs]


def _read_binary_size(entry: Mapping[str, Any], name: str) -> int | None:
    size = _read_parameters(entry, f"Input {name}").get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise RequestError(400, f"Input {name} has a binary_data_size that is no whole number of bytes.")
    if "data" in entry:
        raise RequestError(400, f"Input {name} has both data and a binary_data_size; send one of them.")
    return size


def _take_bytes(blobs: memoryview | None, at: int, size: int, name: str) -> memoryview:
    if blobs is None:
        raise RequestError(
            400, f"Input {name} has a binary_data_size, and the header Inference-Header-Content-Length is missing."
        )
    if at + size > len(blobs):
        raise RequestError(
            400, f"Input {name} has a binary_data_size of {size} and only {len(blobs) - at} bytes are left for it."
        )
    return blobs[at : at + size]


def _list_names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join([spec.name for spec in specs])


def _read_input(entry: Mapping[str, Any], spec: TensorSpec, sizes: dict[str, int], raw: memoryview | None) -> Array:
    datatype = entry.get("datatype")
    if datatype != spec.datatype:
        if type(datatype) is not str or datatype not in DATATYPES:
            raise RequestError(400, f"Input {spec.name} has no known datatype; the model takes {spec.datatype}.")
        raise RequestError(400, f"Input {spec.name} is {datatype} and the model takes {spec.datatype}.")
    shape = _read_shape(entry.get("shape"), spec, sizes)
    if raw is None:
        return read_json(entry.get("data"), shape, spec)
    return read_binary(raw, shape, spec)


def _read_shape(given: object, spec: TensorSpec, sizes: dict[str, int]) -> list[int]:
    if type(given) is not list or not all([type(size) is int and size > 0 for size in given]):  # noqa: C419 - faster
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
