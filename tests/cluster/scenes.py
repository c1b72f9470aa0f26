"""Manifests for tests of the controllers, and one scene that runs the operator over them with a book of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.app import Operator, build
from modelservice.domain.book import Book
from modelservice.domain.codec import decode
from modelservice.kit.errors import Conflict, NotFound
from modelservice.ports import RESOURCES

from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.rest import watch

OURS = "modelservice.dev/v1alpha1"
REQUESTS = {"requests": {"cpu": "1", "memory": "1Gi"}}


def pool(name: str, *, price: str = "4.00", currency: str = "USD", **spec: Any) -> dict[str, Any]:
    """A pool of nodes with 4 cpu: a pod that asks for 1 cpu costs a quarter of the node."""
    given = {
        "currency": currency,
        "accelerator": {"type": "CPU"},
        "node": {"cpu": "4", "memory": "16Gi"},
        "nodeSelector": {"pool": name},
        "purchaseOptions": [{"type": "OnDemand", "perNodeHour": price}],
        "billing": {"from": "Running", "stopSeconds": 30},
        "startSeconds": 30,
    }
    return manifest(OURS, "ComputePool", name, spec={**given, **spec})


def runtime(name: str, role: str = "Inference", **spec: Any) -> dict[str, Any]:
    """A runtime for CPU; kwok runs no image."""
    series = {
        "requestsRunning": ["r_running", "r_running_before"],
        "requestsWaiting": ["r_waiting"],
        "requestsTotal": ["r_total_next", "r_total"],
    }
    given: dict[str, Any] = {"role": role, "accelerators": [{"type": "CPU", "image": "engine:1", "args": ["serve"]}]}
    if role == "Inference":
        given["metrics"] = series
    return manifest(OURS, "ModelRuntime", name, spec={**given, **spec})


def policy(name: str, namespace: str, *, limit: str = "100.00", rate: str | None = None, **spec: Any) -> dict[str, Any]:
    """A budget per day in UTC."""
    given: dict[str, Any] = {"currency": "USD", "limit": limit, "period": {"calendar": "Day", "timeZone": "UTC"}}
    if rate is not None:
        given["maxRatePerHour"] = rate
    return manifest(OURS, "BudgetPolicy", name, namespace, spec={**given, **spec})


def cluster_policy(name: str, *, rate: str, **scope: Any) -> dict[str, Any]:
    """A budget of the cluster, per hour in UTC."""
    period = {"calendar": "Hour", "timeZone": "UTC"}
    spec = {"currency": "USD", "limit": "100.00", "maxRatePerHour": rate, "period": period, "scope": scope}
    return manifest(OURS, "ClusterBudgetPolicy", name, spec=spec)


def claim(name: str, namespace: str) -> dict[str, Any]:
    """A claim that nothing provides; kwok mounts nothing."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    return manifest("v1", "PersistentVolumeClaim", name, namespace, spec=spec)


def volume(name: str, namespace: str, claimed: str) -> dict[str, Any]:
    """A volume that is bound to the claim in advance, so that the scheduler places pods that mount it."""
    return manifest(
        "v1",
        "PersistentVolume",
        name,
        spec={
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": namespace, "name": claimed},
        },
    )


