"""The process's clocks. Everything in the kit measures durations on the event loop's clock, which only goes forward."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Both clocks and a wait."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, only for people to read."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up anybody else."""
        ...


class SystemClock:
    """The running event loop's time, the system's wall clock."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds on the event loop's clock."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Seconds since the epoch; may jump."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up anybody else."""
        await asyncio.sleep(seconds)
