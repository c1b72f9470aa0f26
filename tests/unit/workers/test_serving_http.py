"""The routes over a real server: protocol, refusals, load, cancellation, drain."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from signal import SIGTERM
from typing import Any

import httpx
import pytest
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.serving.model import LoadedModel

from tests.unit.workers.engines import DEADLINE_SECONDS, INFO, LogEngine
from tests.unit.workers.servers import RunningServer, log_request, start_server, wait_until

INFER = "/v2/models/m/infer"


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
    assert get("/v2").json()["extensions"] == []
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


def test_a_failing_model_answers_500_with_one_line(shared: RunningServer) -> None:
    response = shared.infer(13)
    assert (response.status_code, strict(response)) == (
        500,
        {"error": "The model failed on this input: thirteen is not computed"},
    )
    assert shared.infer(14).status_code == 400
    assert shared.infer(1).status_code == 200


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


@pytest.mark.parametrize(
    ("headers", "status"), [({"Inference-Header-Content-Length": "10"}, 501), ({"Content-Encoding": "gzip"}, 415)]
)
def test_encodings_that_are_not_implemented_say_so(shared: RunningServer, headers: dict[str, str], status: int) -> None:
    response = shared.client.post(INFER, json=log_request(1), headers=headers)
    assert response.status_code == status
    assert "not implemented" in strict(response)["error"]


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


def raw_request(content: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (INFER.encode(), len(content), content)


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


def test_a_client_that_goes_away_within_its_body_is_counted(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc" % INFER.encode())
        wait_until(lambda: server.metric('modelservice_requests_running{model_name="m"}') == 1, "the request")
    wait_until(lambda: server.metric('modelservice_requests_total{code="499",model_name="m"}') == 1, "the count")


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


def test_a_drain_answers_what_is_queued_and_what_still_arrives(engine: LogEngine) -> None:
    with start_server(engine, drain_delay_seconds=1.0) as server:
        engine.gate.clear()
        with ThreadPoolExecutor(4) as pool:
            running = pool.submit(server.infer, 1)
            assert engine.entered.wait(DEADLINE_SECONDS)
            waiting = [pool.submit(server.infer, 1) for _ in range(2)]
            wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 2, "two waiting")
            server.lifecycle.stop_soon(SIGTERM)
            assert server.client.get("/v2/health/ready").status_code == 503
            assert server.client.get("/v2/health/live").status_code == 200
            assert server.metric('modelservice_model_ready{model_name="m"}') == 0
            late = pool.submit(server.infer, 1)
            wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 3, "three waiting")
            engine.gate.set()
            answers = [future.result() for future in (running, *waiting, late)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert late.result().headers["connection"] == "close"
        server.thread.join(DEADLINE_SECONDS)
        assert not server.thread.is_alive()
    assert server.errors == []


def test_a_drain_ends_although_a_request_never_does(engine: LogEngine) -> None:
    with start_server(engine, drain_timeout_seconds=0.2) as server:
        engine.gate.clear()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(raw_request(json.dumps(log_request(1)).encode()))
            assert engine.entered.wait(DEADLINE_SECONDS)
            server.stop()
        engine.gate.set()
