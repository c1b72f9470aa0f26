"""A service from its manifest to ready replicas, and what stands in the way, against a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube

from tests.cluster.conftest import FakeNodes, Runs, until
from tests.cluster.scenes import Scene, conditions, staged


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
