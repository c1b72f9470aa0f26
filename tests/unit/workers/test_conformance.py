"""Open Inference Protocol v2 over HTTP, as one table: what is sent, and what must come back.

Each case runs against a server whose model gives back what it takes, in a tensor of the same datatype.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from modelservice_workers.common.datatypes import NUMPY_DTYPES, Array
from modelservice_workers.common.signature import Range, Signature, TensorSpec

from tests.unit.workers.servers import RunningServer, start_server

INFER = "/v2/models/m/infer"
HEADER = "Inference-Header-Content-Length"


class EchoEngine:
    """echo = x for x [-1, 2] of any datatype, and rows = the number of rows that were computed together."""

    def __init__(self, datatype: str) -> None:
        rows = Range("rows", 1, 1000)
        self.signature = Signature(
            (TensorSpec("x", datatype, (rows, 2)),),
            (TensorSpec("echo", datatype, (rows, 2)), TensorSpec("rows", "INT32", (rows,))),
        )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return [inputs[0], np.full(len(inputs[0]), len(inputs[0]), np.int32)]

    def example(self, rows: int) -> list[Array]:
        dtype = NUMPY_DTYPES[self.signature.inputs[0].datatype]
        return [np.full((rows, 2), b"" if dtype.kind == "O" else 0, dtype)]


class Servers:
    """One server for each datatype, started when a case needs it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, RunningServer] = {}

    def __getitem__(self, datatype: str) -> RunningServer:
        if datatype not in self._running:
            self._running[datatype] = self._stack.enter_context(start_server(EchoEngine(datatype)))
        return self._running[datatype]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


def refuse_constant(token: str) -> float:
    raise AssertionError(f"{token} is no JSON")


