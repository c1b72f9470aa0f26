"""From the API server's refusals, and its silence, to the errors that controllers understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from modelservice.kit.errors import (
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unavailable,
)

_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: Expired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def from_response(status: int, headers: Mapping[str, str], body: bytes, request: str) -> ApiError:
    """The error of an answer with a status of 400 or more; `request` says what was asked, for the message."""
    reason, sentence, details = _status_object(body)
    message = f"{request}: {sentence or f'the server answered {status}'}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = headers.get("Retry-After") or details.get("retryAfterSeconds") or 1
        return TooManyRequests(message, retry_after=_seconds(wait), status=status, reason=reason)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and _is_other_object(details):
        return Conflict(message, status=status, reason=reason)
    kind = _BY_STATUS.get(status, Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Invalid)
    return kind(message, status=status, reason=reason)


def from_silence(error: Exception, request: str) -> Unavailable:
    """The error of a request that got no answer."""
    return Unavailable(f"{request}: {str(error) or type(error).__name__}")


def _status_object(body: bytes) -> tuple[str, str, Mapping[str, object]]:
    try:
        status = json.loads(body)
    except ValueError:
        return "", body[:200].decode(errors="replace").strip(), {}
    if not isinstance(status, dict):
        return "", "", {}
    return status.get("reason") or "", status.get("message") or "", status.get("details") or {}


def _is_other_object(details: Mapping[str, object]) -> bool:
    """Whether an apply named the uid of an object that is not there any more: a precondition, answered as a field."""
    causes = details.get("causes")
    return isinstance(causes, list) and any(cause.get("field") == "metadata.uid" for cause in causes)


def _seconds(value: object) -> float:
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return 1.0
