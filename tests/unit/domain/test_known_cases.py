"""Faults that other products had with money, each as a test that is named after its case (C: long, S: short)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from modelservice.api.computepool import PurchaseOption
from modelservice.domain.book import Blocked, Book, Refusal
from modelservice.domain.budgets import figures, judge_budget
from modelservice.domain.codec import decode, encode
from modelservice.domain.funding import admit, drain, place, renew
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, advance, close, collect, prove, seal, set_policies
from modelservice.domain.money import parse_price
from modelservice.domain.periods import Calendar, Period, Span
from modelservice.domain.placement import Option, price
from modelservice.domain.prices import Billing
from modelservice.domain.pricetable import COLUMNS
from modelservice.domain.specs import Pool

from tests.unit.domain.books import NOW, TEAM, WORK, admitted, opened, policy, sure, terms
from tests.unit.domain.specs import HOUR, USD, gpu_pool

TOKYO = replace(policy(100 * USD), period=Period(Calendar.MONTH, "Asia/Tokyo"))
DAY = 86_400


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def billed(book: Book) -> list[int]:
    """What each account has cost."""
    return [book.posted(account) for account in book.accounts]


@pytest.mark.parametrize("written_at", ["2026-07-31T15:12:00Z", "2026-07-31T16:30:00Z"])
def test_c11_what_runs_across_the_end_of_a_month_in_tokyo_is_split_there_whenever_it_is_written(
    written_at: str,
) -> None:
    begin, boundary, end = (at(f"2026-07-31T{time}Z") for time in ("14:50:00", "15:00:00", "15:10:00"))
    book = opened(TOKYO, at=at("2026-07-31T14:48:00Z"), of=terms(6 * USD, billing=Billing(60)))
    book = admitted(advance(book, at("2026-07-31T14:49:00Z")), "a")
    assert [(account.start < boundary, account.end) for account in book.accounts] == [
        (True, boundary),
        (False, at("2026-08-31T15:00:00Z")),
    ]
    assert book.accounts[1].start == boundary, "the hold of August is in force at 15:00Z, not at midnight in UTC"
    assert book.worst(book.accounts[1]) > 0
    late = set_policies(advance(decode(encode(prove(book, "a", begin, "node"))), at(written_at)), [TOKYO])
    assert billed(close(late, "a", end)) == [USD, USD]


@pytest.mark.parametrize(("date", "hours"), [("2026-11-01", 25), ("2026-03-08", 23)])
def test_c11_a_day_of_a_clock_change_in_new_york_costs_each_of_its_hours_once(date: str, hours: int) -> None:
    daily = replace(policy(100 * USD), period=Period(Calendar.DAY, "America/New_York"))
    span = daily.period.span_at(at(f"{date}T12:00:00Z"))
    assert span is not None
    book = prove(admitted(opened(daily, at=span.start - HOUR, of=terms(USD)), "a"), "a", span.start - HOUR, "node")
    for moment in range(span.start, span.end + HOUR, HOUR // 2):
        book = sure(renew(set_policies(advance(book, moment), [daily]), WORK))
    assert book.posted(next(account for account in book.accounts if account.start == span.start)) == hours * USD


def test_c11_a_quarter_from_november_ends_in_february_and_nothing_is_reset() -> None:
    quarterly = Period(Calendar.QUARTER, "UTC", start_month=11)
    assert quarterly.span_at(at("2026-11-01T00:00:00Z")) == Span(at("2026-11-01T00:00:00Z"), at("2027-02-01T00:00:00Z"))
    book = prove(admitted(opened(TOKYO, at=at("2026-07-31T14:50:00Z"), of=terms(6 * USD)), "a"), "a", 0, "node")
    book = close(set_policies(advance(book, at("2026-07-31T15:10:00Z")), [TOKYO]), "a", at("2026-07-31T15:10:00Z"))
    final = seal(set_policies(advance(book, at("2026-07-31T15:00:00Z") + SEAL_AFTER_SECONDS), [TOKYO]))
    july, august = final.accounts
    assert (july.sealed, final.posted(july), final.posted(august)) == (True, USD, USD)
    assert collect(final, {july.key}).accounts == (august,)


def test_s10_a_budget_for_what_runs_already_counts_from_its_own_start_and_says_since_when() -> None:
    free = prove(admitted(opened(at=NOW - 10 * DAY, of=terms(payers=())), "a"), "a", NOW - 10 * DAY, "node")
    free = replace(free, accounts=())
    asked = policy(10**6)
    book = sure(place(set_policies(advance(free, NOW), [asked]), WORK, terms()))
    (account,) = book.accounts
    assert (account.since, book.posted(account)) == (NOW, 0)
    held = sure(renew(book, WORK))
    later = advance(held, NOW + 500)
    assert later.posted(later.accounts[0]) == 500, "ten days before are not in it"
    assert decode(encode(later)).accounts == later.accounts
    said = judge_budget(asked, figures(later, TEAM, later.time), later.time, refused=False, problem="")
    assert said.message.endswith("What ran before 2026-07-10T12:00:00Z, when the budget began, is not counted.")


def test_s10_a_later_period_and_a_policy_that_was_there_before_it_count_everything() -> None:
    asked = policy(10**6)
    book = opened(asked, at=NOW)
    late = set_policies(advance(book, NOW + 25 * DAY), [asked])
    assert [account.since for account in late.accounts] == [NOW, None]
    again = set_policies(advance(late, NOW + 25 * DAY + 60), [asked])
    assert again.accounts == late.accounts
    begin = at("2026-08-01T00:00:00Z")
    assert set_policies(advance(Book(), begin), [asked]).accounts[0].since is None
    said = judge_budget(asked, figures(late, TEAM, late.time), late.time, refused=False, problem="")
    assert "not counted" not in said.message


def eight(price_of_a_node: int) -> Pool:
    room = {"cpu": 8000, "memory": 64 * 2**30, "nvidia.com/gpu": 8}
    return replace(gpu_pool(price=price_of_a_node), allocatable=room)


@pytest.mark.parametrize(("devices", "costs"), [(1, 4 * USD), (2, 8 * USD), (8, 32 * USD)])
def test_s11_a_price_is_that_of_a_node_by_its_name_and_a_pod_pays_its_share_of_it(devices: int, costs: int) -> None:
    assert "per_node_hour" in PurchaseOption.model_fields
    assert "per_node_hour" in COLUMNS
    priced = price(eight(32 * USD), {"nvidia.com/gpu": devices})
    assert isinstance(priced, Option)
    assert (priced.price, priced.ceiling) == (costs, costs)


def test_s12_pods_that_are_evicted_and_still_run_keep_their_places_until_they_are_gone() -> None:
    four = policy(max_rate=4 * HOUR)
    book = opened(four, of=terms(HOUR))
    book = sure(place(book, "team/run-1", terms(HOUR)))
    book = admitted(book, "a", "b", "c")
    for uid in ("a", "b", "c"):
        book = prove(book, uid, NOW, "node")
    evicted = drain(advance(book, NOW + 60), WORK, ["a", "b", "c"])
    refused = admit(evicted, "team/run-1", ["x", "y"])
    assert isinstance(refused, Refusal)
    assert (refused.blocked_by, refused.need, refused.have) == (Blocked.RATE, 2 * HOUR, HOUR)
    assert isinstance(admit(close(evicted, "a", NOW + 90), "team/run-1", ["x", "y"]), Book)


def test_s13_a_node_without_a_price_has_no_price_by_default_and_what_fills_a_node_costs_the_node() -> None:
    with pytest.raises(ValueError, match="must be above zero"):
        parse_price("0")
    node = eight(32 * USD + 1)
    shares = [price(node, {"nvidia.com/gpu": 1}) for _ in range(8)]
    total = sum(one.ceiling for one in shares if isinstance(one, Option))
    assert 32 * USD + 1 <= total <= 32 * USD + 1 + len(shares)
