"""What a budget has cost hour by hour, and what the past tells of the time to come."""

from __future__ import annotations

import json

import pytest
from modelservice.domain.book import Account
from modelservice.domain.history import (
    LEAST_HOURS,
    MOST_HOURS,
    MOST_POLICIES,
    WEEK,
    Series,
    decode_history,
    encode_history,
    outlook,
    record,
)

HOUR = 3600
START = 1000 * HOUR
JULY = Account("team/monthly", START, START + 400 * HOUR, "USD", 10**9)
AUGUST = Account("team/monthly", JULY.end, JULY.end + 400 * HOUR, "USD", 10**9)


def recorded(*points: tuple[int, int], series: Series | None = None) -> Series:
    """Records of (seconds after START, what is posted then) in one account."""
    for seconds, posted in points:
        series = record(series, [JULY], {JULY.start: posted}, START + seconds)
    assert series is not None
    return series


def test_what_was_posted_between_two_records_is_spread_over_the_hours_between_them() -> None:
    made = recorded((0, 0), (HOUR, 100), (3 * HOUR + 1800, 350))
    assert made.costs == (100, 100, 100, 50)
    assert made.whole == (100, 100, 100)


def test_no_micro_unit_is_lost_or_made_by_spreading() -> None:
    made = recorded((0, 0), (7, 3), (HOUR + 11, 7), (5 * HOUR + 13, 1_000_003))
    assert sum(made.costs) == 1_000_003


def test_a_first_record_knows_nothing_of_before_nor_of_the_hour_in_which_it_is_made() -> None:
    made = recorded((1800, 900), (HOUR, 1000), (2 * HOUR, 1100))
    assert (made.since, made.costs) == (START // HOUR + 1, (100,))


def test_a_period_that_ends_goes_on_in_the_next_one() -> None:
    begun = Series(JULY.end // HOUR - 1, JULY.end - HOUR, (), {JULY.start: 500})
    before = record(begun, [JULY], {JULY.start: 540}, JULY.end - 1)
    posted = {JULY.start: 560, AUGUST.start: 40}
    after = record(before, [JULY, AUGUST], posted, JULY.end + HOUR)
    assert sum(after.costs) == 100
    later = record(after, [AUGUST], {AUGUST.start: 90}, JULY.end + 2 * HOUR)
    assert later.costs[-1] == 50


def test_what_was_given_back_takes_no_hour_below_zero() -> None:
    assert recorded((0, 100), (HOUR, 60), (2 * HOUR, 90)).costs == (0, 30)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    made = recorded((0, 0), (HOUR, 100))
    assert record(made, [JULY], {JULY.start: 400}, START + HOUR - 1) == made


def test_only_so_many_hours_and_budgets_are_kept() -> None:
    made = recorded((0, 0), (2 * MOST_HOURS * HOUR, 2 * MOST_HOURS))
    assert made.costs == (1,) * MOST_HOURS
    many = {f"team/{number}": Series(0, 0, (number,)) for number in range(MOST_POLICIES + 1)}
    assert "team/0" not in decode_history(encode_history(many))
    assert len(encode_history(many)) == MOST_POLICIES


def test_a_history_survives_its_json() -> None:
    history = {"team/monthly": recorded((0, 0), (HOUR, 100)), "all": Series(5, 6)}
    assert decode_history(json.loads(json.dumps(encode_history(history)))) == history


def test_before_ten_days_are_known_nothing_is_foreseen() -> None:
    assert outlook([5] * (LEAST_HOURS - 1), HOUR) is None
    assert outlook([5] * LEAST_HOURS, HOUR) == (5, 5)
    assert outlook([5] * LEAST_HOURS, 0) is None
    assert outlook([0] * LEAST_HOURS, HOUR) is None


@pytest.mark.parametrize("hours", [1, 24, 100, 700])
def test_a_cost_that_never_changes_is_foreseen_exactly(hours: int) -> None:
    assert outlook([36] * MOST_HOURS, hours * HOUR) == (36 * hours, 36 * hours)
    assert outlook([36] * MOST_HOURS, hours * HOUR + 100) == (36 * hours + 1, 36 * hours + 1)


def test_the_level_is_that_of_the_last_week() -> None:
    risen = [10] * (MOST_HOURS - WEEK) + [30] * WEEK
    made = outlook(risen, 24 * HOUR)
    assert made is not None
    assert made[0] == 30 * 24


def test_what_changes_from_day_to_day_has_a_wider_band() -> None:
    steady = [10] * MOST_HOURS
    moving = [5 if hour // 24 % 2 else 15 for hour in range(MOST_HOURS)]
    (_, narrow), (low, wide) = (outlook(hours, 24 * HOUR) or (0, 0) for hours in (steady, moving))
    assert low < narrow < wide
    assert wide >= 15 * 24
