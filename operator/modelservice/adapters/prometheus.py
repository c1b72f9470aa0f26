"""Instant queries to Prometheus over HTTP, read strictly: what is not plainly a good answer is none.

A series whose value or time cannot be trusted is passed on as NaN, so that one bad pod does not hide the others.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from modelservice.kit.errors import Unavailable
from modelservice.ports import Sample

TIMEOUT_SECONDS = 4.0
STALE_SECONDS = 30.0
LARGEST_ANSWER = 32 * 2**20


class Prometheus:
    """Implements ports.MetricsSource for one base URL; close it when done."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = url.rstrip("/") + "/api/v1/query"
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def keep_open(self) -> None:
        """Wait for ever and close the connections when that is cancelled: a task for whoever runs the queries."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def query(self, promql: str) -> Sequence[Sample]:
        """Evaluate now; raises Unavailable for anything but a complete answer without warnings."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.post(self._url, data={"query": promql}) as answer:
                body = await answer.content.read(LARGEST_ANSWER)
                status, date = answer.status, answer.headers.get("Date")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"Prometheus at {self._url} does not answer ({str(error) or type(error).__name__})."
            ) from error
        return parse(body, status, _seconds(date))


def parse(body: bytes, status: int, date: float | None) -> list[Sample]:
    """The samples of one answer; `date` is the server's clock when it answered, None when it did not say."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Unavailable(f"Prometheus answered {status} with something that is not JSON.") from None
    if not isinstance(document, dict) or status != HTTPStatus.OK or document.get("status") != "success":
        said = document.get("error") if isinstance(document, dict) else None
        raise Unavailable(f"Prometheus refused the query with {status}: {said or 'no reason is given'}.")
    if warnings := document.get("warnings"):
        raise Unavailable(f"Prometheus warns that its answer is not complete: {str(warnings)[:200]}.")
    data = document.get("data")
    if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
        raise Unavailable("Prometheus answered without a vector.")
    return [_sample(row, date) for row in data["result"]]


def _sample(row: Any, date: float | None) -> Sample:
    match row:
        case {"metric": dict(labels), "value": [int() | float() as at, str(text)]}:
            stale = date is not None and date - at > STALE_SECONDS
            return Sample(_texts(labels), math.nan if stale else _number(text), float(at))
        case {"metric": dict(labels)}:
            return Sample(_texts(labels), math.nan, date or 0.0)
        case _:
            raise Unavailable("Prometheus answered with a row that has no labels.")


def _texts(labels: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in labels.items()}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
