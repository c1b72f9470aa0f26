from dataclasses import replace

import pytest
from modelservice.domain.book import Book
from modelservice.domain.costs import (
    POOL,
    ROLE,
    SERVICE,
    By,
    Denial,
    Phase,
    Statement,
    complete,
    concerning,
    draw_up,
    holds,
    parse_by,
    pools_in,
    select,
)
from modelservice.domain.forecast import Basis, Forecast
from modelservice.domain.ledger import seal

from tests.unit.domain.costbooks import AUGUST, JULY, JUNE, NOW, TODAY, UNITS, book_of, page_of

DAY = 86_400

TEAM = By("label:team", "team")


def statements(now: int = NOW) -> tuple[Statement, ...]:
    return draw_up(book_of(), [page_of()], now)


def monthly(now: int = NOW) -> Statement:
    (found,) = (each for each in statements(now) if each.policy == "team/monthly" and each.start == JULY)
    return found


def test_the_figures_are_those_counted_by_hand() -> None:
    seen = monthly()
    assert (seen.limit, seen.spent, seen.held) == (100 * UNITS, 27_350_278, 4_110_000)
    assert seen.available == 68_539_722
    assert seen.rate == 2 * 3_600_000 + 1_000_001


def test_time_goes_on_for_what_is_open_while_the_book_is_not_written() -> None:
    later = monthly(NOW + 60)
    assert later.spent == 27_350_278 + 60_000 + 16_667
    assert later.spent + later.held == 27_350_278 + 4_110_000


def test_beyond_their_holds_seen_pods_are_spent_and_one_never_seen_bound_stays_held_for_all_its_time() -> None:
    later = monthly(NOW + 7200)
    assert later.held == 7_300_000
    assert later.spent == 27_350_278 + 7_200_000 + 2_000_002


@pytest.mark.parametrize("by", [SERVICE, POOL, ROLE, TEAM, By("label:unknown", "unknown")])
@pytest.mark.parametrize("now", [NOW, NOW + 1, NOW + 12_345, AUGUST + 7200])
def test_however_they_are_grouped_the_entries_add_up_to_the_stored_book(by: By, now: int) -> None:
    book = replace(book_of(), time=now)
    for statement in draw_up(book, [page_of()], now):
        entries = statement.entries(by)
        account = next((a for a in book.accounts if a.key == (statement.policy, statement.start)), page_of())
        assert sum(entry.spent for entry in entries) == statement.spent == book.posted(account)
        assert sum(entry.held for entry in entries) == statement.held == book.committed(account)
        assert statement.available == book.available(account)


def test_each_grouping_names_its_parts_the_dearest_first() -> None:
    seen = monthly()
    assert [(e.name, e.spent, e.held) for e in seen.entries(SERVICE)] == [
        ("team/chat", 27_100_000, 4_060_000),
        ("team/embed", 250_278, 50_000),
    ]
    assert [(e.name, e.spent, e.held) for e in seen.entries(POOL)] == [
        ("a100", 27_100_000, 4_060_000),
        ("l4", 250_278, 50_000),
    ]
    assert [(e.name, e.spent, e.held) for e in seen.entries(ROLE)] == [
        ("Inference", 22_350_278, 4_110_000),
        ("Training", 5_000_000, 0),
    ]


def test_a_label_groups_what_it_was_when_the_money_was_spent() -> None:
    seen = monthly()
    assert [(e.name, e.spent, e.held) for e in seen.entries(TEAM)] == [
        ("search", 22_100_000, 4_060_000),
        ("-", 5_250_000, 0),
        ("ads", 278, 50_000),
    ]
    assert [(e.name, e.spent) for e in seen.entries(parse_by("label:example.com/x"))] == [("-", 27_350_278)]


def test_what_costs_are_grouped_by_is_a_part_or_a_label() -> None:
    assert [parse_by(by.name) for by in (SERVICE, POOL, ROLE, TEAM)] == [SERVICE, POOL, ROLE, TEAM]
    for wrong in ("", "team", "label:", "label:a b", "label:a/b/c"):
        with pytest.raises(ValueError, match="write service, pool, role or label:KEY, as in label:team"):
            parse_by(wrong)


def test_what_two_budgets_pay_for_stands_in_both() -> None:
    daily = next(each for each in statements() if each.policy == "team/daily")
    assert [(e.name, e.spent, e.held) for e in daily.entries(SERVICE)] == [("team/chat", 3_600_000, 4_060_000)]


def test_a_page_is_final_and_has_no_rate() -> None:
    june = statements()[1]
    assert (june.phase, june.spent, june.held, june.available, june.rate) == (
        Phase.SEALED,
        9_750_000,
        0,
        80_250_000,
        0,
    )


def test_a_page_that_is_stored_before_its_account_is_dropped_counts_once() -> None:
    over = seal(replace(book_of(), time=AUGUST + 7200, placements={}))
    account = over.accounts_of("team/monthly")[0]
    (july,) = draw_up(Book(AUGUST + 7200, (account,)), [account], AUGUST + 7200)
    assert (july.phase, july.spent) == (Phase.SEALED, 23_750_000)
    assert holds(over, account) == {}