def pack_texts(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def bfloat16(*patterns: int) -> bytes:
    return struct.pack(f"<{len(patterns)}H", *patterns)


# Datatype: two values as JSON writes them, and as bytes.
VALUES: dict[str, tuple[list[Any], bytes]] = {
    "BOOL": ([True, False], b"\x01\x00"),
    "INT8": ([-128, 127], struct.pack("<2b", -128, 127)),
    "INT16": ([-(2**15), 2**15 - 1], struct.pack("<2h", -(2**15), 2**15 - 1)),
    "INT32": ([-(2**31), 2**31 - 1], struct.pack("<2i", -(2**31), 2**31 - 1)),
    "INT64": ([-(2**63), 2**63 - 1], struct.pack("<2q", -(2**63), 2**63 - 1)),
    "UINT8": ([0, 255], b"\x00\xff"),
    "UINT16": ([0, 2**16 - 1], struct.pack("<2H", 0, 2**16 - 1)),
    "UINT32": ([0, 2**32 - 1], struct.pack("<2I", 0, 2**32 - 1)),
    "UINT64": ([0, 2**64 - 1], struct.pack("<2Q", 0, 2**64 - 1)),
    "FP16": ([-0.5, 65504.0], struct.pack("<2e", -0.5, 65504.0)),
    "BF16": ([1.5, -2.0], bfloat16(0x3FC0, 0xC000)),
    "FP32": ([0.25, -3.5], struct.pack("<2f", 0.25, -3.5)),
    "FP64": ([1e300, -0.1], struct.pack("<2d", 1e300, -0.1)),
    "BYTES": (["", "zwölf"], pack_texts(b"", "zwölf".encode())),
}


@dataclass(frozen=True)
class Case:
    """One request and its answer; `wants` is a part of the document, `error` a part of the sentence."""

    name: str
    datatype: str = "FP32"
    method: str = "POST"
    path: str = INFER
    document: Any = None
    body: bytes | None = None
    blob: bytes = b""
    header: str | None = None
    status: int = 200
    wants: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    error: str = ""


def tensor(datatype: str, shape: Any, data: Any = None, **fields: Any) -> dict[str, Any]:
    given = {"name": "x", "datatype": datatype, "shape": shape, **fields}
    return given if data is None else {**given, "data": data}


def infer(datatype: str, data: Any, shape: Any = (1, 2), **fields: Any) -> dict[str, Any]:
    return {"inputs": [tensor(datatype, shape, data)], **fields}


def binary(datatype: str, size: Any, shape: Any = (1, 2), **fields: Any) -> dict[str, Any]:
    return {"inputs": [tensor(datatype, shape, parameters={"binary_data_size": size})], **fields}


def echo(datatype: str, data: Any, shape: Sequence[int] = (1, 2)) -> dict[str, Any]:
    return {"name": "echo", "datatype": datatype, "shape": list(shape), "data": data}


BINARY_ECHO = [{"name": "echo", "parameters": {"binary_data": True}}]


def datatype_cases() -> Iterator[Case]:
    """Each datatype as flat and nested JSON and as bytes, in and out, and one value more than the shape says."""
    for datatype, (values, raw) in VALUES.items():
        answer = {"outputs": [echo(datatype, values)]}
        sized = {"name": "echo", "datatype": datatype, "shape": [1, 2], "parameters": {"binary_data_size": len(raw)}}
        only = {"outputs": [{"name": "echo"}]}
        yield Case(f"{datatype} flat", datatype, document=infer(datatype, values, **only), wants=answer)
        yield Case(f"{datatype} nested", datatype, document=infer(datatype, [values], **only), wants=answer)
        yield Case(
            f"{datatype} bytes in, JSON out", datatype, document=binary(datatype, len(raw), **only), blob=raw,
            wants=answer,
        )  # fmt: skip
        yield Case(
            f"{datatype} JSON in, bytes out", datatype, document=infer(datatype, values, outputs=BINARY_ECHO),
            wants={"outputs": [sized]}, blobs={"echo": raw},
        )  # fmt: skip
        yield Case(
            f"{datatype} bytes in and out", datatype, blob=raw,
            document=binary(datatype, len(raw), parameters={"binary_data_output": True}, **only),
            wants={"outputs": [sized]}, blobs={"echo": raw},
        )  # fmt: skip
        yield Case(
            f"{datatype} one value too many", datatype, document=infer(datatype, [*values, values[0]]), status=400,
            error="Input x has 3 values and its shape [1, 2] needs 2.",
        )  # fmt: skip
        yield Case(
            f"{datatype} no value at all", datatype, document={"inputs": [tensor(datatype, [1, 2])]}, status=400,
            error="Input x needs its values in a list called data.",
        )  # fmt: skip
        yield Case(
            f"{datatype} one byte missing", datatype, document=binary(datatype, len(raw) - 1), blob=raw[:-1],
            status=400, error="Input x has a",
        )  # fmt: skip


def metadata_cases() -> Iterator[Case]:
    """Routes that are read."""
    tensors = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [
            {"name": "echo", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "rows", "datatype": "INT32", "shape": [-1]},
        ],
    }
    model = {"name": "m", "versions": ["1"], "platform": "test", **tensors}
    routes: list[tuple[str, str, dict[str, Any]]] = [
        ("server", "/v2", {"name": "modelservice", "extensions": ["binary_tensor_data"]}),
        ("live", "/v2/health/live", {"live": True}),
        ("ready", "/v2/health/ready", {"ready": True}),
        ("model", "/v2/models/m", model),
        ("model by version", "/v2/models/m/versions/1", model),
        ("encoded name", "/v2/models/%6D", model),
        ("model ready", "/v2/models/m/ready", {"name": "m", "ready": True}),
        ("model ready by version", "/v2/models/m/versions/1/ready", {"name": "m", "ready": True}),
    ]
    for name, path, wants in routes:
        yield Case(f"{name} is read", method="GET", path=path, wants=wants)
    for name, method, path, status in [
        ("another model", "GET", "/v2/models/n", 404),
        ("another version", "GET", "/v2/models/m/versions/2", 404),
        ("another model's readiness", "GET", "/v2/models/n/ready", 404),
        ("another version's readiness", "GET", "/v2/models/m/versions/9/ready", 404),
        ("inference of another model", "POST", "/v2/models/n/infer", 404),
        ("inference of another version", "POST", "/v2/models/m/versions/2/infer", 404),
        ("no route", "GET", "/v3", 404),
        ("a slash too many", "GET", "/v2/models/m/", 404),
        ("a name with a slash", "GET", "/v2/models/m%2Finfer", 404),
        ("inference by GET", "GET", INFER, 405),
        ("metadata by POST", "POST", "/v2/models/m", 405),
        ("health by PUT", "PUT", "/v2/health/live", 405),
    ]:
        yield Case(f"{name} is refused", method=method, path=path, status=status, error=".")


