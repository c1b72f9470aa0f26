"""What the watch of the fuse proves, and when a budget promises more than best effort."""

from dataclasses import replace

import pytest
from modelservice.domain.book import Enforcement
from modelservice.domain.guarantee import (
    ALL_IS_WELL,
    GAP_SECONDS,
    MOST_SPARED,
    Level,
    Watch,
    judge_guarantee,
    weak_pods,
    worst_case,
)
from modelservice.domain.ledger import set_policies
from modelservice.domain.prices import LATE_SECONDS
from modelservice.domain.snapshot import BreakGlass, Pod

from tests.unit.domain.books import FOR_ONE, NOW, admitted, opened, policy
from tests.unit.domain.test_fuse import pod

FRESH = Watch(NOW - 900, NOW - 5)


@pytest.mark.parametrize(
    ("decided", "finished", "after"),
    [
        pytest.param(NOW + 5, NOW + 6, Watch(NOW - 900, NOW + 5), id="in time"),
        pytest.param(NOW + 5, NOW - 5 + GAP_SECONDS, Watch(NOW - 900, NOW + 5), id="just in time"),
        pytest.param(NOW + 5, NOW - 4 + GAP_SECONDS, Watch(NOW + 5, NOW + 5), id="decided in time, finished late"),
        pytest.param(NOW + 900, NOW + 901, Watch(NOW + 900, NOW + 900), id="after an outage"),
        pytest.param(NOW - 9, NOW - 9, FRESH, id="by a clock that is behind"),
    ],
)
def test_a_watch_goes_on_only_without_a_gap(decided: int, finished: int, after: Watch) -> None:
    assert FRESH.extended(decided, finished) == after


def test_a_watch_proves_nothing_of_spared_pods_until_they_cannot_come_into_the_book_any_more() -> None:
    watch = FRESH.extended(NOW, NOW, {"spared"}, {"spared", "other"})
    assert watch == Watch(FRESH.since, NOW, {"spared": NOW})
    for _ in range(20):
        now = watch.until + 30
        watch = watch.extended(now, now, (), {"spared", "other"})
        assert (watch.bounds("spared", now, now), watch.bounds("other", now, now)) == (False, True)
    gone = watch.until
    while watch.until + 30 <= gone + 2 * GAP_SECONDS:
        watch = watch.extended(watch.until + 30, watch.until + 30, (), {"other"})
        assert watch == Watch(FRESH.since, watch.until, {"spared": gone})
    assert watch.extended(watch.until + 30, watch.until + 30) == Watch(FRESH.since, watch.until + 30)


def test_a_watch_begins_anew_with_a_gap_and_remembers_the_spared_pods_that_are_there() -> None:
    watch = FRESH.extended(NOW, NOW, {"a", "b"}, {"a", "b"}).extended(NOW + 900, NOW + 900, (), {"a"})
    assert watch == Watch(NOW + 900, NOW + 900, {"a": NOW + 900})


def test_a_watch_that_cannot_remember_all_spared_pods_proves_nothing_of_holds_that_end_meanwhile() -> None:
    many = {f"pod-{n}" for n in range(MOST_SPARED + 1)}
    most = many - {"pod-0"}
    assert FRESH.extended(NOW, NOW, most, most) == Watch(FRESH.since, NOW, dict.fromkeys(most, NOW))
    assert FRESH.extended(NOW, NOW, most, most).extended(NOW + 5, NOW + 5, many, many) == Watch(NOW + 5, NOW + 5)


