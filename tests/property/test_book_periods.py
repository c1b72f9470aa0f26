"""Periods of every kind: they tile time, a hold finds accounts in all of them, and a cost is split and never lost."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import HORIZON_SECONDS, Book, Refusal
from modelservice.domain.funding import admit, renew
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, advance, close, collect, prove, seal, set_policies
from modelservice.domain.money import cost
from modelservice.domain.periods import Calendar, Period, Window
from modelservice.domain.prices import Billing

from tests.unit.domain.books import TEAM, WORK, admitted, opened, policy, terms

LONGEST = 7200
"""The longest time that billing of a ComputePool may name."""
YEAR = 365 * 86400
ZONES = ["UTC", "Europe/Zurich", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo"]
TIMES = st.integers(
    int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2029, 1, 1, tzinfo=UTC).timestamp())
)


@st.composite
def periods(draw: st.DrawFn) -> Period:
    calendar = draw(st.sampled_from(Calendar))
    return Period(
        calendar,
        draw(st.sampled_from(ZONES)),
        draw(st.integers(1, 7 if calendar is Calendar.WEEK else 31)),
        draw(st.integers(1, 12)),
    )


def near_an_end(period: Period, time: int, before: int) -> int:
    """A time at most so many seconds before a period's end."""
    span = period.span_at(time)
    return max(span.start, span.end - before)


@given(periods(), TIMES)
def test_every_second_is_in_one_period_and_periods_follow_without_a_gap(period: Period, time: int) -> None:
    span = period.span_at(time)
    assert span.start <= time < span.end
    assert period.span_at(span.start) == period.span_at(span.end - 1) == span
    assert period.span_at(span.end).start == span.end
    assert period.span_at(span.start - 1).end == span.start


@given(
    periods(), TIMES, st.integers(1, 20_000), st.integers(0, LONGEST), st.integers(0, LONGEST), st.integers(1, 10**9)
)
def test_whatever_the_calendar_a_hold_finds_an_account_in_every_period_that_it_reaches(
    period: Period, time: int, before: int, stop: int, tail: int, rate: int
) -> None:
    begin = near_an_end(period, time, before)
    billing = Billing(stop, tail, LONGEST)
    ample = replace(policy(10**18), period=period)
    book = admitted(opened(ample, at=begin, of=terms(rate, billing=billing)), "a")
    renewed = renew(set_policies(advance(book, begin + HORIZON_SECONDS), [ample]), WORK)
    assert isinstance(renewed, Book)
    for held in (book, renewed):
        parts = [held.worst(account) for account in held.accounts]
        whole = cost(rate, begin, held.placements[WORK].end_max(held.time))
        assert whole <= sum(parts) < whole + len(parts)


@given(
    periods(), TIMES, st.integers(1, 20_000), st.lists(st.integers(60, 3 * 3600), max_size=12), st.integers(1, 10**9)
)
def test_what_a_pod_costs_is_split_at_every_end_and_does_not_depend_on_when_it_is_written(
    period: Period, time: int, before: int, steps: list[int], rate: int
) -> None:
    begin = near_an_end(period, time, before)
    ample = replace(policy(10**18), period=period)
    book = prove(admitted(opened(ample, at=begin, of=terms(rate)), "a"), "a", begin, "n")
    pages = {}
    for step in steps:
        book = seal(set_policies(advance(book, book.time + step), [ample]))
        pages.update({account.key: account for account in book.accounts if account.sealed})
        book = collect(book, pages)
    end = begin + sum(steps)
    book = close(book, "a", end)
    rows = sorted({**pages, **{account.key: account for account in book.accounts}}.values(), key=lambda row: row.start)
    assert all(one.end == other.start for one, other in pairwise(rows))
    for row in rows:
        assert row.closed + row.adjustments == cost(rate, max(begin, row.start), min(end, row.end))


@given(TIMES, st.integers(-20_000, 20_000), st.integers(1, 40_000), st.integers(0, LONGEST), st.integers(0, YEAR))
def test_no_pod_is_held_where_a_window_has_no_money(time: int, opens: int, length: int, tail: int, late: int) -> None:
    window = Window(time + opens, time + opens + length)
    only = replace(policy(10**18), period=window)
    book = opened(only, at=time, of=terms(billing=Billing(60, tail)))
    admission = admit(book, WORK, ["a"])
    inside = window.start <= time and time + HORIZON_SECONDS + book.placements[WORK].terms.billing.overrun <= window.end
    assert isinstance(admission, Refusal) is not inside
    if isinstance(admission, Book):
        later = set_policies(advance(prove(admission, "a", time, "n"), time + HORIZON_SECONDS // 2 + 1), [only])
        renewed = renew(later, WORK)
        placement = (renewed if isinstance(renewed, Book) else later).placements[WORK]
        assert placement.end_max(later.time) <= window.end
        over = seal(set_policies(advance(later, window.end + SEAL_AFTER_SECONDS + late), [only]))
        assert [account.policy for account in over.accounts if account.sealed] == [TEAM]
