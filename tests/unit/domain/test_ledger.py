from dataclasses import replace

import pytest
from modelservice.domain.book import Book, Line
from modelservice.domain.funding import place
from modelservice.domain.ledger import (
    LOOKAHEAD_SECONDS,
    MOST_LABELLINGS,
    SEAL_AFTER_SECONDS,
    advance,
    close,
    collect,
    differs,
    end_gone,
    end_seen,
    may_write,
    prove,
    release,
    seal,
    set_policies,
    start_seen,
)
from modelservice.domain.periods import Calendar, Period, Window
from modelservice.domain.prices import Billing

from tests.unit.domain.books import (
    FOR_ONE,
    LATE,
    MONTH_END,
    NOW,
    SECOND,
    STOP,
    TEAM,
    WORK,
    admitted,
    opened,
    policy,
    posted,
    sure,
    terms,
    worst,
)


def test_money_time_never_goes_back() -> None:
    assert advance(advance(Book(), 100), 90).time == 100


def test_a_policy_opens_the_account_of_this_period_only_until_its_end_is_near() -> None:
    far, near = opened(), opened(at=MONTH_END - LOOKAHEAD_SECONDS + 1)
    assert [(a.start < NOW, a.end) for a in far.accounts] == [(True, MONTH_END)]
    assert [a.start == MONTH_END for a in near.accounts] == [False, True]


def test_a_changed_limit_counts_for_this_account_and_the_next_and_leaves_past_ones() -> None:
    book = set_policies(advance(opened(policy(5), at=MONTH_END - 60), MONTH_END + 60), [policy(7)])
    assert [account.limit for account in book.accounts] == [5, 7]


def test_a_policy_that_is_gone_and_made_anew_finds_its_spending() -> None:
    book = prove(admitted(opened(), "a"), "a", NOW, "n")
    book = close(advance(book, NOW + 100), "a", NOW + 100)
    gone = set_policies(book, [])
    again = set_policies(advance(gone, NOW + 200), [policy(10**9)])
    assert gone.accounts == book.accounts
    assert posted(again) == 100


