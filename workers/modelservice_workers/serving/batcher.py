"""Greedy batching: take what waits, compute it, repeat. The model's own run time is the window."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from modelservice_workers.common.datatypes import Array, size_bytes
from modelservice_workers.serving.engine import Engine
from modelservice_workers.serving.execution import BatchResult, Failure, Outcome, run_batch
from modelservice_workers.serving.modelthread import ModelThread

EXPIRED: Final = Failure(504, "The request was not computed within its time; try again or allow more.")
STOPPED: Final = Failure(503, "The server ends before it could compute the request; send it again.")

_ENDED_KEPT: Final = 64


class QueueFullError(Exception):
    """The bounded queue holds as much as it may."""


@dataclass(slots=True)
class Timings:
    """Seconds that a request waited, and that its batch took in the model."""

    queue_seconds: float
    predict_seconds: float


Deliver: TypeAlias = Callable[[Outcome, Timings], None]


@dataclass(slots=True, eq=False)
class Ticket:
    """A request in the queue or in the model; `deadline` is a time of the event loop, `ended` once it has an answer."""

    inputs: list[Array]
    rows: int
    size: int
    inner_shapes: tuple[tuple[int, ...], ...]
    deliver: Deliver
    since: float
    deadline: float
    queued: bool = True
    ended: bool = False


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one batch (rows) and of the queue (requests, tensor bytes).

    `inline_rows` as in Batcher; without `merge` every request is computed alone.
    """

    rows: int
    queue_requests: int
    queue_bytes: int
    inline_rows: int = 0
    merge: bool = True


@dataclass(slots=True)
class _Queue:
    """Tickets in their order, with the number and bytes of those that still want an answer."""

    tickets: deque[Ticket] = field(default_factory=deque)
    count: int = 0
    size: int = 0

    def add(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)
        self.count += 1
        self.size += ticket.size

    def forget(self, ticket: Ticket) -> None:
        """Take a ticket off the count; it leaves the deque when its turn comes, or when too many such wait."""
        ticket.queued = False
        self.count -= 1
        self.size -= ticket.size
        if ticket.ended:
            ticket.inputs = []
            if len(self.tickets) > 2 * self.count + _ENDED_KEPT:
                self.tickets = deque([kept for kept in self.tickets if kept.queued])


class Batcher:
    """Feeds the model with batches of waiting requests; used from the event loop only.

    Requests are merged while the signature lets the first dimension vary, their other sizes agree and
    the rows fit; a request that is larger than a batch is computed alone. The oldest request is in the next batch,
    and those that fit it overtake those that do not. Batches of up to `limits.inline_rows` rows are computed in the
    event loop, which for a small model costs less than waking a thread.
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
        self._mergeable = limits.merge and rows is not None
        self._max_rows = min(limits.rows, rows.largest or limits.rows) if rows is not None else 1
        self._queue = _Queue()
        self._running: list[Ticket] = []
        self._wake_planned = False
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """Requests that wait for the model."""
        return self._queue.count

    @property
    def running(self) -> int:
        """Requests that the model computes now."""
        return len(self._running)

    def submit(self, inputs: list[Array], deliver: Deliver, timeout_seconds: float, *, exact: bool = False) -> Ticket:
        """Queue a request whose outcome `deliver` is told once; raises QueueFullError.

        The time-out is looked at when a batch is taken and at each `sweep`, or with `exact` when it is over.
        """
        queue, limits = self._queue, self._limits
        size = sum([size_bytes(array) for array in inputs])
        if queue.count >= limits.queue_requests or (queue.count and queue.size + size > limits.queue_bytes):
            raise QueueFullError
        rows = len(inputs[0]) if self._mergeable else 1
        inner_shapes = tuple([array.shape[1:] for array in inputs])
        deadline = self._loop.time() + timeout_seconds
        ticket = Ticket(inputs, rows, size, inner_shapes, deliver, time.perf_counter(), deadline)
        queue.add(ticket)
        if exact:
            self._loop.call_at(deadline, self._expire, ticket)
        self._plan_wake()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Take a request back, which is then told nothing; one that the model computes is computed in vain."""
        ticket.ended = True
        if ticket.queued:
            self._queue.forget(ticket)

    def sweep(self) -> None:
        """Answer those whose time is over."""
        now = self._loop.time()
        for ticket in [*self._queue.tickets, *self._running]:
            if ticket.deadline <= now:
                self._expire(ticket)

    def give_up(self) -> None:
        """Answer all that are still open, since the server ends."""
        for ticket in [*self._queue.tickets, *self._running]:
            self._abandon(ticket, STOPPED)

    def _expire(self, ticket: Ticket) -> None:
        self._abandon(ticket, EXPIRED)

    def _abandon(self, ticket: Ticket, reason: Failure) -> None:
        if not ticket.ended:
            self.cancel(ticket)
            ticket.deliver(reason, Timings(time.perf_counter() - ticket.since, 0.0))

    def _plan_wake(self) -> None:
        # One turn of the loop later, so that all requests that came in this turn share a batch.
        if not self._wake_planned and not self._running:
            self._wake_planned = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_planned = False
        if self._running or not self._queue.tickets:
            return
        batch, rows = self._take()
        if not batch:
            return
        self._running = batch
        engine, requests = self._engine, [ticket.inputs for ticket in batch]
        started = time.perf_counter()
        if rows <= self._limits.inline_rows:
            self._end(batch, rows, started, self._thread.run_inline(lambda: run_batch(engine, requests)))
            if self._queue.tickets:
                self._plan_wake()
        else:
            self._thread.submit(
                lambda: run_batch(engine, requests), lambda result: self._finish(batch, rows, started, result)
            )

    def _take(self) -> tuple[list[Ticket], int]:
        batch: list[Ticket] = []
        passed: list[Ticket] = []
        expired: list[Ticket] = []
        rows = 0
        now = self._loop.time()
        tickets = self._queue.tickets
        while tickets and (not batch or (self._mergeable and rows < self._max_rows)):
            ticket = tickets.popleft()
            if not ticket.queued:
                continue
            if ticket.deadline <= now:
                self._queue.forget(ticket)
                expired.append(ticket)
            elif batch and not (rows + ticket.rows <= self._max_rows and ticket.inner_shapes == batch[0].inner_shapes):
                passed.append(ticket)
            else:
                self._queue.forget(ticket)
                batch.append(ticket)
                rows += ticket.rows
        tickets.extendleft(reversed(passed))
        for ticket in expired:
            self._expire(ticket)
        return batch, rows

    def _finish(self, batch: list[Ticket], rows: int, started: float, result: BatchResult) -> None:
        # The model goes on first, then the answers are written.
        self._running = []
        self._wake()
        self._end(batch, rows, started, result)

    def _end(self, batch: list[Ticket], rows: int, started: float, result: BatchResult) -> None:
        if self._running is batch:
            self._running = []
        self._observe_batch(len(batch), rows)
        for ticket, outcome in zip(batch, result.outcomes, strict=True):
            if not ticket.ended:
                ticket.ended = True
                ticket.deliver(outcome, Timings(started - ticket.since, result.predict_seconds))
