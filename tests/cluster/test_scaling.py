"""Scaling by a real Prometheus that scrapes what the test says each replica does."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.domain.times import format_time
from modelservice.kit.errors import NotFound

from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.plane import REPO
from tests.cluster.scenes import Scene, conditions, policy, staged

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pods
    file_sd_configs: [{{files: ["{targets}"], refresh_interval: 1s}}]
    relabel_configs:
      - {{source_labels: [pod], target_label: __param_pod}}
"""


REQUESTS_A_SECOND = 50


@dataclass
class Engines:
    """Answers for the metrics of pods, and tells Prometheus which there are."""

    scene: Scene
    directory: Path
    running: dict[str, str] = field(default_factory=dict)
    waiting: float = 0.0
    silent: bool = False
    answered: float | None = None
    port: int = 0
    prometheus: str = ""

    async def metrics(self, request: web.Request) -> web.Response:
        if self.silent:
            return web.Response(text="")
        pod = request.query["pod"]
        value = self.running.get(pod, str(self.share()))
        served = time.monotonic() * REQUESTS_A_SECOND if self.answered is None else self.answered
        running = f'r_running{{model_name="m"}} {value}\nr_running_before {value}\n'
        return web.Response(text=f"{running}r_waiting 0\nr_total {served}\n")

    def share(self) -> float:
        return self.waiting

    async def follow(self) -> None:
        """Keep the list of targets to the pods that run."""
        targets = self.directory / "targets.json"
        while True:
            listed = await self.scene.kube.list("Pod", namespace=self.scene.namespace)
            rows = [
                {
                    "targets": [f"127.0.0.1:{self.port}"],
                    "labels": {"namespace": self.scene.namespace, "pod": pod["metadata"]["name"]},
                }
                for pod in listed.items
                if pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
            ]
            fresh = targets.with_suffix(".new")
            fresh.write_text(json.dumps(rows))
            fresh.replace(targets)
            await asyncio.sleep(0.3)


