"""What 1,000 requests cost: sums of the last hour, and nothing where requests or cost are not known."""

from dataclasses import replace
from fractions import Fraction

import pytest
from modelservice.domain.unitcost import PAUSE_SECONDS, WINDOW_SECONDS, Tally, count, per_thousand, serving_rates

from tests.unit.domain.costbooks import NOW, book_of

DOLLAR = 1_000_000
TEN = Fraction(10)


def after(*samples: tuple[int, int, Fraction | None], tally: Tally | None = None) -> Tally:
    """The tally after samples of (seconds from NOW, rate, requests per second)."""
    made = Tally() if tally is None else tally
    for seconds, rate, load in samples:
        made = count(made, NOW + seconds, rate, load)
    return made


def test_a_dollar_an_hour_at_ten_requests_a_second_is_so_much_per_thousand() -> None:
    # 36,000 requests an hour for 1.00 USD: 0.027777 per 1,000.
    assert per_thousand(after((0, DOLLAR, TEN), (5, DOLLAR, TEN), (10, DOLLAR, TEN))) == 27_777


def test_each_sample_holds_until_the_next_one() -> None:
    steady, risen = after((0, DOLLAR, TEN), (10, DOLLAR, TEN)), after((0, DOLLAR, TEN), (10, 9 * DOLLAR, 5 * TEN))
    assert per_thousand(risen) == per_thousand(steady)
    assert per_thousand(after((0, DOLLAR, TEN), (10, 3 * DOLLAR, TEN), (20, 0, None))) == 2 * 27_777 + 1


@pytest.mark.parametrize(
    "samples",
    [
        [(0, DOLLAR, TEN)],
        [(0, DOLLAR, None), (10, DOLLAR, None)],
        [(0, 0, TEN), (10, 0, TEN)],
        [(0, DOLLAR, Fraction(0)), (10, DOLLAR, Fraction(0))],
        [(0, DOLLAR, Fraction(1, 100)), (10, DOLLAR, TEN)],
        [(0, DOLLAR, TEN), (PAUSE_SECONDS + 1, DOLLAR, TEN)],
        [(0, DOLLAR, TEN), (-5, DOLLAR, TEN)],
    ],
)
def test_what_is_not_known_is_nothing_and_not_zero(samples: list[tuple[int, int, Fraction | None]]) -> None:
    assert per_thousand(after(*samples)) is None


def test_time_in_which_the_load_is_not_known_counts_in_neither_sum() -> None:
    known = after((0, DOLLAR, TEN), (10, 5 * DOLLAR, None))
    assert per_thousand(after((20, DOLLAR, TEN), (30, DOLLAR, TEN), tally=known)) == 27_777


def test_only_the_last_hour_counts_and_little_is_kept() -> None:
    made = after(*((second, 9 * DOLLAR, TEN) for second in range(0, 600, 5)))
    made = after(*((second, DOLLAR, TEN) for second in range(600, 600 + WINDOW_SECONDS + 60, 5)), tally=made)
    assert per_thousand(made) == 27_777
    assert len(made.minutes) <= WINDOW_SECONDS // 60


def test_the_rate_is_that_of_running_inference_pods_each_once() -> None:
    book = book_of()
    assert serving_rates(book) == {"team/chat": 3_600_000, "team/embed": 1_000_001}
    terms = replace(book.placements["team/chat-1"].terms, role="Training")
    trains = book.with_placement(replace(book.placements["team/chat-1"], terms=terms))
    assert serving_rates(trains) == {"team/embed": 1_000_001}
