"""What budgets and pools say of themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.asks import Refused
from modelservice.domain.book import Blocked, Book, Enforcement, Refusal, Terms
from modelservice.domain.budgets import (
    BUDGET_REASONS,
    SOFT_LIMIT_REASONS,
    figures,
    judge_budget,
    judge_soft_limit,
    objection_text,
    told_until,
)
from modelservice.domain.conditions import Condition
from modelservice.domain.funding import admit, place
from modelservice.domain.integrity import Freeze
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, advance, collect, prove, seal, set_policies
from modelservice.domain.periods import Window
from modelservice.domain.pools import POOL_REASONS, judge_pool
from modelservice.domain.prices import Billing
from modelservice.domain.rehearsal import Objection
from modelservice.domain.specs import ServiceName
from modelservice.domain.times import format_time

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


def judged(
    seen: Book | None,
    *,
    refused: bool = False,
    problem: str = "",
    unfunded: int = 0,
    freeze: Freeze | None = None,
) -> Condition:
    now = NOW + HOUR
    found = figures(seen, "ns/team", now) if seen else None
    return judge_budget(TEAM, found, now, refused=refused, problem=problem, unfunded=unfunded, freeze=freeze)


def advised(mode: Enforcement, limit: int = 5 * USD, *, objecting: bool = False) -> Condition:
    """Of a budget that refuses nothing and has spent 1.00 USD."""
    counting = replace(TEAM, enforcement=mode)
    seen = figures(set_policies(book(), [replace(counting, limit=limit)]), "ns/team", NOW + HOUR)
    why = Refusal(Blocked.LIMIT, "ns/team", 2 * USD, USD, "USD")
    objections = [Objection(ServiceName("ns", "chat"), Refused(why, 3))] if objecting else []
    return judge_budget(counting, seen, NOW + HOUR, refused=True, problem="", objections=objections)


@pytest.mark.parametrize(
    ("ahead", "told"),
    [(0, 0), (59, 0), (119, 60), (7199, 7140), (7200, 7200), (7799, 7200), (86_399, 85_800), (90_001, 90_000)],
)
def test_until_when_something_is_paid_is_told_in_steps_and_never_too_late(ahead: int, told: int) -> None:
    assert told_until(NOW + ahead, NOW) == format_time(NOW + told)


def windowed(opens: int, closes: int) -> Condition:
    window = replace(TEAM, period=Window(NOW + opens, NOW + closes))
    return judge_budget(window, None, NOW, refused=False, problem="")


def test_figures_go_on_between_two_writes_of_the_book() -> None:
    seen = figures(book(), "ns/team", NOW + HOUR)
    assert seen is not None
    assert (seen.spent, seen.rate) == (USD, USD)
    assert seen.spent + seen.committed == -(-USD * (HOUR + 150) // HOUR)
    assert seen.available == 5 * USD - seen.spent - seen.committed


def test_endurance_is_shown_apart_and_is_available() -> None:
    held = book()
    (placement,) = held.placements.values()
    seen = figures(held.with_placement(replace(placement, hold_through=NOW + 4 * HOUR)), "ns/team", NOW + HOUR)
    assert seen is not None
    assert (seen.spent, seen.endurance) == (USD, 2 * USD)
    assert seen.committed == -(-USD * (HOUR + 150) // HOUR)
    assert seen.available == 5 * USD - seen.spent - seen.committed


def test_each_state_of_a_budget_has_its_reason() -> None:
    cases = {
        "Funded": judged(book()),
        "NotUsedYet": judged(None),
        "Exhausted": judged(book(), refused=True),
        "FloorUnfundable": judged(book(), unfunded=USD),
        "LimitLowered": judged(book(limit=USD)),
        "LedgerUnavailable": judged(book(), problem="It is gone."),
        "Frozen": judged(book(), freeze=Freeze(NOW, "It was deleted.")),
        "OverLimit": advised(Enforcement.SOFT, USD // 2),
        "WouldRefuse": advised(Enforcement.DRY_RUN, objecting=True),
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


def test_a_budget_that_refuses_nothing_says_so_with_what_is_left_or_what_is_too_much() -> None:
    within, over = advised(Enforcement.DRY_RUN), advised(Enforcement.SOFT, USD // 2)
    assert (within.status, within.reason) == ("True", "Funded")
    assert within.message == (
        "4.00 USD of 5.00 USD is not spent yet; enforcement is DryRun, so nothing is refused. "
        "What ran before 2026-01-01T06:00:00Z, when the budget began, is not counted."
    )
    assert over.message == (
        "0.50 USD more than the limit of 0.50 USD is spent; enforcement is Soft, so nothing is refused. "
        "What ran before 2026-01-01T06:00:00Z, when the budget began, is not counted."
    )
    unused = judge_budget(replace(TEAM, enforcement=Enforcement.SOFT), None, NOW, refused=False, problem="")
    assert unused.reason == "NotUsedYet"


@pytest.mark.parametrize(
    ("soft", "status", "reason"),
    [(2 * USD, "True", "NotPassed"), (USD, "True", "NotPassed"), (USD - 1, "False", "SoftLimitPassed")],
)
def test_a_soft_limit_is_passed_when_more_is_spent_and_changes_nothing_else(
    soft: int, status: str, reason: str
) -> None:
    softened = replace(TEAM, soft_limit=soft)
    seen = figures(book(), "ns/team", NOW + HOUR)
    condition = judge_soft_limit(softened, seen)
    assert condition is not None
    assert (condition.type, condition.status, condition.reason) == ("WithinSoftLimit", status, reason)
    assert condition.reason in SOFT_LIMIT_REASONS
    ready = judge_budget(softened, seen, NOW + HOUR, refused=False, problem="")
    assert ready == judge_budget(TEAM, seen, NOW + HOUR, refused=False, problem="")


def test_without_a_soft_limit_nothing_is_said_of_it_and_before_any_spending_it_is_not_passed() -> None:
    assert judge_soft_limit(TEAM, None) is None
    condition = judge_soft_limit(replace(TEAM, soft_limit=1), None)
    assert condition is not None
    assert condition.status == "True"


@pytest.mark.parametrize(
    ("why", "end"),
    [
        (
            Refusal(Blocked.RATE, "t", 2 * USD, USD, "USD"),
            "one more costs 2.00 USD an hour and 1.00 USD an hour is left",
        ),
        (Refusal(Blocked.LIMIT, "t", 2 * USD, USD, "USD"), "one more needs 2.00 USD to be held and 1.00 USD is left"),
        (Refusal(Blocked.CURRENCY, "t", currency="EUR"), "the budget is in EUR and the pool is priced in another"),
        (Refusal(Blocked.LEDGER_FULL, ""), "the book is full"),
    ],
)
def test_an_objection_is_a_sentence_with_its_figures(why: Refusal, end: str) -> None:
    objection = Objection(ServiceName("ns", "chat"), Refused(why, 3), 2)
    text = objection_text(objection)
    assert text.startswith(f"With enforcement Hard 3 pods of ns/chat would be refused: {end}")
    of_money = why.blocked_by in (Blocked.RATE, Blocked.LIMIT)
    assert text.endswith(" 2 would be paid for now.") is of_money
    dated = objection_text(replace(objection, affordable_at=NOW))
    assert dated.endswith(f" 2 would be paid for now, one more from {format_time(NOW)} on.") is of_money


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
    cases.append(judge_pool(2, 1, "", "row 2 is wrong"))
    assert {condition.reason for condition in cases} == POOL_REASONS
    assert [condition.status for condition in cases] == ["True", "False", "False", "False", "False"]
