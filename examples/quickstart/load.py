"""Sends inference requests to a model, each over a connection of its own, and tells how it went.

    python load.py --url http://host/v2/models/NAME/infer --rps 36 --seconds 60
    python load.py --url http://host/v2/models/NAME/infer --concurrency 16 --seconds 60

It asks the model for its inputs and outputs, sends random rows, and checks every answer. It prints a line of JSON
every few seconds and a last one about the whole run; it exits with 1 when any request failed. With --rps, latency
counts from the moment a request was due, so a slow server cannot hide by slowing the sender.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import SplitResult, urlsplit

ATTEMPTS_TO_REACH_THE_MODEL = 30
INTEGERS = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}


class WrongAnswerError(Exception):
    """The model answered, but not what was asked for."""


class Statistics:
    """Latencies of good answers in seconds, and reasons of failures."""

    def __init__(self) -> None:
        """Start to count now."""
        self.began = time.monotonic()
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()

    def summary(self) -> dict[str, Any]:
        """What is printed; percentiles are null when no request was answered."""
        errors = self.failures.total()
        elapsed = time.monotonic() - self.began
        ordered = sorted(self.latencies)
        document: dict[str, Any] = {
            "requests": len(ordered) + errors,
            "errors": errors,
            "p50_ms": percentile(ordered, 0.50),
            "p95_ms": percentile(ordered, 0.95),
            "rps": round((len(ordered) + errors) / elapsed, 1),
            "seconds": round(elapsed, 1),
        }
        if errors:
            document["reasons"] = dict(self.failures.most_common(5))
        return document


def percentile(ordered: list[float], share: float) -> float | None:
    """A percentile in milliseconds by the nearest rank."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 2)


