"""When the process of the fuse calls itself stuck or blind, by a clock of the test; what its Lease tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from modelservice.controllers.fuse import STUCK_SECONDS, Fuse
from modelservice.controllers.safeguards import SPARED, recorded, watch_of
from modelservice.domain.guarantee import GAP_SECONDS, Watch
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


def test_the_lease_tells_of_a_watch_and_of_the_pods_that_were_spared_and_keeps_what_others_wrote_on_it() -> None:
    lease: dict[str, Any] = {"metadata": {"name": "modelservice-fuse", "annotations": {"team": "a"}}}
    for watch in (Watch(900, 1000, {"b": 950, "a": 1000}), Watch(900, 1010)):
        lease = recorded(lease, watch, "fuse-0")
        assert watch_of(lease) == watch
        assert lease["metadata"]["annotations"] == {"team": "a"} | (
            {SPARED: '{"a":1000,"b":950}'} if watch.spared else {}
        )


@pytest.mark.parametrize("note", ["a", "[]", '{"a": null}', '{"a": "x"}'])
def test_a_lease_whose_note_of_spared_pods_cannot_be_read_tells_of_no_watch(note: str) -> None:
    lease = recorded({"metadata": {"name": "modelservice-fuse"}}, Watch(900, 1000), "fuse-0")
    lease["metadata"]["annotations"] = {SPARED: note}
    assert watch_of(lease) is None
