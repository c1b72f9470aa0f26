"""Connections to replicas: HTTP/1.1, kept for a moment, and exact about what was sent.

aiohttp's client does not say whether a byte of a request has gone out when it fails, and costs twice as much for each
request (docs/how-fast.md); so this uses its protocol and parser, and nothing above them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from aiohttp import ClientError, http_exceptions
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import EofStream, StreamReader

from modelservice.gateway.body import Body
from modelservice.gateway.limits import HEAD_LINE_BYTES, HEADERS, Limits
from modelservice.gateway.objects import Address

KEPT_SECONDS = 4.0
"""How long an idle connection is used again: less than servers keep theirs (uvicorn 5 s), so none meets its end."""

Broken = (ClientError, http_exceptions.HttpProcessingError, EofStream, ConnectionError, OSError)
"""What a replica's connection may end with."""


class NotReached(Exception):
    """No byte of the request was sent."""


@dataclass(slots=True, eq=False)
class Answer:
    """The head of a replica's answer, its body, and the connection both come over."""

    message: RawResponseMessage
    content: StreamReader
    _pool: Upstream
    _address: Address
    _connection: ResponseHandler
    _sending: asyncio.Task[None] | None

    def close(self, *, keep: bool = False) -> None:
        """Be done: the connection may be kept when the answer was read whole, else it ends."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            self._connection.abort()
        elif self._connection.should_close:
            self._connection.abort()
        elif keep:
            self._pool.keep(self._address, self._connection)
        else:
            self._connection.close()


class Upstream:
    """All connections to replicas; `dial` says where an address is really reached."""

    def __init__(self, limits: Limits, dial: Callable[[Address], Address] = lambda address: address) -> None:
        self._limits = limits
        self._dial = dial
        self._idle: dict[Address, list[tuple[float, ResponseHandler]]] = {}
        self._loop = asyncio.get_running_loop()

    async def ask(self, address: Address, head: bytes, body: Body, *, is_head: bool) -> Answer:
        """Send a request and return when the head of the answer is here.

        Raises NotReached, TimeoutError when the replica is silent, and `Broken` when it breaks off.
        """
        if (connection := self._take(address)) is None:  # an idle one is false: it has the length of its queue
            connection = await self._connect(address)
        sending = None
        try:
            connection.set_response_params(
                skip_payload=is_head,
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=self._limits.silence,
                max_line_size=HEAD_LINE_BYTES,
                max_field_size=HEAD_LINE_BYTES,
                max_headers=HEADERS,
            )
            connection.start_timeout()
            transport = cast("asyncio.Transport", connection.transport)
            if body.complete:
                transport.write(head + body.kept)
            else:
                transport.write(head)
                chunked = b"\r\nTransfer-Encoding: chunked\r\n" in head
                sending = asyncio.create_task(_send(connection, transport, body, chunked=chunked))
            while True:
                message, content = await connection.read()
                if message.code >= HTTPStatus.OK or message.code == HTTPStatus.SWITCHING_PROTOCOLS:
                    return Answer(message, content, self, address, connection, sending)
        except BaseException:
            if sending is not None:
                sending.cancel()
            connection.abort()
            raise

    def keep(self, address: Address, connection: ResponseHandler) -> None:
        """Keep a connection for the next request."""
        self._idle.setdefault(address, []).append((self._loop.time() + KEPT_SECONDS, connection))

    def forget(self, address: Address) -> None:
        """End the idle connections to a replica that goes."""
        for _, connection in self._idle.pop(address, ()):
            connection.close()

    def sweep(self) -> None:
        """End the connections that were idle for too long."""
        now = self._loop.time()
        for address, connections in list(self._idle.items()):
            fresh = []
            for until, connection in connections:
                if until > now and connection.is_connected():
                    fresh.append((until, connection))
                else:
                    connection.close()
            if fresh:
                self._idle[address] = fresh
            else:
                del self._idle[address]

    def close(self) -> None:
        """End all idle connections."""
        for address in list(self._idle):
            self.forget(address)

    def _take(self, address: Address) -> ResponseHandler | None:
        idle, now = self._idle.get(address), self._loop.time()
        while idle:
            until, connection = idle.pop()
            if until > now and connection.is_connected():
                return connection
            connection.close()
        return None

    async def _connect(self, address: Address) -> ResponseHandler:
        host, port = self._dial(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            async with asyncio.timeout(self._limits.connect):
                _, connection = await self._loop.create_connection(
                    lambda: ResponseHandler(self._loop), host, port, family=family
                )
        except (OSError, TimeoutError) as error:
            raise NotReached(f"{address.host}:{address.port} does not take connections ({error}).") from error
        return connection


async def _send(connection: ResponseHandler, transport: asyncio.Transport, body: Body, *, chunked: bool) -> None:
    """Send a body as it comes; end the connection when it does not come whole."""
    with suppress(ConnectionError):
        async for part in body.parts():
            if part:
                transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await connection._drain_helper()  # noqa: SLF001 - how aiohttp's own writers wait
        if body.failure is None:
            if chunked:
                transport.write(b"0\r\n\r\n")
        else:
            transport.abort()
