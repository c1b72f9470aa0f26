"""Budgets that only count: Soft and DryRun post what pods cost, hold nothing and never refuse."""

from dataclasses import replace

import pytest
from modelservice.domain.book import HORIZON_SECONDS, Blocked, Book, Enforcement, Refusal
from modelservice.domain.codec import decode, encode
from modelservice.domain.funding import admit, drain, may_ungate, place, renew
from modelservice.domain.ledger import Policy, advance, close, prove, set_policies

from tests.unit.domain.books import FOR_ONE, LATE, NOW, STOP, TEAM, WORK, admitted, opened, policy, posted, sure, terms
from tests.unit.domain.books import worst as worst_of

ADVICE = pytest.mark.parametrize("enforcement", [Enforcement.SOFT, Enforcement.DRY_RUN])
COUNTED = terms(advisory=(TEAM,))
OTHER = "platform"


def soft(limit: int = 10, **more: object) -> Policy:
    return replace(policy(limit), enforcement=Enforcement.SOFT, **more)  # type: ignore[arg-type]


@ADVICE
def test_a_budget_that_only_counts_refuses_nothing_and_posts_everything(enforcement: Enforcement) -> None:
    book = opened(policy(10, max_rate=1, enforcement=enforcement), of=COUNTED)
    book = prove(admitted(book, "a", "b"), "a", NOW, "n")
    assert book.placements[WORK].hold_through is None
    assert may_ungate(book, "b", NOW)
    later = advance(book, NOW + 10_000)
    assert (posted(later), later.insolvent()) == (10_000, ())
    assert renew(later, WORK) == later
    assert posted(close(later, "a", NOW + 10_000)) == 10_000


def test_beside_a_budget_that_binds_another_one_counts_and_cannot_refuse() -> None:
    book = opened(policy(3 * FOR_ONE), soft(10, name=OTHER), of=terms(payers=(TEAM, OTHER), advisory=(OTHER,)))
    book = admitted(book, "a", "b")
    refusal = admit(book, WORK, ["c", "d"])
    assert book.placements[WORK].hold_through == NOW + HORIZON_SECONDS
    assert worst_of(book, OTHER) == 2 * FOR_ONE
    assert isinstance(refusal, Refusal)
    assert (refusal.policy, refusal.blocked_by) == (TEAM, Blocked.LIMIT)


def test_money_is_held_for_what_runs_from_the_moment_at_which_a_budget_binds() -> None:
    book = advance(prove(admitted(opened(soft(), of=COUNTED), "a"), "a", NOW, "n"), NOW + 500)
    book = sure(place(set_policies(book, [policy(10**6)]), WORK, terms()))
    assert book.placements[WORK].hold_through == NOW + 500
    assert (posted(book), worst_of(book)) == (500, 500 + LATE + STOP)
    renewed = sure(renew(book, WORK))
    assert renewed.placements[WORK].hold_through == NOW + 500 + HORIZON_SECONDS
    assert worst_of(renewed) == 500 + FOR_ONE


def test_pods_that_are_being_stopped_are_held_too_when_a_budget_begins_to_bind() -> None:
    book = drain(prove(admitted(opened(soft(), of=COUNTED), "a"), "a", NOW, "n"), WORK, ["a"])
    book = sure(place(set_policies(advance(book, NOW + 100), [policy(10**6)]), WORK, terms()))
    (record,) = (p for p in book.placements.values() if p.draining)
    assert record.hold_through == NOW + 100
    assert worst_of(book) == 100 + LATE + STOP


def test_a_hold_ends_when_no_budget_binds_any_more_and_what_was_spent_stays() -> None:
    book = advance(prove(admitted(opened(policy(10**6)), "a"), "a", NOW, "n"), NOW + 500)
    book = sure(place(set_policies(book, [soft()]), WORK, COUNTED))
    assert book.placements[WORK].hold_through is None
    assert posted(book) == worst_of(book) == 500
    assert posted(advance(book, NOW + 700)) == 700


def test_unproven_pods_follow_a_budget_that_begins_to_bind_and_one_that_ceases_to() -> None:
    counted = admitted(opened(soft(), of=COUNTED), "a")
    bound = sure(place(set_policies(counted, [policy(10**6)]), WORK, terms()))
    free = sure(place(set_policies(bound, [soft()]), WORK, COUNTED))
    assert [book.placements[WORK].terms.binding for book in (counted, bound, free)] == [(), (TEAM,), ()]
    gone = sure(place(counted, WORK, terms(payers=())))
    assert gone.placements[WORK].terms.advisory == {TEAM}


def test_a_budget_of_another_currency_that_only_counts_is_left_out() -> None:
    euros = replace(COUNTED, currency="EUR")
    assert sure(place(opened(soft(), of=COUNTED), "team/other", euros)).placements["team/other"].terms.rates == {}
    assert isinstance(place(opened(), "team/other", replace(terms(), currency="EUR")), Refusal)


def test_a_horizon_is_stored_when_it_is_not_the_usual_one() -> None:
    book = admitted(opened(of=replace(terms(), horizon=600)), "a")
    assert encode(book)["placements"][0]["horizon"] == 600
    assert decode(encode(book)) == book
    assert "horizon" not in encode(admitted(opened(), "a"))["placements"][0]


def test_a_changed_enforcement_counts_at_once_and_is_stored() -> None:
    book = prove(admitted(opened(soft(), of=COUNTED), "a"), "a", NOW, "n")
    stored = encode(book)
    assert stored["accounts"][0]["enforcement"] == "Soft"
    assert stored["placements"][0]["advisory"] == [TEAM]
    assert "holdThrough" not in stored["placements"][0]
    assert decode(stored) == book
    hard = encode(sure(place(set_policies(book, [policy(10**6)]), WORK, terms())))
    assert "enforcement" not in hard["accounts"][0]
    assert "advisory" not in hard["placements"][0]


def test_a_budget_that_binds_when_it_is_overspent_lets_nothing_start() -> None:
    book = advance(prove(admitted(opened(soft(), of=COUNTED), "a"), "a", NOW, "n"), NOW + 500)
    over = sure(place(set_policies(book, [policy(100)]), WORK, terms()))
    assert isinstance(over, Book)
    assert [account.policy for account in over.insolvent()] == [TEAM]
    assert isinstance(renew(over, WORK), Refusal)
    assert isinstance(admit(over, WORK, ["b"]), Refusal)
