"""What the controllers share: pods are read once for each version of them."""

from __future__ import annotations

from typing import Any

from modelservice.controllers.world import FORGETTING, World
from modelservice.kit.clock import SystemClock
from modelservice.kit.objects import Ref

AT = "2026-07-10T12:00:00Z"
UNTIL = "modelservice.dev/break-glass-until"


def made(name: str, version: int, *, gated: bool = True, labelled: bool = True, until: str = "") -> dict[str, Any]:
    labels = {
        "modelservice.dev/name": "chat",
        "modelservice.dev/role": "Inference",
        "modelservice.dev/placement": "1a2b3c4d",
    }
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": name,
            "resourceVersion": str(version),
            "creationTimestamp": AT,
            "labels": labels if labelled else {},
            "annotations": {UNTIL: until} if until else {},
        },
        "spec": {"containers": [], "schedulingGates": [{"name": "modelservice.dev/budget"}] if gated else []},
    }


def test_a_version_of_a_pod_is_read_once_and_the_next_one_anew() -> None:
    world = World(SystemClock())
    (first,) = world.read([made("a", 1)])
    (again,) = world.read([made("a", 1)])
    (later,) = world.read([made("a", 2, gated=False)])
    assert again is first
    assert (first.gated, later.gated) == (True, False)
    assert list(world.read([made("b", 3, labelled=False)])) == []


def test_pods_that_are_gone_are_forgotten_some_time() -> None:
    world = World(SystemClock())
    for number in range(3 * FORGETTING):
        pod = made(f"pod-{number}", number + 1)
        world.caches.pods.observe(pod)
        assert world.pods().keys() == {f"pod-{number}"}
        world.caches.pods.bury(Ref("ns", f"pod-{number}"), number + 1)
    assert len(world._seen) < 2 * FORGETTING


def test_pods_of_break_glass_are_found_without_looking_at_the_others() -> None:
    world = World(SystemClock())
    world.caches.pods.observe(made("a", 1))
    world.caches.pods.observe(made("b", 2, until=AT))
    assert [pod.name for pod in world.spared()] == ["b"]
    world.caches.pods.observe(made("b", 3))
    assert world.spared() == []
