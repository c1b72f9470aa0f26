"""Overrides: when they add to the limit, and what stays of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.book import Account, Blocked, Book, Enforcement, Refusal
from modelservice.domain.codec import decode, encode, encode_page
from modelservice.domain.funding import admit, renew
from modelservice.domain.ledger import (
    LOOKAHEAD_SECONDS,
    SEAL_AFTER_SECONDS,
    Policy,
    advance,
    close,
    collect,
    differs,
    prove,
    seal,
    set_policies,
)
from modelservice.domain.limits import MOST_EXTRAS, Override
from modelservice.domain.periods import Calendar
from modelservice.domain.settlement import Evidence, settle

from tests.unit.domain.books import FOR_ONE, MONTH_END, NOW, WORK, admitted, opened, policy, posted, terms, worst

HOUR = 3600
UNTIL = NOW + 2 * HOUR
INCIDENT = Override(FOR_ONE, UNTIL, "incident 12")
FOR_ONE_POD = policy(FOR_ONE)
FOR_TWO = replace(FOR_ONE_POD, override=INCIDENT)


def told(account: Account) -> list[tuple[int, int, int | None]]:
    """Amount, begin and end of each override."""
    return [(extra.override.amount, extra.since, extra.ended) for extra in account.extras]


def at(book: Book, now: int, asked: Policy) -> Book:
    return set_policies(advance(book, now), [asked])


def test_an_override_pays_for_what_the_limit_does_not() -> None:
    assert isinstance(admit(opened(FOR_ONE_POD), WORK, ["a", "b"]), Refusal)
    book = admitted(opened(FOR_TWO), "a", "b")
    assert (worst(book), book.accounts[0].base, book.accounts[0].limit) == (2 * FOR_ONE, FOR_ONE, 2 * FOR_ONE)
    assert decode(encode(book)).accounts == book.accounts


def test_an_override_ends_at_its_second_and_not_before() -> None:
    book = opened(FOR_TWO)
    assert at(book, UNTIL - 1, FOR_TWO).accounts == book.accounts
    over = at(book, UNTIL, FOR_TWO)
    assert (over.accounts[0].limit, told(over.accounts[0])) == (FOR_ONE, [(FOR_ONE, NOW, UNTIL)])
    assert at(over, UNTIL + HOUR, FOR_TWO).accounts == over.accounts


def test_the_end_of_an_override_is_worth_a_write_by_itself_and_needs_no_policy_any_more() -> None:
    book = opened(FOR_TWO)
    for asked in ([FOR_TWO], []):
        made = settle(book, UNTIL, Evidence(UNTIL, {}), asked, {}, 10)
        assert made.changed
        assert made.book.accounts[0].limit == FOR_ONE
        assert not settle(made.book, UNTIL + HOUR, Evidence(UNTIL + HOUR, {}), asked, {}, 10).changed


def test_after_an_override_the_worst_case_may_not_rise_until_it_fits_again() -> None:
    book = admitted(opened(FOR_TWO), "a", "b")
    book = prove(prove(book, "a", NOW, "n"), "b", NOW, "n")
    over = at(book, UNTIL, FOR_TWO)
    assert over.insolvent() == (over.accounts[0],)
    refused = renew(over, WORK)
    assert isinstance(refused, Refusal)
    assert (refused.blocked_by, refused.have) == (Blocked.LIMIT, 0)
    shed = close(over, "b", NOW + 60)
    assert shed.insolvent() == (shed.accounts[0],)
    assert close(shed, "a", NOW + 60).insolvent() == ()


def test_a_changed_override_replaces_the_one_before_and_both_are_kept() -> None:
    book = opened(FOR_TWO)
    more = at(book, NOW + 60, policy(FOR_ONE, override=Override(7, UNTIL + HOUR, "still incident 12")))
    assert more.accounts[0].limit == FOR_ONE + 7
    assert told(more.accounts[0]) == [(FOR_ONE, NOW, NOW + 60), (7, NOW + 60, None)]
    withdrawn = at(more, NOW + 90, FOR_ONE_POD)
    assert withdrawn.accounts[0].limit == FOR_ONE
    assert told(withdrawn.accounts[0]) == [(FOR_ONE, NOW, NOW + 60), (7, NOW + 60, NOW + 90)]
    assert differs(more, withdrawn)


def test_an_override_that_never_counted_leaves_nothing() -> None:
    book = at(opened(FOR_TWO), NOW, FOR_ONE_POD)
    assert book.accounts[0].extras == ()
    assert at(opened(FOR_ONE_POD), UNTIL, FOR_TWO).accounts[0].extras == ()


def test_only_the_latest_overrides_of_a_period_are_remembered() -> None:
    book = opened(FOR_ONE_POD)
    for number in range(MOST_EXTRAS + 3):
        book = at(book, NOW + number, policy(FOR_ONE, override=Override(number + 1, UNTIL, "again")))
    assert len(book.accounts[0].extras) == MOST_EXTRAS
    assert book.accounts[0].limit == FOR_ONE + MOST_EXTRAS + 3


@pytest.mark.parametrize(("beyond", "limits"), [(0, [12, 10]), (1, [12, 12])])
def test_the_next_period_has_an_override_only_if_it_lasts_into_it(beyond: int, limits: list[int]) -> None:
    asked = policy(10, override=Override(2, MONTH_END + beyond, "a launch"))
    book = opened(asked, at=MONTH_END - LOOKAHEAD_SECONDS + 1)
    assert [account.limit for account in book.accounts] == limits
    assert all(extra.since == account.start for account in book.accounts[1:] for extra in account.extras)


def test_an_override_that_lasts_to_the_end_of_a_period_counts_there_for_good_and_stands_on_its_page() -> None:
    begin = MONTH_END - 100
    asked = policy(FOR_ONE, override=Override(5, MONTH_END + HOUR, "a launch"))
    book = close(prove(admitted(opened(asked, at=begin), "a"), "a", begin, "n"), "a", begin + 10)
    late = seal(at(book, MONTH_END + SEAL_AFTER_SECONDS, asked))
    page = encode_page(late, late.accounts[0])
    assert (page["limit"], page["base"], page["posted"]) == (FOR_ONE + 5, FOR_ONE, 10)
    assert page["extras"] == [{"amount": 5, "since": begin, "until": MONTH_END + HOUR, "reason": "a launch"}]
    after = collect(late, {late.accounts[0].key})
    assert [account.limit for account in after.accounts] == [FOR_ONE]


def test_a_page_tells_of_an_override_that_was_over_before_the_period() -> None:
    begin = MONTH_END - 100
    asked = policy(FOR_ONE, override=Override(5, MONTH_END - 50, "a launch"))
    book = close(prove(admitted(opened(asked, at=begin), "a"), "a", begin, "n"), "a", begin + 10)
    late = seal(at(book, MONTH_END + SEAL_AFTER_SECONDS, asked))
    page = encode_page(late, late.accounts[0])
    assert (page["limit"], "base" in page) == (FOR_ONE, False)
    assert page["extras"][0]["ended"] == MONTH_END - 50


def test_hours_that_an_override_covers_are_raised_one_by_one() -> None:
    asked = policy(10, calendar=Calendar.HOUR, override=Override(2, NOW + 3 * HOUR, "a launch"))
    assert [account.limit for account in opened(asked).accounts] == [12, 12, 12, 10, 10, 10]


@pytest.mark.parametrize("mode", [Enforcement.SOFT, Enforcement.DRY_RUN])
def test_a_budget_that_refuses_nothing_only_has_other_figures_by_an_override(mode: Enforcement) -> None:
    def run(asked: Policy) -> Book:
        counted = opened(asked, of=terms(advisory=("team/monthly",)))
        return at(prove(admitted(counted, "a"), "a", NOW, "n"), NOW + 60, asked)

    with_it, without = run(policy(1, enforcement=mode, override=INCIDENT)), run(policy(1, enforcement=mode))
    assert with_it.accounts[0].limit == without.accounts[0].limit + FOR_ONE
    assert with_it.placements == without.placements
    assert posted(with_it) == posted(without) == 60
