"""How the planner parks and wakes a service with minReplicas 0, and what it waits for meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from modelservice.controllers.bookkeeper import Bookkeeper
from modelservice.controllers.planning import Planner
from modelservice.controllers.pricetables import PriceTables
from modelservice.controllers.world import World
from modelservice.domain.book import Book
from modelservice.domain.planner import Plan
from modelservice.domain.specs import ServiceName
from modelservice.kit.debounce import Debounce
from modelservice.kit.meter import NoMeter
from modelservice.ports import Sample

NAME = ServiceName("ns", "chat")
BEGIN = 1_783_684_800
IDLE = 60
WAKE = "modelservice.dev/wake-requested-at"
Object = dict[str, Any]


def at(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"2026-07-10T12:{minutes:02}:{rest:02}Z"


def named(kind: str, name: str, namespace: str = "", **more: Any) -> Object:
    meta = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1", **more.pop("meta", {})}
    return {"kind": kind, "metadata": meta, **more}


def service(version: int = 1, *, asked: str = "", status: Object | None = None, idle: int = IDLE) -> Object:
    inference = {
        "runtime": "engine",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "minReplicas": 0,
        "maxReplicas": 3,
        "scaling": {"scaleTarget": 10, "scaleToZero": {"idleSeconds": idle}},
    }
    meta = {
        "resourceVersion": str(version),
        "generation": 1,
        "labels": {},
        "annotations": {WAKE: asked} if asked else {},
    }
    spec = {"model": {"storageUri": "pvc://models/chat"}, "inference": inference}
    made = named("ModelService", "chat", "ns", meta=meta, spec=spec, status=status or {})
    return {"apiVersion": "modelservice.dev/v1alpha1", **made}


def pod(name: str, *, born: int = -600, ready: bool = True, version: int = 1) -> Object:
    labels = {
        "modelservice.dev/name": "chat",
        "modelservice.dev/role": "Inference",
        "modelservice.dev/placement": "1a2b3c4d",
    }
    meta = {"creationTimestamp": before(born), "labels": labels, "resourceVersion": str(version)}
    status: Object = {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": before(born)}}}]}
    if ready:
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": before(born)}]
    return named("Pod", name, "ns", meta=meta, spec={"containers": [], "nodeName": "n"}, status=status)


def before(seconds: int) -> str:
    minutes, rest = divmod(3600 + seconds, 60)
    return f"2026-07-10T11:{minutes:02}:{rest:02}Z" if seconds < 0 else at(seconds)


@dataclass
class Clock:
    """A clock that the test sets; seconds since the beginning."""

    passed: float = 0.0

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return BEGIN + self.passed

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps here")


@dataclass
class Metrics:
    """Answers as Prometheus would for one engine; `mute` makes it wait."""

    clock: Clock
    running: float = 0.0
    served: float = 5.0
    up: float = 1.0
    mute: asyncio.Event | None = None

    async def query(self, promql: str) -> Sequence[Sample]:
        if self.mute is not None:
            await self.mute.wait()
        now = self.clock.wall()
        values = {
            "timestamp(": now - 2,
            "up{": self.up,
            "r_running": self.running,
            "irate(": 0.0,
            "r_total": self.served,
        }
        value = next((value for part, value in values.items() if part in promql), 0.0)
        return [Sample({"namespace": "ns", "pod": "a"}, value, now)]


class Settled:
    """A bookkeeper that has nothing to write."""

    async def settle(self, plan: Plan | None, policies: object) -> bool:
        return False


class NoTables:
    async def refresh(self) -> None:
        return


@dataclass
class Scene:
    clock: Clock
    world: World
    metrics: Metrics
    planner: Planner
    woken: list[ServiceName] = field(default_factory=list)

    async def look(self, *seconds: float) -> int:
        """Plan at these times; returns how many replicas are wanted at the last."""
        for passed in seconds:
            self.clock.passed = passed
            await self.planner.step()
        return self.world.plan.services[NAME].desired

    async def every_tick(self, begin: int, end: int) -> int:
        return await self.look(*range(begin, end + 1, 5))


@pytest.fixture
def scene() -> Scene:
    clock = Clock()
    world = World(clock, book=Book(time=BEGIN))
    world.caches.claims.observe(named("PersistentVolumeClaim", "models", "ns"))
    world.caches.namespaces.observe(named("Namespace", "ns"))
    series = {"requestsRunning": ["r_running"], "requestsWaiting": ["r_waiting"], "requestsTotal": ["r_total"]}
    engine = {"role": "Inference", "accelerators": [{"type": "CPU", "image": "engine:1"}], "metrics": series}
    pool = {
        "currency": "USD",
        "accelerator": {"type": "CPU"},
        "node": {"cpu": "4", "memory": "16Gi"},
        "nodeSelector": {"pool": "cpu"},
        "purchaseOptions": [{"type": "OnDemand", "perNodeHour": "4.00"}],
        "startSeconds": 30,
    }
    api = {"apiVersion": "modelservice.dev/v1alpha1"}
    world.caches.runtimes.observe({**api, **named("ModelRuntime", "engine", spec=engine)})
    world.caches.pools.observe({**api, **named("ComputePool", "cpu", spec=pool)})
    world.caches.services.observe(service())
    metrics = Metrics(clock)
    woken: list[ServiceName] = []
    planner = Planner(
        world,
        cast("Bookkeeper", Settled()),
        cast("PriceTables", NoTables()),
        metrics,
        NoMeter(),
        Debounce(),
        5.0,
        woken.append,
        lambda: None,
    )
    return Scene(clock, world, metrics, planner, woken)


async def test_a_new_service_starts_one_replica_and_is_parked_only_after_that_was_idle(scene: Scene) -> None:
    assert await scene.every_tick(0, 1000) == 1
    scene.world.caches.pods.observe(pod("a", born=1000))
    assert await scene.every_tick(1005, 1060) == 1
    assert await scene.look(1065) == 0
    assert scene.world.rests[NAME].parked_at == BEGIN + 1065


async def test_a_service_that_answers_a_request_now_and_then_is_not_parked(scene: Scene) -> None:
    scene.world.caches.pods.observe(pod("a"))
    for begin in range(0, 300, 50):
        assert await scene.every_tick(begin, begin + 45) == 1
        scene.metrics.served += 1


@pytest.mark.parametrize("unknown", ["up", "running"])
async def test_metrics_that_are_not_known_hold_the_replica(scene: Scene, unknown: str) -> None:
    scene.world.caches.pods.observe(pod("a"))
    setattr(scene.metrics, unknown, 0.0 if unknown == "up" else float("nan"))
    assert await scene.every_tick(0, 500) == 1


async def test_neither_a_replica_on_its_way_to_a_node_nor_one_younger_than_a_start_is_parked(scene: Scene) -> None:
    scene.world.caches.pods.observe(pod("a"))
    scene.world.caches.pods.observe(pod("b", born=0, ready=False))
    assert await scene.every_tick(0, 200) == 1
    scene.world.caches.pods.observe(pod("b", born=0, version=2), deleted=True)
    scene.world.caches.pods.observe(pod("a", born=200, version=3))
    assert await scene.every_tick(205, 225) == 1
    assert await scene.look(230) == 0


async def test_a_wake_request_is_taken_in_at_once_though_prometheus_does_not_answer(scene: Scene) -> None:
    scene.world.caches.pods.observe(pod("a"))
    assert await scene.every_tick(0, 100) == 0
    scene.world.caches.pods.observe(pod("a", version=9), deleted=True)
    scene.metrics.mute = asyncio.Event()
    step = asyncio.create_task(scene.look(120))
    await asyncio.sleep(0)
    assert not step.done()
    asked = service(2, asked=at(120))
    scene.world.caches.services.observe(asked)
    assert scene.world.asked_for(asked)
    scene.planner.debounce.trigger(at_once=True)
    assert await step == 1
    assert not scene.world.asked_for(asked)
    assert scene.woken[-1] == NAME
    assert scene.world.rests[NAME].woken_at == BEGIN + 120
    scene.metrics.mute.set()
    assert await scene.every_tick(125, 600) == 1
    scene.world.caches.pods.observe(pod("a", born=600, version=10))
    assert await scene.every_tick(605, 660) == 1
    assert await scene.look(665) == 0


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2026-07-10T12:00:01", "2199-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]
)
async def test_a_wake_request_without_a_time_that_can_be_meant_wakes_nothing(scene: Scene, value: str) -> None:
    scene.world.caches.pods.observe(pod("a"))
    assert await scene.every_tick(0, 100) == 0
    scene.world.caches.services.observe(service(2, asked=value))
    assert await scene.every_tick(105, 200) == 0


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"desiredReplicas": 0, "scaleToZero": {"parkedAt": before(-100)}}, 1),
        ({"desiredReplicas": 0, "scaleToZero": {"parkedAt": before(-100), "wakeRequestedAt": before(-50)}}, 0),
        ({"desiredReplicas": 0, "scaleToZero": {"parkedAt": before(-100), "wakeRequestedAt": before(-500)}}, 1),
        ({"desiredReplicas": 0, "scaleToZero": {"parkedAt": at(70)}}, 0),
        ({"desiredReplicas": 2, "scaleToZero": {"wokenAt": before(-40), "wakeRequestedAt": before(-50)}}, 2),
        ({"desiredReplicas": 0}, 1),
    ],
)
async def test_an_operator_that_starts_goes_on_from_what_the_status_says(
    scene: Scene, told: Object, wanted: int
) -> None:
    scene.world.caches.services.observe(service(2, asked=before(-50), status=told))
    assert await scene.look(0) == wanted


async def test_a_parking_is_forgotten_once_a_replica_is_wanted_always(scene: Scene) -> None:
    scene.world.caches.pods.observe(pod("a"))
    assert await scene.every_tick(0, 100) == 0
    always = service(2)
    always["spec"]["inference"]["minReplicas"] = 1
    scene.world.caches.services.observe(always)
    assert await scene.look(105) == 1
    scene.world.caches.services.observe(service(3))
    assert await scene.every_tick(110, 165) == 1
    assert await scene.look(170) == 0


async def test_only_the_gate_of_the_first_pod_of_a_woken_service_is_hurried(scene: Scene) -> None:
    gated = pod("a", ready=False)
    gated["spec"]["schedulingGates"] = [{"name": "modelservice.dev/budget"}]
    await scene.look(0)
    assert not scene.world.at_an_awaited_gate(gated)
    status = {"scaleToZero": {"parkedAt": before(-100)}}
    scene.world.rests.clear()
    scene.world.caches.services.observe(service(2, asked=before(-5), status=status))
    assert await scene.look(5) == 1
    assert scene.world.at_an_awaited_gate(gated)
    assert not scene.world.at_an_awaited_gate(pod("a", ready=False))
    scene.world.caches.pods.observe(pod("b"))
    assert not scene.world.at_an_awaited_gate(gated)
