"""When a canary is condemned: never by chance, soon when it is bad."""

from __future__ import annotations

import math
from bisect import bisect_right
from random import Random

import pytest
from modelservice.domain.analysis import ENOUGH, Track, Verdict, compare, exceeds, wilson
from modelservice.domain.evidence import CANARY, STABLE, Counters, Evidence, Traffic, collect

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
FINE_BOUNDS = (*(0.001 * 2 ** (n / 2) for n in range(32)), math.inf)


def track(times: list[float], failed: int = 0, bounds: tuple[float, ...] = FINE_BOUNDS) -> Track:
    times = sorted(times)
    return Track(len(times), failed, {bound: bisect_right(times, bound) for bound in bounds})


def around(random: Random, median: float, count: int) -> list[float]:
    """Times of a server: log-normal, the slowest hundredth about four times the median."""
    return [random.lognormvariate(math.log(median), 0.6) for _ in range(count)]


@pytest.mark.parametrize("side", ["canary", "stable"])
def test_nothing_is_said_of_few_requests(side: str) -> None:
    few, many = track([0.1] * (ENOUGH - 1), 40), track([0.1] * 1000)
    found = compare(many, few) if side == "canary" else compare(few, many)
    assert found.verdict is Verdict.UNKNOWN
    assert f"fewer than {ENOUGH} requests" in found.message


@pytest.mark.parametrize(
    ("errors", "others", "verdict"),
    [(0, 0, "Fine"), (1, 0, "Fine"), (30, 0, "Worse"), (30, 30, "Fine"), (100, 10, "Worse"), (100, 100, "Fine")],
)
def test_errors_count_only_beyond_those_of_the_other_side_and_beyond_chance(
    errors: int, others: int, verdict: str
) -> None:
    found = compare(Track(100, others, {math.inf: 100}), Track(100, errors, {math.inf: 100}))
    assert found.verdict == verdict
    assert (f"{errors} of 100 requests to it failed" in found.message) == (verdict == "Worse")


@pytest.mark.parametrize("median", [0.012, 0.03, 0.1, 0.7, 3.0])
def test_a_canary_that_answers_twice_as_slowly_is_found_out_within_some_hundred_requests(
    median: float,
) -> None:
    missed = 0
    for seed in range(40):
        random = Random(seed)
        stable, slow = around(random, median, 1500), around(random, 2 * median, 600)
        missed += compare(track(stable), track(slow)).verdict is not Verdict.WORSE
    assert missed <= 1


