from __future__ import annotations

import pytest
from modelservice.gateway.balance import Replica, Track, Turns, usable
from modelservice.gateway.objects import Address


def replicas(*in_flight: int) -> list[Replica]:
    return [Replica(Address("10.0.0.1", port), Track.STABLE, count) for port, count in enumerate(in_flight)]


def test_the_replica_with_the_fewest_open_requests_is_taken() -> None:
    turns = Turns()
    assert [turns.take(replicas(3, 1, 2)).address.port for _ in range(6)] == [1] * 6


def test_replicas_with_the_same_load_take_turns() -> None:
    turns, four = Turns(), replicas(0, 0, 0, 0)
    taken = [turns.take(four).address.port for _ in range(400)]
    assert {port: taken.count(port) for port in range(4)} == dict.fromkeys(range(4), 100)


def test_open_requests_stay_even_while_they_pile_up() -> None:
    turns, some = Turns(), replicas(0, 0, 0)
    for _ in range(100):
        turns.take(some).in_flight += 1
    assert sorted(one.in_flight for one in some) == [33, 33, 34]


@pytest.mark.parametrize("percent", [1, 5, 10, 33, 50, 99, 100])
def test_the_canary_gets_its_share_of_any_requests_in_a_row(percent: int) -> None:
    turns = Turns()
    tracks = [turns.track(percent) is Track.CANARY for _ in range(1000)]
    for start in range(0, 900, 7):
        for length in (10, 100):
            assert abs(sum(tracks[start : start + length]) - length * percent / 100) < 1


def test_a_replica_that_refused_rests() -> None:
    some = replicas(0, 0)
    some[0].rests_until = 5.0
    assert usable(some, 4.9) == [some[1]]
    assert usable(some, 5.0) == some
