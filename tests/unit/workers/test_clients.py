"""Real clients, unchanged, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from modelservice_workers.common.datatypes import NUMPY_DTYPES

from tests.unit.workers.servers import RunningServer, start_server
from tests.unit.workers.test_conformance import VALUES, EchoEngine, Servers, servers

__all__ = ["servers"]


def connect(server: RunningServer) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"127.0.0.1:{server.port}")


def values_of(datatype: str) -> Any:
    values = VALUES[datatype][0]
    if datatype == "BYTES":
        return np.array([[value.encode() for value in values]], np.object_)
    return np.array([values], ml_dtypes.bfloat16 if datatype == "BF16" else NUMPY_DTYPES[datatype])


@pytest.mark.parametrize(
    ("datatype", "binary"),
    [(name, binary) for name in VALUES for binary in (True, False) if binary or name not in ("FP16", "BF16")],
)
def test_tritonclient_sends_and_reads_each_datatype(servers: Servers, datatype: str, *, binary: bool) -> None:
    client = connect(servers[datatype])
    given = triton.InferInput("x", [1, 2], datatype)
    given.set_data_from_numpy(values_of(datatype), binary_data=binary)
    outputs = [triton.InferRequestedOutput("echo", binary_data=binary)]
    result = client.infer("m", [given], outputs=outputs, request_id="r-1", timeout=5_000_000)
    assert result.get_response()["id"] == "r-1"
    texts = datatype == "BYTES" and not binary
    assert result.as_numpy("echo").tolist() == ([VALUES[datatype][0]] if texts else values_of(datatype).tolist())
    client.close()


@pytest.fixture
def client(servers: Servers) -> Iterator[triton.InferenceServerClient]:
    client = connect(servers["FP32"])
    yield client
    client.close()


def input_of(rows: int) -> triton.InferInput:
    given = triton.InferInput("x", [rows, 2], "FP32")
    given.set_data_from_numpy(np.arange(rows * 2, dtype=np.float32).reshape(rows, 2))
    return given


def test_tritonclient_reads_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_metadata("m")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


def test_tritonclient_takes_all_outputs_when_it_names_none(client: triton.InferenceServerClient) -> None:
    result = client.infer("m", [input_of(3)])
    assert result.as_numpy("echo").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert result.as_numpy("rows").tolist() == [3, 3, 3]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_may_compress_its_requests(client: triton.InferenceServerClient, algorithm: str) -> None:
    result = client.infer("m", [input_of(2)], request_compression_algorithm=algorithm)
    assert result.as_numpy("echo").tolist() == [[0, 1], [2, 3]]


def test_tritonclient_sees_the_sentence_of_a_refusal(client: triton.InferenceServerClient) -> None:
    given = triton.InferInput("x", [1, 3], "FP32")
    given.set_data_from_numpy(np.zeros((1, 3), np.float32))
    expected = r"has shape \[1, 3\] and the model takes \[-1, 2\]"
    with pytest.raises(triton.InferenceServerException, match=expected) as caught:
        client.infer("m", [given])
    assert caught.value.status() == "400"
    with pytest.raises(triton.InferenceServerException, match="There is no model other here"):
        client.infer("other", [given])


def test_tritonclient_sends_and_reads_bytes_that_are_no_text(servers: Servers) -> None:
    client = connect(servers["BYTES"])
    values = np.array([[b"\xff\x00\xfe", b""], ["zwölf".encode(), b"\x00" * 300]], np.object_)
    given = triton.InferInput("x", [2, 2], "BYTES")
    given.set_data_from_numpy(values)
    result = client.infer("m", [given], outputs=[triton.InferRequestedOutput("echo")])
    assert result.as_numpy("echo").tolist() == values.tolist()
    client.close()


def test_tritonclient_has_many_requests_in_flight_and_each_gets_its_own_rows() -> None:
    with start_server(EchoEngine("FP32"), max_queue_requests=64) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=16)
        sent = []
        for number in range(32):
            given = triton.InferInput("x", [1, 2], "FP32")
            given.set_data_from_numpy(np.array([[number, -number]], np.float32))
            sent.append(client.async_infer("m", [given], request_id=f"r-{number}"))
        for number, request in enumerate(sent):
            result = request.get_result()
            assert result.get_response()["id"] == f"r-{number}"
            assert result.as_numpy("echo").tolist() == [[number, -number]]
        client.close()
