"""Which headers pass the gateway. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

Raw = tuple[tuple[bytes, bytes], ...]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""What concerns one connection only, beside what its Connection header names."""

REPLACED = frozenset((b"content-length", b"expect", b"x-forwarded-for", b"x-forwarded-host", b"x-request-id"))

SERVER = "modelservice-gateway"
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def request_head(
    method: str, target: str, raw: Raw, *, length: int | None, client: str, host: str, request_id: str
) -> bytes:
    """The head of a request to a replica; `length` None means chunks."""
    dropped = HOP_BY_HOP | _named(raw) if any(name.lower() == b"connection" for name, _ in raw) else HOP_BY_HOP
    lines = [f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")]
    forwarded = []
    given_host = host.encode("utf-8", "surrogateescape")
    for name, value in raw:
        lower = name.lower()
        if lower in REPLACED:
            if lower == b"x-forwarded-for":
                forwarded.append(value)
            elif lower == b"x-forwarded-host":
                given_host = value
        elif lower not in dropped:
            lines.append(b"%b: %b" % (name, value))
    lines.append(b"X-Forwarded-For: " + b", ".join((*forwarded, client.encode())))
    lines.append(b"X-Forwarded-Host: " + given_host)
    lines.append(b"X-Request-Id: " + request_id.encode())
    if length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif length or method not in ("GET", "HEAD", "OPTIONS"):
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join((*lines, b"", b""))


def answer_head(status: int, reason: str, raw: Raw, *, request_id: str, more: tuple[bytes, ...]) -> bytes:
    """The head of a replica's answer for the client; `more` are headers that concern the client's connection."""
    dropped = HOP_BY_HOP | _named(raw) if any(name.lower() == b"connection" for name, _ in raw) else HOP_BY_HOP
    lines = [f"HTTP/1.1 {status} {reason}".encode("utf-8", "surrogateescape")]
    for name, value in raw:
        lower = name.lower()
        if lower not in dropped and lower != b"x-request-id":
            lines.append(b"%b: %b" % (name, value))
    lines.append(b"X-Request-Id: " + request_id.encode())
    return b"\r\n".join((*lines, *more, b"", b""))


def has_length(raw: Raw) -> bool:
    """Whether a message says how long its body is."""
    return any(name.lower() == b"content-length" for name, _ in raw)


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The id that the client gave the request, None where there is no usable one."""
    given = headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) else None


def closes(raw: Raw) -> bool:
    """Whether the other side ends the connection with this message."""
    return b"close" in _named(raw)


def _named(raw: Raw) -> frozenset[bytes]:
    """The options in the Connection headers."""
    values = (value for name, value in raw if name.lower() == b"connection")
    return frozenset(option.strip().lower() for value in values for option in value.split(b","))
