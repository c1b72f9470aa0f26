"""Asks the operator for a replica of a service that has none: one annotation on its ModelService."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from modelservice.gateway.directory import Target
from modelservice.gateway.objects import WAKE_REQUESTED_AT
from modelservice.kit.clock import Clock
from modelservice.kit.errors import ApiError, NotFound
from modelservice.kit.meter import Meter

log = logging.getLogger(__name__)

MANAGER = "modelservice-gateway"
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 5.0


class Annotator(Protocol):
    """Changes a few fields of an object."""

    async def patch_merge(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], *, manager: str
    ) -> object:
        """Send a JSON merge patch."""
        ...


class Waker:
    """Wakes services, each once while it has no replica, and again only when that led to nothing."""

    def __init__(self, client: Annotator, clock: Clock, meter: Meter) -> None:
        self._client = client
        self._clock = clock
        self._meter = meter
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, target: Target, hold_seconds: float) -> None:
        """Ask for a replica, unless somebody did within the time that a request is held."""
        now = self._clock.monotonic()
        if not target.service.parks:
            return
        if target.wake_asked_at is not None and now - target.wake_asked_at < hold_seconds:
            return
        target.wake_asked_at = now
        task = asyncio.create_task(self._annotate(target, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _annotate(self, target: Target, asked_at: float) -> None:
        """Write the annotation; again after a failure, as long as requests wait and nobody else has asked."""
        ref = target.service.ref
        labels = {"service_namespace": ref.namespace, "service_name": ref.name}
        delay = FIRST_RETRY_SECONDS
        while target.wake_asked_at == asked_at:
            at = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            patch = {"metadata": {"annotations": {WAKE_REQUESTED_AT: at}}}
            try:
                await self._client.patch_merge("ModelService", *ref, patch, manager=MANAGER)
            except NotFound:
                return
            except ApiError as error:
                log.warning("Service %s/%s could not be woken, next try in %.1f s: %s", *ref, delay, error)
                self._meter.count("wakes_total", result="error", **labels)
            else:
                self._meter.count("wakes_total", result="ok", **labels)
                return
            await self._clock.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)
            if not target.waiting and target.wake_asked_at == asked_at:
                target.wake_asked_at = None
