"""Workers that take keys from the queue and reconcile them, and what becomes of a reconciliation that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

from modelservice.kit.errors import ApiError, Conflict, Retryable, Terminal, TooManyRequests
from modelservice.kit.meter import Meter
from modelservice.kit.objects import Key
from modelservice.kit.ratelimit import jittered
from modelservice.kit.workqueue import WorkQueue

log = logging.getLogger(__name__)

CONFLICT_DELAY = 0.2
"""Seconds after a conflict: long enough for the watch to show what was written instead."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciliation asks for: another look after so many seconds, None for the next change."""

    requeue_after: float | None = None


Reconcile = Callable[[Key], Awaitable[Result | None]]


class Workers:
    """A number of workers over one queue; `reconcilers` says who looks at which kind of key."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcilers: Mapping[str, Reconcile],
        *,
        meter: Meter,
        random: Random,
        count: int = 8,
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._meter = meter
        self._random = random
        self._count = count
        self.last_done: float | None = None

    async def run(self) -> None:
        """Work until the queue is closed and what is in work has ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            try:
                await self.handle(key)
            finally:
                self._queue.done(key)
                self.last_done = asyncio.get_running_loop().time()

    async def handle(self, key: Key) -> str:
        """Reconcile one key and plan its next look; returns the outcome as counted in reconcile_total."""
        started = asyncio.get_running_loop().time()
        try:
            result = await self._reconcilers[key.kind](key)
        except Exception as error:  # noqa: BLE001 - the boundary that decides what each error means
            outcome = self._after_error(key, error)
        else:
            outcome = self._after_success(key, result)
        took = asyncio.get_running_loop().time() - started
        self._meter.observe("reconcile_seconds", took, controller=key.kind)
        self._meter.count("reconcile_total", controller=key.kind, result=outcome)
        return outcome

    def _after_success(self, key: Key, result: Result | None) -> str:
        self._queue.forget(key)
        if result is None or result.requeue_after is None:
            return "success"
        self._queue.add_after(key, jittered(result.requeue_after, 0.1, self._random))
        return "requeue_after"

    def _after_error(self, key: Key, error: Exception) -> str:
        match error:
            case Terminal():
                self._queue.forget(key)
                log.info("%s waits for its next change: %s: %s", key, error.reason, error.message)
                return "terminal"
            case Retryable():
                self._queue.forget(key)
                self._queue.add_after(key, jittered(error.after, 0.1, self._random))
                log.info("%s is looked at again in %.0f s: %s", key, error.after, error)
                return "retryable"
            case Conflict():
                self._meter.count("conflicts_total", controller=key.kind)
                self._queue.add_after(key, jittered(CONFLICT_DELAY, 0.5, self._random))
                return "conflict"
            case TooManyRequests():
                self._queue.add_after(key, max(error.retry_after, 1.0) * self._random.uniform(1.0, 1.2))
                return "throttled"
            case ApiError():
                delay = self._queue.retry(key)
                log.warning("%s failed and is tried again in %.1f s: %s", key, delay, error)
                return "api_error"
            case _:
                delay = self._queue.retry(key)
                log.error("A bug met %s, which is tried again in %.1f s", key, delay, exc_info=error)
                return "bug"