@dataclass
class Scene:
    """One namespace with a claim, a pool with fake nodes, runtimes, and an operator whose book is there too."""

    cluster: Cluster
    kube: Kube
    namespace: str
    nodes: FakeNodes
    runs: Runs
    prometheus_url: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    made: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def pool(self) -> str:
        """The pool's name."""
        return f"{self.namespace}-pool"

    @property
    def engine(self) -> str:
        """The name of the runtime for inference."""
        return f"{self.namespace}-engine"

    async def set_up(self, *, price: str = "4.00", nodes: int = 1, **spec: Any) -> None:
        """Make all but the services, the budgets and the operator."""
        await self.create(pool(self.pool, price=price, **spec))
        await self.create(runtime(self.engine))
        await self.create(runtime(f"{self.engine}-train", "Training"))
        await asyncio.to_thread(self._provide, f"{self.namespace}-models")
        await self.create(claim("models", self.namespace))
        for number in range(nodes):
            await self.nodes.add(f"{self.namespace}-{number}", labels={"pool": self.pool})

    def _provide(self, name: str) -> None:
        """Make the volume and wait for it: a claim that comes before it is bound some 15 s later."""
        bound = volume(name, self.namespace, "models")
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(bound))
        available = "--for=jsonpath={.status.phase}=Available"
        self.cluster.kubectl("wait", available, "--timeout=30s", f"persistentvolume/{name}")

    async def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Store an object; those of the cluster go at the end of the test."""
        stored = (await self.kube.create(obj, manager="tests")).object
        self.made.append((obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        return stored

    async def operate(self) -> Operator:
        """Start the operator."""
        given = {
            "namespace": self.namespace,
            "tick_seconds": 0.5,
            "prometheus_url": self.prometheus_url,
            **self.settings,
        }
        return await self.runs.start(build, **given)

    def service(self, name: str, **spec: Any) -> dict[str, Any]:
        """A ModelService that serves a given model; `inference` fields are merged."""
        inference = {
            "runtime": self.engine,
            "resources": REQUESTS,
            "placement": {"pools": [self.pool]},
            **spec.pop("inference", {}),
        }
        return manifest(
            OURS,
            "ModelService",
            name,
            self.namespace,
            spec={"model": {"storageUri": "pvc://models/m"}, "inference": inference, **spec},
        )

    def trained(self, name: str, *, backoff_limit: int = 0, serve: bool = True, **training: Any) -> dict[str, Any]:
        """A ModelService that trains its model first."""
        given = {
            "runtime": f"{self.engine}-train",
            "command": ["python", "train.py"],
            "output": {"storageUri": f"pvc://models/{name}"},
            "resourcesPerNode": REQUESTS,
            "placement": {"pools": [self.pool]},
            "backoffLimit": backoff_limit,
            **training,
        }
        made = self.service(name)
        spec = {"training": given, **({"inference": made["spec"]["inference"]} if serve else {})}
        return {**made, "spec": spec}

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        """Read an object of the namespace."""
        return (await self.kube.get(kind, self.namespace, name)).object

    async def patch(self, kind: str, name: str, path: str, value: Any) -> dict[str, Any]:
        """Put one value into an object."""
        operations = [{"op": "add", "path": path, "value": value}]
        return (await self.kube.patch_json(kind, self.namespace, name, operations, manager="tests")).object

    async def pods(self, service: str, role: str = "Inference") -> list[dict[str, Any]]:
        """The pods of a service that are not being deleted."""
        selector = f"modelservice.dev/name={service},modelservice.dev/role={role}"
        listed = await self.kube.list("Pod", namespace=self.namespace, label_selector=selector)
        return [pod for pod in listed.items if "deletionTimestamp" not in pod["metadata"]]

    async def deployments(self, service: str) -> list[dict[str, Any]]:
        """The Deployments of a service."""
        selector = f"modelservice.dev/name={service}"
        return (await self.kube.list("Deployment", namespace=self.namespace, label_selector=selector)).items

    async def condition(self, service: str, kind: str, status: str, reason: str, *, seconds: float = 40) -> str:
        """Wait until a condition of a service reads so; returns its message."""
        last: dict[str, Any] = {}

        async def seen() -> str | None:
            nonlocal last
            last = await self.get("ModelService", service)
            found = conditions(last).get(kind, {})
            return str(found["message"]) if (found.get("status"), found.get("reason")) == (status, reason) else None

        try:
            return await until(f"{kind}={status} {reason} of {service}", seen, seconds=seconds) or ""
        except AssertionError as error:
            raise AssertionError(f"{error}; its status is {last.get('status')}") from None

    async def ready(self, service: str, replicas: int, *, seconds: float = 40) -> dict[str, Any]:
        """Wait until so many replicas are ready and no others exist; returns the service."""

        async def seen() -> dict[str, Any] | None:
            found = await self.get("ModelService", service)
            status = found.get("status") or {}
            exact = (status.get("readyReplicas"), status.get("replicas")) == (replicas, replicas)
            return found if exact else None

        return await until(f"{replicas} ready replicas of {service}", seen, seconds=seconds) or {}

    async def book(self) -> Book:
        """The stored book."""
        return decode((await self.get("BudgetLedger", "open")).get("book") or {})

    async def clean(self) -> None:
        """Delete what the namespace does not take along."""
        for kind, namespace, name in reversed(self.made):
            if namespace:
                continue
            try:
                found = await self.kube.get(kind, namespace, name)
                await self.kube.delete(kind, namespace, name, uid=found.object["metadata"]["uid"])
            except (Conflict, NotFound):
                continue
        gone = ("delete", "persistentvolume", f"{self.namespace}-models", "--wait=false", "--ignore-not-found")
        await asyncio.to_thread(self.cluster.kubectl, *gone)


def conditions(obj: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Conditions by type."""
    return {one["type"]: one for one in (obj.get("status") or {}).get("conditions") or ()}


class Versions:
    """Every version of the objects of one kind in the scene's namespace, read by watch, from `started` to `stopped`."""

    def __init__(self, scene: Scene, kind: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self._scene = scene
        self._kind = kind
        self._task: asyncio.Task[None] | None = None

    async def _read(self, began: asyncio.Event) -> None:
        path = RESOURCES[self._kind].path(self._scene.namespace)
        async with aclosing(watch(self._scene.cluster.kubeconfig, path, began)) as versions:
            async for version in versions:
                self.seen.append(version)

    async def start(self) -> Self:
        """Begin; returns when nothing later can be missed."""
        began = asyncio.Event()
        self._task = asyncio.create_task(self._read(began))
        await began.wait()
        return self

    async def stop(self) -> list[dict[str, Any]]:
        """End when the latest version of each object that is there has come in; returns all that were seen."""
        present = (await self._scene.kube.list(self._kind, namespace=self._scene.namespace)).items
        wanted = {obj["metadata"]["resourceVersion"] for obj in present}

        async def caught_up() -> bool:
            return wanted <= {obj["metadata"]["resourceVersion"] for obj in self.seen}

        try:
            await until("the watch to catch up", caught_up)
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        return self.seen


@asynccontextmanager
async def staged(scene: Scene, **spec: Any) -> AsyncIterator[Scene]:
    """Set a scene up and clean it at the end."""
    await scene.set_up(**spec)
    try:
        yield scene
    finally:
        await scene.clean()
