"""Arrays to the bodies of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.signature import TensorSpec
from modelservice_workers.serving.http.messages import Reply
from modelservice_workers.serving.oip.binarydata import write_binary
from modelservice_workers.serving.oip.errors import RequestError
from modelservice_workers.serving.oip.jsondata import check_finite, write_json
from modelservice_workers.serving.oip.request import InferenceRequest

_OCTETS: Final = b"application/octet-stream"
_HEADER_LENGTH: Final = b"inference-header-content-length"


def render_response(
    model_name: str,
    model_version: str,
    request: InferenceRequest,
    specs: Sequence[TensorSpec],
    outputs: Sequence[Array],
) -> Reply:
    """The answer to a request; `outputs` are in the order of `specs`.

    Raises RequestError for what JSON cannot carry.
    """
    document: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if request.id is not None:
        document["id"] = request.id
    blobs: list[bytes] = []
    document["outputs"] = [
        _render_output(specs[position], outputs[position], blobs if position in request.binary else None)
        for position in request.outputs
    ]
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in text:  # which is what becomes of a number that is not finite
        for position in request.outputs:
            if position not in request.binary:
                check_finite(outputs[position], specs[position])
    if not request.binary:
        return Reply(200, text)
    return Reply(200, b"".join((text, *blobs)), _OCTETS, ((_HEADER_LENGTH, b"%d" % len(text)),))


def render_error(error: RequestError) -> Reply:
    """The answer to a request that is refused."""
    return Reply(error.status, orjson.dumps({"error": error.message}), headers=error.headers)


def _render_output(spec: TensorSpec, array: Array, blobs: list[bytes] | None) -> dict[str, Any]:
    document: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": array.shape}
    if blobs is None:
        document["data"] = write_json(array, spec)
    else:
        blobs.append(write_binary(array, spec))
        document["parameters"] = {"binary_data_size": len(blobs[-1])}
    return document
