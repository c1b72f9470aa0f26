"""Errors a reconciliation may end with.

    ReconcileError
        Retryable           look again after a while, nothing is wrong with the program
        Terminal            nothing changes until the object does
    ApiError                the API server refused or did not answer
        NotFound Conflict Expired Invalid Forbidden TooManyRequests Unavailable

Anything else that leaves a reconciliation is a bug: it is logged with its traceback and the key backs off.
"""

from __future__ import annotations


class ReconcileError(Exception):
    """Base of what a reconciliation raises on purpose."""


class Retryable(ReconcileError):
    """The work cannot be finished now; `after` seconds from now it is worth another look."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


class Terminal(ReconcileError):
    """The object cannot be honoured as it is; its next change is the next look."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ApiError(Exception):
    """The API server refused a request or did not answer it.

    Attributes:
        status: the HTTP status, 0 where no answer came.
        reason: the reason of the Status object ("AlreadyExists", "Expired", ...), "" where there is none.
        message: the server's sentence.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason


class NotFound(ApiError):
    """The object or its kind is not there (404)."""


class Conflict(ApiError):
    """A precondition did not hold or the name is taken (409)."""

    @property
    def already_exists(self) -> bool:
        """Whether a create met an object of the same name."""
        return self.reason == "AlreadyExists"


class Expired(ApiError):
    """The version or the page asked for is too old (410)."""


class Invalid(ApiError):
    """The request makes no sense to the server: a schema, an admission rule or a JSON patch test (400, 422)."""


class Forbidden(ApiError):
    """The operator may not do this (401, 403)."""


class TooManyRequests(ApiError):
    """The server asks to wait (429); `retry_after` in seconds."""

    def __init__(self, message: str, *, retry_after: float, status: int = 429, reason: str = "") -> None:
        super().__init__(message, status=status, reason=reason)
        self.retry_after = retry_after


class Unavailable(ApiError):
    """No usable answer: connection refused, reset or timed out, or a 5xx."""
