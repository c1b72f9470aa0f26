"""Calendar periods of a time zone as half-open ranges of absolute time (seconds since the epoch, UTC).

A local day begins at the first instant of its date, so a day of a clock change lasts 23 or 25 hours of real time and
no second is counted twice or left out. To add a calendar, add a row to ``_CALENDARS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Calendar(StrEnum):
    """Which calendar unit one period lasts."""

    DAY = "Day"
    MONTH = "Month"


@dataclass(frozen=True, slots=True)
class Span:
    """The absolute time range ``[start, end)``."""

    start: int
    end: int


def _same_day(day: date) -> date:
    return day


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _first_of_month(day: date) -> date:
    return day.replace(day=1)


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


_CALENDARS: dict[Calendar, tuple[Callable[[date], date], Callable[[date], date]]] = {
    Calendar.DAY: (_same_day, _next_day),
    Calendar.MONTH: (_first_of_month, _first_of_next_month),
}
"""Per calendar: the first date of the period that holds a date, and the first date of the period after it."""


@lru_cache(maxsize=256)
def load_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of that name; raise ValueError with a sentence when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not an IANA time zone: write one such as Europe/Zurich or UTC") from None


@dataclass(frozen=True, slots=True)
class Period:
    """A recurring calendar period in a time zone."""

    calendar: Calendar
    time_zone: str

    def span_at(self, time: int) -> Span:
        """Return the one period that contains ``time``."""
        zone = load_zone(self.time_zone)
        floor, follow = _CALENDARS[self.calendar]
        # Where clocks change at midnight, local dates are no order of time: begin one period early and walk.
        first = floor(floor(datetime.fromtimestamp(time, UTC).astimezone(zone).date()) - timedelta(days=1))
        start = _begin(first, zone)
        while True:
            second = follow(first)
            end = _begin(second, zone)
            if time < end:
                return Span(start, end)
            first, start = second, end


def _begin(day: date, zone: ZoneInfo) -> int:
    """Midnight as absolute time: the earlier of two; one that a clock change skips is told by the clock before it."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
