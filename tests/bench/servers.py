"""The servers of the serving bench: ours and its peers, each in an environment of its own, made when it is needed."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Processes, run

REPOSITORY = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = REPOSITORY / ".local" / "bench"
START_DEADLINE_SECONDS = 120.0
FEATURES = 10
LENGTH = 32
WORDS = 16_000


class PeerError(Exception):
    """A server cannot be had; the text says why."""


@dataclass(frozen=True)
class Server:
    """A program that serves MODEL on PORT; `batchings` are the settings of its batches, "0" for none."""

    name: str
    command: Callable[[Path, int], list[str]]
    path: str
    batchings: tuple[str, ...] = ("0",)
    plain: bool = False


def _python(program: str) -> Callable[[Path, int], list[str]]:
    return lambda environment, _port: [str(environment / "bin" / "python"), str(PEERS / program)]


def _own(_environment: Path, _port: int) -> list[str]:
    return [sys.executable, "-m", "modelservice_workers.main", "serve", "--host", "127.0.0.1"]


def _bentoml(environment: Path, port: int) -> list[str]:
    serve = [str(environment / "bin" / "python"), "-m", "bentoml", "serve", "bentoml_peer:Peer"]
    return [*serve, "--working-dir", str(PEERS), "--host", "127.0.0.1", "--port", str(port)]


WINDOWS_MS = ("0", "1", "5")
OWN = Server("modelservice", _own, "/v2/models/m/infer")
RIVALS = (
    Server("mosec", _python("mosec_peer.py"), "/inference", WINDOWS_MS),
    Server("litserve", _python("litserve_peer.py"), "/predict", WINDOWS_MS),
    Server("bentoml", _bentoml, "/predict", ("0", "adaptive"), plain=True),
    Server("kserve", _python("kserve_peer.py"), "/v2/models/m/infer"),
)


def make_requests(server: Server, model: str, seed: int) -> list[bytes]:
    """64 requests with one random row each, as the server takes them."""
    source = random.Random(seed)
    requests = []
    for _ in range(64):
        if model == "mlp":
            row = [round(source.gauss(0, 1), 6) for _ in range(FEATURES)]
            tensor = {"name": "input", "datatype": "FP32", "shape": [1, FEATURES], "data": row}
        else:
            row = [source.randrange(WORDS) for _ in range(LENGTH)]
            tensor = {"name": "ids", "datatype": "INT64", "shape": [1, LENGTH], "data": row}
        body = json.dumps({"data": [row]} if server.plain else {"inputs": [tensor]})
        head = f"POST {server.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return requests


def make_environment(name: str, environments: Path = ENVIRONMENTS) -> Path:
    """The packages of a lock, and PyTorch from the workers' environment behind them; raises PeerError."""
    path = environments / name
    lock = REPOSITORY / "requirements" / "bench" / f"{name}.txt"
    stamp = hashlib.sha256(lock.read_bytes()).hexdigest()
    marker = path / "stamp"
    if marker.exists() and marker.read_text() == stamp:
        return path
    print(f"installing {name}", file=sys.stderr)
    pip: list[str | Path] = [path / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=True)
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", lock], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerError(f"{name} cannot be installed: {error}") from None
    packages = next((path / "lib").glob("python*")) / "site-packages"
    (packages / "zz_workers.pth").write_text(next(each for each in sys.path if each.endswith("site-packages")) + "\n")
    marker.write_text(stamp)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def start(server: Server, environment: Path, model: Path, batching: str) -> Iterator[tuple[int, Processes]]:
    """Run a server and give its port once it answers a request with 200; raises PeerError."""
    port = free_port()
    variables = {
        "MODEL": str(model),
        "BATCHING": batching,
        "PORT": str(port),
        "MOSEC_PORT": str(port),
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_TIMEOUT": "60000",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(model.parent / "bentoml"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY / "workers") if server is OWN else "",
        "MODEL_NAME": "m",
        "MODEL_PATH": str(model),
        "MODELSERVICE_DRAIN_DELAY_SECONDS": "0",
    }
    log = model.parent / f"{server.name}-{batching}.log"
    with run(server.command(environment, port), variables, log) as processes:
        if not _wait_ready(server, port, model, processes):
            lines = log.read_text().strip().splitlines()[-5:]
            raise PeerError(f"{server.name} (batching {batching}) did not get ready: {' | '.join(lines)}")
        yield port, processes


def _wait_ready(server: Server, port: int, model: Path, processes: Processes) -> bool:
    _, _, body = make_requests(server, model.stem, 0)[0].partition(b"\r\n\r\n")
    url = f"http://127.0.0.1:{port}{server.path}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while time.monotonic() < deadline and not processes.ended:
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own URL
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False
