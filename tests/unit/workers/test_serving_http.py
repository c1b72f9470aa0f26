"""The routes over a real server: protocol, refusals, load, cancellation."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.serving.model import LoadedModel

from tests.unit.workers.engines import DEADLINE_SECONDS, INFO, LogEngine
from tests.unit.workers.servers import INFER, RunningServer, log_request, raw_request, start_server, wait_until


@pytest.fixture
def engine() -> LogEngine:
    return LogEngine()


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningServer]:
    """A server for tests that leave nothing behind."""
    with start_server(LogEngine()) as running:
        yield running


@pytest.fixture
def server(engine: LogEngine) -> Iterator[RunningServer]:
    with start_server(engine) as running:
        yield running
        engine.gate.set()


def refuse_constant(token: str) -> float:
    raise AssertionError(f"{token} is no JSON")


def strict(response: httpx.Response) -> Any:
    """The body, read by a parser that refuses NaN and Infinity."""
    return json.loads(response.content, parse_constant=refuse_constant)


def test_metadata_and_health_follow_the_protocol(shared: RunningServer) -> None:
    get = shared.client.get
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    assert get("/v2").json()["name"] == "modelservice"
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]
    described = {
        "name": "m",
        "versions": ["1"],
        "platform": "test",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert get("/v2/models/m").json() == described
    assert get("/v2/models/m/versions/1").json() == described
    assert get("/v2/models/m/ready").json() == {"name": "m", "ready": True}
    assert get("/v2/models/m/versions/1/ready").status_code == 200


@pytest.mark.parametrize("route", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer"])
def test_an_inference_is_answered(shared: RunningServer, route: str) -> None:
    response = shared.client.post(route, json=log_request(1, 1, id="abc", parameters={"a": 1}))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert strict(response) == {
        "model_name": "m",
        "model_version": "1",
        "id": "abc",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [0.0, 0.0]}],
    }


def test_values_that_are_not_finite_fail_alone_and_every_body_is_json(server: RunningServer, engine: LogEngine) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(server.infer, 1)
        assert engine.entered.wait(DEADLINE_SECONDS)
        others = [pool.submit(server.infer, value) for value in (1, 0, -1)]
        wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 3, "three waiting")
        engine.gate.set()
        answers = [future.result() for future in (first, *others)]
    assert engine.calls == [1, 3]
    assert [answer.status_code for answer in answers] == [200, 200, 422, 422]
    assert strict(answers[1])["outputs"][0]["data"] == [0.0]
    for bad in answers[2:]:
        assert strict(bad)["error"].startswith("Output y is not finite")


@pytest.mark.parametrize("token", ["NaN", "Infinity", "1e400", "1e39"])
def test_numbers_that_json_or_fp32_do_not_have_are_refused(shared: RunningServer, token: str) -> None:
    content = json.dumps(log_request(77)).replace("77", token).encode()
    response = shared.client.post(INFER, content=content)
    assert response.status_code == 400
    assert ("out of range" in strict(response)["error"]) == (token == "1e39")


def test_an_input_on_which_the_model_fails_is_refused_with_one_line(shared: RunningServer) -> None:
    response = shared.infer(13)
    assert (response.status_code, strict(response)) == (
        422,
        {"error": "The model cannot compute this input: thirteen is not computed"},
    )
    assert shared.infer(14).status_code == 400
    assert shared.infer(1).status_code == 200


def test_a_model_that_fails_on_its_own_example_too_answers_500(engine: LogEngine) -> None:
    with start_server(engine) as server:
        engine.broken = True
        response = server.infer(1)
        assert (response.status_code, strict(response)) == (
            500,
            {"error": "The model of this server fails, on its own example too: nothing is computed"},
        )
        engine.broken = False
        assert server.infer(1).status_code == 200


class OddEngine(LogEngine):
    """Gives what no tensor is for rows of 15."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        (y,) = super().run(inputs)
        return [y.astype(np.complex64) if (inputs[0] == 15).any() else y]


