"""Writes a status when it says something new, and keeps the time since when each condition holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from modelservice.kit.apply import Answered
from modelservice.kit.meter import Meter, NoMeter
from modelservice.kit.objects import Object


class StatusClient(Protocol):
    """The verb that the writer needs."""

    async def replace_status(self, obj: Object, *, manager: str) -> Answered:
        """PUT the status of one object; its resourceVersion is the precondition."""
        ...


class StatusWriter:
    """PUTs statuses under one field manager."""

    def __init__(self, client: StatusClient, *, manager: str, meter: Meter | None = None) -> None:
        self._client = client
        self._manager = manager
        self._meter = meter or NoMeter()

    async def write(self, observed: Object, status: Mapping[str, Any], *, now: int) -> Object:
        """Store `status` as the whole status of `observed` if it differs, and return the object as stored.

        Conditions come without lastTransitionTime; it is `now` (seconds since the epoch) for those whose status
        changed. Raises Conflict when `observed` is not the newest version any more.
        """
        before = observed.get("status") or {}
        after = {**status}
        if "conditions" in status:
            after["conditions"] = stamp(status["conditions"], before.get("conditions") or (), now)
        if _plain(after) == _plain(before):
            return observed
        self._meter.count("status_writes_total", kind=observed["kind"])
        answer = await self._client.replace_status({**observed, "status": after}, manager=self._manager)
        return answer.object


def stamp(wanted: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]], now: int) -> list[dict[str, Any]]:
    """The wanted conditions with lastTransitionTime: kept while the status is the same, else `now`."""
    since = {(c["type"], c["status"]): c.get("lastTransitionTime") for c in before}
    return [{**c, "lastTransitionTime": since.get((c["type"], c["status"])) or timestamp(now)} for c in wanted]


def timestamp(seconds: int) -> str:
    """Seconds since the epoch as Kubernetes writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Any) -> Any:
    """The value less absent things, so that null, missing and empty compare as equal."""
    if isinstance(value, Mapping):
        items = ((key, _plain(inner)) for key, inner in value.items())
        return {key: inner for key, inner in items if inner is not None and inner not in ({}, [])}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
