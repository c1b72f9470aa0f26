"""The side of the clients: aiohttp's server with bounds on connections and on the time that heads take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from modelservice.gateway.limits import HEAD_LINE_BYTES, HEADERS, Limits
from modelservice.kit.meter import Meter

BACKLOG = 2048
LINGER_SECONDS = 2.0
LOOK_SECONDS = 0.05

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_silent = logging.getLogger("modelservice.gateway.clients")
_silent.setLevel(logging.CRITICAL + 1)  # what a client sends wrong is answered, not logged with a traceback


class Listener(web.Server):
    """Hands requests to `handle`; it is cancelled when the client goes."""

    def __init__(self, handle: Handler, limits: Limits, meter: Meter) -> None:
        super().__init__(
            handle,
            handler_cancellation=True,
            keepalive_timeout=limits.idle,
            max_line_size=HEAD_LINE_BYTES,
            max_field_size=HEAD_LINE_BYTES,
            max_headers=HEADERS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            access_log=None,
            logger=_silent,
        )
        self.limits = limits
        self._meter = meter
        self._open = 0
        self._server: asyncio.Server | None = None

    def __call__(self) -> web.RequestHandler:
        """A new connection."""
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)

    def enter(self) -> bool:
        """Count a new connection; False when there is no room for it."""
        if self._open >= self.limits.connections:
            return False
        self._open += 1
        self._meter.set("connections", self._open)
        return True

    def leave(self) -> None:
        """Count a connection that has ended."""
        self._open -= 1
        self._meter.set("connections", self._open)

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; raises OSError when it cannot be had."""
        self._server = await asyncio.get_running_loop().create_server(self, host, port, backlog=BACKLOG)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def stop_accepting(self) -> None:
        """Take no new connection, and end those without a request."""
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            if isinstance(connection, _Connection) and connection.idle:
                connection.force_close()

    async def stop(self) -> None:
        """End all connections."""
        self.stop_accepting()
        await self.shutdown(LOOK_SECONDS)


class _Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ("_entered", "_head_timer", "_listener")

    def __init__(self, listener: Listener, **options: Any) -> None:
        super().__init__(listener, **options)
        self._listener = listener
        self._head_timer: asyncio.TimerHandle | None = None
        self._entered = False

    @property
    def idle(self) -> bool:
        """Whether no request is in work and none is complete."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._entered = self._listener.enter()
        if not self._entered:
            self._force_close = True
            cast("asyncio.Transport", transport).write(BUSY)
            transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if self._entered:
            self._listener.leave()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.idle:
            self._stop_timer()
        elif data and self._head_timer is None:
            self._head_timer = self._loop.call_later(self._listener.limits.head, self._end_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_late(self) -> None:
        """End a connection whose request has begun and does not come."""
        self._head_timer = None
        if self.idle and self.transport is not None:
            self.transport.write(LATE)
            self.force_close()
