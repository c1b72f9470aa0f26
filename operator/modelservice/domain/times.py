"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: str | None) -> int | None:
    """Seconds since the epoch, fractions cut off; None for an absent time."""
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def parse_instant(text: str) -> int:
    """Seconds since the epoch of a time that a person wrote; raises ValueError when it is none or has no zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return int(moment.timestamp())


def format_time(seconds: int) -> str:
    """RFC 3339 in UTC with whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
