"""The pretended nodes that other tests stand on: pods are scheduled on them by the real scheduler and become ready."""

from __future__ import annotations

from typing import Any

from modelservice.adapters.kube import Kube

from tests.cluster.conftest import FakeNodes, manifest, until


async def test_a_pod_runs_on_the_node_that_has_its_device_and_whose_taint_it_tolerates(
    kube: Kube, namespace: str, nodes: FakeNodes
) -> None:
    taint = {"key": "example.com/pool", "value": "l4", "effect": "NoSchedule"}
    plain, device = f"cpu-{namespace}", f"gpu-{namespace}"
    await nodes.add(plain)
    await nodes.add(device, labels={"pool": "l4"}, taints=[taint], capacity={"nvidia.com/gpu": "2"})
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    tolerated = [{"key": "example.com/pool", "operator": "Exists"}]
    spec = {"containers": [{"name": "main", "image": "one:1", "resources": limits}], "tolerations": tolerated}
    await kube.create(manifest("v1", "Pod", "gpu", namespace, spec=spec), manager="tests")

    async def ready() -> dict[str, Any] | None:
        pod = (await kube.get("Pod", namespace, "gpu")).object
        conditions = pod["status"].get("conditions") or []
        return pod if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) else None

    pod = await until("the pod to be Ready", ready) or {}
    assert pod["spec"]["nodeName"] == device
    await kube.delete("Pod", namespace, "gpu", uid=pod["metadata"]["uid"])

    async def gone() -> bool:
        return not (await kube.list("Pod", namespace=namespace)).items

    await until("the pod to be gone", gone)
