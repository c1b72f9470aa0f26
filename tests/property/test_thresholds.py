"""Thresholds under metrics that go up and down, are not known at times, and whose wording is changed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Account, Book
from modelservice.domain.codec import decode, encode
from modelservice.domain.curbs import curbs, watch
from modelservice.domain.thresholds import Crossing, Metric, Threshold

from tests.unit.domain.specs import NOW, policy

PERIOD = 2000
LIMIT = 100

parts = st.tuples(st.integers(1, 120), st.integers(1, 120)).map(sorted)
thresholds = st.builds(
    lambda bounds, sustained: Threshold("most", Metric.FORECAST, bounds[1], bounds[0], sustained),
    parts,
    st.sampled_from([0, 60, 300]),
)
steps = st.lists(
    st.tuples(st.integers(0, 200), st.none() | st.integers(0, 130), st.none() | thresholds), min_size=1, max_size=40
)


def account_of(time: int) -> Account:
    start = NOW + (time - NOW) // PERIOD * PERIOD
    return Account("ns/team", start, start + PERIOD, "USD", LIMIT)


@given(thresholds, steps)
def test_a_threshold_is_reached_once_in_a_period_after_its_time_and_in_force_until_it_is_below(
    threshold: Threshold, played: list[tuple[int, int | None, Threshold | None]]
) -> None:
    time, book = NOW, Book(NOW, (account_of(NOW),))
    above: int | None = None
    reached = undone = False
    for seconds, percent, edited in played:
        before, time = book.accounts[-1], time + seconds
        if edited is not None and edited != threshold:
            threshold, above, reached, undone = edited, None, False, False
        book = replace(book, time=time)
        if not before.covers(time):
            book = replace(book, accounts=(account_of(time),))
            above, reached, undone = None, False, False
        payer = replace(policy(LIMIT), thresholds=(threshold,))
        values = {} if percent is None else {"ns/team": percent}
        book = watch(book, [payer], values)
        assert watch(book, [payer], values) == book
        assert decode(encode(book)) == book
        if percent is not None:
            if not reached:
                above = (time if above is None else above) if percent >= threshold.at else None
                reached = above is not None and time - above >= threshold.sustained
            elif percent < threshold.clear_below:
                undone = True
        (account,) = book.accounts
        seen = account.crossings[0] if account.crossings else None
        assert (seen is not None and seen.reached is not None) == reached
        assert (seen is not None and seen.undone is not None) == undone
        assert bool(curbs(book, [payer], time)["ns/team"]) == (reached and not undone)
        assert_never_again(before.crossings, account.crossings, same=before.key == account.key)


def assert_never_again(before: tuple[Crossing, ...], after: tuple[Crossing, ...], *, same: bool) -> None:
    """What was reached or undone stays so in its period, at the same time and under the same wording."""
    for old in before if same else ():
        for new in after:
            if old.wording == new.wording and old.reached is not None:
                assert new.reached == old.reached
                assert old.undone in (None, new.undone)
