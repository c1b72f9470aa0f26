"""Gathers many small causes into one piece of work."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Debounce:
    """A batching window: it closes `idle` seconds after the last trigger, at most `longest` after the first.

    A trigger `at_once` closes it and sets `hurried`, which stays set until whoever does the work clears it.
    """

    def __init__(self, *, idle: float = 1.0, longest: float = 10.0) -> None:
        self._idle = idle
        self._longest = longest
        self._first: float | None = None
        self._last = 0.0
        self._triggered = asyncio.Event()
        self.hurried = asyncio.Event()

    def trigger(self, *, at_once: bool = False) -> None:
        """Something changed."""
        self._last = asyncio.get_running_loop().time()
        if self._first is None:
            self._first = self._last
        self._triggered.set()
        if at_once:
            self.hurried.set()

    async def wait(self) -> None:
        """Return when a window with at least one trigger has closed; triggers from then on open the next one."""
        await self._triggered.wait()
        loop = asyncio.get_running_loop()
        while self._first is not None and (left := self._closes_at(self._first) - loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.hurried.wait(), left)
                break
        self._first = None
        self._triggered.clear()

    def _closes_at(self, first: float) -> float:
        return min(self._last + self._idle, first + self._longest)
