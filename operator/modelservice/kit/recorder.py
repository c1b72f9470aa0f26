"""Kubernetes Events for people: one per object and reason, counted up instead of repeated, and never in the way."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelservice.kit.apply import Answered
from modelservice.kit.clock import Clock
from modelservice.kit.errors import ApiError, NotFound
from modelservice.kit.meter import Meter, NoMeter
from modelservice.kit.objects import Object, digest
from modelservice.kit.ratelimit import TokenBucket
from modelservice.kit.status import timestamp

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 1024
"""Characters of a message that the API server accepts."""


class EventClient(Protocol):
    """The two verbs that the recorder needs."""

    async def create(self, obj: Object, *, manager: str) -> Answered:
        """Store a new object."""
        ...

    async def patch_json(
        self, kind: str, namespace: str, name: str, operations: Sequence[Mapping[str, Any]], *, manager: str
    ) -> Answered:
        """Send a JSON patch."""
        ...


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How much may be written.

    Attributes:
        window: seconds in which the same message about the same object and reason is written once.
        rate: writes a second that one object may cause in the long run.
        burst: writes that one object may cause at once.
        remembered: series kept in memory.
    """

    window: float = 120.0
    rate: float = 1 / 30
    burst: float = 10
    remembered: int = 4096


@dataclass(slots=True)
class _Series:
    """One Event on the server and what has happened since it was last written."""

    event: Object
    stored_as: str = ""
    count: int = 0
    message: str = ""
    written_at: float | None = None
    written_message: str = ""
    queued: bool = False


class Recorder:
    """Aggregates Events and writes them from one task.

    The same message about the same object and reason is written once in a window; a new message is written at once.
    What exceeds an object's limit is counted and dropped.
    """

    def __init__(
        self,
        client: EventClient,
        *,
        clock: Clock,
        component: str,
        instance: str,
        meter: Meter | None = None,
        limits: EventLimits | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._component = component
        self._instance = instance
        self._meter = meter or NoMeter()
        self._limits = limits or EventLimits()
        self._series: OrderedDict[tuple[str, str], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._pending: asyncio.Queue[_Series] = asyncio.Queue()

    def emit(self, about: Object, *, reason: str, message: str, warning: bool = False) -> None:
        """Tell people one thing that happened to `about`; returns at once."""
        uid = about["metadata"]["uid"]
        series = self._series_of(about, reason, warning=warning)
        series.count += 1
        series.message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        now = self._clock.monotonic()
        fresh = series.written_at is not None and now - series.written_at < self._limits.window
        if series.queued or (fresh and series.message == series.written_message):
            return
        if not self._bucket_of(uid).allow(now):
            self._meter.count("events_dropped_total")
            return
        series.queued = True
        self._pending.put_nowait(series)

    async def run(self) -> None:
        """Write what is emitted, for ever."""
        while True:
            series = await self._pending.get()
            series.queued = False
            try:
                await self._write(series)
            except ApiError as error:
                series.written_at = None
                self._meter.count("events_dropped_total")
                log.warning("An Event about %s was not written: %s", series.event["involvedObject"]["name"], error)

    async def drain(self) -> None:
        """Write what is pending and return."""
        while not self._pending.empty():
            series = self._pending.get_nowait()
            series.queued = False
            await self._write(series)

    async def _write(self, series: _Series) -> None:
        at = timestamp(int(self._clock.wall()))
        first = not series.stored_as
        series.written_at, series.written_message = self._clock.monotonic(), series.message
        if not first:
            try:
                await self._count_up(series, at)
            except NotFound:
                first = True  # the server forgets Events after an hour
        if first:
            event = {**series.event, "message": series.message, "count": series.count}
            event |= {"firstTimestamp": at, "lastTimestamp": at}
            unique = digest([event["involvedObject"], event["reason"], at, self._instance])
            meta = {**event["metadata"], "name": f"{event['metadata']['name'][:200]}.{unique}"}
            await self._client.create({**event, "metadata": meta}, manager=self._component)
            series.stored_as = meta["name"]

    async def _count_up(self, series: _Series, at: str) -> None:
        operations: list[Mapping[str, Any]] = [
            {"op": "replace", "path": "/count", "value": series.count},
            {"op": "replace", "path": "/message", "value": series.message},
            {"op": "replace", "path": "/lastTimestamp", "value": at},
        ]
        namespace = series.event["metadata"]["namespace"]
        await self._client.patch_json("Event", namespace, series.stored_as, operations, manager=self._component)

    def _series_of(self, about: Object, reason: str, *, warning: bool) -> _Series:
        slot = (about["metadata"]["uid"], reason)
        if series := self._series.get(slot):
            self._series.move_to_end(slot)
            return series
        series = self._series[slot] = _Series(self._event(about, reason, warning=warning))
        while len(self._series) > self._limits.remembered:
            self._series.popitem(last=False)
        return series

    def _bucket_of(self, uid: str) -> TokenBucket:
        bucket = self._buckets.pop(uid, None) or TokenBucket(rate=self._limits.rate, burst=self._limits.burst)
        self._buckets[uid] = bucket
        while len(self._buckets) > self._limits.remembered:
            self._buckets.popitem(last=False)
        return bucket

    def _event(self, about: Object, reason: str, *, warning: bool) -> Object:
        meta = about["metadata"]
        involved = {key: about[key] for key in ("apiVersion", "kind")}
        involved |= {key: meta[key] for key in ("name", "namespace", "uid") if key in meta}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": meta.get("namespace", "default"), "name": meta["name"]},
            "involvedObject": involved,
            "reason": reason,
            "type": "Warning" if warning else "Normal",
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
