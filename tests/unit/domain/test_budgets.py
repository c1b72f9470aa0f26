"""What budgets and pools say of themselves."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.book import Book, Terms
from modelservice.domain.budgets import BUDGET_REASONS, figures, judge_budget
from modelservice.domain.conditions import Condition
from modelservice.domain.funding import admit, place
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, advance, collect, prove, seal, set_policies
from modelservice.domain.periods import Window
from modelservice.domain.pools import POOL_REASONS, judge_pool
from modelservice.domain.prices import Billing

from tests.unit.domain.specs import HOUR, NOW, USD, policy

TEAM = policy(limit=5 * USD)
TERMS = Terms("ns/chat", "Inference", "cpu", "USD", {"ns/team": USD}, Billing(30))


def book(limit: int = 5 * USD) -> Book:
    """One pod at 1.00 USD an hour that has run for half an hour."""
    opened = place(set_policies(advance(Book(), NOW), [TEAM]), "ns/chat-1", TERMS)
    assert isinstance(opened, Book)
    held = admit(opened, "ns/chat-1", ["a"])
    assert isinstance(held, Book)
    later = advance(prove(held, "a", NOW, "n1"), NOW + HOUR // 2)
    return set_policies(later, [policy(limit=limit)])


def judged(seen: Book | None, *, refused: bool = False, problem: str = "") -> Condition:
    now = NOW + HOUR
    return judge_budget(TEAM, figures(seen, "ns/team", now) if seen else None, now, refused=refused, problem=problem)


def windowed(opens: int, closes: int) -> Condition:
    window = replace(TEAM, period=Window(NOW + opens, NOW + closes))
    return judge_budget(window, None, NOW, refused=False, problem="")


def test_figures_go_on_between_two_writes_of_the_book() -> None:
    seen = figures(book(), "ns/team", NOW + HOUR)
    assert seen is not None
    assert (seen.spent, seen.rate) == (USD, USD)
    assert seen.spent + seen.held == -(-USD * (HOUR + 150) // HOUR)
    assert seen.available == 5 * USD - seen.spent - seen.held


def test_each_state_of_a_budget_has_its_reason() -> None:
    cases = {
        "Funded": judged(book()),
        "NotUsedYet": judged(None),
        "Exhausted": judged(book(), refused=True),
        "LimitLowered": judged(book(limit=USD)),
        "LedgerUnavailable": judged(book(), problem="It is gone."),
        "WindowNotOpen": windowed(1, 9),
        "WindowOver": windowed(-9, 0),
        "Invalid": judge_budget(None, None, NOW, refused=False, problem="Mars/Base is not an IANA time zone."),
    }
    assert {reason: condition.reason for reason, condition in cases.items()} == {reason: reason for reason in cases}
    assert cases.keys() == BUDGET_REASONS
    assert all(condition.message.endswith(".") for condition in cases.values())
    assert {r for r, c in cases.items() if c.status == "True"} == {"Funded", "NotUsedYet"}


def test_a_policy_made_anew_in_another_currency_says_so_and_does_not_change_the_limit() -> None:
    euros = policy(limit=USD, currency="EUR")
    seen = figures(set_policies(book(), [euros]), "ns/team", NOW + HOUR)
    assert seen is not None
    assert (seen.account.limit, seen.account.currency) == (5 * USD, "USD")
    condition = judge_budget(euros, seen, NOW + HOUR, refused=False, problem="")
    assert (condition.status, condition.reason) == ("False", "Invalid")
    assert "booked in USD" in condition.message
    assert "another name" in condition.message


def test_inside_of_its_window_a_budget_is_like_any_other() -> None:
    assert windowed(0, 1).reason == "NotUsedYet"


def test_the_figures_of_a_window_stay_until_its_account_is_collected() -> None:
    end = NOW + HOUR // 2
    ended = advance(replace(book(), accounts=(replace(book().accounts[0], end=end),)), end + SEAL_AFTER_SECONDS)
    sealed = seal(ended)
    seen = figures(sealed, "ns/team", sealed.time)
    assert seen is not None
    assert seen.spent == USD // 2
    assert figures(collect(sealed, {sealed.accounts[0].key}), "ns/team", sealed.time) is None


def test_each_state_of_a_pool_has_its_reason() -> None:
    cases = [judge_pool(2, 1, ""), judge_pool(0, 0, ""), judge_pool(2, 0, ""), judge_pool(0, 0, "it is broken")]
    assert {condition.reason for condition in cases} == POOL_REASONS
    assert [condition.status for condition in cases] == ["True", "False", "False", "False"]
