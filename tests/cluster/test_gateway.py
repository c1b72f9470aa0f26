"""Gateways beside the real API server: what they see of it, what they write, and what is lost when one is killed.

They run as the administrator; their rights are tested with the chart.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.ports import RESOURCES

from tests.cluster.conftest import manifest, until
from tests.cluster.plane import REPO
from tests.cluster.rest import Object, watch
from tests.cluster.scenes import OURS, REQUESTS
from tests.unit.gateway.backends import Replica

WAKE = "modelservice.dev/wake-requested-at"
HOST = "10.77.0.1"


@dataclass
class RunningGateway:
    """A gateway's process and its ports."""

    process: asyncio.subprocess.Process
    port: int
    probe_port: int
    client: aiohttp.ClientSession

    async def ask(self, path: str, method: str = "POST") -> int:
        """The status of one request."""
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.client.request(method, url, data=b"{}" if method == "POST" else None) as answer:
            await answer.read()
            return answer.status

    async def figure(self, pattern: str) -> float:
        """The value of the series that the pattern finds in the metrics, 0 where there is none."""
        async with self.client.get(f"http://127.0.0.1:{self.probe_port}/metrics") as answer:
            found = re.search(rf"^{pattern} (\S+)$", await answer.text(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@asynccontextmanager
async def gateway(cluster: Cluster, ports: dict[str, int]) -> AsyncIterator[RunningGateway]:
    env = {
        **os.environ,
        "PYTHONPATH": f"{REPO / 'operator'}:{REPO}",
        "MODELSERVICE_KUBECONFIG": str(cluster.kubeconfig),
        "MODELSERVICE_GATEWAY_HOST": "127.0.0.1",
        "MODELSERVICE_GATEWAY_PORT": "0",
        "MODELSERVICE_HTTP_HOST": "127.0.0.1",
        "MODELSERVICE_HTTP_PORT": "0",
        "MODELSERVICE_DRAIN_DELAY_SECONDS": "0.2",
    }
    program = [sys.executable, "-m", "tests.cluster.gatewayprocess", json.dumps(ports)]
    process = await asyncio.create_subprocess_exec(*program, env=env, cwd=REPO, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        numbers = (await asyncio.wait_for(process.stdout.readline(), 40)).split()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as client:
            yield RunningGateway(process, int(numbers[0]), int(numbers[1]), client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def parked(name: str, namespace: str) -> Object:
    scaling = {"scaleTarget": 1}
    inference = {"runtime": "any", "resources": REQUESTS, "minReplicas": 0, "maxReplicas": 1, "scaling": scaling}
    return manifest(
        OURS, "ModelService", name, namespace,
        spec={"model": {"storageUri": "pvc://models/m"}, "inference": inference},
    )  # fmt: skip


def endpoints(name: str, namespace: str, host: str) -> Object:
    """What Kubernetes makes for a Service of ours: its slices have the Service's labels."""
    labels = {"kubernetes.io/service-name": name, "modelservice.dev/name": name}
    return manifest(
        "discovery.k8s.io/v1", "EndpointSlice", f"{name}-1", namespace, labels=labels, addressType="IPv4",
        ports=[{"name": "http", "port": 8080, "protocol": "TCP"}],
        endpoints=[{"addresses": [host], "conditions": {"ready": True}}],
    )  # fmt: skip


class Annotations:
    """Every value of the annotation that the ModelServices of a namespace ever had."""

    def __init__(self) -> None:
        self.versions: list[tuple[str, str | None]] = []

    async def read(self, cluster: Cluster, namespace: str, began: asyncio.Event) -> None:
        async with aclosing(watch(cluster.kubeconfig, RESOURCES["ModelService"].path(namespace), began)) as versions:
            async for version in versions:
                meta = version["metadata"]
                self.versions.append((meta["name"], (meta.get("annotations") or {}).get(WAKE)))

    def of(self, name: str) -> list[str | None]:
        """The values of one service in their order, one for each version."""
        return [value for service, value in self.versions if service == name]


async def test_held_requests_are_answered_once_a_replica_is_ready_and_a_killed_gateway_loses_only_its_own(
    cluster: Cluster, kube: Kube, namespace: str
) -> None:
    annotations, began = Annotations(), asyncio.Event()
    reading = asyncio.create_task(annotations.read(cluster, namespace, began))
    replica = await Replica().start()
    ports = {HOST: replica.port}
    held = rf'modelservice_gateway_held_requests{{service_name="llm",service_namespace="{namespace}"}}'
    infer = f"/{namespace}/llm/v2/models/m/infer"
    try:
        async with gateway(cluster, ports) as first, gateway(cluster, ports) as second:
            await began.wait()
            await kube.create(parked("llm", namespace), manager="tests")

            async def known() -> bool:
                return await first.ask(f"/{namespace}/llm/v2", "GET") == 503

            await until("the service to be known", known)
            assert await first.ask(infer, "GET") == 503
            assert await first.ask(f"/{namespace}/llm/nothing") == 503
            assert await first.ask(f"/{namespace}/other/v2/models/m/infer") == 404

            asked = [asyncio.create_task(first.ask(infer)) for _ in range(100)]

            async def woken() -> bool:
                return await first.figure(held) == 100 and annotations.of("llm")[-1] is not None

            await until("100 requests to be held", woken)
            await kube.create(parked("marker", namespace), manager="tests")

            async def told() -> bool:
                return await second.ask(f"/{namespace}/marker/v2", "GET") == 503

            await until("the second gateway to know what came after the wake", told)
            lost = [asyncio.create_task(second.ask(infer)) for _ in range(5)]

            async def holds() -> bool:
                return await second.figure(held) == 5

            await until("the second gateway to hold requests", holds)
            second.process.send_signal(signal.SIGKILL)
            outcomes = await asyncio.gather(*lost, return_exceptions=True)
            assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)

            await kube.create(endpoints("llm", namespace, HOST), manager="tests")
            assert await asyncio.gather(*asked) == [200] * 100
            assert len(replica.heard) == 100
            assert [value is None for value in annotations.of("llm")] == [True, False], "one write, none before"

            first.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.process.wait(), 20) == 0
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await replica.stop()
