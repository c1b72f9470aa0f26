"""When the process of the fuse calls itself stuck or blind, by a clock of the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from modelservice.controllers.fuse import STUCK_SECONDS, Fuse
from modelservice.domain.guarantee import GAP_SECONDS
from modelservice.kit.meter import NoMeter


@dataclass
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def fuse(now: float) -> Fuse:
    return Fuse(cast("Any", None), Clock(now), NoMeter(), "system", "fuse-0", 10.0)


@pytest.mark.parametrize(("age", "problems"), [(STUCK_SECONDS, 0), (STUCK_SECONDS + 1, 1)])
def test_a_look_that_does_not_end_is_named(age: float, problems: int) -> None:
    made = fuse(1000 + age)
    assert made.stuck() == []
    made._ended_at = 1000
    assert made.stuck() == [f"No look has ended for {age:.0f} s."] * problems


@pytest.mark.parametrize(("age", "said"), [(GAP_SECONDS, []), (GAP_SECONDS + 1, ["the book is damaged"])])
def test_the_fuse_is_blind_once_the_last_complete_look_is_too_old(age: float, said: list[str]) -> None:
    made = fuse(1000 + age)
    assert made.blind() == ["No look has ended yet."]
    made._complete_at, made.problem = 1000, "the book is damaged"
    assert made.blind() == said
