"""Real servers for tests: the lifecycle in a thread, or the command in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGTERM
from typing import Any

import httpx
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.serving.engine import Engine
from modelservice_workers.serving.model import LoadedModel
from modelservice_workers.serving.server import Lifecycle, open_socket
from modelservice_workers.serving.settings import ServeSettings

from tests.unit.workers.engines import INFO

REPOSITORY = Path(__file__).parents[3]
DEADLINE_SECONDS = 60.0
INFER = "/v2/models/m/infer"

SETTINGS = ServeSettings(
    model_name="m",
    model_path="/nowhere",
    host="127.0.0.1",
    port=0,
    threads=1,
    cpu_features=frozenset(),
    remote_code=False,
    max_batch_rows=8,
    max_queue_requests=4,
    max_queue_bytes=1 << 20,
    max_body_bytes=4096,
    request_timeout_seconds=30.0,
    drain_delay_seconds=0.0,
    drain_timeout_seconds=5.0,
)


def wait_until(condition: Callable[[], Any], what: str, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true result of `condition`; fails when there is none before the deadline."""
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {deadline_seconds:g} s")


@dataclass
class RunningServer:
    """A lifecycle in a thread of the test."""

    lifecycle: Lifecycle
    thread: threading.Thread
    port: int
    client: httpx.Client
    errors: list[Exception]

    @property
    def ready(self) -> bool:
        return self.client.get("/v2/health/ready").status_code == 200

    def infer(self, *values: float) -> httpx.Response:
        return self.client.post(INFER, json=log_request(*values))

    def metric(self, series: str) -> float | None:
        return read_metric(self.client, series)

    def stop(self) -> None:
        with suppress(RuntimeError):  # its event loop has ended already
            self.lifecycle.stop_soon(SIGTERM)
        self.thread.join(DEADLINE_SECONDS)
        assert not self.thread.is_alive()


def read_metric(client: httpx.Client, series: str) -> float | None:
    """The value of a series such as `name{label="value"}`, or None."""
    for line in client.get("/metrics").text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == series:
            return float(value)
    return None


def raw_request(content: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (INFER.encode(), len(content), content)


def log_request(*values: float, **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values), 1], "data": list(values)}], **fields}


@contextmanager
def start_server(
    load: Engine | Callable[[], LoadedModel], *, wait_for_model: bool = True, **changes: Any
) -> Iterator[RunningServer]:
    """Serve an engine, or what a function loads, with changed SETTINGS; stopped at the end."""
    listener = open_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    loader = load if callable(load) else lambda: LoadedModel(load, INFO)
    lifecycle = Lifecycle(replace(SETTINGS, **changes), listener, loader)
    errors: list[Exception] = []

    def run() -> None:
        try:
            asyncio.run(lifecycle.run())
        except ArtifactError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        server = RunningServer(lifecycle, thread, port, client, errors)
        thread.start()
        try:
            wait_until(lambda: _is_live(client) or not thread.is_alive(), "the server")
            if wait_for_model:
                wait_until(lambda: server.ready, "readiness")
            yield server
        finally:
            client.close()
            server.stop()


def _is_live(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False


def worker_environment(directory: Path, **variables: str) -> dict[str, str]:
    """The environment of a worker process that writes its termination message below `directory`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL", "PORT"))}
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY / "workers"),
        "MODELSERVICE_TERMINATION_LOG": str(directory / "termination"),
        "PYTHONUNBUFFERED": "1",
        **variables,
    }


def worker_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "modelservice_workers.main", *arguments]


@contextmanager
def start_worker(
    arguments: Sequence[str], environment: dict[str, str], prefix: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A worker process whose standard error can be read; killed at the end when it still runs."""
    command = [*prefix, *worker_command(*arguments)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_port(process: subprocess.Popen[str]) -> int:
    """The port that a serving process says it listens on."""
    assert process.stderr is not None
    for line in process.stderr:
        if "Listening on" in line:
            return int(line.rpartition(":")[2])
    raise AssertionError("the server ended without listening")
