"""The servers of the serving bench: ours and its peers, each in an environment of its own, made when it is needed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = REPOSITORY / ".local" / "bench"
WINDOWS_MS = (0, 1, 5)
START_DEADLINE_SECONDS = 120.0
FEATURES = 10
LENGTH = 32
WORDS = 16_000


@dataclass(frozen=True)
class Server:
    """A program that serves MODEL on PORT; `windows_ms` are the batching windows it can be set to, 0 for none."""

    name: str
    command: Callable[[Path], list[str]]
    path: str
    windows_ms: tuple[int, ...] = (0,)


def _python(program: str) -> Callable[[Path], list[str]]:
    return lambda environment: [str(environment / "bin" / "python"), str(PEERS / program)]


def _own(_environment: Path) -> list[str]:
    return [sys.executable, "-m", "modelservice_workers.main", "serve", "--host", "127.0.0.1"]


OWN = Server("modelservice", _own, "/v2/models/m/infer")
RIVALS = (
    Server("mosec", _python("mosec_peer.py"), "/inference", WINDOWS_MS),
    Server("kserve", _python("kserve_peer.py"), "/v2/models/m/infer"),
)


def make_requests(server: Server, model: str, seed: int) -> list[bytes]:
    """64 requests with one random row each, as the server takes them."""
    source = random.Random(seed)
    requests = []
    for _ in range(64):
        if model == "mlp":
            numbers = [round(source.gauss(0, 1), 6) for _ in range(FEATURES)]
            tensor = {"name": "input", "datatype": "FP32", "shape": [1, FEATURES], "data": numbers}
        else:
            ids = [source.randrange(WORDS) for _ in range(LENGTH)]
            tensor = {"name": "ids", "datatype": "INT64", "shape": [1, LENGTH], "data": ids}
        body = json.dumps({"inputs": [tensor]})
        head = f"POST {server.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return requests


def make_environment(name: str) -> Path:
    """An environment with the packages of its lock, and PyTorch from the workers' environment behind them."""
    path = ENVIRONMENTS / name
    lock = REPOSITORY / "requirements" / "bench" / f"{name}.txt"
    stamp = hashlib.sha256(lock.read_bytes()).hexdigest()
    marker = path / "stamp"
    if marker.exists() and marker.read_text() == stamp:
        return path
    print(f"installing {name}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=True)
    pip: list[str | Path] = [path / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", lock], check=True)
    packages = next((path / "lib").glob("python*")) / "site-packages"
    (packages / "zz_workers.pth").write_text(next(each for each in sys.path if each.endswith("site-packages")) + "\n")
    marker.write_text(stamp)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def start(server: Server, environment: Path, model: Path, window_ms: int) -> Iterator[int]:
    """Run a server and give its port once it answers a request with 200."""
    port = free_port()
    variables = {
        "MODEL": str(model),
        "WINDOW_MS": str(window_ms),
        "PORT": str(port),
        "MOSEC_PORT": str(port),
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_TIMEOUT": "60000",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY / "workers") if server is OWN else "",
        "MODEL_NAME": "m",
        "MODEL_PATH": str(model),
        "MODELSERVICE_DRAIN_DELAY_SECONDS": "0",
    }
    log = model.parent / f"{server.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            server.command(environment), env={**os.environ, **variables}, stdout=output, stderr=output,
            start_new_session=True, cwd=model.parent,
        )  # fmt: skip
    try:
        _wait_ready(server, port, model, log, process)
        yield port
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and the processes that it leaves behind."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_ready(server: Server, port: int, model: Path, log: Path, process: subprocess.Popen[bytes]) -> None:
    _, _, body = make_requests(server, model.stem, 0)[0].partition(b"\r\n\r\n")
    url = f"http://127.0.0.1:{port}{server.path}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own URL
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.exit(f"{server.name} did not get ready:\n{log.read_text()[-3000:]}")