@pytest.mark.parametrize(
    ("hold", "date", "bounded"),
    [
        pytest.param(NOW - 901, NOW, False, id="the hold ended before the watch began"),
        pytest.param(NOW - 900, NOW, True, id="it ended as the watch began"),
        pytest.param(NOW - 100, NOW, True, id="it ended meanwhile"),
        pytest.param(NOW + 100, NOW, True, id="it has not ended"),
        pytest.param(NOW - 100, NOW - 5 + GAP_SECONDS, True, id="the last look is just young enough"),
        pytest.param(NOW - 100, NOW - 4 + GAP_SECONDS, False, id="the fuse is silent"),
    ],
)
def test_a_watch_bounds_the_life_of_pods_whose_hold_ended_in_it(hold: int, date: int, *, bounded: bool) -> None:
    assert FRESH.bounds("a", hold, date) is bounded


def test_a_pod_is_deleted_inside_the_delay_that_is_paid_for_even_if_the_clocks_differ_by_a_minute() -> None:
    assert GAP_SECONDS + 60 <= LATE_SECONDS


def test_with_a_fuse_and_without_weaknesses_the_budget_is_guaranteed() -> None:
    made = judge_guarantee(FRESH, NOW, [])
    assert (made.level, made.because_of) == (Level.GUARANTEED, ALL_IS_WELL)


@pytest.mark.parametrize(
    ("watch", "weaknesses", "sentence"),
    [
        (None, [], "No fuse has reported"),
        (Watch(NOW - 900, NOW - GAP_SECONDS - 1), [], f"finished no look for more than {GAP_SECONDS} s"),
        (FRESH, ["A policy is not in force."], "A policy is not in force."),
    ],
)
def test_each_weakness_leaves_best_effort_and_is_named(
    watch: Watch | None, weaknesses: list[str], sentence: str
) -> None:
    made = judge_guarantee(watch, NOW, weaknesses)
    assert made.level is Level.BEST_EFFORT
    assert sentence in made.because_of


def test_all_weaknesses_are_named_in_sentences() -> None:
    assert judge_guarantee(None, NOW, ["One.", "Two."]).because_of.endswith("end of their hold. One. Two.")


def test_no_period_costs_more_than_its_limit_whatever_is_held_now() -> None:
    for book in (opened(policy(5 * FOR_ONE)), admitted(opened(policy(5 * FOR_ONE)), "a", "b")):
        most = worst_case(book, book.accounts[0])
        assert most is not None
        assert most.amount == 5 * FOR_ONE
        assert most.because_of.startswith("It is the limit")


def test_a_limit_that_was_lowered_below_what_is_held_leaves_that_as_the_worst_case() -> None:
    book = set_policies(admitted(opened(policy(5 * FOR_ONE)), "a", "b"), [policy(FOR_ONE)])
    most = worst_case(book, book.accounts[0])
    assert most is not None
    assert most.amount == 2 * FOR_ONE
    assert most.because_of.startswith("More is spent and held than the limit allows")


@pytest.mark.parametrize("mode", [Enforcement.SOFT, Enforcement.DRY_RUN])
def test_a_budget_that_refuses_nothing_has_no_worst_case(mode: Enforcement) -> None:
    book = opened(policy(enforcement=mode))
    assert worst_case(book, book.accounts[0]) is None


def spared(until: int, reason: str = "a demo.") -> Pod:
    return replace(pod(), break_glass=BreakGlass(until, reason))


@pytest.mark.parametrize(
    ("one", "sentences"),
    [
        (pod(), []),
        (spared(NOW), []),
        (replace(spared(NOW + 1), deleting=True), []),
        (spared(NOW + 1), ["Pod chat-a runs by break-glass until 2026-07-10T12:00:01Z: a demo."]),
        (spared(NOW + 1, ""), ["Pod chat-a runs by break-glass until 2026-07-10T12:00:01Z."]),
    ],
)
def test_a_spared_pod_is_a_weakness_for_as_long_as_it_is_spared(one: Pod, sentences: list[str]) -> None:
    assert list(weak_pods([one], [], NOW)) == sentences


def test_a_pod_found_without_a_hold_is_a_weakness() -> None:
    assert list(weak_pods([], [pod()], NOW)) == ["Pod chat-a ran before money was held for it."]
