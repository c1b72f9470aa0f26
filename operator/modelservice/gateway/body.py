"""The body of a request: its beginning is kept, so that it can be sent again, the rest passes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http import HttpVersion11

from modelservice.gateway.limits import Limits, Memory
from modelservice.gateway.refusals import Refused


class Body:
    """One body.

    Attributes:
        kept: what was read before a replica was asked.
        complete: whether that is all of it.
        failure: why the rest could not be read, None while it could.
    """

    __slots__ = ("_limits", "_memory", "_request", "_taken", "complete", "failure", "kept")

    def __init__(self, request: web.BaseRequest, limits: Limits, memory: Memory) -> None:
        self._request = request
        self._limits = limits
        self._memory = memory
        self._taken = 0
        self.kept = b""
        self.complete = False
        self.failure: Refused | None = None

    async def fill(self) -> None:
        """Read what is kept; raises Refused where the body is too large, too slow or malformed."""
        content = self._request.content
        if self.complete or self._taken:
            return
        if (self._request.content_length or 0) > self._limits.body_bytes:
            raise self._too_large()
        if content.is_eof():
            self.kept = content.read_nowait()
            self._take(len(self.kept))
            self.complete = True
            return
        await self._invite()
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.body):
                while self._taken < self._limits.kept_bytes and not content.at_eof():
                    part = await content.readany()
                    self._take(len(part))
                    parts.append(part)
        except TimeoutError:
            raise self._too_slow() from None
        except web.RequestPayloadError:
            raise Refused(400, "The body of the request is malformed.") from None
        self.kept = b"".join(parts)
        self.complete = content.at_eof()

    async def parts(self) -> AsyncIterator[bytes]:
        """The whole body once, what is kept first; `failure` says why it ended early."""
        yield self.kept
        size, content = len(self.kept), self._request.content
        try:
            while not content.at_eof():
                async with asyncio.timeout(self._limits.body):
                    part = await content.readany()
                size += len(part)
                if size > self._limits.body_bytes:
                    raise self._too_large()
                yield part
        except TimeoutError:
            self.failure = self._too_slow()
        except web.RequestPayloadError:
            self.failure = Refused(400, "The body of the request is malformed.")
        except Refused as refused:
            self.failure = refused

    def release(self) -> None:
        """Keep nothing any longer."""
        self._memory.give(self._taken)
        self._taken = 0
        self.kept = b""

    def _take(self, size: int) -> None:
        self._memory.take(size)
        self._taken += size
        if self._taken > self._limits.body_bytes:
            raise self._too_large()

    async def _invite(self) -> None:
        """Ask for the body where the client waits to be asked."""
        request = self._request
        if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0

    def _too_large(self) -> Refused:
        return Refused(413, f"The body of the request is larger than {self._limits.body_bytes} bytes.")

    def _too_slow(self) -> Refused:
        return Refused(408, f"The body of the request did not come within {self._limits.body:g} s.")
