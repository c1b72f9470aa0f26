"""A real control plane without nodes of its own, and what tests of the operator need around it.

One cluster serves all tests of a run: each test has its own namespace, and objects of the cluster have names of their
own. Nodes are pretended by kwok where a test asks for them.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube, login
from modelservice.app import Build, Operator
from modelservice.kit.errors import NotFound
from modelservice.settings import Settings

from tests.cluster.plane import REPO, control_plane, fake_kubelets

T = TypeVar("T")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with our kinds; no node."""
    if not (REPO / "bin/localcluster").exists():
        pytest.fail("bin/localcluster is missing; run `make build`.")
    with control_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture
async def connections() -> AsyncIterator[None]:
    """At the end of the test every connection is closed: TLS says goodbye in the background."""
    yield
    loop = asyncio.get_running_loop()

    async def closed() -> bool:
        transports = list(loop._transports.values())  # type: ignore[attr-defined]
        return all(transport._sock is None for transport in transports)

    await until("all connections to be closed", closed, seconds=5)


@pytest.fixture
async def kube(cluster: Cluster, connections: None) -> AsyncIterator[Kube]:
    """Our own client, as the administrator."""
    async with Kube(await login(str(cluster.kubeconfig)), user_agent="tests") as client:
        yield client


@pytest.fixture
async def namespace(cluster: Cluster, kube: Kube) -> AsyncIterator[str]:
    """A namespace of this test, in which pods can be made.

    No service, budget, book or pod is left for the tests after it: a namespace goes slowly, and the next operator would
    miss in its own book what a budget that is still there has spent.
    """
    name = f"t-{secrets.token_hex(4)}"
    made = await kube.create(manifest("v1", "Namespace", name), manager="tests")
    cluster.kubectl("wait", "--for=create", "--timeout=30s", "-n", name, "serviceaccount/default")
    yield name
    await kube.delete("Namespace", "", name, uid=made.object["metadata"]["uid"])
    at_once = ("--all", "--force", "--grace-period=0", "--timeout=30s", "-n", name)
    await asyncio.to_thread(cluster.kubectl, "delete", "modelservices,budgetpolicies,budgetledgers,pods", *at_once)


def manifest(api_version: str, kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    """A manifest; `labels`, `annotations`, `finalizers` and `ownerReferences` go into its metadata."""
    meta: dict[str, Any] = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if key in more:
            meta[key] = more.pop(key)
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **more}


async def exists(kube: Kube, kind: str, namespace: str, name: str) -> bool:
    """Whether the object is there."""
    try:
        await kube.get(kind, namespace, name)
    except NotFound:
        return False
    return True


async def until(what: str, look: Callable[[], Awaitable[T]], *, seconds: float = 30, every: float = 0.05) -> T:
    """Look again until there is something true to see; fail with what was waited for."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        if seen := await look():
            return seen
        assert asyncio.get_running_loop().time() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        await asyncio.sleep(every)


async def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of what a local HTTP server answers."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


@dataclass
class Runs:
    """Operators that run in the test's own event loop."""

    kubeconfig: Path
    tasks: list[tuple[Operator, asyncio.Task[None]]] = field(default_factory=list)

    async def start(self, build: Build, **settings: Any) -> Operator:
        """Run an operator with these controllers until the test ends; returns once its watches have started."""
        given = {
            "kubeconfig": str(self.kubeconfig),
            "http_host": "127.0.0.1",
            "http_port": 0,
            "leader_election": False,
            "time_scale": 0.05,
            "identity": f"test-{secrets.token_hex(3)}",
            **settings,
        }
        operator = Operator(Settings(**given), build)
        with _signals_kept():
            task = asyncio.create_task(operator.run())
            self.tasks.append((operator, task))
            ready = asyncio.create_task(operator.started.wait())
            await asyncio.wait({task, ready}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            task.result()
        assert operator.started.is_set(), "the operator did not start its watches in 60 s"
        return operator

    async def stop(self, operator: Operator) -> None:
        """Stop one operator as a signal would, and wait for its end."""
        operator.stopping.set()
        await next(task for one, task in self.tasks if one is operator)
        self.tasks = [(one, task) for one, task in self.tasks if one is not operator]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give back to pytest the signals that an operator takes as it starts: they stop the run, not only the operator."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, handler)


@pytest.fixture
async def operators(cluster: Cluster, connections: None) -> AsyncIterator[Runs]:
    """Starts operators and stops them at the end of the test."""
    runs = Runs(cluster.kubeconfig)
    yield runs
    for operator, _ in list(runs.tasks):
        await runs.stop(operator)


@dataclass(frozen=True)
class FakeNodes:
    """Makes nodes that kwok pretends to run pods on."""

    kube: Kube
    made: list[str] = field(default_factory=list)

    async def add(
        self,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        taints: list[dict[str, str]] | None = None,
        capacity: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Add one node and wait until it is Ready; `capacity` adds to 32 cpu, 128Gi of memory and 110 pods."""
        room = {"cpu": "32", "memory": "128Gi", "pods": "110", **(capacity or {})}
        node = manifest(
            "v1",
            "Node",
            name,
            labels={"kubernetes.io/hostname": name, "type": "kwok", **(labels or {})},
            annotations={"kwok.x-k8s.io/node": "fake"},
            spec={"taints": taints or []},
            status={"capacity": room, "allocatable": room},
        )
        await self.kube.create(node, manager="tests")
        self.made.append(name)

        async def ready() -> dict[str, Any] | None:
            seen = (await self.kube.get("Node", "", name)).object
            conditions = (seen.get("status") or {}).get("conditions") or []
            is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            return seen if is_ready and not _tainted(seen, taints or []) else None

        return await until(f"node {name} to be Ready", ready) or {}

    async def remove(self, name: str) -> None:
        """Take a node away, whatever runs on it."""
        node = (await self.kube.get("Node", "", name)).object
        await self.kube.delete("Node", "", name, uid=node["metadata"]["uid"])
        self.made.remove(name)


def _tainted(node: dict[str, Any], wanted: list[dict[str, str]]) -> bool:
    """Whether the node still has taints of a start, beyond those asked for."""
    keys = {taint["key"] for taint in wanted}
    return any(taint["key"] not in keys for taint in node["spec"].get("taints") or ())


@pytest.fixture(scope="session")
def kwok(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """kwok beside the cluster."""
    with fake_kubelets(cluster, tmp_path_factory.mktemp("kwok")):
        yield


@pytest.fixture
async def nodes(kube: Kube, kwok: None) -> AsyncIterator[FakeNodes]:
    """Fake nodes, which go at the end of the test."""
    fake = FakeNodes(kube)
    yield fake
    for name in list(fake.made):
        await fake.remove(name)