def test_an_answer_that_cannot_be_rendered_is_a_500_and_the_next_one_is_not() -> None:
    with start_server(OddEngine()) as server:
        assert server.infer(15).status_code == 500
        assert server.infer(1).status_code == 200
        assert server.metric('modelservice_requests_running{model_name="m"}') == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/m/versions/2/infer", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/m/versions/2", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", "/", 404),
        ("GET", INFER, 405),
        ("POST", "/v2/models/m", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_what_is_not_there_is_refused_in_json(shared: RunningServer, method: str, path: str, status: int) -> None:
    response = shared.client.request(method, path)
    assert response.status_code == status
    assert strict(response)["error"].endswith(".")


def test_a_body_beyond_the_limit_is_refused_by_its_header_and_while_it_is_read(server: RunningServer) -> None:
    def stream() -> Iterator[bytes]:
        yield b" " * 3000
        yield b" " * 3000

    for content in (b" " * 5000, stream(), b" " * 5_000_000):
        response = server.client.post(INFER, content=content)
        assert response.status_code == 413
        assert strict(response)["error"] == "The body is larger than 4096 bytes; send fewer rows at a time."
    assert server.metric('modelservice_requests_rejected_total{model_name="m",reason="BodyTooLarge"}') == 3


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_taken_and_bounded(
    shared: RunningServer, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    def post(content: bytes) -> httpx.Response:
        return shared.client.post(INFER, content=content, headers={"Content-Encoding": encoding})

    plain = json.dumps(log_request(1)).encode()
    assert post(compress(plain)).status_code == 200
    assert post(compress(b" " * 10_000_000)).status_code == 413
    for broken in (plain, compress(plain)[:-1], compress(plain) + b"x", b""):
        assert strict(post(broken))["error"] == "The body is not what its content-encoding says."


def test_another_compression_is_refused_with_those_that_are_taken(shared: RunningServer) -> None:
    response = shared.client.post(INFER, json=log_request(1), headers={"Content-Encoding": "br"})
    assert response.status_code == 415
    assert strict(response)["error"] == "The body may be encoded with gzip or deflate only."


def test_a_full_queue_answers_429_with_retry_after(server: RunningServer, engine: LogEngine) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        running = pool.submit(server.infer, 1)
        assert engine.entered.wait(DEADLINE_SECONDS)
        waiting = [pool.submit(server.infer, 1) for _ in range(4)]
        wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 4, "a full queue")
        assert server.metric('modelservice_requests_running{model_name="m"}') == 1
        refused = server.infer(1)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert server.metric('modelservice_requests_rejected_total{model_name="m",reason="QueueFull"}') == 1
        engine.gate.set()
        assert [future.result().status_code for future in (running, *waiting)] == [200] * 5
    assert server.metric('modelservice_requests_waiting{model_name="m"}') == 0
    assert server.metric('modelservice_requests_running{model_name="m"}') == 0


def test_a_client_that_goes_away_takes_its_queued_request_with_it(server: RunningServer, engine: LogEngine) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.infer, 1)
        assert engine.entered.wait(DEADLINE_SECONDS)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(raw_request(json.dumps(log_request(1)).encode()))
            wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 1, "waiting")
        wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 0, "leaving")
        engine.gate.set()
        assert first.result().status_code == 200
    assert engine.calls == [1]
    assert server.metric('modelservice_requests_total{code="499",model_name="m"}') == 1


