"""Requests that are refused."""

from __future__ import annotations

from typing import Final

_TRY_AGAIN: Final = frozenset({429, 503})
_RETRY_AFTER: Final = ((b"retry-after", b"1"),)


class RequestError(Exception):
    """A request that cannot be answered; `message` is one sentence for its sender."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or (_RETRY_AFTER if status in _TRY_AGAIN else ())


class RefusedError(RequestError):
    """A request that was turned away for a `reason` that metrics count."""

    def __init__(self, status: int, message: str, reason: str) -> None:
        super().__init__(status, message)
        self.reason = reason
