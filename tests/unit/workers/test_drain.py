"""The end of a server: it takes what still arrives, answers what it has, and closes no connection that is in use."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from signal import SIGTERM

import pytest
from modelservice_workers.serving.http import server as http_server

from tests.unit.workers.engines import DEADLINE_SECONDS, LogEngine
from tests.unit.workers.servers import INFER, RunningServer, log_request, raw_request, start_server, wait_until

IN_FLIGHT = 24
BODY = json.dumps(log_request(1)).encode()


@pytest.fixture
def engine() -> Iterator[LogEngine]:
    made = LogEngine()
    yield made
    made.gate.set()


def waiting(server: RunningServer) -> float | None:
    return server.metric('modelservice_requests_waiting{model_name="m"}')


def connect(server: RunningServer) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    connection.connect()
    return connection


def ask(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    """The status of an answer, and what it says of the connection."""
    connection.request("POST", INFER, BODY)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_drain_answers_what_is_computed_what_is_queued_and_what_still_arrives(engine: LogEngine) -> None:
    with start_server(engine, drain_delay_seconds=2.0, max_queue_requests=64) as server:
        engine.gate.clear()
        with ThreadPoolExecutor(IN_FLIGHT + 1) as pool:
            running = pool.submit(server.infer, 1)
            assert engine.entered.wait(DEADLINE_SECONDS)
            queued = [pool.submit(server.infer, 1) for _ in range(IN_FLIGHT - 1)]
            wait_until(lambda: waiting(server) == IN_FLIGHT - 1, "a queue")
            server.lifecycle.stop_soon(SIGTERM)
            assert server.client.get("/v2/health/ready").status_code == 503
            assert server.client.get("/v2/health/live").status_code == 200
            assert server.metric('modelservice_model_ready{model_name="m"}') == 0
            late = pool.submit(server.infer, 1)
            wait_until(lambda: waiting(server) == IN_FLIGHT, "one more in the queue")
            engine.gate.set()
            answers = [future.result() for future in (running, *queued, late)]
        assert [answer.status_code for answer in answers] == [200] * (IN_FLIGHT + 1)
        assert late.result().headers["connection"] == "close"
        server.thread.join(DEADLINE_SECONDS)
        assert not server.thread.is_alive()
    assert server.errors == []


def test_a_connection_that_was_kept_alive_ends_with_its_next_answer() -> None:
    with start_server(LogEngine(), drain_delay_seconds=2.0) as server:
        connections = [connect(server) for _ in range(IN_FLIGHT)]
        assert {ask(connection) for connection in connections} == {(200, None)}
        server.lifecycle.stop_soon(SIGTERM)
        wait_until(lambda: not server.ready, "the drain")
        assert {ask(connection) for connection in connections} == {(200, "close")}
        for connection in connections:
            connection.close()


def test_a_connection_made_at_the_last_moment_may_send_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_QUIET_SECONDS", 2 * DEADLINE_SECONDS)
    with start_server(LogEngine(), drain_timeout_seconds=DEADLINE_SECONDS) as server:
        connections = [connect(server) for _ in range(IN_FLIGHT)]
        server.client.close()
        server.lifecycle.stop_soon(SIGTERM)
        wait_until(lambda: is_refused(server.port), "an end of new connections")
        assert {ask(connection) for connection in connections} == {(200, "close")}
        server.thread.join(DEADLINE_SECONDS / 2)
        assert not server.thread.is_alive(), "nobody is waited for any longer"
        for connection in connections:
            connection.close()


def test_without_a_delay_of_its_own_a_server_takes_no_more_connections_and_answers_what_it_has(
    engine: LogEngine,
) -> None:
    with start_server(engine, drain_delay_seconds=0.0, max_queue_requests=64) as server:
        engine.gate.clear()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            running = pool.submit(server.infer, 1)
            assert engine.entered.wait(DEADLINE_SECONDS)
            queued = [pool.submit(server.infer, 1) for _ in range(IN_FLIGHT - 1)]
            wait_until(lambda: waiting(server) == IN_FLIGHT - 1, "a queue")
            server.lifecycle.stop_soon(SIGTERM)
            wait_until(lambda: is_refused(server.port), "an end of new connections")
            engine.gate.set()
            answers = [future.result() for future in (running, *queued)]
        assert [answer.status_code for answer in answers] == [200] * IN_FLIGHT
        server.thread.join(DEADLINE_SECONDS)
        assert not server.thread.is_alive()
    assert server.errors == []


def test_a_connection_without_requests_does_not_hold_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_QUIET_SECONDS", 0.1)
    with start_server(LogEngine(), drain_timeout_seconds=2 * DEADLINE_SECONDS) as server:
        connection = connect(server)
        assert ask(connection) == (200, None)
        server.stop()
        connection.close()


def test_a_request_that_is_not_computed_in_time_is_told_so(engine: LogEngine) -> None:
    with start_server(engine, drain_timeout_seconds=0.2) as server:
        engine.gate.clear()
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
            connection.sendall(raw_request(BODY))
            assert engine.entered.wait(DEADLINE_SECONDS)
            server.stop()
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1" in head
        assert json.loads(body) == {"error": "The server ends before it could compute the request; send it again."}
