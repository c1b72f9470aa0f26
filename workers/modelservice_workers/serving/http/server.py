"""The HTTP server: accepts connections, keeps their time-outs, drains."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Final

from modelservice_workers.serving.http.connection import Connection, Service
from modelservice_workers.serving.http.messages import Exchange, Reply

_BACKLOG: Final = 2048
_SWEEP_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.01
_QUIET_SECONDS: Final = 1.0


class HttpServer:
    """Hands each request to `handle`, which answers it now or later; used from the event loop only."""

    def __init__(
        self, handle: Callable[[Exchange], None], refuse: Callable[[int, str], Reply], max_body_bytes: int
    ) -> None:
        """`refuse` makes the answer to what is no request, from a status and a sentence."""
        self._service = Service(handle, refuse, max_body_bytes, set())
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Listen on a bound socket."""
        loop = asyncio.get_running_loop()
        self._set_date()
        self._server = await loop.create_server(lambda: Connection(self._service), sock=listener, backlog=_BACKLOG)
        self._sweeper = loop.create_task(self._sweep())

    def drain(self) -> None:
        """Let each connection end with its next answer; still accepts."""
        self._service.draining = True

    async def finish(self, timeout_seconds: float, hurry: asyncio.Event) -> None:
        """Accept no more and wait for open requests until the timeout or `hurry`.

        An idle connection is closed once it has been quiet for a while: the first request of a new one may be on its
        way, and a client that is closed on then cannot know whether it was computed.
        """
        self._service.draining = True
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()
        connections = self._service.connections
        deadline = loop.time() + timeout_seconds
        while connections and not hurry.is_set() and loop.time() < deadline:
            for connection in list(connections):
                if connection.idle and loop.time() - connection.active_at >= _QUIET_SECONDS:
                    connection.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), _LOOK_SECONDS)

    async def close(self) -> None:
        """Close every connection now."""
        for connection in list(self._service.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.sleep(0)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._set_date()
            now = loop.time()
            for connection in list(self._service.connections):
                connection.sweep(now)

    def _set_date(self) -> None:
        self._service.date = f"date: {formatdate(usegmt=True)}\r\n".encode()
