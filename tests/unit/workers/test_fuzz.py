"""A worker under thousands of random requests: it never fails, stops or grows, and good requests never notice.

1,000 requests and a few loads as they are; 20,000 and 500 where MODELSERVICE_PROPERTY_EXAMPLES is 1000.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest
import torch
from modelservice_workers.serving.model import load_model

from tests.unit.workers.engines import OPTIONS
from tests.unit.workers.fuzzing import INFER, make_request
from tests.unit.workers.memory import growth, own_bytes, resident_bytes
from tests.unit.workers.models import Bounded, export
from tests.unit.workers.servers import read_port, start_worker, wait_until, worker_environment

pytestmark = pytest.mark.timeout(900)

EXAMPLES = int(os.environ.get("MODELSERVICE_PROPERTY_EXAMPLES", "50"))
REQUESTS = max(1000, 20 * EXAMPLES)
LOADS = max(24, EXAMPLES // 2)
SENDERS = 4
SAMPLES = 12

# What a request may leave behind: less than its own bytes would be. An allocator may move by some MiB in between.
REQUEST_BYTES = 256 + (4 << 20) // REQUESTS

# What a load may leave behind: torch alone would keep 10 KiB of symbols of each program.
LOAD_BYTES = 1024 + (256 << 10) // LOADS

# What a server may say of a bad request; an answer that is no status line is no answer at all.
ALLOWED = {200, 400, 404, 405, 408, 413, 415, 422, 431, 504}


class Raw:
    """Sends whatever bytes it is given and reads the status of the first answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.statuses: Counter[int] = Counter()

    def send(self, content: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 20) as connection:
            try:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(64)
            except ConnectionError:
                return  # closed before it had read what is no request
        # A request that ends too early gets no answer, since its client is gone.
        if answer:
            self.statuses[int(answer.split()[1])] += 1


@contextmanager
def good_neighbour(port: int) -> Iterator[Counter[str]]:
    """Ask the same good question all the time and count the answers by what they are."""
    answers: Counter[str] = Counter()
    stop = threading.Event()
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4.5]}]})

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            while not stop.wait(0.002):
                answer = client.post(INFER, content=body)
                answers[json.dumps(answer.json().get("outputs", answer.text))] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def is_ready(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=20).status_code == 200


def test_random_requests_harm_nobody(tmp_path: Path) -> None:
    model = export(Bounded(), (torch.ones(2, 2),), tmp_path / "bounded.pt2")
    environment = worker_environment(
        tmp_path, MODEL_NAME="linear", MODEL_PATH=str(model), PORT="0", MODELSERVICE_MAX_BODY_BYTES="1000000"
    )
    with start_worker(["serve", "--host", "127.0.0.1"], environment) as process:
        port = read_port(process)
        wait_until(lambda: is_ready(port), "readiness")
        raw = Raw(port)
        random = Random(20_261_125)
        part = REQUESTS // (SAMPLES + SAMPLES // 3)
        sizes = []
        with good_neighbour(port) as answers, ThreadPoolExecutor(SENDERS) as pool:
            for number in range(REQUESTS // part):
                list(pool.map(raw.send, [make_request(random) for _ in range(part)]))
                if number >= SAMPLES // 3:  # what is built up once is there by then
                    sizes.append(resident_bytes(process.pid))
        assert process.poll() is None
        assert set(raw.statuses) <= ALLOWED
        assert raw.statuses[200] > REQUESTS // 40
        assert raw.statuses[400] > REQUESTS // 5
        assert raw.statuses[422] > REQUESTS // 200, "the model failed on some"
        data = [3.0, 5.0, 7.0, 10.0]
        assert list(answers) == [json.dumps([{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": data}])]
        assert answers.total() > 10
        leaked = growth(sizes, part)
        print(f"{REQUESTS} requests {dict(raw.statuses)}, {answers.total()} neighbours, {leaked:.0f} bytes a request")
        assert leaked < REQUEST_BYTES, sizes
        waiting = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
        for gauge in ("waiting", "running"):
            assert f'modelservice_requests_{gauge}{{model_name="linear"}} 0.0' in waiting


def test_growth_is_what_all_samples_show_and_not_what_an_allocator_does_once() -> None:
    assert growth([100, 130, 160, 190], 10) == 3
    assert growth([100, 100, 900_000, 900_000, 900_000, 900_000, 900_000], 10) == 0


def test_models_may_be_loaded_and_dropped_without_end(linear_model: Path) -> None:
    x = np.ones((1, 2), np.float32)

    def load(times: int) -> int:
        for _ in range(times):
            assert load_model(linear_model, OPTIONS).engine.run([x])[0].tolist() == [[3, 3]]
        return own_bytes()

    part = math.ceil(LOADS / 2 / SAMPLES)
    load(LOADS // 2)  # caches of the libraries fill
    sizes = [load(part) for _ in range(SAMPLES)]
    leaked = growth(sizes, part)
    print(f"{LOADS // 2 + part * SAMPLES} loads, {leaked:.0f} bytes a load")
    assert leaked < LOAD_BYTES, sizes
