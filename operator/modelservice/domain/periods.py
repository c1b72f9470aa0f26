"""Periods of a budget as half-open ranges of absolute time (seconds since the epoch, UTC).

A local day begins at the first instant of its date, so a day of a clock change lasts 23 or 25 hours of real time and
no second is counted twice or left out. The longer periods are made of whole local days, an Hour is a part of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOUR = 3600


class Calendar(StrEnum):
    """Which calendar unit one period lasts."""

    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    QUARTER = "Quarter"
    YEAR = "Year"


_MONTHS = {Calendar.MONTH: 1, Calendar.QUARTER: 3, Calendar.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Span:
    """The absolute time range ``[start, end)``."""

    start: int
    end: int


@lru_cache(maxsize=256)
def load_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of that name; raise ValueError with a sentence when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not an IANA time zone: write one such as Europe/Zurich or UTC") from None


@dataclass(frozen=True, slots=True)
class Period:
    """A recurring calendar period in a time zone.

    ``start_day`` is the day of the week (1 is Monday) at which a Week begins, or the day of the month at which a Month,
    Quarter or Year begins; in a shorter month its last day. A Quarter or Year begins in ``start_month``, a Quarter also
    3, 6 and 9 months later. An Hour counts from the first instant of its local day; where clocks change by less than an
    hour, the last one of that day is shorter.
    """

    calendar: Calendar
    time_zone: str
    start_day: int = 1
    start_month: int = 1

    def span_at(self, time: int) -> Span:
        """Return the one period that contains ``time``."""
        if self.calendar is not Calendar.HOUR:
            return self._dates_at(time, self.calendar)
        day = self._dates_at(time, Calendar.DAY)
        start = time - (time - day.start) % HOUR
        return Span(start, min(start + HOUR, day.end))

    def _dates_at(self, time: int, calendar: Calendar) -> Span:
        zone = load_zone(self.time_zone)
        # Where clocks change at midnight, local dates are no order of time: begin one period early and walk.
        day = datetime.fromtimestamp(time, UTC).astimezone(zone).date()
        first = self._floor(self._floor(day, calendar) - timedelta(days=1), calendar)
        start = _begin(first, zone)
        while True:
            second = self._next(first, calendar)
            end = _begin(second, zone)
            if time < end:
                return Span(start, end)
            first, start = second, end

    def _floor(self, day: date, calendar: Calendar) -> date:
        """The first date of the period that holds a date."""
        if calendar is Calendar.DAY:
            return day
        if calendar is Calendar.WEEK:
            return day - timedelta(days=(day.isoweekday() - self.start_day) % 7)
        months = _MONTHS[calendar]
        month = 12 * day.year + day.month - 1
        month -= (month - self.start_month + 1) % months
        first = self._in_month(month)
        return first if first <= day else self._in_month(month - months)

    def _next(self, first: date, calendar: Calendar) -> date:
        """The first date of the period after the one that begins at ``first``."""
        if calendar in _MONTHS:
            return self._in_month(12 * first.year + first.month - 1 + _MONTHS[calendar])
        return first + timedelta(days=7 if calendar is Calendar.WEEK else 1)

    def _in_month(self, month: int) -> date:
        """The start day in a month that is counted from January of the year 0."""
        first = date(month // 12, month % 12 + 1, 1)
        last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return first.replace(day=min(self.start_day, last.day))


@dataclass(frozen=True, slots=True)
class Window:
    """One period that does not recur: ``[start, end)``. There is no money before and after it."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError("the window of a budget ends before it begins: write a later time in to")

    def span_at(self, time: int) -> Span | None:
        """Return the window, which may be still to come, unless it is over."""
        return Span(self.start, self.end) if time < self.end else None


def _begin(day: date, zone: ZoneInfo) -> int:
    """Midnight as absolute time: the earlier of two; one that a clock change skips is told by the clock before it."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
