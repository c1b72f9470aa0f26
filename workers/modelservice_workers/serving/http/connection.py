"""One connection: bytes in, exchanges in their order, answers out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

import httptools

from modelservice_workers.serving.http.messages import STATUS_LINES, Exchange, Reply

_HEAD_LIMIT_BYTES: Final = 64 << 10
_HEAD_SECONDS: Final = 10.0
_BODY_SECONDS: Final = 120.0
_WRITE_SECONDS: Final = 60.0
_LINGER_SECONDS: Final = 2.0

# Longer than the idle time-outs of usual clients and proxies, so that they close first and never meet a reset.
_IDLE_SECONDS: Final = 75.0

_JOINED_BYTES: Final = 64 << 10


@dataclass(slots=True)
class Service:
    """What all connections of a server share; `date` is its header line of this second."""

    handle: Callable[[Exchange], None]
    refuse: Callable[[int, str], Reply]
    max_body_bytes: int
    connections: set[Connection]
    date: bytes = b""
    draining: bool = False


class _State(Enum):
    IDLE = 0
    HEAD = 1
    BODY = 2
    LINGERING = 3


class Connection(asyncio.Protocol):
    """Reads requests ahead only as far as one piece of input goes, and answers them one after the other.

    `active_at` is the loop's time when it was made or last became idle.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._state = _State.IDLE
        self.active_at = self._loop.time()
        self._deadline = self.active_at + _IDLE_SECONDS
        self._write_deadline: float | None = None
        self._unsent_bytes = 0
        self._open: Exchange | None = None
        self._pending: deque[Exchange] = deque()
        self._advancing = False
        self._paused = False
        self._head_bytes = 0
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._size = 0

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self._open is None and not self._pending and self._state in (_State.IDLE, _State.LINGERING)

    def close(self) -> None:
        """Close after what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Close what is idle, slow or does not read, at loop time `now`."""
        if self._write_deadline is not None and now > self._write_deadline:
            unsent = self._transport.get_write_buffer_size()
            if unsent >= self._unsent_bytes:
                self._transport.abort()
            self._unsent_bytes = unsent
            self._write_deadline = now + _WRITE_SECONDS
        elif now > self._deadline and self._open is None:
            if self._state in (_State.HEAD, _State.BODY):
                self._refuse(408, "The request did not arrive in time; send it faster or in smaller parts.")
            else:
                self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell what is still open that its client is gone."""
        del exc
        self._service.connections.discard(self)
        self._pending.clear()
        if self._open is not None:
            exchange, self._open = self._open, None
            exchange.leave()

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        self._write_deadline = self._loop.time() + _WRITE_SECONDS
        self._unsent_bytes = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_deadline = None

    def data_received(self, data: bytes) -> None:
        """Parse input and handle the requests that it completes."""
        if self._state is _State.LINGERING:
            return
        if self._state is _State.HEAD:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head = self._decline_upgrade()
            if head is not None:
                self.data_received(head + data[upgrade.args[0] :])
                return
            self._refuse(405, "This server does not tunnel.")
        except httptools.HttpParserError:
            self._refuse(400, "The request is not valid HTTP/1.1.")
        if self._state is _State.HEAD and self._head_bytes > _HEAD_LIMIT_BYTES:
            self._refuse(431, f"The head of the request is larger than {_HEAD_LIMIT_BYTES} bytes.")
        self._advance()
        if self._pending and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        if self._state is _State.LINGERING:
            return
        self._state = _State.HEAD
        self._deadline = self._loop.time() + _HEAD_SECONDS
        self._head_bytes = 0
        self._target = b""
        self._headers = {}
        self._chunks = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """Parser: a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Parser: the body is next."""
        if self._state is _State.LINGERING or self._parser.should_upgrade():
            return
        self._state = _State.BODY
        headers = self._headers
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._service.max_body_bytes:
            self._cut_body()
        elif headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length is None or int(length) > _HEAD_LIMIT_BYTES:
            self._deadline = self._loop.time() + _BODY_SECONDS

    def on_body(self, body: bytes) -> None:
        """Parser: a part of the body."""
        if self._state is _State.LINGERING:
            return
        self._size += len(body)
        if self._size > self._service.max_body_bytes:
            self._cut_body()
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Parser: the request is here."""
        if self._state is _State.LINGERING or self._parser.should_upgrade():
            return
        self._state = _State.IDLE
        exchange = Exchange(self, self._parser.get_method(), self._target, self._headers)
        chunks = self._chunks
        exchange.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        exchange.keep_alive = self._parser.should_keep_alive()
        self._chunks = []
        self._pending.append(exchange)

    def _decline_upgrade(self) -> bytes | None:
        """The head of the request without its offer of another protocol, for a new parser; None for a tunnel.

        A server may go on as if the offer had not been made, and the parser would not read the body after it.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            return None
        self._parser = httptools.HttpRequestParser(self)
        options = self._headers.pop(b"connection", b"").lower()
        self._headers.pop(b"upgrade", None)
        if b"close" in options:
            self._headers[b"connection"] = b"close"
        lines = [b"%b: %b\r\n" % header for header in self._headers.items()]
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self._target, b"".join(lines))

    def _cut_body(self) -> None:
        exchange = Exchange(self, self._parser.get_method(), self._target, self._headers)
        exchange.too_large = True
        self._chunks = []
        self._linger()
        self._pending.append(exchange)

    def _refuse(self, status: int, message: str) -> None:
        self._linger()
        exchange = Exchange(self, b"", b"", {})
        if self._open is None and not self._pending:
            self._write(exchange, self._service.refuse(status, message))
            self._end()

    def _linger(self) -> None:
        # Closing on unread bytes would reset the connection, and with it the answer on its way.
        self._state = _State.LINGERING
        self._deadline = self._loop.time() + _LINGER_SECONDS

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        while self._open is None and self._pending:
            exchange = self._open = self._pending.popleft()
            self._service.handle(exchange)
        self._advancing = False

    def send(self, exchange: Exchange, reply: Reply) -> None:
        """Write the answer of the open exchange and go on with the next."""
        keep = exchange.keep_alive and not self._service.draining and self._state is not _State.LINGERING
        exchange.keep_alive = keep
        self._write(exchange, reply)
        self._open = None
        if not keep:
            self._pending.clear()
            self._end()
            return
        if self._state is _State.IDLE:
            self.active_at = self._loop.time()
            self._deadline = self.active_at + _IDLE_SECONDS
        if self._pending:
            self._advance()
        if self._paused and not self._pending:
            self._paused = False
            self._transport.resume_reading()

    def _end(self) -> None:
        if self._state is _State.LINGERING and not self._transport.is_closing():
            self._deadline = self._loop.time() + _LINGER_SECONDS
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self._transport.close()

    def _write(self, exchange: Exchange, reply: Reply) -> None:
        body = reply.body
        head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b" % (
            STATUS_LINES[reply.status],
            reply.content_type,
            len(body),
            self._service.date,
        )
        for name, value in reply.headers:
            head += b"%b: %b\r\n" % (name, value)
        head += b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n"
        if exchange.method == b"HEAD":
            self._transport.write(head)
        elif len(body) < _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
