from datetime import UTC, datetime

import pytest
from modelservice.domain.periods import Calendar, Period, load_zone

HOUR = 3600


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("calendar", "zone", "inside", "start", "end"),
    [
        (Calendar.DAY, "UTC", "2026-07-01T12:00", "2026-07-01T00:00", "2026-07-02T00:00"),
        (Calendar.DAY, "Europe/Zurich", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        (Calendar.DAY, "Europe/Zurich", "2026-10-25T00:30", "2026-10-24T22:00", "2026-10-25T23:00"),
        (Calendar.DAY, "America/New_York", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),
        (Calendar.DAY, "America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
        (Calendar.DAY, "Asia/Kathmandu", "2026-01-01T00:00", "2025-12-31T18:15", "2026-01-01T18:15"),
        (Calendar.DAY, "Australia/Lord_Howe", "2026-10-04T00:00", "2026-10-03T13:30", "2026-10-04T13:00"),
        (Calendar.DAY, "Africa/Cairo", "2026-04-24T10:00", "2026-04-23T22:00", "2026-04-24T21:00"),
        (Calendar.DAY, "Pacific/Apia", "2011-12-30T09:00", "2011-12-29T10:00", "2011-12-30T10:00"),
        (Calendar.DAY, "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
        (Calendar.DAY, "America/St_Johns", "1990-10-28T02:45", "1990-10-28T02:30", "1990-10-29T03:30"),
        (Calendar.DAY, "America/Toronto", "1919-03-31T04:45", "1919-03-30T05:00", "1919-03-31T05:00"),
        (Calendar.MONTH, "Asia/Tokyo", "2026-07-31T14:59", "2026-06-30T15:00", "2026-07-31T15:00"),
        (Calendar.MONTH, "Asia/Tokyo", "2026-07-31T15:00", "2026-07-31T15:00", "2026-08-31T15:00"),
        (Calendar.MONTH, "UTC", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        (Calendar.MONTH, "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        (Calendar.MONTH, "Europe/Zurich", "2026-10-01T00:00", "2026-09-30T22:00", "2026-10-31T23:00"),
    ],
)
def test_a_period_is_the_local_calendar_unit_in_absolute_time(
    calendar: Calendar, zone: str, inside: str, start: str, end: str
) -> None:
    span = Period(calendar, zone).span_at(at(inside))
    assert (span.start, span.end) == (at(start), at(end))


@pytest.mark.parametrize(("date", "hours"), [("2026-11-01T12:00", 25), ("2026-03-08T12:00", 23)])
def test_a_day_of_a_clock_change_has_its_real_length(date: str, hours: int) -> None:
    span = Period(Calendar.DAY, "America/New_York").span_at(at(date))
    assert span.end - span.start == hours * HOUR


@pytest.mark.parametrize("calendar", Calendar)
@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Zurich", "America/St_Johns", "Pacific/Apia", "America/Havana", "Asia/Gaza"]
)
def test_periods_tile_time_without_gap_or_overlap(calendar: Calendar, zone: str) -> None:
    period, time = Period(calendar, zone), at("1987-03-01T00:00")
    span = period.span_at(time)
    for _ in range(1500 if calendar is Calendar.DAY else 300):
        following = period.span_at(span.end)
        assert following.start == span.end
        assert period.span_at(following.end - 1) == following
        span = following


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe/Zürich", "Europe"])
def test_an_unknown_zone_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="is not an IANA time zone: write one such as"):
        load_zone(name)
