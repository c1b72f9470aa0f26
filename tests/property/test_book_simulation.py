"""Many seeded schedules against the oracles; ``make property N=..`` plays N of them."""

import os

import pytest

from tests.property.simulation import CONTENTION, STRESS, Schedule, play

SCHEDULES = int(os.environ.get("MODELSERVICE_PROPERTY_EXAMPLES", "300"))
AT_ONCE = 20


def seeds(share: int) -> list[range]:
    """Every third schedule is one of contention, the others are stress."""
    wanted = max(1, SCHEDULES * share // 3)
    return [range(first, min(first + AT_ONCE, wanted)) for first in range(0, wanted, AT_ONCE)]


def play_all(span: range, schedule: Schedule) -> None:
    written = 0
    for seed in span:
        try:
            written += play(seed, schedule).books
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert written > len(span), "the schedules wrote hardly any book"


@pytest.mark.parametrize("span", seeds(2), ids=str)
def test_no_schedule_of_pauses_crashes_and_outages_breaks_the_book(span: range) -> None:
    play_all(span, STRESS)


@pytest.mark.parametrize("span", seeds(1), ids=str)
def test_no_contention_between_two_quick_operators_breaks_the_book(span: range) -> None:
    play_all(span, CONTENTION)
