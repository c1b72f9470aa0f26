"""Training runs as Jobs, against a real API server; the tests say how each pod of an attempt ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.domain.times import format_time
from modelservice.kit.errors import Conflict

from tests.cluster.conftest import FakeNodes, Runs, until
from tests.cluster.scenes import Scene, conditions, policy, staged

DIGEST = "sha256:" + "7" * 64


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    async with staged(Scene(cluster, kube, namespace, nodes, operators)) as made:
        yield made


async def jobs(scene: Scene, service: str = "net") -> list[dict[str, Any]]:
    selector = f"modelservice.dev/name={service}"
    found = (await scene.kube.list("Job", namespace=scene.namespace, label_selector=selector)).items
    return sorted(found, key=lambda job: int(job["metadata"]["labels"]["modelservice.dev/attempt"]))


async def bound(scene: Scene, attempt: int) -> dict[str, Any]:
    """The pod of an attempt once it is let go and bound."""

    async def seen() -> dict[str, Any] | None:
        for pod in await scene.pods("net", "Training"):
            number = pod["metadata"]["labels"]["modelservice.dev/attempt"]
            if number == str(attempt) and "nodeName" in pod["spec"]:
                return pod
        return None

    return await until(f"attempt {attempt} to be bound", seen, seconds=40) or {}


async def report(scene: Scene, name: str, phase: str, state: dict[str, Any], *conditions: dict[str, Any]) -> None:
    """Say of a pod what its kubelet would."""
    container = {
        "name": "main",
        "image": "i",
        "imageID": "",
        "ready": phase == "Running",
        "restartCount": 0,
        "state": state,
    }

    async def written() -> bool:
        pod = await scene.get("Pod", name)
        status = {**pod["status"], "phase": phase, "containerStatuses": [container]}
        status["conditions"] = [*status.get("conditions", ()), *conditions]
        try:
            await scene.kube.replace_status({**pod, "status": status}, manager="tests")
        except Conflict:
            return False
        return True

    await until("the status to be written", written)


async def now(scene: Scene) -> int:
    return (await scene.kube.list("Node")).date


async def run(scene: Scene, pod: dict[str, Any]) -> None:
    at = format_time(await now(scene))
    await report(scene, pod["metadata"]["name"], "Running", {"running": {"startedAt": at}})


async def end(scene: Scene, pod: dict[str, Any], code: int, message: str = "", *conditions: dict[str, Any]) -> None:
    at = format_time(await now(scene))
    state = {"terminated": {"exitCode": code, "startedAt": at, "finishedAt": at, "message": message, "reason": "Ended"}}
    await report(scene, pod["metadata"]["name"], "Succeeded" if code == 0 else "Failed", state, *conditions)


def success(pod: dict[str, Any]) -> str:
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
    artifact = {"path": env["MODELSERVICE_OUTPUT_DIR"], "digest": DIGEST, "bytes": 1234}
    return json.dumps({"version": 1, "outcome": "Succeeded", "artifact": artifact, "metrics": {"loss": "0.037"}})


async def test_a_run_is_trained_once_and_then_served(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace))
    first = await scene.operate()
    await scene.create(scene.trained("net"))
    pod = await bound(scene, 1)
    await scene.condition("net", "TrainingSucceeded", "Unknown", "Starting")
    await run(scene, pod)
    await scene.condition("net", "TrainingSucceeded", "Unknown", "Running")
    await scene.condition("net", "Ready", "False", "Running")
    await end(scene, pod, 0, success(pod))
    await scene.condition("net", "TrainingSucceeded", "True", "Succeeded")
    served = await scene.ready("net", 1)
    training = served["status"]["training"]
    assert training["metrics"] == {"loss": "0.037"}
    assert training["artifact"]["digest"] == DIGEST
    (replica,) = await scene.pods("net")
    env = {one["name"]: one.get("value") for one in replica["spec"]["containers"][0]["env"]}
    assert env["MODEL_PATH"] == f"/mnt/models/net/{training['run']}/1"
    assert training["startTime"] <= training["completionTime"]

    (job,) = await jobs(scene)
    await scene.runs.stop(first)
    await scene.kube.delete("Job", scene.namespace, job["metadata"]["name"], uid=job["metadata"]["uid"])
    await scene.operate()
    await scene.patch("ModelService", "net", "/metadata/labels", {"touched": "yes"})
    await scene.patch("ModelService", "net", "/spec/inference/minReplicas", 2)
    again = await scene.ready("net", 2)
    assert await jobs(scene) == []
    assert again["status"]["training"] == training


async def test_a_failed_attempt_is_repeated_and_the_run_fails_with_what_it_said(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.trained("net", backoff_limit=1))
    said = json.dumps({"version": 1, "outcome": "Failed", "message": "no rows in the data set"})
    await end(scene, await bound(scene, 1), 1, said)
    await end(scene, await bound(scene, 2), 1, said)
    message = await scene.condition("net", "TrainingSucceeded", "False", "Failed")
    assert "no rows in the data set" in message
    assert "2 failures" in message
    assert len(await jobs(scene)) == 2
    assert await scene.pods("net") == []
    assert (await scene.get("ModelService", "net"))["status"]["training"]["failures"] == 2


async def test_an_interrupted_and_an_evicted_attempt_do_not_count(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.trained("net", serve=False))
    await end(scene, await bound(scene, 1), 75, json.dumps({"version": 1, "outcome": "Interrupted"}))
    evicted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": ""}
    await end(scene, await bound(scene, 2), 137, "", evicted)
    pod = await bound(scene, 3)
    await end(scene, pod, 0, success(pod))
    await scene.condition("net", "TrainingSucceeded", "True", "Succeeded")
    await scene.condition("net", "Ready", "True", "TrainingFinished")
    training = (await scene.get("ModelService", "net"))["status"]["training"]
    assert (training["failures"], training["interruptions"], training["attempt"]) == (0, 2, 3)


async def test_a_job_that_is_deleted_while_it_runs_is_an_interruption(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.trained("net"))
    await run(scene, await bound(scene, 1))
    await scene.condition("net", "TrainingSucceeded", "Unknown", "Running")
    (job,) = await jobs(scene)
    await scene.kube.delete("Job", scene.namespace, job["metadata"]["name"], uid=job["metadata"]["uid"])
    await bound(scene, 2)
    assert (await scene.get("ModelService", "net"))["status"]["training"]["interruptions"] == 1


async def test_training_waits_for_money_and_starts_when_there_is_some(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace, rate="0.50"))
    await scene.operate()
    await scene.create(scene.trained("net"))
    await scene.condition("net", "BudgetAdmitted", "False", "RateLimited")
    await scene.condition("net", "TrainingSucceeded", "Unknown", "Queued")
    assert await jobs(scene) == []
    await scene.patch("BudgetPolicy", "team", "/spec/maxRatePerHour", "2.00")
    await bound(scene, 1)


async def test_a_changed_spec_is_a_new_run_and_the_old_model_is_served_until_it_ends(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.trained("net"))
    pod = await bound(scene, 1)
    await end(scene, pod, 0, success(pod))
    served = await scene.ready("net", 1)
    first = served["status"]["training"]["run"]
    await scene.patch("ModelService", "net", "/spec/training/args", ["--more"])

    async def renewed() -> dict[str, Any] | None:
        found = (await scene.get("ModelService", "net"))["status"]["training"]
        return found if found["run"] != first else None

    second = (await until("a new run", renewed) or {})["run"]
    await bound(scene, 1)
    (replica,) = await scene.pods("net")
    assert f"/{first}/1" in json.dumps(replica["spec"])
    assert conditions(await scene.get("ModelService", "net"))["Ready"]["status"] == "True"

    async def latest() -> dict[str, Any] | None:
        for one in await scene.pods("net", "Training"):
            if one["metadata"]["labels"]["modelservice.dev/run"] == second and "nodeName" in one["spec"]:
                return one
        return None

    newest = await until("the pod of the new run", latest) or {}
    await end(scene, newest, 0, success(newest))

    async def moved() -> bool:
        pods = await scene.pods("net")
        return len(pods) == 1 and f"/{second}/1" in json.dumps(pods[0]["spec"])

    await until("the new model to be served", moved, seconds=40)


async def test_a_suspended_run_stops_and_goes_on_later(scene: Scene) -> None:
    await scene.operate()
    await scene.create(scene.trained("net"))
    await run(scene, await bound(scene, 1))
    await scene.condition("net", "TrainingSucceeded", "Unknown", "Running")
    await scene.patch("ModelService", "net", "/spec/suspend", True)
    await scene.condition("net", "TrainingSucceeded", "Unknown", "Suspended")

    async def stopped() -> bool:
        return await scene.pods("net", "Training") == []

    await until("the pod to stop", stopped)
    await scene.patch("ModelService", "net", "/spec/suspend", False)
    await bound(scene, 2)