async def answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
async def engines(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs, tmp_path: Path
) -> AsyncIterator[Engines]:
    async with staged(Scene(cluster, kube, namespace, nodes, operators), nodes=2) as scene:
        made = Engines(scene, tmp_path)
        application = web.Application()
        application.router.add_get("/metrics", made.metrics)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.port = runner.addresses[0][1]
        port = free_port()
        made.prometheus = scene.prometheus_url = f"http://127.0.0.1:{port}"
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(targets=tmp_path / "targets.json"))
        following = asyncio.create_task(made.follow())
        with (tmp_path / "prometheus.log").open("w") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - a start takes no time
                [
                    str(REPO / "bin/prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            await until("Prometheus to be ready", lambda: answers(made.prometheus))
            yield made
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await runner.cleanup()


def scaled(scene: Scene, name: str = "chat", *, most: int = 4, **rule: Any) -> dict[str, Any]:
    scaling = {"scaleMetric": "Concurrency", "scaleTarget": 10, "scaleDownDelaySeconds": 3, **rule}
    return scene.service(name, inference={"minReplicas": 1, "maxReplicas": most, "scaling": scaling})


async def desired(scene: Scene, count: int, *, seconds: float = 60) -> dict[str, Any]:
    async def seen() -> dict[str, Any] | None:
        found = await scene.get("ModelService", "chat")
        return found if (found.get("status") or {}).get("desiredReplicas") == count else None

    return await until(f"{count} replicas to be wanted", seen, seconds=seconds) or {}


async def priced(scene: Scene) -> bool:
    """Whether 1,000 requests are said to cost what a pod of 1.00 USD an hour makes of them, within a tenth."""
    cost = ((await scene.get("ModelService", "chat")).get("status") or {}).get("cost") or {}
    told = float(cost.get("perThousandRequests", "0"))
    return told == pytest.approx(1000 / (3600 * REQUESTS_A_SECOND), rel=0.1)


async def test_replicas_follow_the_load_up_and_down_and_the_budget_bounds_them(engines: Engines) -> None:
    scene = engines.scene
    await scene.create(policy("team", scene.namespace, rate="3.50"))
    await scene.operate()
    await scene.create(scaled(scene))
    await scene.ready("chat", 1)
    await scene.condition("chat", "ScalingActive", "True", "MetricsRead")
    await until("the cost of 1,000 requests to be told", lambda: priced(scene))
    engines.waiting = 9.5  # in each replica: above 85 % of 10, so that there is never enough
    await desired(scene, 4)
    await scene.ready("chat", 3)
    await scene.condition("chat", "BudgetAdmitted", "False", "RateLimited")
    engines.waiting = 0.1
    await desired(scene, 1, seconds=90)
    await scene.ready("chat", 1)


async def test_without_metrics_the_count_is_held_and_a_good_reading_goes_on_at_once(engines: Engines) -> None:
    scene = engines.scene
    await scene.operate()
    await scene.create(scaled(scene))
    await scene.ready("chat", 1)
    (pod,) = await scene.pods("chat")
    engines.running[pod["metadata"]["name"]] = "NaN"
    message = await scene.condition("chat", "ScalingActive", "False", "MetricsUnavailable", seconds=60)
    assert "held at 1 since" in message
    assert "nan" in message
    engines.running.clear()
    engines.waiting = 16
    await desired(scene, 2)
    await scene.ready("chat", 2)


async def test_a_prometheus_that_is_not_there_is_named(engines: Engines) -> None:
    scene = engines.scene
    scene.prometheus_url = "http://127.0.0.1:1"
    await scene.operate()
    await scene.create(scaled(scene))
    message = await scene.condition("chat", "ScalingActive", "False", "MetricsUnavailable")
    assert "127.0.0.1:1" in message
    await scene.ready("chat", 1)


async def ask(scene: Scene, at: str) -> None:
    """Ask for a replica as the gateway does."""
    await scene.patch("ModelService", "chat", "/metadata/annotations", {"modelservice.dev/wake-requested-at": at})


def gateway(scene: Scene, *addresses: str) -> dict[str, Any]:
    """Where the gateway listens, as the slices of its Service would say."""
    labels = {
        "modelservice.dev/gateway": "true",
        "kubernetes.io/service-name": "gateway",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    ends = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    ports = [{"name": "http", "port": 8000}]
    kind, name = "discovery.k8s.io/v1", "gateway-abcde"
    made = manifest(kind, "EndpointSlice", name, scene.namespace, labels=labels)
    return {**made, "addressType": "IPv4", "ports": ports, "endpoints": ends}


async def stands_in(scene: Scene, *addresses: str) -> None:
    """Wait until the Service of the service leads to these gateways, or to none."""

    async def seen() -> bool:
        try:
            found = await scene.get("EndpointSlice", "chat-gateway")
        except NotFound:
            return not addresses
        return [end["addresses"][0] for end in found["endpoints"]] == list(addresses)

    await until(f"the Service to lead to {addresses or 'no gateway'}", seen)


async def test_an_idle_service_is_parked_at_zero_and_woken_by_a_request_as_far_as_money_goes(engines: Engines) -> None:
    scene, engines.answered = engines.scene, 7.0
    changed = [{"op": "add", "path": "/spec/startSeconds", "value": 2}]
    await scene.kube.patch_json("ComputePool", "", scene.pool, changed, manager="tests")
    await scene.operate()
    await scene.create(gateway(scene, "10.0.0.1"))
    idle = scaled(scene, most=2, scaleToZero={"idleSeconds": 2})
    idle["spec"]["inference"]["minReplicas"] = 0
    await scene.create(idle)
    await stands_in(scene, "10.0.0.1")
    await scene.ready("chat", 1)
    await stands_in(scene)
    await scene.condition("chat", "Ready", "True", "ScaledToZero")
    found = await scene.ready("chat", 0)
    assert "parkedAt" in found["status"]["scaleToZero"]
    assert conditions(found)["Available"]["reason"] == "ScaledToZero"
    (child,) = await scene.deployments("chat")
    assert child["spec"]["replicas"] == 0
    for harmless in ("yesterday", "2020-01-01T00:00:00Z", "2190-01-01T00:00:00Z"):
        await ask(scene, harmless)
    await desired(scene, 0)
    assert await scene.pods("chat") == []
    await stands_in(scene, "10.0.0.1")
    moved = gateway(scene, "10.0.0.2", "10.0.0.3")["endpoints"]
    await scene.patch("EndpointSlice", "gateway-abcde", "/endpoints", moved)
    await stands_in(scene, "10.0.0.2", "10.0.0.3")
    begun = time.monotonic()
    await ask(scene, format_time(int(time.time())))
    woken = await scene.ready("chat", 1)
    print(f"woken and ready after {time.monotonic() - begun:.2f} s")
    assert "wokenAt" in woken["status"]["scaleToZero"]
    await stands_in(scene)
    await scene.condition("chat", "Ready", "True", "ScaledToZero")
    await scene.ready("chat", 0)
    await scene.create(policy("team", scene.namespace, rate="0.50"))
    await ask(scene, format_time(int(time.time())))
    assert "1 pod refused" in await scene.condition("chat", "Ready", "False", "RateLimited")
    assert await scene.pods("chat") == []
