"""One revision takes over from another, with a real API server: beside it, after it, not at all, and back again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube

from tests.cluster.conftest import FakeNodes, Runs, until
from tests.cluster.scenes import Scene, conditions, policy, staged

IMAGE = "/spec/inference/image"
REVISION = "modelservice.dev/revision"
UNDO = "modelservice.dev/rollout-undo"


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    async with staged(Scene(cluster, kube, namespace, nodes, operators)) as made:
        yield made


class Fewest:
    """The fewest ready replicas of a service that were seen at any time."""

    def __init__(self, scene: Scene, service: str, image: str = "") -> None:
        self.seen = 99
        self._read = asyncio.create_task(self._watch(scene, service, image))

    async def _watch(self, scene: Scene, service: str, image: str) -> None:
        while True:
            pods = [pod for pod in await scene.pods(service) if image in pod["spec"]["containers"][0]["image"]]
            self.seen = min(self.seen, sum(is_ready(pod) for pod in pods))
            await asyncio.sleep(0.05)

    async def stop(self) -> int:
        self._read.cancel()
        await asyncio.gather(self._read, return_exceptions=True)
        return self.seen


def is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def rows(service: dict[str, Any]) -> dict[str, str]:
    """Stage by image of the revisions that a service remembers."""
    return {row["image"]: row["stage"] for row in (service.get("status") or {}).get("revisions", ())}


async def told(scene: Scene, what: str, holds: Callable[[dict[str, Any]], bool], *, seconds: float = 60) -> Any:
    """Wait until the service says so; returns it."""

    async def seen() -> Any:
        found = await scene.get("ModelService", "chat")
        return found if holds(found) else None

    return await until(what, seen, seconds=seconds)


async def serving(scene: Scene, image: str) -> Any:
    """Wait until a revision with that image serves alone."""

    def alone(service: dict[str, Any]) -> bool:
        status = service.get("status") or {}
        return rows(service).get(image) == "Serving" and status["readyReplicas"] == status["replicas"] == 2

    return await told(scene, f"{image} to serve", alone)


async def test_a_broken_revision_gets_no_request_a_newer_edit_replaces_it_and_undo_goes_back_to_what_served(
    scene: Scene,
) -> None:
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    first = await serving(scene, "engine:1")
    (old,) = await scene.deployments("chat")
    fewest = Fewest(scene, "chat", "engine:")

    await scene.patch("ModelService", "chat", IMAGE, "engine:broken")
    message = await scene.condition("chat", "Progressing", "False", "RolloutFailed")
    assert "exit code 3" in message
    assert first["status"]["resolved"]["revision"] in message
    assert conditions(await scene.get("ModelService", "chat"))["Ready"]["status"] == "True"
    address = await scene.get("Service", "chat")
    assert address["spec"]["selector"][REVISION] == first["status"]["resolved"]["revision"]

    async def one_tries() -> bool:
        tries = [pod for pod in await scene.pods("chat") if "broken" in pod["spec"]["containers"][0]["image"]]
        return len(tries) == 1

    await until("a single broken replica", one_tries)

    await scene.patch("ModelService", "chat", IMAGE, "engine:2")
    second = await serving(scene, "engine:2")
    assert rows(second) == {"engine:2": "Serving", "engine:1": "Retired"}
    assert await fewest.stop() == 2

    async def kept() -> bool:
        found = {one["metadata"]["name"]: one["spec"]["replicas"] for one in await scene.deployments("chat")}
        return len(found) == 2 and found[old["metadata"]["name"]] == 0

    await until("the broken Deployment to go and the old one to be kept empty", kept)
    await scene.condition("chat", "Progressing", "False", "RolloutComplete")

    own, back = (one["status"]["resolved"]["revision"] for one in (second, first))
    await scene.patch(
        "ModelService", "chat", "/metadata/annotations", {"modelservice.dev/rollout-undo": f"{own}/{back}"}
    )
    await serving(scene, "engine:1")
    assert back in await scene.condition("chat", "Progressing", "False", "Undone")
    assert {pod["spec"]["containers"][0]["image"] for pod in await scene.pods("chat")} == {"engine:1"}
    assert old["metadata"]["uid"] in {one["metadata"]["uid"] for one in await scene.deployments("chat")}

    await scene.patch("ModelService", "chat", IMAGE, "engine:1")
    pods = {pod["metadata"]["uid"] for pod in await scene.pods("chat")}
    await scene.condition("chat", "Progressing", "False", "RolloutComplete")
    assert {pod["metadata"]["uid"] for pod in await scene.pods("chat")} == pods


async def test_without_money_for_both_wait_keeps_the_old_replicas_and_recreate_takes_them_away_first(
    scene: Scene,
) -> None:
    await scene.create(policy("team", scene.namespace, rate="3.00"))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2, "rollout": {"strategy": "Wait"}}))
    await serving(scene, "engine:1")
    await scene.patch("ModelService", "chat", IMAGE, "engine:2")
    message = await scene.condition("chat", "Progressing", "True", "WaitingForMoney")
    assert "one more needs 1.00 USD an hour" in message
    assert f"{scene.namespace}/team has 0.00 USD" in message or f"{scene.namespace}/team has 1.00 USD" in message
    assert {pod["spec"]["containers"][0]["image"] for pod in await scene.pods("chat")} == {"engine:1"}

    await scene.patch("ModelService", "chat", "/spec/inference/rollout/strategy", "Recreate")
    both = 0

    async def replaced() -> bool:
        nonlocal both
        images = {pod["spec"]["containers"][0]["image"] for pod in await scene.pods("chat")}
        both = max(both, len(images))
        return images == {"engine:2"}

    await until("only new pods", replaced, seconds=60)
    await serving(scene, "engine:2")
    assert both == 1


async def test_a_canary_without_a_gateway_gets_no_share_says_so_and_is_promoted_by_hand(scene: Scene) -> None:
    await scene.operate()
    canary = {"canary": {"stepPercent": 50, "stepPeriodSeconds": 10}}
    await scene.create(scene.service("chat", inference={"minReplicas": 2, "rollout": canary}))
    first = await serving(scene, "engine:1")
    await scene.patch("ModelService", "chat", IMAGE, "engine:2")
    assert "through the gateway" in await scene.condition("chat", "Progressing", "True", "CanaryHeld")
    held = await scene.get("ModelService", "chat")
    assert held["status"]["canary"]["percent"] == 0
    own = held["status"]["canary"]["revision"]
    images = sorted(pod["spec"]["containers"][0]["image"] for pod in await scene.pods("chat"))
    assert images == ["engine:1", "engine:1", "engine:2"]
    assert (await scene.get("Service", "chat-canary"))["spec"]["selector"][REVISION] == own
    stable = (await scene.get("Service", "chat"))["spec"]["selector"][REVISION]
    assert stable == first["status"]["resolved"]["revision"] != own

    await scene.patch("ModelService", "chat", "/metadata/annotations", {"modelservice.dev/rollout-promote": own})
    promoted = await serving(scene, "engine:2")
    assert "canary" not in promoted["status"]

    async def without() -> bool:
        services = await scene.kube.list("Service", namespace=scene.namespace)
        return {one["metadata"]["name"] for one in services.items} == {"chat"}

    await until("the Service of the canary to go", without)