async def fetch(url: SplitResult, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP request over a new connection; returns the status and the body."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        answer = await reader.read()
    finally:
        writer.close()
    header, separator, content = answer.partition(b"\r\n\r\n")
    lines = header.decode("latin-1").split("\r\n")
    if not separator:
        raise WrongAnswerError("the connection was closed before an answer")
    lengths = [int(line.split(":")[1]) for line in lines[1:] if line.lower().startswith("content-length:")]
    if lengths and lengths[0] != len(content):
        raise WrongAnswerError("the answer was cut short")
    return int(lines[0].split()[1]), content


async def describe_model(url: SplitResult) -> dict[str, Any]:
    """The model's metadata; it is waited for, since names and routes need a moment to be known."""
    path = url.path.removesuffix("/infer")
    reason = ""
    for _ in range(ATTEMPTS_TO_REACH_THE_MODEL):
        try:
            status, content = await asyncio.wait_for(fetch(url, "GET", path), timeout=5)
        except (OSError, TimeoutError, WrongAnswerError) as error:
            reason = describe_error(error)
        else:
            if status == 200:  # noqa: PLR2004
                document: dict[str, Any] = json.loads(content)
                return document
            reason = f"HTTP {status}"
        await asyncio.sleep(1)
    sys.exit(f"The model at {url.geturl()} cannot be described: {reason}.")


def make_body(model: dict[str, Any], rows: int, source: random.Random) -> bytes:
    """An inference request with random values in every input."""
    inputs = []
    for tensor in model["inputs"]:
        shape = [rows if size == -1 else size for size in tensor["shape"]]
        count = math.prod(shape)
        if tensor["datatype"] == "BOOL":
            data: list[Any] = [source.random() < 0.5 for _ in range(count)]  # noqa: PLR2004
        elif tensor["datatype"] in INTEGERS:
            data = [source.randrange(2) for _ in range(count)]
        else:
            data = [round(source.gauss(0, 1), 6) for _ in range(count)]
        inputs.append({"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": data})
    return json.dumps({"inputs": inputs}).encode()


def check_answer(status: int, content: bytes, model: dict[str, Any], rows: int) -> None:
    """Raise WrongAnswerError unless the answer has every output, in its shape, with finite values."""
    if status != 200:  # noqa: PLR2004
        raise WrongAnswerError(f"HTTP {status}")
    outputs = {tensor["name"]: tensor for tensor in json.loads(content, parse_constant=refuse_constant)["outputs"]}
    for tensor in model["outputs"]:
        name = tensor["name"]
        expected = [rows if size == -1 else size for size in tensor["shape"]]
        if name not in outputs or outputs[name]["shape"] != expected:
            raise WrongAnswerError(f"output {name} is missing or has the wrong shape")
        data = outputs[name]["data"]
        if len(data) != math.prod(expected) or not all(math.isfinite(value) for value in data):
            raise WrongAnswerError(f"output {name} has the wrong number of values or one that is not finite")


def refuse_constant(token: str) -> float:
    """Called by the JSON parser for NaN and Infinity."""
    raise WrongAnswerError(f"the answer holds {token}, which is no JSON")


def describe_error(error: BaseException) -> str:
    """A reason that groups equal failures."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"{type(error).__name__}: {error}" if not isinstance(error, WrongAnswerError) else str(error)


class Load:
    """Sends requests and keeps the statistics of the whole run and of the current interval."""

    def __init__(self, options: argparse.Namespace, url: SplitResult, model: dict[str, Any]) -> None:
        """Prepare some random bodies; the same seed gives the same bodies."""
        source = random.Random(options.seed)  # noqa: S311 - test data
        self.options = options
        self.url = url
        self.model = model
        self.bodies = [make_body(model, options.rows, source) for _ in range(64)]
        self.sent = 0
        self.total = Statistics()
        self.interval = Statistics()

    async def send_one(self, due: float) -> None:
        """Send a request that was due at the monotonic time `due`."""
        body = self.bodies[self.sent % len(self.bodies)]
        self.sent += 1
        try:
            async with asyncio.timeout(self.options.timeout):
                status, content = await fetch(self.url, "POST", self.url.path, body)
            check_answer(status, content, self.model, self.options.rows)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is counted with its reason
            reason = describe_error(error)
            self.total.failures[reason] += 1
            self.interval.failures[reason] += 1
        else:
            latency = time.monotonic() - due
            self.total.latencies.append(latency)
            self.interval.latencies.append(latency)

    async def keep_rate(self) -> None:
        """Send at a steady rate whatever the answers take."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(self.options.seconds * self.options.rps)):
                due = began + number / self.options.rps
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self.send_one(due))

    async def keep_concurrency(self) -> None:
        """Keep a number of requests open all the time."""
        until = time.monotonic() + self.options.seconds

        async def repeat() -> None:
            while time.monotonic() < until:
                await self.send_one(time.monotonic())

        async with asyncio.TaskGroup() as group:
            for _ in range(self.options.concurrency):
                group.create_task(repeat())

    async def report(self) -> None:
        """Print a line about each interval."""
        while True:
            await asyncio.sleep(self.options.report_every)
            print(json.dumps(self.interval.summary()), flush=True)
            self.interval = Statistics()


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the infer route of the model")
    pace = parser.add_mutually_exclusive_group(required=True)
    pace.add_argument("--rps", type=float, help="requests per second")
    pace.add_argument("--concurrency", type=int, help="requests that are open at any time")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int, default=1, help="rows of each request")
    parser.add_argument("--timeout", type=float, default=10, help="seconds until an unanswered request is an error")
    parser.add_argument("--report-every", type=float, default=5, help="seconds between lines")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


async def run(options: argparse.Namespace) -> int:
    """Run the load; returns the exit code."""
    url = urlsplit(options.url)
    if url.scheme != "http" or not url.hostname or not url.path.endswith("/infer"):
        sys.exit(f"{options.url} is not the infer route of a model, as in http://host/v2/models/NAME/infer.")
    load = Load(options, url, await describe_model(url))
    reporter = asyncio.create_task(load.report())
    await (load.keep_rate() if options.rps else load.keep_concurrency())
    reporter.cancel()
    summary = load.total.summary()
    print(json.dumps(summary), flush=True)
    return 1 if summary["errors"] else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(run(parse_options())))
