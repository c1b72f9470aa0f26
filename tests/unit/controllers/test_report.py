"""When a figure that grows with time is worth another write."""

from __future__ import annotations

import pytest
from modelservice.controllers.report import moved

NOON = 1_783_684_800
AT = "2026-07-10T12:00:00Z"


@pytest.mark.parametrize(
    ("before", "spent", "age", "worth"),
    [
        (None, 0, 0, True),
        ("1.00", 1_000_000, 3600, False),
        ("1.00", 1_020_000, 59, False),
        ("1.00", 1_020_000, 60, True),
        ("1.00", 1_009_999, 3600, False),
        ("1.00", 1_010_000, 3600, True),
        ("1.00", 900_000, 60, True),
        ("0.00", 1, 60, True),
    ],
)
def test_spent_is_written_at_one_percent_and_at_most_once_a_minute(
    before: str | None, spent: int, age: int, worth: object
) -> None:
    assert moved(before, spent, AT, NOON + age) is worth