def test_a_changed_calendar_counts_from_the_end_of_the_running_account() -> None:
    book = set_policies(advance(opened(), MONTH_END - 3600), [policy(calendar=Calendar.DAY)])
    assert [(a.end - a.start) // 86400 for a in book.accounts] == [31, 1]
    assert book.accounts[1].start == book.accounts[0].end


def test_periods_that_passed_unattended_have_accounts_while_pods_were_paid() -> None:
    daily = policy(calendar=Calendar.DAY)
    attended = prove(admitted(opened(daily), "a"), "a", NOW, "n")
    late = set_policies(advance(attended, NOW + 3 * 86400), [daily])
    idle = set_policies(advance(opened(daily), NOW + 3 * 86400), [daily])
    assert [b.start - a.end for a, b in zip(late.accounts, late.accounts[1:], strict=False)] == [0, 0, 0]
    assert len(late.accounts) == 4
    assert len(idle.accounts) == 2


def test_hours_are_opened_as_far_ahead_as_the_longest_hold_reaches() -> None:
    hourly = policy(calendar=Calendar.HOUR)
    book = opened(hourly)
    assert [(a.start - NOW, a.end - a.start) for a in book.accounts] == [(3600 * n, 3600) for n in range(6)]
    later = set_policies(advance(book, NOW + 1), [hourly])
    assert later.accounts[-1].end == NOW + 7 * 3600


def test_a_window_has_one_account_that_opens_before_it_begins_and_none_follows() -> None:
    window = replace(policy(), period=Window(NOW + 7200, NOW + 10800))
    early = opened(window, at=NOW + 7200 - LOOKAHEAD_SECONDS)
    soon = set_policies(advance(early, early.time + 1), [window])
    over = set_policies(advance(soon, NOW + 10800), [window])
    assert early.accounts == ()
    assert [(a.start, a.end) for a in soon.accounts] == [(NOW + 7200, NOW + 10800)]
    assert over.accounts == soon.accounts
    assert opened(window, at=NOW + 10800).accounts == ()


def test_a_unit_posts_nothing_until_it_is_proven() -> None:
    book = advance(admitted(opened(), "a"), NOW + 60)
    proven = prove(book, "a", NOW + 10, "node-1")
    assert (posted(book), worst(book)) == (0, FOR_ONE)
    assert (posted(proven), worst(proven)) == (50, FOR_ONE - 10)


@pytest.mark.parametrize(("since", "start"), [(NOW - 500, NOW), (NOW, NOW), (NOW + 30, NOW + 30)])
def test_a_proven_start_is_no_earlier_than_the_admission(since: int, start: int) -> None:
    book = prove(admitted(opened(), "a"), "a", since, "node-1")
    assert book.placements[WORK].units["a"].start == start


def test_the_first_evidence_of_a_start_counts() -> None:
    book = prove(admitted(opened(), "a"), "a", NOW + 10, "node-1")
    assert prove(book, "a", NOW + 99, "node-2") == book
    assert prove(book, "unknown", NOW, "node-2") == book


def test_times_of_a_node_are_bounded_by_the_list_that_shows_them() -> None:
    assert start_seen(100, 90) == 90
    assert start_seen(100, 3000) == 100
    assert end_seen(100, 90) == 91
    assert end_seen(100, 3000) == 101


def test_a_vanished_pod_ends_when_it_is_missed_or_when_it_must_have_been_stopped() -> None:
    placement = admitted(opened(), "a").placements[WORK]
    last = NOW + 3600 + LATE + STOP
    assert end_gone(placement, NOW + 50, fused=True) == NOW + 51
    assert end_gone(placement, last + 900, fused=True) == last
    assert end_gone(placement, last + 900, fused=False) == last + 901


@pytest.mark.parametrize(
    ("billing", "started", "ended", "billed"),
    [
        (Billing(STOP), 0, 100, 100),
        (Billing(STOP, tail=30), 0, 100, 130),
        (Billing(STOP, minimum=60), 0, 100, 100),
        (Billing(STOP, minimum=60), 0, 10, 61),
        (Billing(STOP, minimum=60, tail=30), 5, 10, 91),
        (Billing(STOP, minimum=60, tail=30), 5, 1000, 1025),
    ],
)
def test_a_closed_pod_is_billed_by_the_terms_of_its_pool(
    billing: Billing, started: int, ended: int, billed: int
) -> None:
    book = prove(admitted(opened(of=terms(billing=billing)), "a"), "a", NOW + started, "n")
    book = close(book, "a", NOW + ended)
    assert (posted(book), worst(book)) == (billed, billed)
    assert not book.placements[WORK].units


def test_what_was_posted_beyond_a_proven_end_becomes_a_negative_adjustment() -> None:
    book = advance(prove(admitted(opened(), "a"), "a", NOW, "n"), NOW + 500)
    before = book.gross(book.accounts[0])
    book = close(book, "a", NOW + 200)
    assert book.accounts[0].lines == (Line("team/chat", "Inference", "cpu", 500, -300),)
    assert (posted(book), book.gross(book.accounts[0])) == (200, before)


def test_a_pod_that_lives_beyond_its_hold_is_posted_as_long_as_it_is_not_proven_ended() -> None:
    book = advance(prove(admitted(opened(), "a"), "a", NOW, "n"), NOW + FOR_ONE + 500)
    assert posted(book) == worst(book) == FOR_ONE + 500


def test_a_pod_that_ended_before_it_was_proven_needs_no_adjustment() -> None:
    book = close(advance(admitted(opened(), "a"), NOW + 500), "a", NOW + 200)
    assert book.accounts[0].lines == (Line("team/chat", "Inference", "cpu", 200, 0),)


def test_a_minimum_counts_from_the_latest_time_at_which_billing_can_have_begun() -> None:
    minimum = Billing(STOP, minimum=60)
    short = prove(admitted(opened(of=terms(billing=minimum)), "a"), "a", NOW, "n", NOW + 40)
    unseen = admitted(opened(of=terms(billing=minimum)), "a")
    assert posted(close(short, "a", NOW + 50)) == 40 + 61
    assert posted(close(short, "a", NOW + 500)) == 500
    assert posted(close(unseen, "a", NOW + 50)) == 50 + 60


def test_a_minimum_counts_from_no_later_than_a_pod_can_have_lived() -> None:
    book = admitted(opened(of=terms(billing=Billing(900, minimum=600, late=LATE))), "a")
    placement = book.placements[WORK]
    hold = placement.hold_through
    assert hold is not None
    most = book.worst(book.accounts[0])
    late = prove(advance(book, hold + 900), "a", NOW, "n", hold + 900)
    assert late.worst(late.accounts[0]) == most
    over = close(late, "a", hold + 1)
    assert over.worst(over.accounts[0]) == hold + LATE + 600 + 1 - NOW <= most


def test_a_pod_that_was_never_seen_bound_costs_no_more_than_was_held_for_it() -> None:
    unseen = admitted(opened(of=terms(billing=Billing(STOP, minimum=600, late=LATE))), "a")
    assert posted(close(unseen, "a", NOW + 3600 + LATE + STOP)) == worst(unseen)


def test_to_close_or_release_an_unknown_pod_changes_nothing() -> None:
    book = admitted(opened(), "a")
    assert close(book, "b", NOW) == book
    assert release(book, "b") == book


def test_a_pod_that_was_never_bound_costs_nothing_and_a_bound_one_cannot_be_released() -> None:
    book = admitted(opened(), "a", "b")
    book = prove(book, "b", NOW, "n")
    released = release(book, "a")
    assert worst(released) == FOR_ONE
    assert posted(released) == 0
    with pytest.raises(ValueError, match="was bound to a node: close it"):
        release(book, "b")


@pytest.mark.parametrize("written_at", [[], ["during"], ["during", "after"]])
def test_a_pod_over_the_end_of_a_month_is_split_whenever_it_is_written(written_at: list[str]) -> None:
    tokyo = replace(policy(), period=Period(Calendar.MONTH, "Asia/Tokyo"))
    boundary = MONTH_END - 9 * 3600
    book = opened(tokyo, at=boundary - 600, of=terms(6_000_000))
    book = prove(admitted(book, "a"), "a", boundary - 600, "n")
    for moment in written_at:
        book = set_policies(advance(book, boundary + (1 if moment == "during" else 599)), [tokyo])
    book = close(set_policies(advance(book, boundary + 720), [tokyo]), "a", boundary + 600)
    assert [account.end == boundary for account in book.accounts] == [True, False]
    assert [posted(book, index=0), posted(book, index=1)] == [1_000_000, 1_000_000]


@pytest.mark.parametrize(("month", "day", "amount"), [(11, 1, 25), (3, 8, 23)])
def test_a_day_of_a_clock_change_posts_its_real_hours(month: int, day: int, amount: int) -> None:
    period = Period(Calendar.DAY, "America/New_York")
    daily = replace(policy(), period=period)
    noon = NOW + ((month - 7) * 30 + day) * 86400
    span = next(s for s in (period.span_at(noon + k * 86400) for k in range(-20, 20)) if (s.end - s.start) != 86400)
    book = opened(daily, at=span.start, of=terms(1_000_000))
    book = prove(admitted(book, "a"), "a", span.start, "n")
    book = set_policies(advance(book, span.end + 60), [daily])
    assert posted(book) == amount * 1_000_000


def test_an_account_is_sealed_an_hour_after_its_end_with_what_live_pods_cost_in_it() -> None:
    book = prove(admitted(opened(at=MONTH_END - 100), "a"), "a", MONTH_END - 100, "n")
    early = seal(set_policies(advance(book, MONTH_END + SEAL_AFTER_SECONDS - 1), [policy()]))
    book = set_policies(advance(book, MONTH_END + SEAL_AFTER_SECONDS), [policy()])
    final = seal(book)
    assert not any(account.sealed for account in early.accounts)
    assert [account.sealed for account in final.accounts] == [True, False]
    assert [worst(final, index=i) for i in (0, 1)] == [worst(book, index=i) for i in (0, 1)]
    assert final.accounts[0].closed == 100
    assert posted(close(final, "a", final.time), index=0) == 100


def test_an_account_waits_for_pods_that_are_not_proven() -> None:
    book = admitted(opened(at=MONTH_END - 100), "a")
    book = set_policies(advance(book, MONTH_END + SEAL_AFTER_SECONDS), [policy()])
    assert not seal(book).accounts[0].sealed


def test_a_sealed_account_leaves_when_its_page_is_stored_or_it_is_empty() -> None:
    spent = prove(admitted(opened(at=MONTH_END - 100), "a"), "a", MONTH_END - 100, "n")
    spent = seal(set_policies(advance(spent, MONTH_END + SEAL_AFTER_SECONDS), [policy()]))
    empty = seal(set_policies(advance(opened(at=MONTH_END - 100), MONTH_END + SEAL_AFTER_SECONDS), [policy()]))
    assert len(collect(spent, ()).accounts) == 2
    assert len(collect(spent, {spent.accounts[0].key}).accounts) == 1
    assert len(collect(empty, ()).accounts) == 1


def test_an_open_account_is_never_collected() -> None:
    book = opened()
    assert collect(book, {book.accounts[0].key}) == book


def test_costs_by_service_role_and_pool_add_up_to_what_is_posted() -> None:
    book = opened(of=terms(SECOND + 1))
    for index in range(7):
        book = prove(admitted(book, f"p{index}"), f"p{index}", NOW + index, "n")
    book = close(advance(book, NOW + 1001), "p0", NOW + 777)
    account = book.accounts[0]
    assert sum(book.costs(account).values()) == book.posted(account)
    assert book.posted(account) + book.held(account) == book.worst(account)
    assert book.posted(account, book.time + 10) == sum(book.costs(account, book.time + 10).values())
    assert book.posted(account, book.time + 10) > book.posted(account)


def test_a_write_is_worth_it_when_anything_but_time_and_empty_placements_differs() -> None:
    book = opened()
    assert not differs(book, advance(book, NOW + 60))
    assert not differs(replace(book, placements={}), book)
    assert differs(book, admitted(book, "a"))
    assert differs(book, set_policies(book, [policy(5)]))


def test_a_write_is_given_up_thirty_seconds_after_its_read() -> None:
    assert may_write(29.9)
    assert not may_write(30)


def test_several_policies_pay_for_one_pod_each_in_its_own_periods() -> None:
    daily = policy(name="team/daily", calendar=Calendar.DAY)
    begin = NOW + 12 * 3600 - 1800
    book = opened(policy(), daily, at=begin, of=terms(payers=(TEAM, "team/daily")))
    book = prove(admitted(book, "a"), "a", begin, "n")
    assert worst(book) == FOR_ONE
    assert [worst(book, "team/daily", index) for index in (0, 1)] == [1800, FOR_ONE - 1800]


def test_other_labels_keep_the_cost_so_far_under_the_old_ones() -> None:
    old, new = (("team", "search"),), (("team", "ads"),)
    book = prove(admitted(opened(of=replace(terms(), labels=old)), "a"), "a", NOW, "n")
    book = sure(place(advance(book, NOW + 100), WORK, replace(terms(), labels=new)))
    book = close(advance(book, NOW + 300), "a", NOW + 300)
    assert [(line.labels, line.closed) for line in book.accounts[0].lines] == [(new, 200), (old, 100)]


def test_labels_that_change_for_ever_do_not_swell_the_book() -> None:
    book = prove(admitted(opened(), "a"), "a", NOW, "n")
    for change in range(1, 3 * MOST_LABELLINGS):
        labels = (("team", f"team-{change:02}"),)
        book = sure(place(advance(book, NOW + change), WORK, replace(terms(), labels=labels)))
    (account, *_) = book.accounts
    assert len(account.lines) == MOST_LABELLINGS + 1
    assert book.posted(account) == 3 * MOST_LABELLINGS - 1
    assert [line.closed for line in account.lines if not line.labels] == [2 * MOST_LABELLINGS - 1]
