"""When an idle service is parked at zero, and which wake requests wake it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from modelservice.domain.demand import Metric, PodMetrics, Reading, Replica, measure
from modelservice.domain.parking import SKEW, Activity, Rest, look, take_in

NOW = 10_000
DELAY = 300
PARKED = Rest(parked_at=NOW - 500, request=NOW - 900)


def did(work: int = 0, served: int = 7) -> Activity:
    return Activity(Fraction(work), Fraction(served))


def looked(*looks: tuple[int, Activity | None], rest: Rest | None = None, starting: bool = False) -> Rest:
    """What is left after looks at these times."""
    seen = rest or Rest()
    for at, activity in looks:
        seen = look(seen, activity, DELAY, NOW + at, starting=starting)
    return seen


def test_a_service_is_parked_once_it_was_idle_for_the_whole_delay() -> None:
    quiet = [(at, did()) for at in range(0, 300, 5)]
    assert not looked(*quiet).parked
    assert looked(*quiet, (300, did())).parked_at == NOW + 300


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(did(work=1), id="a request runs"),
        pytest.param(did(served=8), id="a request was answered between two looks"),
        pytest.param(did(served=0), id="the replicas are others than before"),
    ],
)
def test_any_sign_of_a_request_starts_the_delay_again(between: Activity) -> None:
    last = did(served=int(between.served))
    assert not looked((0, did()), (200, between), (205, last), (300, last), (499, last)).parked
    assert looked((0, did()), (200, between), (205, last), (505, last)).parked


def test_what_is_not_known_never_parks_and_a_gap_without_a_request_does_not_start_the_delay_again() -> None:
    gap = looked((0, did()), (300, None), (900, None))
    assert not gap.parked
    assert looked((905, did()), rest=gap).parked
    assert not looked((905, did(served=8)), rest=gap).parked


def test_a_service_of_which_a_replica_is_starting_is_not_parked_however_long_it_was_idle() -> None:
    waiting = looked((0, did()), (1000, did()), starting=True)
    assert not waiting.parked
    assert looked((1005, did()), rest=waiting).parked


@pytest.mark.parametrize(
    ("request_at", "wakes"),
    [
        pytest.param(NOW, True, id="now"),
        pytest.param(NOW - 499, True, id="since the parking"),
        pytest.param(NOW + SKEW, True, id="by a clock that is fast"),
        pytest.param(NOW - 500 - SKEW, True, id="by a clock that is slow"),
        pytest.param(NOW - 501 - SKEW, False, id="stale"),
        pytest.param(NOW + SKEW + 1, False, id="in the future"),
        pytest.param(NOW - 900, False, id="taken in before"),
        pytest.param(None, False, id="none"),
    ],
)
def test_a_wake_request_counts_once_and_only_when_it_can_be_later_than_the_parking(
    request_at: int | None, *, wakes: bool
) -> None:
    after = take_in(PARKED, request_at, NOW)
    assert after == (Rest(woken_at=NOW, request=request_at) if wakes else PARKED)
    assert not wakes or take_in(after, request_at, NOW + 10) == after


def test_a_request_while_the_service_is_up_is_taken_in_and_wakes_it_not_again_after_the_next_parking() -> None:
    idle = looked((0, did()))
    asked = take_in(idle, NOW + 10, NOW + 10)
    assert (asked.idle_since, asked.parked, asked.woken_at) == (None, False, None)
    parked = looked((15, did()), (315, did()), rest=asked)
    assert parked.parked
    assert take_in(parked, NOW + 10, NOW + 316) == parked


def test_a_wake_that_never_sees_a_request_ends_in_parking_again() -> None:
    woken = take_in(PARKED, NOW, NOW)
    again = looked((20, did()), (320, did()), rest=woken)
    assert (again.parked_at, again.woken_at, again.request) == (NOW + 320, None, NOW)


# Case C09: an idle engine has no series, and an engine that is not scraped must not look idle.

SCRAPED, UNSCRAPED = PodMetrics(1.0, NOW - 3), PodMetrics(0.0, NOW - 3)


def ticks(metrics: PodMetrics | None, rest: Rest, begin: int, end: int) -> Rest:
    """Look each 5 s at one replica of which Prometheus says that."""
    replica = [Replica("a", NOW - 605, NOW - 600)]
    for at in range(NOW + begin, NOW + end + 1, 5):
        moved = replace(metrics, scraped_at=at - 3.0) if metrics is not None else None
        reading = Reading(float(at), {("ns", "a"): moved} if moved is not None else {})
        kinds: tuple[Metric, Metric] = ("Concurrency", "Activity")
        work, served = (measure(kind, "ns", replica, reading, at, 30) for kind in kinds)
        known = work.complete and served.complete
        rest = look(rest, Activity(work.work, served.work) if known else None, DELAY, at, starting=False)
        if rest.parked:
            break
    return rest


def test_c09_a_scraped_engine_without_series_is_idle_and_parked_after_the_delay() -> None:
    parked = ticks(SCRAPED, Rest(), 0, 1000)
    assert parked.parked_at is not None
    assert 300 <= parked.parked_at - NOW <= 330


@pytest.mark.parametrize("metrics", [None, UNSCRAPED], ids=["no series of up", "up is 0"])
def test_c09_an_engine_that_is_not_scraped_is_held(metrics: PodMetrics | None) -> None:
    assert not ticks(metrics, Rest(), 0, 5000).parked


def test_c09_a_restart_of_the_operator_starts_the_delay_again_once() -> None:
    ticks(SCRAPED, Rest(), 0, 150)
    parked = ticks(SCRAPED, Rest(), 155, 1000)
    assert parked.parked_at is not None
    assert parked.parked_at - NOW <= 155 + 330
