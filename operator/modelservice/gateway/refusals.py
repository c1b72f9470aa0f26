"""What the gateway answers itself, in the form of the protocol that was spoken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

MOST_SENTENCE = 500

_CODES = {
    400: "invalid_request",
    404: "not_found",
    408: "request_timeout",
    413: "body_too_large",
    429: "queue_full",
    502: "bad_gateway",
    503: "no_replica",
    504: "timeout",
}


class Refused(Exception):
    """A request that no replica answers; the message is a sentence for whoever sent it.

    Attributes:
        status: the HTTP status.
        code: one word for programs.
        retry_after: seconds after which another try makes sense, None where that is not known.
        why: the reason in metrics.
    """

    def __init__(
        self, status: int, message: str, *, code: str = "", retry_after: int | None = None, why: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES.get(status, "error")
        self.retry_after = retry_after
        self.why = why or HTTPStatus(status).phrase.replace(" ", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer of the gateway's own."""

    status: int
    body: bytes
    headers: dict[str, str]


def reply(refused: Refused, path: str) -> Reply:
    """The answer for a path: OpenAI's error object on its routes, that of the Open Inference Protocol elsewhere."""
    sentence = refused.message[:MOST_SENTENCE]
    error: object = sentence
    if "/v1/" in path:
        kind = "invalid_request_error" if refused.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        error = {"message": sentence, "type": kind, "param": None, "code": refused.code}
    headers = {"Content-Type": "application/json"}
    if refused.retry_after is not None:
        headers["Retry-After"] = str(refused.retry_after)
    return Reply(refused.status, json.dumps({"error": error}).encode(), headers)