def header_cases() -> Iterator[Case]:
    """The lengths of the binary extension, wrong in every way."""
    raw = VALUES["FP16"][1]
    whole = binary("FP16", 4)
    length = len(json.dumps(whole))
    for header, error in [
        ("5000", f"{HEADER} is 5000 and the body has"),
        ("-1", f"{HEADER} is '-1'; it must be a whole number of bytes."),
        ("abc", f"{HEADER} is 'abc'; it must be a whole number of bytes."),
        ("1.5", f"{HEADER} is '1.5'; it must be"),
        ("", f"{HEADER} is ''; it must be"),
        ("0", "The body is not valid JSON"),
        ("9" * 40, f"{HEADER} is 9999"),
        (str(length - 1), "The body is not valid JSON"),
        (str(length + 1), "The body is not valid JSON"),
    ]:
        yield Case(f"header {header[:9]!r}", "FP16", document=whole, blob=raw, header=header, status=400, error=error)
    yield Case("header one byte less than the JSON is long, spaces after it", "FP16", header=str(length + 2),
               body=json.dumps(whole).encode() + b"  " + raw, wants={"model_name": "m"})  # fmt: skip
    for name, size, blob, error in [
        ("FP32's size for FP16", 8, raw * 2, "binary_data_size of 8, and FP16 of shape [1, 2] needs 4 bytes"),
        ("fewer bytes than the size", 4, raw[:3], "a binary_data_size of 4 and only 3 bytes are left for it"),
        ("no bytes", 4, b"", "a binary_data_size of 4 and only 0 bytes are left for it"),
        (
            "more bytes than the size",
            4,
            raw + b"!",
            "5 bytes follow the JSON and the inputs have a",
        ),
        ("a size of -4", -4, raw, "a binary_data_size that is no whole number of bytes"),
        ("a size in a text", "4", raw, "a binary_data_size that is no whole number of bytes"),
        ("a size of 4.0", 4.0, raw, "a binary_data_size that is no whole number of bytes"),
        ("a size of true", True, raw, "a binary_data_size that is no whole number of bytes"),
        ("a huge size", 2**62, raw, "and only 4 bytes are left for it"),
    ]:
        yield Case(name, "FP16", document=binary("FP16", size), blob=blob, header="auto", status=400, error=error)
    both = {"inputs": [tensor("FP16", [1, 2], [1, 2], parameters={"binary_data_size": 4})]}
    yield Case("data and bytes", "FP16", document=both, blob=raw, status=400, error="both data and a binary_data_size")
    yield Case("bytes without the header", "FP16", body=json.dumps(whole).encode() + raw, status=400, error="JSON")
    yield Case("a size without the header", "FP16", document=whole, status=400, error=f"the header {HEADER} is missing")
    yield Case("FP16 as JSON numbers", "FP16", document=infer("FP16", [0.1, -2]), wants={"model_version": "1"})
    for datatype, value, status in [
        ("FP16", 65520, 400), ("FP16", 65519, 200), ("BF16", 3.4e38, 400), ("BF16", 3.38e38, 200), ("FP32", 1e39, 400),
    ]:  # fmt: skip
        yield Case(
            f"{datatype} {value}", datatype, document=infer(datatype, [value, 0]), status=status,
            error="out of range" if status == 400 else "",
        )  # fmt: skip


