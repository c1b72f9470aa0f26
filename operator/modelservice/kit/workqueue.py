"""A queue of keys: each key at most once in it and at most once in work, urgent ones first, later ones in time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from random import Random
from typing import Generic, TypeVar

from modelservice.kit.meter import Meter, NoMeter
from modelservice.kit.ratelimit import Backoff, TokenBucket

K = TypeVar("K")

LIVE = 0
"""Priority of a change that just happened."""
RELIST = -10
"""Priority of objects seen in a list: they yield to live changes."""


class WorkQueue(Generic[K]):
    """Keys to look at.

    A key added while it waits is the same entry (the higher priority holds); a key added while in work comes again
    when that work is done. A key added for later keeps its earliest time. Times are seconds on the loop's clock.
    """

    def __init__(
        self,
        *,
        backoff: Backoff | None = None,
        bucket: TokenBucket | None = None,
        random: Random | None = None,
        meter: Meter | None = None,
        name: str = "main",
    ) -> None:
        self._backoff = backoff or Backoff()
        self._bucket = bucket or TokenBucket(rate=10, burst=100)
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self._meter = meter or NoMeter()
        self._name = name
        self._order = itertools.count()
        self._ready: asyncio.PriorityQueue[tuple[float, int, K | None]] = asyncio.PriorityQueue()
        self._waiting: dict[K, tuple[int, int, float]] = {}  # key -> priority, ticket, since
        self._working: dict[K, float] = {}  # key -> since
        self._again: dict[K, int] = {}  # key -> priority
        self._later: list[tuple[float, int, K, int]] = []
        self._due: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[K, int] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def working(self) -> dict[K, float]:
        """The keys in work and since when, a copy."""
        return dict(self._working)

    def add(self, key: K, *, priority: int = LIVE) -> None:
        """Have the key looked at as soon as a worker is free."""
        if self._closed:
            return
        if key in self._working:
            self._again[key] = max(priority, self._again.get(key, priority))
            return
        since = asyncio.get_running_loop().time()
        if held := self._waiting.get(key):
            if held[0] >= priority:
                return
            since = held[2]
        else:
            self._meter.count("workqueue_adds_total", name=self._name)
        ticket = next(self._order)
        self._waiting[key] = (priority, ticket, since)
        self._ready.put_nowait((-priority, ticket, key))
        self._meter.set("workqueue_depth", len(self._waiting), name=self._name)

    def add_after(self, key: K, seconds: float, *, priority: int = LIVE) -> None:
        """Have the key looked at `seconds` from now, or earlier where that was asked for before."""
        if seconds <= 0:
            self.add(key, priority=priority)
            return
        due = asyncio.get_running_loop().time() + seconds
        if self._closed or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key, priority))
        self._arm()

    def retry(self, key: K) -> float:
        """Have a key that failed looked at again after its back-off; returns the seconds until then."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        own = self._backoff.delay(failures, self._random)
        delay = max(own, self._bucket.reserve(asyncio.get_running_loop().time()))
        self._meter.count("workqueue_retries_total", name=self._name)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """End the key's run of failures."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often the key failed in a row."""
        return self._failures.get(key, 0)

    async def get(self) -> K | None:
        """The next key, now in work until `done`; None when the queue is closed."""
        while True:
            _, ticket, key = await self._ready.get()
            if key is None:
                self._ready.put_nowait((float("-inf"), 0, None))
                return None
            held = self._waiting.get(key)
            if held is None or held[1] != ticket:
                continue
            del self._waiting[key]
            now = asyncio.get_running_loop().time()
            self._working[key] = now
            self._meter.set("workqueue_depth", len(self._waiting), name=self._name)
            self._meter.observe("workqueue_queue_duration_seconds", now - held[2], name=self._name)
            return key

    def done(self, key: K) -> None:
        """The work on the key has ended, well or not."""
        since = self._working.pop(key)
        took = asyncio.get_running_loop().time() - since
        self._meter.observe("workqueue_work_duration_seconds", took, name=self._name)
        if (priority := self._again.pop(key, None)) is not None:
            self.add(key, priority=priority)

    def close(self) -> None:
        """Give out no more keys: every waiting `get` returns None, later adds are dropped."""
        if not self._closed:
            self._closed = True
            self._ready.put_nowait((float("-inf"), 0, None))
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._later[0][0], self._release) if self._later else None

    def _release(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            due, _, key, priority = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key, priority=priority)
        self._arm()
