"""What the routes see of HTTP: a request with its place for the answer, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

import httptools

JSON: Final = b"application/json"


@dataclass(slots=True)
class Reply:
    """An answer; `headers` are sent beside content-type, content-length, date and connection."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class ReplySink(Protocol):
    """Where an answer goes."""

    def send(self, exchange: Exchange, reply: Reply) -> None:
        """Write the answer of the exchange that is open."""


class Exchange:
    """One request and its answer.

    `headers` has lower-case names, the last of equal ones counts. `too_large` says that the body was not read to its
    end. `on_gone` is called when the client leaves before `reply`, which then does nothing.
    """

    __slots__ = ("_sink", "body", "gone", "headers", "keep_alive", "method", "on_gone", "target", "too_large")

    def __init__(self, sink: ReplySink, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> None:
        self._sink = sink
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.too_large = False
        self.keep_alive = False
        self.gone = False
        self.on_gone: Callable[[], None] | None = None

    def reply(self, reply: Reply) -> None:
        """Answer; to be called once, now or later."""
        self.on_gone = None
        if not self.gone:
            self._sink.send(self, reply)

    def leave(self) -> None:
        """The client is gone."""
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()


class BadTargetError(Exception):
    """A request target that is no path."""


@lru_cache(maxsize=1024)
def split_target(target: bytes) -> tuple[str, ...]:
    """The decoded parts of a request target's path; "/v2/models/a%2Fb" gives ("v2", "models", "a/b").

    Raises BadTargetError when there is no path, or one that is not UTF-8.
    """
    try:
        path = httptools.parse_url(target).path
        if not path.startswith(b"/"):
            raise BadTargetError
        parts = [unquote_to_bytes(part).decode() for part in path[1:].split(b"/")]
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError):
        raise BadTargetError from None
    return tuple(parts if parts != [""] else [])


STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
} | {499: b"HTTP/1.1 499 Client Closed Request\r\n"}
