"""Replicas wanted for what was measured, and what happens when it was not."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from modelservice.domain.demand import (
    Measurement,
    Memory,
    Metric,
    PodMetrics,
    Reading,
    Replica,
    Scaling,
    desire,
    measure,
)

NOW = 10_000
RULE = Scaling("Concurrency", 10, 300)
BOUNDS = (1, 10)


def replicas(*names: str, ready_since: int = NOW - 600) -> list[Replica]:
    return [Replica(name, ready_since - 5, ready_since) for name in names]


def reading(**values: float) -> Reading:
    pods = {("ns", name): PodMetrics(1.0, NOW - 3, {"running": value}) for name, value in values.items()}
    return Reading(NOW, pods)


def measured(given: Reading, *names: str, metric: Metric = "Concurrency", ready_since: int = NOW - 600) -> Measurement:
    return measure(metric, "ns", replicas(*names, ready_since=ready_since), given, NOW, 30)


def after(memory: Memory, work: float, *, now: int = NOW, bounds: tuple[int, int] = BOUNDS) -> Memory:
    return desire(memory, RULE, measured(reading(a=work), "a"), bounds, now)


@pytest.mark.parametrize(
    ("work", "wanted"),
    [(0, 1), (8.5, 1), (8.6, 2), (17, 2), (17.1, 3), (84, 10), (85.1, 10), (1e9, 10)],
)
def test_more_replicas_are_wanted_when_work_is_above_85_percent_of_what_they_carry(work: float, wanted: int) -> None:
    assert after(Memory(1), work).desired == wanted


def test_fewer_replicas_are_wanted_only_after_they_sufficed_for_the_whole_delay() -> None:
    memory = after(Memory(4), 10)
    assert (memory.desired, memory.fewer_since) == (4, NOW)
    memory = after(memory, 10, now=NOW + 299)
    assert memory.desired == 4
    assert after(memory, 10, now=NOW + 300).desired == 2


def test_the_most_that_was_needed_during_the_delay_remains() -> None:
    memory = after(Memory(5), 0)
    memory = after(memory, 20, now=NOW + 100)
    assert after(memory, 0, now=NOW + 300).desired == 3


def test_work_between_70_and_85_percent_changes_nothing_and_starts_the_delay_again() -> None:
    memory = after(Memory(2), 1)
    memory = after(memory, 8, now=NOW + 200)
    assert (memory.desired, memory.fewer_since) == (2, None)
    assert after(memory, 1, now=NOW + 301).desired == 2


def test_bounds_that_move_are_followed_at_once() -> None:
    assert after(Memory(4), 35, bounds=(1, 2)).desired == 2
    assert after(Memory(1), 0, bounds=(3, 5)).desired == 3


EMPTY = Reading(NOW, {})
FOUR = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(EMPTY, id="every query is empty"),
        pytest.param(reading(**dict.fromkeys(FOUR, math.nan)), id="NaN"),
        pytest.param(reading(**dict.fromkeys(FOUR, math.inf)), id="+Inf"),
        pytest.param(reading(**dict.fromkeys(FOUR, -math.inf)), id="-Inf"),
        pytest.param(reading(**dict.fromkeys(FOUR, -3.0)), id="negative"),
        pytest.param(Reading(problem="Prometheus answered 503."), id="HTTP 503"),
        pytest.param(replace(reading(**dict.fromkeys(FOUR, 1.0)), at=NOW + 660), id="a sample 11 min old"),
        pytest.param(
            Reading(NOW, {("ns", name): PodMetrics(0.0, NOW - 3, {"running": 0.0}) for name in FOUR}), id="up is 0"
        ),
        pytest.param(
            Reading(NOW, {("ns", name): PodMetrics(1.0, math.nan, {"running": 0.0}) for name in FOUR}),
            id="no scrape time",
        ),
    ],
)
def test_what_cannot_be_measured_holds_and_says_since_when(bad: Reading) -> None:
    memory = desire(Memory(4), RULE, measured(bad, *FOUR), BOUNDS, NOW)
    assert memory.desired == 4
    assert memory.problem
    assert memory.blind_since == NOW
    later = desire(memory, RULE, measured(bad, *FOUR), BOUNDS, NOW + 1000)
    assert (later.desired, later.blind_since) == (4, NOW)
    good = desire(later, RULE, measured(reading(a=90, b=0, c=0, d=0), *FOUR), BOUNDS, NOW + 1005)
    assert (good.desired, good.blind_since, good.problem) == (10, None, "")


def test_one_bad_pod_never_lowers_and_known_work_still_raises() -> None:
    low = measured(reading(a=1, b=math.nan), "a", "b")
    assert desire(replace(Memory(4), fewer_since=0), RULE, low, BOUNDS, NOW).desired == 4
    high = measured(reading(a=60, b=math.nan), "a", "b")
    assert desire(Memory(4), RULE, high, BOUNDS, NOW).desired == 8


def test_a_scraped_target_without_series_is_silent_and_means_zero() -> None:
    idle = Reading(NOW, {("ns", "a"): PodMetrics(1.0, NOW - 3)})
    assert measured(idle, "a") == Measurement(Fraction(0), complete=True)


def test_pods_that_are_gone_do_not_count_and_a_young_one_holds_without_alarm() -> None:
    stale = reading(a=8, b=8)
    assert measured(stale, "b").work == 8
    both = measure("Concurrency", "ns", [*replicas("b"), *replicas("c", ready_since=NOW - 5)], stale, NOW, 30)
    assert (both.work, both.complete, both.problem) == (Fraction(8), False, "")
    assert desire(replace(Memory(3), fewer_since=0), RULE, both, BOUNDS, NOW).desired == 3


def test_a_sample_older_than_the_pod_of_that_name_is_ignored() -> None:
    reborn = [Replica("b", NOW - 2, NOW - 1)]
    seen = measure("Concurrency", "ns", reborn, reading(b=8), NOW, 30)
    assert (seen.work, seen.complete) == (Fraction(0), False)


def test_concurrency_adds_running_and_waiting_and_rps_takes_the_rate() -> None:
    both = Reading(NOW, {("ns", "a"): PodMetrics(1.0, NOW, {"running": 3.0, "waiting": 4.5, "requests": 99.0})})
    assert measured(both, "a").work == 7.5
    assert measured(both, "a", metric="RPS").work == 99


def test_a_service_without_ready_replicas_is_held_without_alarm() -> None:
    memory = desire(Memory(2), RULE, measured(EMPTY), BOUNDS, NOW)
    assert (memory.desired, memory.problem) == (2, "")