def exchange_bytes(server: RunningServer, content: bytes) -> bytes:
    """All that a server sends to raw bytes until it closes; fails when it does not close."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        connection.sendall(content)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def closing_request(body: bytes) -> bytes:
    return raw_request(body).replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")


LOG_OF_ONE = json.dumps(log_request(1)).encode()


def test_a_client_that_goes_away_within_its_body_leaves_nothing(server: RunningServer, engine: LogEngine) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(raw_request(LOG_OF_ONE)[:-5])
    assert server.infer(1).status_code == 200
    assert engine.calls == [1]
    assert server.metric('modelservice_requests_running{model_name="m"}') == 0


def test_requests_sent_ahead_are_answered_in_their_order(shared: RunningServer) -> None:
    bodies = [json.dumps(log_request(1, id=f"r-{number}")).encode() for number in range(40)]
    content = b"".join(map(raw_request, bodies)) + closing_request(LOG_OF_ONE)
    answers = exchange_bytes(shared, content)
    assert answers.count(b"HTTP/1.1 200 OK") == 41
    positions = [answers.index(b'"r-%d"' % number) for number in range(40)]
    assert positions == sorted(positions)


def test_an_offered_upgrade_is_declined_by_going_on(shared: RunningServer) -> None:
    offer = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    first = raw_request(LOG_OF_ONE).replace(b"Host: x\r\n", offer)
    assert exchange_bytes(shared, first + closing_request(LOG_OF_ONE)).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(shared: RunningServer) -> None:
    request = closing_request(LOG_OF_ONE).replace(b"Host: x\r\n", b"Host: x\r\nExpect: 100-continue\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", shared.port), DEADLINE_SECONDS) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /v2/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, 431),
        (b"GET http://x/v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /v2/health/live HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_bytes_that_are_no_request_get_a_status_and_an_end(shared: RunningServer, content: bytes, status: int) -> None:
    answer = exchange_bytes(shared, content)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert json.loads(body)


def test_a_head_request_has_no_body(shared: RunningServer) -> None:
    response = shared.client.head("/v2/health/live")
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "13")


def test_a_request_that_takes_too_long_is_answered_504(engine: LogEngine) -> None:
    with start_server(engine) as server:
        engine.gate.clear()
        body = log_request(1, parameters={"timeout": 50_000})
        response = server.client.post(INFER, json=body)
        assert response.status_code == 504
        assert strict(response)["error"] == "The request was not computed within its time; try again or allow more."
        engine.gate.set()
        assert server.infer(1).status_code == 200


def test_metrics_have_their_agreed_names_and_count(server: RunningServer) -> None:
    server.infer(1, 1, 1)
    server.infer(0)
    text = server.client.get("/metrics").text
    assert text.startswith("# HELP")
    assert "_created" not in text
    for series, value in {
        'modelservice_requests_total{code="200",model_name="m"}': 1,
        'modelservice_requests_total{code="422",model_name="m"}': 1,
        'modelservice_inference_rows_total{model_name="m"}': 4,
        'modelservice_request_duration_seconds_count{model_name="m"}': 2,
        'modelservice_queue_duration_seconds_count{model_name="m"}': 2,
        'request_preprocess_seconds_count{model_name="m"}': 2,
        'request_predict_seconds_count{model_name="m"}': 2,
        'request_postprocess_seconds_count{model_name="m"}': 1,
        'modelservice_batch_size_bucket{le="1.0",model_name="m"}': 2,
        'modelservice_batch_size_bucket{le="64.0",model_name="m"}': 2,
        'modelservice_request_duration_seconds_bucket{le="0.0005",model_name="m"}': None,
        'modelservice_request_duration_seconds_bucket{le="30.0",model_name="m"}': 2,
        'modelservice_model_ready{model_name="m"}': 1,
        'modelservice_build_info{dtype="FP32",engine="numpy",model_name="m",model_version="1",sha256="0",torch="2"}': 1,
    }.items():
        found = server.metric(series)
        assert found is not None, series
        assert value is None or found == value, series
    assert 0 <= (server.metric('modelservice_utilization{model_name="m"}') or 0) <= 1
    assert (server.metric('modelservice_model_load_seconds{model_name="m"}') or 0) > 0


def test_a_server_is_live_but_not_ready_while_its_model_loads() -> None:
    gate = threading.Event()

    def load() -> LoadedModel:
        assert gate.wait(DEADLINE_SECONDS)
        return LoadedModel(LogEngine(), INFO)

    with start_server(load, wait_for_model=False) as server:
        assert server.client.get("/v2/health/live").status_code == 200
        assert server.client.get("/v2/health/ready").status_code == 503
        assert server.client.get("/v2/models/m").status_code == 503
        response = server.infer(1)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert server.metric('modelservice_model_ready{model_name="m"}') == 0
        assert server.metric('modelservice_requests_rejected_total{model_name="m",reason="NotReady"}') == 1
        gate.set()
        wait_until(lambda: server.ready, "readiness")
        assert server.infer(1).status_code == 200


def test_a_model_that_cannot_be_loaded_ends_the_server() -> None:
    def load() -> LoadedModel:
        raise ArtifactError("There is nothing to load.")

    def crash() -> LoadedModel:
        raise KeyError("surprise")

    for loader, sentence in ((load, "There is nothing to load."), (crash, "The model could not be loaded: KeyError")):
        with start_server(loader, wait_for_model=False) as server:
            server.thread.join(DEADLINE_SECONDS)
        assert not server.thread.is_alive()
        assert str(server.errors[0]).startswith(sentence)
