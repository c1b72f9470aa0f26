"""An answer on its way from a replica to the client: byte for byte, as it comes.

aiohttp's own response objects would build every header anew and cost half as much again for each request.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from aiohttp.streams import StreamReader

from modelservice.gateway.headers import answer_head, has_length
from modelservice.gateway.refusals import Refused
from modelservice.gateway.upstream import Answer, Broken

EMPTY = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))


class BrokeOff(Exception):
    """The answer has begun and its replica does not end it."""


class ClientGone(Exception):
    """The client does not take the answer."""


class Passed(web.StreamResponse):
    """What aiohttp's server gets to see of an answer that is written already."""

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


async def pass_on(
    answer: Answer, request: web.BaseRequest, *, request_id: str, keep_alive: bool, patience: float
) -> web.StreamResponse:
    """Write an answer to the client, which may take `patience` seconds for each part.

    Raises Refused while nothing is written, then BrokeOff and ClientGone: the client has to be cut off then.
    """
    message, content = answer.message, answer.content
    is_empty = request.method == "HEAD" or message.code in EMPTY
    chunked = not is_empty and not has_length(message.raw_headers)
    if chunked and request.version < HttpVersion11:
        chunked = keep_alive = False
    more: tuple[bytes, ...] = (b"Transfer-Encoding: chunked",) if chunked else ()
    if not keep_alive:
        more = (*more, b"Connection: close")
    elif request.version < HttpVersion11:
        more = (*more, b"Connection: keep-alive")
    head = answer_head(message.code, message.reason, message.raw_headers, request_id=request_id, more=more)
    try:
        part = content.read_nowait()
    except Broken as error:
        raise Refused(502, f"The replica broke off its answer ({error}).") from error
    try:
        while True:
            ended = is_empty or content.at_eof()
            _write(request, head + _framed(part, chunked=chunked, ended=ended))
            if request.protocol.writing_paused:
                async with asyncio.timeout(patience):
                    await request.protocol._drain_helper()  # noqa: SLF001 - how aiohttp's own writers wait
            if ended:
                return Passed(message.code, keep_alive=keep_alive)
            head, part = b"", await _read(content)
    except (ConnectionError, TimeoutError) as error:
        raise ClientGone from error


def _framed(part: bytes, *, chunked: bool, ended: bool) -> bytes:
    if not chunked:
        return part
    framed = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
    return framed + b"0\r\n\r\n" if ended else framed


def _write(request: web.BaseRequest, data: bytes) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ClientGone
    transport.write(data)


async def _read(content: StreamReader) -> bytes:
    try:
        return await content.readany()
    except (TimeoutError, *Broken) as error:
        raise BrokeOff(str(error) or type(error).__name__) from error