def bytes_cases() -> Iterator[Case]:
    """BYTES: shapes are numbers of elements, never lengths of texts."""
    text = "x" * 59
    yield Case("a text's length as its shape", "BYTES", document=infer("BYTES", [text], [59]), status=400,
               error="Input x has shape [59] and the model takes [-1, 2]")  # fmt: skip
    yield Case("a text's length as its rows", "BYTES", document=infer("BYTES", [text], [59, 2]), status=400,
               error="Input x has 1 values and its shape [59, 2] needs 118.")  # fmt: skip
    for name, blob, error in [
        ("a length beyond the bytes", pack_texts(b"a") + struct.pack("<I", 9) + b"b", "an element at byte 5"),
        ("half a length", pack_texts(b"a") + b"\x01\x00", "an element at byte 5"),
        ("one element too few", pack_texts(b"ab"), "has 1 values and its shape [1, 2] needs 2"),
        ("one element too many", pack_texts(b"a", b"b", b""), "has 3 values and its shape [1, 2] needs 2"),
        ("the largest length", b"\xff" * 8, "an element at byte 0"),
    ]:
        yield Case(
            name, "BYTES", document=binary("BYTES", len(blob)), blob=blob, header="auto", status=400, error=error
        )
    raw = pack_texts(b"\xff\x00", b"ok")
    yield Case("no UTF-8 goes in and out as bytes", "BYTES", document=binary("BYTES", len(raw), outputs=BINARY_ECHO),
               blob=raw, blobs={"echo": raw})  # fmt: skip
    yield Case("no UTF-8 cannot leave as JSON", "BYTES", document=binary("BYTES", len(raw)), blob=raw, status=422,
               error="Output echo is no UTF-8 text")  # fmt: skip
    for value in (1, None, True, ["a"]):
        yield Case(f"{value!r} is no text", "BYTES", document=infer("BYTES", ["a", value]), status=400,
                   error="its data may hold strings only")  # fmt: skip


NAN = struct.pack("<2f", float("nan"), 1.0)


def request_cases() -> Iterator[Case]:
    """Ids, parameters, outputs, and documents that are no requests."""
    good = infer("FP32", [1, 2])
    for identity in ("a", "", "ünï-💡", "x" * 500):
        yield Case(f"id {identity[:9]!r} is echoed", document={**good, "id": identity}, wants={"id": identity})
    yield Case("no id, none comes back", document=good, wants={"id": None})
    yield Case("both outputs in the asked order", document={**good, "outputs": [{"name": "rows"}, {"name": "echo"}]},
               wants={"outputs": [{"name": "rows", "datatype": "INT32", "shape": [1], "data": [1]},
                                  echo("FP32", [1.0, 2.0])]})  # fmt: skip
    yield Case("one output as bytes, one as JSON", document={**good, "outputs": [*BINARY_ECHO, {"name": "rows"}]},
               blobs={"echo": struct.pack("<2f", 1, 2)})  # fmt: skip
    yield Case("all outputs as bytes but one", blobs={"rows": struct.pack("<i", 1)},
               document={**good, "parameters": {"binary_data_output": True},
                         "outputs": [{"name": "rows"}, {"name": "echo", "parameters": {"binary_data": False}}]}
               )  # fmt: skip
    yield Case("NaN may come and go as bytes", document=binary("FP32", 8, outputs=BINARY_ECHO), blob=NAN,
               blobs={"echo": NAN})  # fmt: skip
    yield Case("NaN cannot leave as JSON", document=binary("FP32", 8), blob=NAN, status=422,
               error="Output echo is not finite (NaN or infinite) for this input")  # fmt: skip
    for token in ("NaN", "Infinity", "-Infinity", "1e400", "nan", "0x1"):
        yield Case(f"{token} is no JSON", body=json.dumps(infer("FP32", [77, 0])).replace("77", token).encode(),
                   status=400, error="not valid JSON")  # fmt: skip
    for name, parameters in [
        ("unknown ones", {"priority": 3, "sequence_id": "s", "nested": {"a": [1]}}),
        ("a timeout", {"timeout": 5_000_000}),
        ("no timeout", {"timeout": 0}),
        ("a binary_data_output of null", {"binary_data_output": None}),
    ]:
        yield Case(f"parameters: {name}", document={**good, "parameters": parameters}, wants={"model_name": "m"})
    for name, parameters, error in [
        ("a list", [], "parameters that are no JSON object"),
        ("a timeout in a text", {"timeout": "1"}, "a timeout that is no whole number of microseconds"),
        ("a timeout of -1", {"timeout": -1}, "a timeout that is no whole number of microseconds"),
        ("a flag that is a number", {"binary_data_output": 1}, "binary_data_output that is neither true nor false"),
    ]:
        yield Case(f"parameters: {name}", document={**good, "parameters": parameters}, status=400, error=error)
    for name, outputs, error in [
        ("of an unknown name", [{"name": "z"}], "has no output z; it has echo, rows"),
        ("twice", [{"name": "rows"}, {"name": "rows"}], "names an output twice"),
        ("as texts", ["rows"], "an object with a name"),
        ("as an object", {"name": "rows"}, "must be a list of objects"),
        ("with a flag that is a text", [{"name": "rows", "parameters": {"binary_data": "yes"}}], "neither true nor"),
        ("by class", [{"name": "echo", "parameters": {"classification": 3}}], "asks for the classification extension"),
        ("in shared memory", [{"name": "echo", "parameters": {"shared_memory_region": "r"}}], "asks for shared memory"),
    ]:
        yield Case(f"outputs {name}", document={**good, "outputs": outputs}, status=400, error=error)
    for name, document, error in [
        ("an input of an unknown name", {"inputs": [{**good["inputs"][0], "name": "z"}]}, "Input x is missing"),
        ("an input too many", {"inputs": [good["inputs"][0], {**good["inputs"][0], "name": "z"}]}, "has no input z"),
        ("an input twice", {"inputs": good["inputs"] * 2}, "gives input x twice"),
        ("no inputs", {"inputs": []}, "needs a list of inputs: x"),
        ("another datatype", infer("FP64", [1, 2]), "Input x is FP64 and the model takes FP32"),
        ("an unknown datatype", infer("FLOAT", [1, 2]), "no known datatype; the model takes FP32"),
        ("a shape of another rank", infer("FP32", [1, 2], [2]), "has shape [2] and the model takes [-1, 2]"),
        ("a shape of another size", infer("FP32", [1, 2, 3], [1, 3]), "has shape [1, 3] and the model takes [-1, 2]"),
        ("a shape with 0", infer("FP32", [], [0, 2]), "needs a shape: a list of whole numbers above 0"),
        ("a shape with a float", infer("FP32", [1, 2], [1.0, 2]), "needs a shape"),
        ("a shape of a million rows", infer("FP32", [1, 2], [10**6, 2]), "-1 stands for 1 to 1000"),
        ("texts for numbers", infer("FP32", ["1", "2"]), "may hold numbers only"),
        ("true for a number", infer("FP32", [True, 2]), "may hold numbers only"),
        ("ragged rows", infer("FP32", [[1, 2], [3]], [2, 2]), "nested data that does not have its shape"),
        ("an id that is a number", {**good, "id": 7}, "The id must be a string"),
        ("a list", [], "must be a JSON object"),
    ]:
        yield Case(f"{name} is refused", document=document, status=400, error=error)
    for name, body in [("nothing", b""), ("half a document", b'{"inputs": ['), ("no UTF-8", b'{"id": "\xff"}')]:
        yield Case(f"{name} is refused", body=body, status=400, error="not valid JSON")


