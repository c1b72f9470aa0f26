"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: str | None) -> int | None:
    """Seconds since the epoch, fractions cut off; None for an absent time."""
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def format_time(seconds: int) -> str:
    """RFC 3339 in UTC with whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
