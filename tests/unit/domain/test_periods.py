from datetime import UTC, datetime

import pytest
from modelservice.domain.periods import Calendar, Period, Span, Window, load_zone

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


@pytest.mark.parametrize(
    ("period", "inside", "start", "end"),
    [
        (Period(Calendar.WEEK, "UTC"), "2026-07-01T12:00", "2026-06-29T00:00", "2026-07-06T00:00"),
        (Period(Calendar.WEEK, "UTC"), "2026-06-29T00:00", "2026-06-29T00:00", "2026-07-06T00:00"),
        (Period(Calendar.WEEK, "UTC", 7), "2026-07-01T12:00", "2026-06-28T00:00", "2026-07-05T00:00"),
        (Period(Calendar.WEEK, "UTC", 3), "2026-07-01T12:00", "2026-07-01T00:00", "2026-07-08T00:00"),
        (Period(Calendar.WEEK, "Europe/Zurich"), "2026-03-25T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        (Period(Calendar.WEEK, "Europe/Zurich"), "2026-10-25T22:30", "2026-10-18T22:00", "2026-10-25T23:00"),
        (Period(Calendar.WEEK, "Asia/Kathmandu"), "2026-12-31T00:00", "2026-12-27T18:15", "2027-01-03T18:15"),
        (Period(Calendar.MONTH, "UTC", 15), "2026-07-14T23:59", "2026-06-15T00:00", "2026-07-15T00:00"),
        (Period(Calendar.MONTH, "UTC", 15), "2026-01-01T00:00", "2025-12-15T00:00", "2026-01-15T00:00"),
        (Period(Calendar.MONTH, "UTC", 31), "2026-02-10T00:00", "2026-01-31T00:00", "2026-02-28T00:00"),
        (Period(Calendar.MONTH, "UTC", 31), "2026-03-30T23:59", "2026-02-28T00:00", "2026-03-31T00:00"),
        (Period(Calendar.MONTH, "UTC", 31), "2026-03-31T00:00", "2026-03-31T00:00", "2026-04-30T00:00"),
        (Period(Calendar.MONTH, "UTC", 31), "2028-02-29T12:00", "2028-02-29T00:00", "2028-03-31T00:00"),
        (Period(Calendar.MONTH, "UTC", 30), "2028-02-28T12:00", "2028-01-30T00:00", "2028-02-29T00:00"),
        (Period(Calendar.MONTH, "Europe/Zurich", 31), "2026-10-15T00:00", "2026-09-29T22:00", "2026-10-30T23:00"),
        (Period(Calendar.DAY, "UTC"), "2028-02-29T12:00", "2028-02-29T00:00", "2028-03-01T00:00"),
        (Period(Calendar.QUARTER, "UTC"), "2026-11-01T00:00", "2026-10-01T00:00", "2027-01-01T00:00"),
        (Period(Calendar.QUARTER, "UTC", 1, 11), "2026-11-01T00:00", "2026-11-01T00:00", "2027-02-01T00:00"),
        (Period(Calendar.QUARTER, "UTC", 1, 11), "2027-01-31T23:59", "2026-11-01T00:00", "2027-02-01T00:00"),
        (Period(Calendar.QUARTER, "UTC", 1, 11), "2026-10-31T23:59", "2026-08-01T00:00", "2026-11-01T00:00"),
        (Period(Calendar.QUARTER, "UTC", 31, 11), "2026-12-01T00:00", "2026-11-30T00:00", "2027-02-28T00:00"),
        (Period(Calendar.QUARTER, "UTC", 6, 4), "2026-04-05T12:00", "2026-01-06T00:00", "2026-04-06T00:00"),
        (Period(Calendar.YEAR, "UTC"), "2028-02-29T00:00", "2028-01-01T00:00", "2029-01-01T00:00"),
        (Period(Calendar.YEAR, "Europe/London", 6, 4), "2026-04-05T22:59", "2025-04-05T23:00", "2026-04-05T23:00"),
        (Period(Calendar.YEAR, "UTC", 29, 2), "2027-06-01T00:00", "2027-02-28T00:00", "2028-02-29T00:00"),
        (Period(Calendar.YEAR, "UTC", 29, 2), "2028-02-28T23:59", "2027-02-28T00:00", "2028-02-29T00:00"),
        (Period(Calendar.YEAR, "Asia/Tokyo", 1, 12), "2026-11-30T14:59", "2025-11-30T15:00", "2026-11-30T15:00"),
        (Period(Calendar.HOUR, "UTC"), "2026-07-01T12:34", "2026-07-01T12:00", "2026-07-01T13:00"),
        (Period(Calendar.HOUR, "Asia/Kathmandu"), "2026-07-01T12:00", "2026-07-01T11:15", "2026-07-01T12:15"),
        (Period(Calendar.HOUR, "Europe/Zurich"), "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),
        (Period(Calendar.HOUR, "Europe/Zurich"), "2026-10-25T01:00", "2026-10-25T01:00", "2026-10-25T02:00"),
        (Period(Calendar.HOUR, "Europe/Zurich"), "2026-03-29T00:59", "2026-03-29T00:00", "2026-03-29T01:00"),
        (Period(Calendar.HOUR, "Australia/Lord_Howe"), "2026-10-04T12:45", "2026-10-04T12:30", "2026-10-04T13:00"),
        (Period(Calendar.HOUR, "Australia/Lord_Howe"), "2026-10-04T13:00", "2026-10-04T13:00", "2026-10-04T14:00"),
        (Period(Calendar.HOUR, "Australia/Lord_Howe"), "2026-04-05T13:10", "2026-04-05T13:00", "2026-04-05T13:30"),
    ],
)
def test_a_period_begins_where_the_policy_says(period: Period, inside: str, start: str, end: str) -> None:
    assert period.span_at(at(inside)) == Span(at(start), at(end))


@pytest.mark.parametrize(
    ("zone", "noon", "lengths"),
    [
        ("Europe/Zurich", "2026-03-29T12:00", [HOUR] * 23),
        ("Europe/Zurich", "2026-10-25T12:00", [HOUR] * 25),
        ("Australia/Lord_Howe", "2026-10-04T00:00", [HOUR] * 23 + [HOUR // 2]),
        ("Australia/Lord_Howe", "2026-04-05T00:00", [HOUR] * 24 + [HOUR // 2]),
    ],
)
def test_the_hours_of_a_day_of_a_clock_change_are_told_apart_and_fill_it(
    zone: str, noon: str, lengths: list[int]
) -> None:
    day, hours = Period(Calendar.DAY, zone).span_at(at(noon)), []
    time = day.start
    while time < day.end:
        hours.append(Period(Calendar.HOUR, zone).span_at(time))
        time = hours[-1].end
    assert (hours[0].start, hours[-1].end) == (day.start, day.end)
    assert [hour.end - hour.start for hour in hours] == lengths


def test_a_window_is_one_period_that_is_still_to_come_or_goes_on_or_is_over() -> None:
    window = Window(100, 200)
    assert [window.span_at(time) for time in (50, 100, 199)] == [Span(100, 200)] * 3
    assert window.span_at(200) is None
    with pytest.raises(ValueError, match="ends before it begins"):
        Window(200, 200)


@pytest.mark.parametrize(("date", "hours"), [("2026-11-01T12:00", 25), ("2026-03-08T12:00", 23)])
def test_a_day_of_a_clock_change_has_its_real_length(date: str, hours: int) -> None:
    span = Period(Calendar.DAY, "America/New_York").span_at(at(date))
    assert span.end - span.start == hours * HOUR


@pytest.mark.parametrize("calendar", Calendar)
@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Zurich", "America/St_Johns", "Pacific/Apia", "America/Havana", "Asia/Gaza"]
)
def test_periods_tile_time_without_gap_or_overlap(calendar: Calendar, zone: str) -> None:
    sparse = {Calendar.HOUR: 2000, Calendar.DAY: 1500, Calendar.YEAR: 40}
    begun = "2011-12-01T00:00" if calendar is Calendar.HOUR else "1987-03-01T00:00"
    period = Period(calendar, zone, 5 if calendar in (Calendar.WEEK, Calendar.MONTH) else 1)
    span = period.span_at(at(begun))
    for _ in range(sparse.get(calendar, 300)):
        following = period.span_at(span.end)
        assert following.start == span.end
        assert period.span_at(following.end - 1) == following
        span = following


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe/Zürich", "Europe"])
def test_an_unknown_zone_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="is not an IANA time zone: write one such as"):
        load_zone(name)
