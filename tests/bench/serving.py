"""Requests per second and latency of the serving worker beside a bare Starlette route, in one run.

    .venv-workers/bin/python -m tests.bench.serving [--seconds 4] [--rounds 3]

Prints a JSON object a line. Both servers run in a process of their own and get the same requests over keep-alive
connections; rounds alternate between them and the median round counts. The bare route reads the body and answers a
constant of the same size: it is the limit that uvicorn and Starlette set.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tests.bench.figures import report

REPOSITORY = Path(__file__).parents[2]
CONCURRENCIES = (1, 16, 64)
FEATURES = 10
START_DEADLINE_SECONDS = 120.0
PEER = "bare Starlette route"

BARE_SERVER = """
import socket, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
ANSWER = b'{"model_name":"mlp","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,10],'
ANSWER += b'"data":[' + b",".join([b"0.12345678"] * 10) + b"]}]}"
async def infer(request):
    await request.body()
    return Response(ANSWER, media_type="application/json")
async def ready(request):
    return Response()
routes = [Route("/v2/models/mlp/infer", infer, methods=["POST"]), Route("/v2/health/ready", ready)]
listener = socket.create_server(("127.0.0.1", 0))
print("Listening on", listener.getsockname()[1], flush=True)
config = uvicorn.Config(Starlette(routes=routes), loop="uvloop", http="httptools", log_level="warning", lifespan="off")
uvicorn.Server(config).run(sockets=[listener])
"""


@dataclass(frozen=True)
class Round:
    """Latencies in seconds of the requests answered within `seconds`."""

    latencies: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the last one is complete."""

    def __init__(self, requests: list[bytes], latencies: list[float], until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._until = until
        self._done = done
        self._buffer = b""
        self._count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[self._count % len(self._requests)])
        self._count += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._finish(RuntimeError(f"the server answered {head[:30]!r} {body[:200]!r}"))
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or RuntimeError("the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if not self._done.done():
            self._transport.close()
            if error is not None:
                self._done.set_exception(error)
            else:
                self._done.set_result(None)


async def load(port: int, requests: list[bytes], concurrency: int, seconds: float) -> Round:
    """Keep `concurrency` requests open for `seconds`."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    began = time.perf_counter()
    ends = [loop.create_future() for _ in range(concurrency)]
    for end in ends:
        connect: Callable[[], Connection] = lambda end=end: Connection(requests, latencies, began + seconds, end)  # type: ignore[misc] # noqa: E731
        await loop.create_connection(connect, "127.0.0.1", port)
    await asyncio.gather(*ends)
    return Round(latencies, time.perf_counter() - began)


def measure(port: int, requests: list[bytes], concurrency: int, seconds: float) -> Round:
    """One round on an event loop of its own."""
    with asyncio.Runner(loop_factory=importlib.import_module("uvloop").new_event_loop) as runner:
        return runner.run(load(port, requests, concurrency, seconds))


def make_requests(seed: int) -> list[bytes]:
    """64 requests with one random row each."""
    source = random.Random(seed)
    requests = []
    for _ in range(64):
        data = [round(source.gauss(0, 1), 6) for _ in range(FEATURES)]
        tensor = {"name": "input", "datatype": "FP32", "shape": [1, FEATURES], "data": data}
        body = json.dumps({"inputs": [tensor]}).encode()
        head = f"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        requests.append(head.encode() + body)
    return requests


@contextmanager
def start(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """Run a server that says where it listens; gives its port once it is ready."""
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "Listening on" in line), "")
            if not line:
                sys.exit("A server of the bench did not start.")
            port = int(line.replace(":", " ").split()[-1])
            wait_ready(port)
            yield port
        finally:
            process.terminate()


def wait_ready(port: int) -> None:
    """Wait until the server is ready."""
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return
        except urllib.error.URLError:
            time.sleep(0.1)
    sys.exit("A server of the bench did not get ready.")


def compare(worker: int, bare: int, options: argparse.Namespace) -> None:
    """Alternate rounds at each concurrency and report the medians."""
    requests = make_requests(options.seed)
    for port in (worker, bare):
        measure(port, requests, 16, 1.0)
    for concurrency in CONCURRENCIES:
        rounds: dict[int, list[Round]] = {worker: [], bare: []}
        for _ in range(options.rounds):
            for port, done in rounds.items():
                done.append(measure(port, requests, concurrency, options.seconds))
        count = sum(len(each.latencies) for each in rounds[worker])
        name = f"serving_mlp_c{concurrency}"
        rates = [statistics.median(each.rate for each in rounds[port]) for port in (worker, bare)]
        report(f"{name}_rate", rates[0], "requests/s", (PEER, rates[1]), count=count, seed=options.seed)
        for share in (0.50, 0.99):
            times = [statistics.median(each.percentile_ms(share) for each in rounds[port]) for port in (worker, bare)]
            figure = f"{name}_p{share * 100:.0f}"
            report(figure, times[0], "ms", (PEER, times[1]), count=count, seed=options.seed)


def main() -> None:
    """Export the quick start's network, start both servers, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server at each concurrency")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        train = [sys.executable, str(REPOSITORY / "examples" / "quickstart" / "train.py")]
        environment = {**os.environ, "MODELSERVICE_OUTPUT_DIR": directory}
        subprocess.run(train, env=environment, check=True, stdout=subprocess.DEVNULL)
        variables = {
            "PYTHONPATH": str(REPOSITORY / "workers"),
            "MODEL_NAME": "mlp",
            "MODEL_PATH": f"{directory}/model.pt2",
            "OMP_NUM_THREADS": "1",
            "MODELSERVICE_DRAIN_DELAY_SECONDS": "0",
        }
        serve = [sys.executable, "-m", "modelservice_workers.main", "serve", "--host", "127.0.0.1", "--port", "0"]
        with start(serve, variables) as worker, start([sys.executable, "-c", BARE_SERVER], {}) as bare:
            compare(worker, bare, options)


if __name__ == "__main__":
    main()