@pytest.mark.parametrize("place", [0.0, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_twice_as_slow_is_seen_wherever_the_times_lie_between_two_bounds(place: float) -> None:
    low, high = FINE_BOUNDS[12], FINE_BOUNDS[13]
    time = low + place * (high - low) + 1e-9
    assert compare(track([time] * 200), track([2 * time] * 100)).verdict is Verdict.WORSE
    assert compare(track([time] * 200), track([1.05 * time] * 100)).verdict is Verdict.FINE


def test_an_equal_canary_is_hardly_ever_condemned_however_often_one_looks() -> None:
    condemned = 0
    for seed in range(400):
        random = Random(seed)
        bounds = BOUNDS if seed % 2 else FINE_BOUNDS
        median, errors = random.choice((0.02, 0.2, 2.0)), random.choice((0.0, 0.01, 0.1))
        stable, canary, failed, failed_there = list[float](), list[float](), 0, 0
        for _ in range(12):
            stable += around(random, median, 90)
            canary += around(random, median, 10)
            failed += sum(random.random() < errors for _ in range(90))
            failed_there += sum(random.random() < errors for _ in range(10))
            found = compare(track(stable, failed, bounds), track(canary, failed_there, bounds))
            if found.verdict is Verdict.WORSE:
                condemned += 1
                break
    assert condemned <= 2


def test_a_canary_that_fails_one_request_in_ten_is_found_out() -> None:
    missed = 0
    for seed in range(100):
        random = Random(seed)
        failed = sum(random.random() < 0.1 for _ in range(300))
        found = compare(Track(3000, 3, {math.inf: 3000}), Track(300, failed, {math.inf: 300}))
        missed += found.verdict is not Verdict.WORSE
    assert missed <= 1


@pytest.mark.parametrize(("time", "slower"), [(0.001, 0.002), (0.002, 0.009)])
def test_differences_that_nobody_notices_are_none(time: float, slower: float) -> None:
    assert compare(track([time] * 300), track([slower] * 300)).verdict is Verdict.FINE


def test_the_interval_of_a_share_holds_it_and_shrinks() -> None:
    assert wilson(0, 100, 3)[0] == 0
    assert wilson(100, 100, 3)[1] == 1
    assert all(wilson(hits, 50, 3)[0] <= hits / 50 <= wilson(hits, 50, 3)[1] for hits in range(51))
    assert wilson(5, 10, 3)[1] > wilson(500, 1000, 3)[1]
    assert not exceeds(1, 0, 0, 10, 0, 3)


def counters(canary: int, stable: int, failed: int = 0) -> Counters:
    return {
        (CANARY, ("code", "200")): canary - failed,
        **({(CANARY, ("code", "503")): failed} if failed else {}),
        (CANARY, ("le", "+Inf")): canary,
        (STABLE, ("code", "200")): stable,
        (STABLE, ("le", "+Inf")): stable,
    }


def test_requests_count_from_the_first_sight_of_a_replica_and_a_new_series_of_a_known_one_from_zero() -> None:
    first = collect(None, ("new", 1), Traffic({"a": counters(1000, 5000)}))
    assert first.track(CANARY) == Track(0, 0, {})
    second = collect(first, ("new", 1), Traffic({"a": counters(1100, 5900, 40), "b": counters(7, 7)}))
    assert (second.track(CANARY).requests, second.track(CANARY).errors) == (100, 40)
    assert second.track(STABLE).requests == 900
    third = collect(second, ("new", 1), Traffic({"a": counters(20, 50), "b": counters(17, 27)}))
    assert (third.track(CANARY).requests, third.track(STABLE).requests) == (130, 970)
    assert third.finding().verdict is Verdict.WORSE


@pytest.mark.parametrize(("code", "errors"), [("500", 40), ("422", 40), ("400", 0), ("429", 0)])
def test_answers_that_a_broken_model_gives_are_errors_and_those_to_a_wrong_client_are_not(
    code: str, errors: int
) -> None:
    first = collect(None, ("new", 1), Traffic({"a": counters(0, 0)}))
    failed = {**counters(60, 100), (CANARY, ("code", code)): 40.0}
    found = collect(first, ("new", 1), Traffic({"a": failed})).track(CANARY)
    assert (found.requests, found.errors) == (100, errors)


def test_a_replica_that_was_not_scraped_once_is_not_counted_twice() -> None:
    first = collect(None, ("new", 1), Traffic({"a": counters(100, 100), "b": counters(100, 100)}))
    gone = collect(first, ("new", 1), Traffic({"b": counters(100, 100)}))
    back = collect(gone, ("new", 1), Traffic({"a": counters(110, 100), "b": counters(100, 100)}))
    assert back.track(CANARY).requests == 10


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        (Traffic(problem="Prometheus does not answer"), "Prometheus does not answer"),
        (Traffic(), "no requests of both revisions"),
        (Traffic({"a": {(STABLE, ("code", "200")): 9.0}}), "no requests of both revisions"),
    ],
)
def test_old_figures_say_nothing_once_there_are_no_new_ones(traffic: Traffic, said: str) -> None:
    first = collect(None, ("new", 1), Traffic({"a": counters(0, 0)}))
    good = collect(first, ("new", 1), Traffic({"a": counters(500, 500)}))
    assert good.finding().verdict is Verdict.FINE
    found = collect(good, ("new", 1), traffic).finding()
    assert found.verdict is Verdict.UNKNOWN
    assert said in found.message


def test_another_share_starts_with_nothing_counted() -> None:
    first = collect(None, ("new", 1), Traffic({"a": counters(0, 0)}))
    good = collect(first, ("new", 1), Traffic({"a": counters(500, 500)}))
    later = collect(good, ("new", 2), Traffic({"a": counters(510, 500)}))
    assert isinstance(later, Evidence)
    assert later.track(CANARY).requests == 10
