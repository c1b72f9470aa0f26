"""Greedy batching: take what waits, compute it, repeat. The model's own run time is the window."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from modelservice_workers.serving.engine import Array, Engine
from modelservice_workers.serving.execution import BatchResult, Outcome, run_batch
from modelservice_workers.serving.modelthread import ModelThread


class QueueFullError(Exception):
    """The bounded queue holds as much as it may."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that a request waited, and that its batch took in the model."""

    queue_seconds: float
    predict_seconds: float


Answer: TypeAlias = tuple[Outcome, Timings]


@dataclass(slots=True, eq=False)
class _Waiting:
    inputs: list[Array]
    rows: int
    size_bytes: int
    inner_shapes: tuple[tuple[int, ...], ...]
    answer: asyncio.Future[Answer]
    since: float


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one batch (rows) and of the queue (requests, tensor bytes)."""

    rows: int
    queue_requests: int
    queue_bytes: int


class Batcher:
    """Feeds the model thread with batches of waiting requests; used from the event loop only.

    Requests are merged while the signature lets the first dimension vary, their other sizes agree and
    the rows fit; a request that is larger than a batch is computed alone.
    """

    def __init__(
        self,
        engine: Engine,
        thread: ModelThread,
        limits: BatchLimits,
        observe_batch: Callable[[int, int], None],
    ) -> None:
        """`observe_batch` is told the requests and rows of each finished batch."""
        rows = engine.signature.rows
        self._engine = engine
        self._thread = thread
        self._limits = limits
        self._observe_batch = observe_batch
        self._mergeable = rows is not None
        self._max_rows = min(limits.rows, rows.largest or limits.rows) if rows is not None else 1
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._running: list[_Waiting] = []
        self._wake_planned = False
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """Requests that wait for the model."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Requests that the model computes now."""
        return len(self._running)

    def submit(self, inputs: list[Array]) -> asyncio.Future[Answer]:
        """Queue a request; raises QueueFullError."""
        size = sum(array.nbytes for array in inputs)
        limits = self._limits
        if len(self._queue) >= limits.queue_requests or (
            self._queue and self._queued_bytes + size > limits.queue_bytes
        ):
            raise QueueFullError
        rows = len(inputs[0]) if self._mergeable else 1
        inner_shapes = tuple(array.shape[1:] for array in inputs)
        waiting = _Waiting(inputs, rows, size, inner_shapes, self._loop.create_future(), time.perf_counter())
        self._queue.append(waiting)
        self._queued_bytes += size
        self._plan_wake()
        return waiting.answer

    def cancel(self, answer: asyncio.Future[Answer]) -> None:
        """Take a request back; one that the model computes already is computed in vain."""
        answer.cancel()
        self._queue = deque(waiting for waiting in self._queue if waiting.answer is not answer)
        self._queued_bytes = sum(waiting.size_bytes for waiting in self._queue)

    def _plan_wake(self) -> None:
        # One turn of the loop later, so that all requests that came in this turn share a batch.
        if not self._wake_planned and not self._running:
            self._wake_planned = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_planned = False
        if self._running or not self._queue:
            return
        batch = self._take()
        if not batch:
            return
        self._running = batch
        engine, requests = self._engine, [waiting.inputs for waiting in batch]
        started = time.perf_counter()
        self._thread.submit(lambda: run_batch(engine, requests), lambda result: self._finish(batch, started, result))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            head = self._queue[0]
            if head.answer.cancelled():
                self._pop()
                continue
            if batch and not (
                self._mergeable and rows + head.rows <= self._max_rows and head.inner_shapes == batch[0].inner_shapes
            ):
                break
            batch.append(self._pop())
            rows += head.rows
        return batch

    def _pop(self) -> _Waiting:
        waiting = self._queue.popleft()
        self._queued_bytes -= waiting.size_bytes
        return waiting

    def _finish(self, batch: list[_Waiting], started: float, result: BatchResult) -> None:
        self._running = []
        self._wake()
        self._observe_batch(len(batch), sum(waiting.rows for waiting in batch))
        for waiting, outcome in zip(batch, result.outcomes, strict=True):
            if not waiting.answer.done():
                timings = Timings(started - waiting.since, result.predict_seconds)
                waiting.answer.set_result((outcome, timings))