@pytest.mark.parametrize(
    ("now", "phase"),
    [(NOW, Phase.OPEN), (AUGUST - 1, Phase.OPEN), (AUGUST, Phase.CLOSING), (AUGUST + 99, Phase.CLOSING)],
)
def test_the_phase_follows_the_clock(now: int, phase: Phase) -> None:
    seen = monthly(now)
    assert seen.phase is phase
    assert (seen.rate > 0) == (phase is Phase.OPEN)


def test_a_period_that_is_opened_in_advance_lies_ahead() -> None:
    book = book_of()
    early = replace(book, accounts=(replace(book.accounts[1], start=NOW + 60),))
    (seen,) = draw_up(early, [], NOW)
    assert (seen.phase, seen.rate, seen.paced) == (Phase.AHEAD, 0, 0)


def test_the_pace_is_the_part_of_the_limit_that_the_passed_time_is_of_the_period() -> None:
    assert monthly().paced == 33_870_967  # 100 USD * 10.5 / 31 days


def test_the_present_rate_says_when_the_limit_is_reached() -> None:
    seen = monthly()
    assert seen.spent_by_end() == 27_350_278 + 8_200_001 * 492
    until = seen.lasts_until()
    assert until is not None
    spent = seen.spent + seen.rate * (until - NOW) // 3600
    assert seen.limit - seen.rate // 3600 - 1 <= spent <= seen.limit


def test_a_limit_that_the_present_rate_does_not_reach_lasts() -> None:
    assert replace(monthly(), limit=10_000 * UNITS).lasts_until() is None
    assert replace(monthly(), rate=0).lasts_until() is None


def test_a_limit_that_is_passed_already_is_reached_now() -> None:
    assert replace(monthly(), limit=UNITS).lasts_until() == NOW
    assert replace(monthly(), limit=UNITS, rate=0).lasts_until() == NOW


@pytest.mark.parametrize(
    ("period", "found"),
    [
        ("current", [("team/daily", TODAY), ("team/monthly", JULY)]),
        ("previous", [("team/monthly", JUNE)]),
        ("all", [("team/daily", TODAY), ("team/monthly", JUNE), ("team/monthly", JULY)]),
        ("2026-07", [("team/daily", TODAY), ("team/monthly", JULY)]),
        ("2026-06", [("team/monthly", JUNE)]),
        ("2026-07-11", [("team/daily", TODAY), ("team/monthly", JULY)]),
        ("2026-07-12", [("team/monthly", JULY)]),
        ("2026-08", []),
    ],
)
def test_a_period_is_chosen_by_word_or_date(period: str, found: list[tuple[str, int]]) -> None:
    assert [(each.policy, each.start) for each in select(statements(), period=period)] == found


def test_a_month_of_another_zone_belongs_to_the_month_of_that_name() -> None:
    zurich = replace(monthly(), start=JULY - 7200, end=AUGUST - 7200)
    august = replace(zurich, start=AUGUST - 7200, end=AUGUST + 31 * DAY - 7200)
    assert select([zurich, august], period="2026-07") == (zurich,)
    assert select([zurich, august], period="2026-08") == (august,)


@pytest.mark.parametrize("text", ["", "soon", "2026-13", "2026-02-30", "26-07", "9999-12-31"])
def test_a_period_that_is_none_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a period: write current, previous, all, a month such as 2026-07"):
        select([], period=text)


@pytest.mark.parametrize(
    ("namespace", "policy", "count"),
    [
        ("", "", 3),
        ("team", "", 3),
        ("tea", "", 0),
        ("", "monthly", 2),
        ("", "team/monthly", 2),
        ("other", "monthly", 0),
    ],
)
def test_budgets_are_chosen_by_namespace_and_name(namespace: str, policy: str, count: int) -> None:
    assert len(select(statements(), namespace=namespace, policy=policy, period="all")) == count


def test_refusals_concern_the_present_period_of_their_budget_only() -> None:
    denial = Denial("team/chat", "team/monthly", "Rate", 2, 1, "USD", 1)
    assert concerning([denial], statements()) == (denial,)
    assert concerning([denial], select(statements(), policy="daily")) == ()
    assert concerning([denial], select(statements(), period="previous")) == ()


def test_only_an_open_period_is_completed_by_what_is_known_now() -> None:
    foreseen = Forecast(40 * UNITS, 60 * UNITS, None, Basis.CURRENT_RATE)
    known = {("team/monthly", JULY): foreseen, ("team/monthly", JUNE): foreseen}
    daily, june, july = complete(statements(), known, {("team/chat", "USD"): 7, ("team/embed", "EUR"): 8})
    assert [each.forecast for each in (daily, june, july)] == [None, None, foreseen]
    assert [(e.name, e.per_thousand) for e in july.entries(SERVICE)] == [("team/chat", 7), ("team/embed", None)]
    assert {e.per_thousand for each in (june, july) for e in (*june.entries(SERVICE), *each.entries(POOL))} == {None}


def test_the_pools_of_statements_are_those_with_money_in_them() -> None:
    assert pools_in([monthly()]) == {"a100", "l4"}
    assert pools_in([]) == frozenset()
