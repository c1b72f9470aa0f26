"""Thresholds: reached once in a period, for as long as it takes, undone below a lower bound, and remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.book import Account, Book, Enforcement
from modelservice.domain.curbs import STEP_SECONDS, Curb, curb_replicas, curbs, watch
from modelservice.domain.ledger import Policy
from modelservice.domain.priorities import Priority
from modelservice.domain.thresholds import Action, Crossing, Metric, Threshold, follow

from tests.unit.domain.specs import NOW, USD, policy

MOST = Threshold("most", Metric.COMMITTED, at=80, clear_below=60, sustained=300, actions=(Action.STOP_SCALE_UP,))
CRITICAL, STANDARD, BATCH = Priority


def followed(*values: tuple[int, int], threshold: Threshold = MOST) -> tuple[Crossing, ...]:
    """What is remembered after per cent of the limit at seconds."""
    crossings: tuple[Crossing, ...] = ()
    for time, percent in values:
        made = follow(crossings, (threshold,), {threshold.metric: percent}, 100, time)
        assert follow(made, (threshold,), {threshold.metric: percent}, 100, time) == made
        crossings = made
    return crossings


def test_a_threshold_is_reached_when_its_metric_has_been_there_for_so_long() -> None:
    assert followed((0, 79)) == ()
    assert followed((0, 80)) == (Crossing("most", MOST.wording, 0),)
    assert followed((0, 80), (299, 99)) == (Crossing("most", MOST.wording, 0),)
    assert followed((0, 80), (300, 80)) == (Crossing("most", MOST.wording, 0, 300),)
    assert followed((7, 80), threshold=replace(MOST, sustained=0))[0].reached == 7


def test_a_metric_that_falls_in_between_is_counted_from_anew() -> None:
    assert followed((0, 80), (200, 79), (250, 80), (400, 80)) == (Crossing("most", MOST.wording, 250),)


def test_it_is_undone_below_the_lower_bound_only_and_not_reached_again_in_the_period() -> None:
    up = ((0, 80), (300, 80))
    assert followed(*up, (400, 60))[0].in_force
    undone = followed(*up, (400, 59))
    assert undone == (Crossing("most", MOST.wording, 0, 300, 400),)
    assert followed(*up, (400, 59), (500, 100), (9000, 100)) == undone


def test_another_wording_begins_anew_and_what_is_not_asked_for_any_more_is_forgotten() -> None:
    reached = followed((0, 80), (300, 80))
    for other in (replace(MOST, at=70), replace(MOST, actions=(Action.NOTIFY,)), replace(MOST, sustained=1)):
        assert follow(reached, (other,), {MOST.metric: 80}, 100, 400) == (Crossing("most", other.wording, 400),)
    assert follow(reached, (), {MOST.metric: 80}, 100, 400) == ()


def test_a_metric_that_is_not_known_changes_nothing() -> None:
    reached = followed((0, 80), (300, 80))
    assert follow(reached, (MOST,), {}, 100, 400) == reached
    assert follow((), (MOST,), {}, 100, 400) == ()


def watched(limit: int, **more: object) -> tuple[Crossing, ...]:
    payer = replace(policy(limit), thresholds=(replace(MOST, sustained=0, **more),))  # type: ignore[arg-type]
    account = Account("ns/team", NOW - 60, NOW + 9999, "USD", limit)
    later = replace(account, start=NOW + 9999, end=NOW + 20000)
    book = watch(Book(time=NOW, accounts=(account, later)), [payer], {"ns/team": 8 * USD})
    assert book.accounts[1].crossings == ()
    return book.accounts[0].crossings


def test_only_the_present_period_remembers_and_the_forecast_is_that_of_its_end() -> None:
    assert watched(10 * USD) == ()
    assert watched(10 * USD, metric=Metric.ACTUAL) == ()
    assert watched(10 * USD, metric=Metric.FORECAST)[0].reached == NOW
    assert watched(11 * USD, metric=Metric.FORECAST) == ()


def in_force(payer: Policy, *crossings: Crossing) -> tuple[Curb, ...]:
    book = Book(NOW, (Account("ns/team", NOW - 60, NOW + 60, "USD", USD, crossings=crossings),))
    return curbs(book, [payer], NOW).get("ns/team", ())


def test_actions_are_in_force_from_when_a_threshold_is_reached_until_it_is_undone() -> None:
    payer = replace(policy(), thresholds=(MOST,))
    reached = Crossing("most", MOST.wording, NOW - 60, NOW - 30)
    assert in_force(payer, reached) == (Curb("ns/team", "most", Action.STOP_SCALE_UP, NOW - 30),)
    assert in_force(payer, replace(reached, reached=None)) == ()
    assert in_force(payer, replace(reached, undone=NOW)) == ()
    assert in_force(payer, replace(reached, wording="another")) == ()
    assert in_force(replace(payer, thresholds=()), reached) == ()
    assert in_force(replace(payer, enforcement=Enforcement.SOFT), reached) != ()
    assert in_force(replace(payer, enforcement=Enforcement.DRY_RUN), reached) == ()


@pytest.mark.parametrize(
    ("action", "priority", "turn"),
    [
        (Action.SHRINK_BY_PRIORITY, BATCH, 0),
        (Action.SHRINK_BY_PRIORITY, STANDARD, STEP_SECONDS),
        (Action.SHRINK_BY_PRIORITY, CRITICAL, None),
        (Action.SCALE_TO_ZERO, BATCH, 0),
        (Action.SCALE_TO_ZERO, STANDARD, STEP_SECONDS),
        (Action.SCALE_TO_ZERO, CRITICAL, 2 * STEP_SECONDS),
        (Action.NOTIFY, BATCH, None),
    ],
)
def test_the_lowest_class_is_the_first_to_be_stopped(action: Action, priority: Priority, turn: int | None) -> None:
    curb, left = Curb("ns/team", "most", action, NOW), 0 if action is Action.SCALE_TO_ZERO else 2
    for after in (0, STEP_SECONDS - 1, STEP_SECONDS, 2 * STEP_SECONDS - 1, 2 * STEP_SECONDS, 99 * STEP_SECONDS):
        most = curb.most(5, 4, 2, priority, NOW + after)
        assert most == (left if turn is not None and after >= turn else 5)


def test_scaling_up_stops_at_what_is_there_and_never_below_the_fewest() -> None:
    curb = Curb("ns/team", "most", Action.STOP_SCALE_UP, NOW)
    assert [curb.most(5, there, 2, CRITICAL, NOW) for there in (0, 3, 9)] == [2, 3, 5]


def test_the_strictest_curb_counts_and_is_named() -> None:
    up, zero = (Curb("ns/team", "most", action, NOW) for action in (Action.STOP_SCALE_UP, Action.SCALE_TO_ZERO))
    allowed, curbed = curb_replicas((up, zero), 5, 4, 2, BATCH, NOW)
    assert (allowed, curbed and (curbed.curb, curbed.pods)) == (0, (zero, 5))
    assert curb_replicas((up,), 4, 4, 2, BATCH, NOW) == (4, None)
