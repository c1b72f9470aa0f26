"""Requests that wait for a replica."""

from __future__ import annotations

import asyncio

from modelservice.gateway.balance import Replica, Track
from modelservice.gateway.directory import Directory, Target
from modelservice.gateway.limits import Limits
from modelservice.gateway.refusals import Refused
from modelservice.gateway.waking import Waker
from modelservice.kit.meter import Meter

RETRY_AFTER_QUEUE = 10
RETRY_AFTER_HOLD = 30


class Lobby:
    """Finds a replica for a request, and lets it wait where there is none and it may."""

    def __init__(self, directory: Directory, waker: Waker, limits: Limits, meter: Meter) -> None:
        self._directory = directory
        self._waker = waker
        self._limits = limits
        self._meter = meter
        self.closed = False

    async def find(self, target: Target, forced: Track | None, *, since: float, may_wait: bool) -> Replica:
        """The replica for a request that came at `since`; raises Refused when there is none, or none in time."""
        loop = asyncio.get_running_loop()
        if (replica := target.pick(forced, loop.time())) is not None:
            return replica
        ref = target.service.ref
        if target.service.suspended:
            raise Refused(503, f"Service {ref.namespace}/{ref.name} is suspended.", why="Suspended")
        if forced is not None:
            raise Refused(503, f"Service {ref.namespace}/{ref.name} has no ready replica on track {forced.value}.")
        if not may_wait:
            raise Refused(
                503,
                f"Service {ref.namespace}/{ref.name} has no ready replica; only a POST on a route of inference waits.",
                why="NotWoken",
            )
        return await self._wait(target, since, loop)

    def close(self) -> None:
        """Let nobody wait any longer."""
        self.closed = True
        for target in self._directory:
            target.tell()

    async def _wait(self, target: Target, since: float, loop: asyncio.AbstractEventLoop) -> Replica:
        ref = target.service.ref
        if len(target.waiting) >= self._limits.held:
            raise Refused(
                429,
                f"{len(target.waiting)} requests wait for service {ref.namespace}/{ref.name} already.",
                retry_after=RETRY_AFTER_QUEUE,
                why="QueueFull",
            )
        labels = {"service_namespace": ref.namespace, "service_name": ref.name}
        began = loop.time()
        hold = target.service.hold_seconds or self._limits.hold
        try:
            while (left := since + hold - loop.time()) > 0:
                self._check(target)
                self._waker.wake(target, hold)
                await self._sleep(target, left, loop, labels)
                self._check(target)
                if (replica := target.pick(None, loop.time())) is not None:
                    return replica
        finally:
            self._meter.observe("hold_duration_seconds", loop.time() - began, **labels)
        state = f" (Ready: {target.service.state})" if target.service.state else ""
        raise Refused(
            503,
            f"No replica of service {ref.namespace}/{ref.name} was ready within {hold:g} s{state}.",
            retry_after=RETRY_AFTER_HOLD,
            why="HoldTimeout",
        )

    async def _sleep(
        self, target: Target, seconds: float, loop: asyncio.AbstractEventLoop, labels: dict[str, str]
    ) -> None:
        """Wait until there may be a replica, at most so long."""
        future = loop.create_future()
        timer = loop.call_later(seconds, _wake_up, future)
        target.waiting[future] = None
        self._meter.set("held_requests", len(target.waiting), **labels)
        try:
            await future
        finally:
            timer.cancel()
            del target.waiting[future]
            self._meter.set("held_requests", len(target.waiting), **labels)

    def _check(self, target: Target) -> None:
        ref = target.service.ref
        if self.closed:
            raise Refused(503, "The gateway stops; send the request again.", retry_after=1, why="Stopping")
        if ref not in self._directory or self._directory[ref] is not target:
            raise Refused(404, f"Service {ref.namespace}/{ref.name} was deleted.", why="Deleted")
        if target.service.suspended:
            raise Refused(503, f"Service {ref.namespace}/{ref.name} is suspended.", why="Suspended")


def _wake_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
