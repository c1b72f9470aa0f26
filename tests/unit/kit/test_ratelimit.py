from random import Random

import pytest
from modelservice.kit.ratelimit import Backoff, TokenBucket, jittered

STEADY = Backoff(first=1, ceiling=300, jitter=0)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1_000_000, 300)],
)
def test_the_back_off_doubles_up_to_its_ceiling(failures: int, seconds: float) -> None:
    assert STEADY.delay(failures, Random(0)) == seconds


def test_jitter_spreads_the_back_off_around_its_value_and_never_beyond_the_share_given() -> None:
    backoff = Backoff(first=8, ceiling=8, jitter=0.25)
    delays = [backoff.delay(1, Random(seed)) for seed in range(200)]
    assert 6 <= min(delays) < 6.5
    assert 9.5 < max(delays) <= 10


def test_without_jitter_a_duration_stays_as_it_is() -> None:
    assert jittered(7, 0, Random(0)) == 7


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.reserve(0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]


def test_a_bucket_saves_no_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=1, burst=2)
    bucket.reserve(0)
    assert [bucket.allow(1000) for _ in range(3)] == [True, True, False]


def test_a_refused_token_costs_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.allow(0)
    assert not bucket.allow(0.5)
    assert bucket.allow(1)
