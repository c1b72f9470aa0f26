"""The one thread in which the model is loaded and computed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ModelThread:
    """Runs calls one after the other and reports each result to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._finished_seconds = 0.0
        self._started_at: float | None = None
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def busy_seconds(self) -> float:
        """Time spent in calls, including the part of the call that runs now."""
        started_at = self._started_at
        running = 0.0 if started_at is None else time.monotonic() - started_at
        return self._finished_seconds + running

    def submit(self, work: Callable[[], T], deliver: Callable[[T], None]) -> None:
        """Call `work`, which must not raise, in the thread, then `deliver` with its result in the event loop."""

        def call() -> None:
            result = work()
            self._loop.call_soon_threadsafe(deliver, result)

        self._calls.put(call)

    def run_inline(self, work: Callable[[], T]) -> T:
        """Call `work` here and now, while the thread has nothing to do."""
        started_at = time.monotonic()
        result = work()
        self._finished_seconds += time.monotonic() - started_at
        return result

    async def run(self, work: Callable[[], T]) -> T:
        """Call `work` in the thread and return its result or raise its exception."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def attempt() -> tuple[T | None, BaseException | None]:
            try:
                return work(), None
            except Exception as error:  # noqa: BLE001 - raised again where the call was made
                return None, error

        def deliver(outcome: tuple[T | None, BaseException | None]) -> None:
            result, error = outcome
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(attempt, deliver)
        outcome: T = await future
        return outcome

    def stop(self, timeout_seconds: float) -> bool:
        """End the thread after the calls it has; False when it still runs after the timeout."""
        self._calls.put(None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._started_at = started_at = time.monotonic()
            try:
                call()
            except RuntimeError:
                _log.warning("The event loop ended before the model's result was delivered.")
            self._started_at = None
            self._finished_seconds += time.monotonic() - started_at
