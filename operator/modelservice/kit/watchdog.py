"""Notices that the process does not do its work although it lives: a blocked loop, deaf watches, stuck workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelservice.kit.meter import Meter
from modelservice.kit.objects import Key
from modelservice.kit.resync import Missed, Source
from modelservice.kit.workqueue import WorkQueue


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these the process should be restarted: seconds, and resyncs in a row that found missed changes."""

    lag: float = 5.0
    work: float = 300.0
    idle: float = 300.0
    deaf: int = 2


class Watchdog:
    """Measures the loop's lag and names what is wrong in sentences; an API server that is away is not wrong."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        *,
        meter: Meter,
        limits: Limits | None = None,
        missed: Mapping[str, Missed] | None = None,
        sources: Sequence[Source] = (),
        last_done: Callable[[], float | None] = lambda: None,
        working: Callable[[], bool] = lambda: False,
        interval: float = 1.0,
    ) -> None:
        self._queue = queue
        self._meter = meter
        self._limits = limits or Limits()
        self._missed = missed if missed is not None else {}
        self._sources = sources
        self._last_done = last_done
        self._working = working
        self._interval = interval
        self._waiting_since: float | None = None
        self.lag = 0.0

    async def run(self) -> None:
        """Measure each `interval` seconds, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(self._interval)
            self.measure(loop.time(), late=loop.time() - before - self._interval)

    def measure(self, now: float, *, late: float) -> None:
        """Take in one measurement: the loop woke `late` seconds after it should have."""
        self.lag = max(late, 0.0)
        self._meter.set("event_loop_lag_seconds", self.lag)
        oldest = max((now - since for since in self._queue.working.values()), default=0.0)
        self._meter.set("workqueue_unfinished_work_seconds", oldest, name="main")
        for source in self._sources:
            if source.last_event is not None:
                self._meter.set("watch_last_event_seconds", now - source.last_event, kind=source.kind)
        if not len(self._queue) or not self._working():
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now

    def problems(self) -> list[str]:
        """Why the process should be restarted; empty while all is well."""
        now = asyncio.get_running_loop().time()
        found = []
        if self.lag > self._limits.lag:
            found.append(f"The event loop was blocked for {self.lag:.1f} s.")
        for key, since in self._queue.working.items():
            if now - since > self._limits.work:
                found.append(f"{key} has been in work for {now - since:.0f} s.")
        for kind, missed in self._missed.items():
            if missed.in_a_row >= self._limits.deaf:
                found.append(f"The watch of {kind} missed changes in {missed.in_a_row} resyncs in a row.")
        if (idle := self._idle(now)) > self._limits.idle:
            found.append(f"{len(self._queue)} keys wait and none was finished for {idle:.0f} s.")
        return found

    def _idle(self, now: float) -> float:
        """Seconds for which keys have waited without one being finished, 0 while nothing waits or nobody works here."""
        if self._waiting_since is None:
            return 0.0
        return now - max(self._waiting_since, self._last_done() or 0.0)
