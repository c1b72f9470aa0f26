"""A closed-loop load: so many connections, each with one request open."""

from __future__ import annotations

import asyncio
import importlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

# A server that does not answer for so long has failed.
LONGEST_SECONDS = 30.0


@dataclass
class Round:
    """Latencies in seconds of the answers 200 within `seconds`, and how many answers were others."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000 if ordered else math.nan


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the last one is complete."""

    def __init__(self, requests: list[bytes], tally: Round, until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._tally = tally
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
        now = time.perf_counter()
        if head.startswith(b"HTTP/1.1 200"):
            self._tally.latencies.append(now - self._sent_at)
        else:
            self._tally.failures += 1
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


async def _load(port: int, requests: list[bytes], concurrency: int, seconds: float) -> Round:
    loop = asyncio.get_running_loop()
    tally = Round()
    began = time.perf_counter()
    ends = [loop.create_future() for _ in range(concurrency)]
    for end in ends:
        connect: Callable[[], Connection] = lambda end=end: Connection(requests, tally, began + seconds, end)  # type: ignore[misc] # noqa: E731
        await loop.create_connection(connect, "127.0.0.1", port)
    async with asyncio.timeout(seconds + LONGEST_SECONDS):
        await asyncio.gather(*ends)
    tally.seconds = time.perf_counter() - began
    return tally


def measure(port: int, requests: list[bytes], concurrency: int, seconds: float) -> Round:
    """One round on an event loop of its own."""
    with asyncio.Runner(loop_factory=importlib.import_module("uvloop").new_event_loop) as runner:
        return runner.run(_load(port, requests, concurrency, seconds))
