import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from modelservice.kit.clock import SystemClock
from modelservice.kit.errors import NotFound, Unavailable
from modelservice.kit.recorder import EventLimits, Recorder
from modelservice.ports import Answer

from tests.unit.kit.meters import Tally
from tests.unit.kit.objects import make

pytestmark = pytest.mark.looptime(start=0)


@dataclass
class Paper:
    """What was written: created Events by name, and the count of requests."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    down: bool = False

    async def create(self, obj: dict[str, Any], *, manager: str) -> Answer:
        self._ask()
        assert obj["metadata"]["name"] not in self.events
        self.events[obj["metadata"]["name"]] = obj
        return Answer(obj, 0)

    async def patch_json(
        self, kind: str, namespace: str, name: str, operations: Sequence[Mapping[str, Any]], *, manager: str
    ) -> Answer:
        self._ask()
        if name not in self.events:
            raise NotFound("gone", status=404)
        for operation in operations:
            assert operation["op"] == "replace"
            self.events[name][operation["path"].removeprefix("/")] = operation["value"]
        return Answer(self.events[name], 0)

    def _ask(self) -> None:
        self.requests += 1
        if self.down:
            raise Unavailable("refused")

    def said(self) -> list[tuple[str, str, int]]:
        return [(event["reason"], event["message"], event["count"]) for event in self.events.values()]


@dataclass
class Desk:
    paper: Paper = field(default_factory=Paper)
    meter: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.recorder = Recorder(
            self.paper,
            clock=SystemClock(),
            component="modelservice",
            instance="one",
            meter=self.meter,
            limits=EventLimits(window=120, rate=0.1, burst=5, remembered=100),
        )

    async def emit(self, reason: str, message: str, *, name: str = "a") -> None:
        self.recorder.emit(make(name, 1), reason=reason, message=message)
        await self.recorder.drain()


async def test_an_event_says_about_what_why_and_who() -> None:
    desk = Desk()
    desk.recorder.emit(make("a", 1), reason="Scaled", message="From 1 to 3 replicas.", warning=True)
    await desk.recorder.drain()
    (event,) = desk.paper.events.values()
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Thing",
        "name": "a",
        "namespace": "ns",
        "uid": "uid-a",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Scaled", "From 1 to 3 replicas.")
    assert event["reportingComponent"] == "modelservice"
    assert event["metadata"]["namespace"] == "ns"


async def test_the_same_thing_said_again_within_two_minutes_is_only_counted() -> None:
    desk = Desk()
    for _ in range(100):
        await desk.emit("Scaled", "From 1 to 3 replicas.")
        await asyncio.sleep(1)
    assert desk.paper.requests == 1
    await asyncio.sleep(30)
    await desk.emit("Scaled", "From 1 to 3 replicas.")
    assert desk.paper.said() == [("Scaled", "From 1 to 3 replicas.", 101)]
    assert desk.paper.requests == 2


async def test_another_message_of_the_same_reason_updates_the_event_at_once() -> None:
    desk = Desk()
    await desk.emit("Refused", "Needs 2 USD, has 1 USD.")
    await desk.emit("Refused", "Needs 3 USD, has 1 USD.")
    assert desk.paper.said() == [("Refused", "Needs 3 USD, has 1 USD.", 2)]


async def test_another_reason_or_object_is_another_event() -> None:
    desk = Desk()
    await desk.emit("Refused", "x")
    await desk.emit("Scaled", "x")
    await desk.emit("Scaled", "x", name="b")
    assert len(desk.paper.events) == 3


async def test_an_object_that_talks_without_end_is_cut_off_and_others_are_heard() -> None:
    desk = Desk()
    for number in range(50):
        await desk.emit("Flaps", f"Change {number}.")
    assert desk.paper.requests == 5
    assert desk.meter.counts["events_dropped_total",] == 45
    await desk.emit("Scaled", "x", name="b")
    assert len(desk.paper.events) == 2


async def test_an_event_that_the_server_has_forgotten_is_made_again() -> None:
    desk = Desk()
    await desk.emit("Scaled", "x")
    desk.paper.events.clear()
    await asyncio.sleep(4000)
    await desk.emit("Scaled", "x")
    assert desk.paper.said() == [("Scaled", "x", 2)]


async def test_an_outage_loses_events_and_nothing_else() -> None:
    desk = Desk()
    desk.paper.down = True
    running = asyncio.create_task(desk.recorder.run())
    desk.recorder.emit(make("a", 1), reason="Scaled", message="x")
    await asyncio.sleep(1)
    assert desk.meter.counts["events_dropped_total",] == 1
    desk.paper.down = False
    desk.recorder.emit(make("a", 1), reason="Scaled", message="x")
    await asyncio.sleep(1)
    assert desk.paper.said() == [("Scaled", "x", 2)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_long_message_is_cut_to_what_the_server_takes() -> None:
    desk = Desk()
    await desk.emit("Failed", "x" * 5000)
    ((_, message, _),) = desk.paper.said()
    assert len(message) == 1024
    assert message.endswith("…")


async def test_memory_for_events_is_bounded() -> None:
    desk = Desk()
    for number in range(500):
        await desk.emit("Scaled", "x", name=f"n{number}")
    assert len(desk.recorder._series) == 100
    assert len(desk.recorder._buckets) == 100
