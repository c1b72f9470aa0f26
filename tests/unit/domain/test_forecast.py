"""What a period will have cost, from the book alone: one micro-unit per second and pod, a month in UTC."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.book import Book, Enforcement
from modelservice.domain.forecast import Basis, Forecast, forecast
from modelservice.domain.funding import drain
from modelservice.domain.history import Series
from modelservice.domain.ledger import advance, close, prove, set_policies

from tests.unit.domain.books import FOR_ONE, MONTH_END, NOW, SECOND, TEAM, WORK, admitted, opened, policy, terms, worst

HOUR = 3600
REST = MONTH_END - NOW


def running(limit: int = 10**9, *uids: str, hard: bool = True, max_rate: int | None = None) -> Book:
    """Pods that have run since NOW."""
    mode = Enforcement.HARD if hard else Enforcement.SOFT
    paid = terms() if hard else terms(advisory=(TEAM,))
    book = admitted(opened(policy(limit, enforcement=mode, max_rate=max_rate), of=paid), *(uids or ("a",)))
    for uid in uids or ("a",):
        book = prove(book, uid, NOW, "n")
    return book


def told(book: Book, now: int = NOW, peak: int = 0) -> Forecast:
    made = forecast(book, TEAM, now, peak)
    assert made is not None
    return made


def test_from_the_first_minute_on_the_present_rate_goes_on_to_the_end() -> None:
    made = told(running())
    assert made == Forecast(REST, REST, None, Basis.CURRENT_RATE)


def test_what_is_posted_stays_and_the_rest_shrinks_with_time() -> None:
    book = running(10**9, "a", "b")
    early, late = told(book), told(advance(book, NOW + 3600))
    assert early.p50 == late.p50 == 2 * REST
    ended = advance(close(book, "b", NOW + 60), NOW + 3600)
    assert told(ended).p50 == REST + 60


def test_time_goes_on_between_two_writes_of_the_book() -> None:
    assert told(running(), NOW + 900) == told(advance(running(), NOW + 900))


def test_caution_expects_every_service_at_its_most() -> None:
    made = told(running(), peak=3 * SECOND)
    assert (made.p50, made.p90) == (REST, 3 * REST)


def test_caution_expects_no_less_than_what_runs_and_no_more_than_the_allowed_rate() -> None:
    assert told(running(10**9, "a", "b"), peak=SECOND).p90 == 2 * REST
    assert told(running(max_rate=2 * SECOND), peak=5 * SECOND).p90 == 2 * REST


@pytest.mark.parametrize("peak", [SECOND, 4 * SECOND])
def test_the_limit_is_reached_when_spending_that_leads_to_p90_is_there(peak: int) -> None:
    limit, pace = REST // 2, peak // SECOND
    made = told(running(limit), peak=peak)
    assert made.exhausts_at == NOW + -(-limit // pace)


def test_a_limit_that_binds_cuts_both_and_one_that_only_counts_does_not() -> None:
    assert (told(running(10_000)).p50, told(running(10_000)).p90) == (10_000, 10_000)
    counting = told(running(10_000, hard=False), peak=2 * SECOND)
    assert (counting.p50, counting.p90, counting.exhausts_at) == (REST, 2 * REST, NOW + 5000)


def test_a_limit_that_was_lowered_below_what_is_held_cuts_nothing_that_is_decided() -> None:
    lowered = set_policies(running(), [policy(10)])
    made = told(lowered, NOW + 11)
    assert made.p90 == worst(lowered) == FOR_ONE
    assert made.exhausts_at == NOW + 11


def test_a_limit_that_is_reached_with_the_last_second_is_reached() -> None:
    assert told(running(REST)).exhausts_at == MONTH_END
    assert told(running(REST + 1)).exhausts_at is None


def test_pods_that_are_being_stopped_cost_what_is_held_for_them() -> None:
    book = drain(running(10**9, "a", "b"), WORK, ["b"])
    made = told(book, NOW + 600)
    assert made.p50 == REST + FOR_ONE
    assert told(drain(running(10**9, "a"), WORK, ["a"]), peak=0).exhausts_at is None


def test_a_pod_that_is_stopped_near_the_end_costs_no_more_than_the_period_has_time() -> None:
    book = drain(running(10**9, "a"), WORK, ["a"])
    account = book.accounts[0]
    short = replace(book, accounts=(replace(account, end=NOW + 100),))
    assert told(short).p50 == 100


def test_without_pods_only_what_is_posted_is_expected_and_without_an_account_nothing() -> None:
    over = advance(close(running(), "a", NOW + 60), NOW + 60)
    assert told(over) == Forecast(60, 60, None, Basis.CURRENT_RATE)
    assert forecast(over, "team/other", NOW) is None
    assert forecast(over, TEAM, MONTH_END + 1) is None


def test_a_pod_that_is_not_on_a_node_yet_costs_from_now_on() -> None:
    waiting = admitted(opened(policy()), "a")
    assert told(waiting, NOW + 100).p50 == REST - 100
    assert WORK in waiting.placements


DAYS = Series(NOW // HOUR - 240, NOW, (36,) * 240)
"""Ten days of 36 micro-units an hour, a hundredth of what the pod of these tests costs."""


def test_ten_days_of_hourly_costs_take_the_place_of_the_present_rate() -> None:
    book = running()
    made = forecast(book, TEAM, NOW, 9 * SECOND, DAYS)
    assert made == Forecast(REST // 100, REST // 100, None, Basis.HISTORY)
    short = replace(DAYS, costs=DAYS.costs[1:])
    assert forecast(book, TEAM, NOW, 9 * SECOND, short) == forecast(book, TEAM, NOW, 9 * SECOND)


def test_history_is_added_to_what_is_posted_and_bounded_by_the_peak_and_the_limit() -> None:
    late = advance(running(), NOW + HOUR)
    made = forecast(late, TEAM, NOW + HOUR, 0, replace(DAYS, at=NOW + HOUR, costs=(*DAYS.costs, 36)))
    assert made is not None
    assert made.p50 == HOUR + (REST - HOUR) // 100
    dear = replace(DAYS, costs=(10**9,) * 240)
    assert forecast(running(), TEAM, NOW, 2 * SECOND, dear) == Forecast(2 * REST, 2 * REST, None, Basis.HISTORY)
    tight = forecast(running(FOR_ONE), TEAM, NOW, 2 * SECOND, dear)
    assert tight == Forecast(FOR_ONE, FOR_ONE, NOW + FOR_ONE // 2, Basis.HISTORY)
