"""Sources of objects, and the list that makes sure that nothing a watch should have shown was missed.

A watch that breaks never reports what was deleted meanwhile. So each kind is listed at the start, before anything is
decided (the sync gate), and again every few minutes; what the list shows and the watch does not, even a short while
later, is taken in and counted as missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from modelservice.kit.cache import Cache
from modelservice.kit.errors import ApiError, TooManyRequests
from modelservice.kit.meter import Meter
from modelservice.kit.objects import Object, Ref
from modelservice.kit.ratelimit import Backoff, jittered
from modelservice.kit.workqueue import LIVE, RELIST

log = logging.getLogger(__name__)


class Listed(Protocol):
    """All objects of a kind at one version."""

    @property
    def items(self) -> list[Object]:
        """The objects."""
        ...

    @property
    def resource_version(self) -> str:
        """The version of the collection."""
        ...


class Lister(Protocol):
    """Lists a kind."""

    async def list(self, kind: str, *, namespace: str = "", label_selector: str = "", chunk: int = 500) -> Listed:
        """All objects, read in pages of `chunk`."""
        ...


@dataclass(slots=True)
class Source:
    """One watched kind: where its objects go and what is to be looked at when one changes.

    `changed` gets the object (its last known state when it is gone) and the priority, and adds keys to queues.
    """

    kind: str
    cache: Cache[Any]
    changed: Callable[[Object, int], None]
    namespace: str = ""
    label_selector: str = ""
    last_event: float | None = field(default=None, init=False)

    def observe(self, event: str | None, obj: Object) -> None:
        """Take in one event of the watch: None for an object of a list, else ADDED, MODIFIED or DELETED."""
        self.last_event = asyncio.get_running_loop().time()
        if self.cache.observe(obj, deleted=event == "DELETED"):
            self.changed(obj, RELIST if event is None else LIVE)


@dataclass(slots=True)
class Missed:
    """In how many resyncs in a row the watch of a kind had failed to show something."""

    in_a_row: int = 0


@dataclass(slots=True)
class Resync:
    """Lists every source; `synced` is set once all of them are in the caches."""

    sources: Sequence[Source]
    lister: Lister
    meter: Meter
    random: Random
    chunk: int = 500
    settle: float = 5.0
    synced: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    missed: dict[str, Missed] = field(default_factory=dict, init=False)

    async def start(self, backoff: Backoff | None = None) -> None:
        """List every source, as long as it takes; then `synced` is set."""
        backoff = backoff or Backoff(first=0.5, ceiling=30)
        failures = 0
        while left := [source for source in self.sources if not source.cache.synced]:
            try:
                for source in left:
                    await self._fill(source)
            except ApiError as error:
                failures += 1
                delay = backoff.delay(failures, self.random)
                if isinstance(error, TooManyRequests):
                    delay = max(delay, error.retry_after)
                log.warning("The first list failed, next try in %.1f s: %s", delay, error)
                await asyncio.sleep(delay)
        self.meter.set("cache_synced", 1)
        self.synced.set()

    async def repeat(self, period: float) -> None:
        """Compare every source with the API server each `period` seconds, for ever."""
        while True:
            await asyncio.sleep(jittered(period, 0.1, self.random))
            for source in self.sources:
                try:
                    await self.check(source)
                except ApiError as error:
                    log.warning("The resync of %s failed, the next one is in %.0f s: %s", source.kind, period, error)

    async def check(self, source: Source) -> int:
        """List one source and take in what its watch does not show either within `settle` seconds; returns how much."""
        listed = await self._list(source)
        version = int(listed.resource_version)
        if not source.cache.compare(listed.items, version):
            return self._account(source, 0)
        await asyncio.sleep(self.settle)
        difference = source.cache.compare(listed.items, version)
        for ref in difference.gone:
            last = source.cache.get(ref)
            source.cache.bury(ref, version)
            source.changed(_last_state(last, source.kind, ref), LIVE)
            self.meter.count("resync_ghosts_total", kind=source.kind)
        self._take(source, difference.changed, LIVE)
        return self._account(source, len(difference.gone) + len(difference.changed))

    async def _fill(self, source: Source) -> None:
        listed = await self._list(source)
        self._take(source, listed.items, RELIST)
        source.cache.synced = True

    async def _list(self, source: Source) -> Listed:
        return await self.lister.list(
            source.kind, namespace=source.namespace, label_selector=source.label_selector, chunk=self.chunk
        )

    def _take(self, source: Source, items: Iterable[Object], priority: int) -> None:
        for obj in items:
            if source.cache.observe(obj):
                source.changed(obj, priority)

    def _account(self, source: Source, objects: int) -> int:
        missed = self.missed.setdefault(source.kind, Missed())
        missed.in_a_row = missed.in_a_row + 1 if objects else 0
        if objects:
            log.warning("The watch of %s had missed %d changes, found by the resync", source.kind, objects)
            self.meter.count("resync_missed_total", objects, kind=source.kind)
        return objects


def _last_state(value: Any, kind: str, ref: Ref) -> Object:
    if isinstance(value, dict) and "metadata" in value:
        return value
    return {"kind": kind, "metadata": {"namespace": ref.namespace, "name": ref.name}}
