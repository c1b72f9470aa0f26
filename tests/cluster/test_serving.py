"""A service from its manifest to ready replicas, and what stands in the way, against a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.cli.ungate import ungate
from modelservice.kit.errors import Conflict

from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.scenes import Scene, claim, conditions, policy, pool, staged


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    async with staged(Scene(cluster, kube, namespace, nodes, operators)) as made:
        yield made


async def test_a_service_without_a_budget_becomes_ready_and_says_where_it_runs(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    served = await scene.ready("chat", 2)
    assert served["status"]["resolved"]["pool"] == scene.pool
    assert served["status"]["url"] == f"http://chat.{scene.namespace}"
    await scene.condition("chat", "Ready", "True", "Serving")
    assert conditions(await scene.get("ModelService", "chat"))["BudgetAdmitted"]["reason"] == "NoBudget"
    (child,) = await scene.deployments("chat")
    assert child["spec"]["replicas"] == 2
    address = await scene.get("Service", "chat")
    assert address["spec"]["selector"] == {"modelservice.dev/name": "chat", "modelservice.dev/role": "Inference"}


async def test_the_cheapest_pool_that_fits_is_chosen_and_kept(scene: Scene) -> None:
    cheap = f"{scene.namespace}-cheap"
    await scene.create(pool(cheap, price="1.00", node={"cpu": "500m", "memory": "16Gi"}))
    await scene.operate()
    pools = {"placement": {"pools": [scene.pool, cheap]}}
    await scene.create(scene.service("chat", inference=pools))
    assert (await scene.ready("chat", 1))["status"]["resolved"]["pool"] == scene.pool
    found = await scene.kube.get("ComputePool", "", cheap)
    await scene.kube.patch_json(
        "ComputePool", "", cheap, [{"op": "add", "path": "/spec/node/cpu", "value": "8"}], manager="tests"
    )
    assert found.object["spec"]["node"]["cpu"] == "500m"
    message = await scene.condition("chat", "HardwareSelected", "True", "PoolSelected")

    async def compared() -> bool:
        seen = conditions(await scene.get("ModelService", "chat"))["HardwareSelected"]["message"]
        return cheap in seen and seen != message

    await until("the cheaper pool to be named", compared)
    assert (await scene.ready("chat", 1))["status"]["resolved"]["pool"] == scene.pool


async def downloaded(scene: Scene, name: str, commit: str) -> None:
    """Say of a pod that its download has ended, as its kubelet would."""
    artifact = {"path": "hf://org/tiny", "digest": f"sha256:{'1' * 64}", "bytes": 7, "revision": commit}
    said = json.dumps({"version": 1, "outcome": "Succeeded", "artifact": artifact})
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
    ended = {"exitCode": 0, "reason": "Completed", "message": said, **times}
    fetch = {"name": "fetch", "image": "w", "imageID": "", "ready": True, "restartCount": 0}
    statuses = [{**fetch, "state": {"terminated": ended}}]

    async def written() -> bool:
        pod = await scene.get("Pod", name)
        status = {**pod["status"], "initContainerStatuses": statuses}
        try:
            await scene.kube.replace_status({**pod, "status": status}, manager="tests")
        except Conflict:
            return False
        return True

    await until("the status to be written", written)


async def test_one_replica_finds_out_what_is_downloaded_and_the_others_start_with_that(scene: Scene) -> None:
    await scene.operate()
    model = {"storageUri": "hf://org/tiny", "secretRef": {"name": "hub"}}
    await scene.create(scene.service("chat", model=model, inference={"minReplicas": 3}))
    await scene.condition("chat", "Progressing", "False", "RolloutComplete")
    await scene.condition("chat", "ArtifactReady", "Unknown", "NotDownloaded")
    ((first,), (child,)) = await scene.pods("chat"), await scene.deployments("chat")
    assert child["spec"]["replicas"] == 1
    await downloaded(scene, first["metadata"]["name"], "a" * 40)
    model = (await scene.ready("chat", 3))["status"]["model"]
    assert (model["revision"], model["bytes"]) == ("a" * 40, 7)
    assert "a" * 40 in await scene.condition("chat", "ArtifactReady", "True", "Resolved")
    kept = {
        pod["metadata"]["uid"]: pod["metadata"]["annotations"].get("modelservice.dev/model-revision")
        for pod in await scene.pods("chat")
    }
    assert kept.pop(first["metadata"]["uid"]) is None, "the first pod goes on as it is"
    assert list(kept.values()) == ["a" * 40] * 2
    (after,) = await scene.deployments("chat")
    assert after["spec"]["template"] == child["spec"]["template"]
    await ungate(scene.kube, scene.namespace, first["metadata"]["name"], "2200-01-01T00:00:00Z", "by hand")
    by_hand = (await scene.get("Pod", first["metadata"]["name"]))["metadata"]["annotations"]
    assert by_hand["modelservice.dev/model-revision"] == "a" * 40


async def test_what_fits_nowhere_says_so_for_each_pool(scene: Scene) -> None:
    await scene.operate()
    big = {"resources": {"requests": {"cpu": "64", "memory": "1Gi"}}}
    await scene.create(scene.service("chat", inference=big))
    message = await scene.condition("chat", "HardwareSelected", "False", "NoPoolFits")
    assert f"{scene.pool} offers 4 cpu on a node and the pod asks for 64" in message


async def test_an_unknown_runtime_names_those_that_exist(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.service("chat", inference={"runtime": "nobody"}))
    message = await scene.condition("chat", "HardwareSelected", "False", "RuntimeNotFound")
    assert "no ModelRuntime nobody" in message
    assert scene.engine in message
    await scene.create(scene.service("other", inference={"runtime": f"{scene.engine}-train"}))
    await scene.condition("other", "HardwareSelected", "False", "RuntimeUnsuitable")


async def test_a_missing_claim_is_named_before_anything_starts_and_its_arrival_is_enough(scene: Scene) -> None:
    await scene.operate()
    given = scene.service("chat")
    given["spec"]["model"]["storageUri"] = "pvc://later/m"
    await scene.create(given)
    assert "PersistentVolumeClaim later" in await scene.condition("chat", "ArtifactReady", "False", "ClaimNotFound")
    assert await scene.pods("chat") == []
    await scene.create(claim("later", scene.namespace))

    async def started() -> bool:
        return bool(await scene.pods("chat"))

    await until("a pod once the claim is there", started)


async def test_a_name_that_belongs_to_somebody_else_is_left_alone(scene: Scene) -> None:
    foreign = manifest("v1", "Service", "chat", scene.namespace, spec={"ports": [{"port": 1234}]})
    await scene.create(foreign)
    await scene.operate()
    await scene.create(scene.service("chat"))
    message = await scene.condition("chat", "Available", "False", "NameConflict")
    assert "Service chat" in message
    assert (await scene.get("Service", "chat"))["spec"]["ports"][0]["port"] == 1234


async def test_a_new_revision_takes_over_only_when_it_is_ready(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    await scene.ready("chat", 2)
    (old,) = await scene.deployments("chat")
    fewest = 99

    async def watch() -> None:
        nonlocal fewest
        while True:
            ready = sum(
                any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))
                for pod in await scene.pods("chat")
            )
            fewest = min(fewest, ready)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    await scene.patch("ModelService", "chat", "/spec/inference/image", "engine:2")

    async def replaced() -> bool:
        found = await scene.deployments("chat")
        return len(found) == 1 and found[0]["metadata"]["uid"] != old["metadata"]["uid"]

    await until("the new Deployment alone", replaced)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert fewest == 2
    (pod, _) = await scene.pods("chat")
    assert pod["spec"]["containers"][0]["image"] == "engine:2"
    await scene.condition("chat", "Progressing", "False", "RolloutComplete")


async def test_a_suspended_service_stops_and_comes_back(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    await scene.patch("ModelService", "chat", "/spec/suspend", True)
    await scene.condition("chat", "Ready", "False", "Suspended")
    await scene.ready("chat", 0)
    await scene.patch("ModelService", "chat", "/spec/suspend", False)
    await scene.ready("chat", 1)


async def test_pods_that_find_no_node_say_what_the_scheduler_says(scene: Scene) -> None:
    nowhere = f"{scene.namespace}-nowhere"
    await scene.create(pool(nowhere, startSeconds=3600))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"placement": {"pools": [nowhere]}}))
    message = await scene.condition("chat", "Available", "False", "PodsPending")
    assert "nodes are available" in message
    seen = (await scene.kube.get("ComputePool", "", nowhere)).object
    assert conditions(seen)["Ready"]["reason"] == "NoMatchingNodes"


async def test_at_rest_nothing_is_written(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    await scene.condition("chat", "Ready", "True", "Serving")
    await scene.condition("chat", "Progressing", "False", "RolloutComplete")

    async def versions() -> list[str]:
        found = [await scene.get("ModelService", "chat"), *await scene.deployments("chat")]
        found += [await scene.get("BudgetLedger", "open"), await scene.get("Service", "chat")]
        return [one["metadata"]["resourceVersion"] for one in found]

    async def still() -> bool:
        before = await versions()
        await asyncio.sleep(4)  # eight ticks
        return await versions() == before

    await until("nothing to be written for eight ticks", still)


async def test_an_operator_that_starts_again_writes_nothing_and_restarts_no_pod(scene: Scene) -> None:
    first = await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    await scene.condition("chat", "Progressing", "False", "RolloutComplete")
    before = [pod["metadata"]["uid"] for pod in await scene.pods("chat")]
    (child,) = await scene.deployments("chat")
    await scene.runs.stop(first)
    await scene.operate()
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 2)
    await scene.ready("chat", 2)
    assert set(before) < {pod["metadata"]["uid"] for pod in await scene.pods("chat")}
    (same,) = await scene.deployments("chat")
    assert same["metadata"]["uid"] == child["metadata"]["uid"]
    assert same["spec"]["template"] == child["spec"]["template"]


async def test_a_deleted_service_takes_its_pods_along_and_its_money_comes_back(scene: Scene) -> None:
    await scene.operate()
    await scene.create(policy("team", scene.namespace))
    made = await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    await scene.kube.delete("ModelService", scene.namespace, "chat", uid=made["metadata"]["uid"])

    async def closed() -> bool:
        book = await scene.book()
        return not any(placement.units for placement in book.placements.values())

    await until("the unit to be closed", closed, seconds=60)
    account = (await scene.book()).accounts[0]
    assert account.closed + account.adjustments > 0