CASES = [*datatype_cases(), *metadata_cases(), *header_cases(), *bytes_cases(), *request_cases()]


def test_the_table_has_at_least_120_cases_and_names_each_once() -> None:
    assert len(CASES) == len({case.name for case in CASES}) >= 120


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_protocol(servers: Servers, case: Case) -> None:
    server = servers[case.datatype]
    body = case.body if case.body is not None else json.dumps(case.document).encode()
    headers = {}
    if case.header == "auto" or (case.header is None and case.blob):
        headers[HEADER] = str(len(body))
    elif case.header is not None:
        headers[HEADER] = case.header
    content = None if case.method == "GET" else body + case.blob
    answer = server.client.request(case.method, case.path, content=content, headers=headers)
    length = int(answer.headers.get(HEADER, len(answer.content)))
    document = json.loads(answer.content[:length], parse_constant=refuse_constant)
    assert answer.status_code == case.status, document
    if case.status != 200:
        assert set(document) == {"error"}
        assert case.error in document["error"]
        assert document["error"].endswith(".")
        return
    for key, value in case.wants.items():
        assert document.get(key) == value
    at = length
    found = {}
    for output in document.get("outputs", ()):
        size = output.get("parameters", {}).get("binary_data_size")
        if isinstance(size, int):
            found[output["name"]] = answer.content[at : at + size]
            at += size
    assert found == case.blobs
    assert at == len(answer.content)
    assert answer.headers["content-type"] == ("application/octet-stream" if found else "application/json")


def test_after_all_of_this_each_server_gives_the_same_numbers(servers: Servers) -> None:
    for datatype, (values, _) in VALUES.items():
        answer = servers[datatype].client.post(INFER, json=infer(datatype, values)).json()
        assert answer["outputs"][0]["data"] == values
        assert answer["outputs"][1]["data"] == [1]
