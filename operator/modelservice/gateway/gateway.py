"""The parts of the gateway put together: from the watches' sources to the listening port, and its end in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from modelservice.gateway.directory import Directory
from modelservice.gateway.holding import Lobby
from modelservice.gateway.limits import Limits, Memory
from modelservice.gateway.listener import LOOK_SECONDS, Listener
from modelservice.gateway.objects import Address
from modelservice.gateway.proxy import Path, State, handle
from modelservice.gateway.upstream import Upstream
from modelservice.gateway.waking import Annotator, Waker
from modelservice.kit.clock import Clock
from modelservice.kit.meter import Meter
from modelservice.kit.objects import Ref

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
LAST_WORDS_SECONDS = 1.0


class Gateway:
    """One gateway in the running event loop.

    `dial` says where an address is really reached, `deleted` is told every service that is no more.
    """

    def __init__(
        self,
        client: Annotator,
        clock: Clock,
        meter: Meter,
        limits: Limits,
        *,
        dial: Callable[[Address], Address] = lambda address: address,
        deleted: Callable[[Ref], None] = lambda _: None,
    ) -> None:
        self._upstream = Upstream(limits, dial)
        self.directory = Directory(self._upstream.forget, deleted)
        self._waker = Waker(client, clock, meter)
        self._lobby = Lobby(self.directory, self._waker, limits, meter)
        memory = Memory(limits.kept_total_bytes)
        self._state = State()
        path = Path(self.directory, self._lobby, self._upstream, limits, memory, meter, self._state)
        self._listener = Listener(lambda request: handle(path, request), limits, meter)
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Take requests, and return the port; raises OSError when it cannot be had."""
        self._sweeper = asyncio.create_task(self._sweep())
        return await self._listener.start(host, port)

    async def drain(self, delay: float, *, most: float) -> None:
        """Take requests for `delay` seconds more, then let those that are open end, for at most `most` seconds."""
        self._state.draining = True
        await asyncio.sleep(delay)
        self._listener.stop_accepting()
        if not await self._quiet(most):
            log.warning("%d requests are open at the end of the drain", self._state.open)
            self._lobby.close()
            await self._quiet(LAST_WORDS_SECONDS)

    async def stop(self) -> None:
        """End everything at once."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._listener.stop()
        await self._waker.stop()
        self._upstream.close()

    async def _quiet(self, seconds: float) -> bool:
        """Whether no request is open within so many seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._state.open:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._upstream.sweep()
