"""Pods admitted per second through the whole path, beside a bare client that only patches as many.

    PYTHONPATH=operator:scripts .venv/bin/python -m tests.bench.ledger [--policies 1 10 100] [--units 1000 5000]

A real control plane with nodes that kwok pretends. Services with 100 pods each are in the book; all budgets pay for
every pod. For each figure the controllers make `--pods` more pods, all gated, while an operator stands by. The time
counts from the moment at which it holds the lease until the last gate is gone: it reads the book, plans, holds the
money, writes the book, opens the gates. The bare client removes the gates of as many pods of the same making, 16 at
once as the operator does, without asking anybody. `units` are the pods in the book when all are admitted.

Then two operators work at once on the same book: how often one of them has to begin anew.

Prints a JSON object a line; progress and the table at the end go to the standard error output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import Cluster
from modelservice.adapters.kube import Kube, login
from modelservice.app import LEASE
from modelservice.domain.book import Book
from modelservice.domain.codec import decode
from modelservice.kit.parallel import AT_ONCE, together
from modelservice.ports import RESOURCES
from modelservice.render.labels import GATE, NAME

from tests.bench.figures import report
from tests.bench.replicas import Replica, lease_held, running, start
from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.plane import control_plane, fake_kubelets
from tests.cluster.rest import watch
from tests.cluster.scenes import OURS, Scene

SYSTEM = "bench-system"
PODS_OF_A_SERVICE = 100
NODES = 5
ROOMY = {"cpu": "100000", "memory": "400000Gi", "pods": "10000"}
OBJECT_BYTES = 1_572_864
"""The most that etcd stores of one object by default: 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What was measured with so many budgets and so many pods in the book.

    Times in seconds: until the first and the last gate were open, and of a processor that the operator and the bare
    client took.
    """

    policies: int
    units: int
    pods: int
    first: float
    seconds: float
    bare_seconds: float
    computed: float
    bare_computed: float
    book_bytes: int

    def tell(self) -> None:
        """Print its figures."""
        name = f"p{self.policies}_u{self.units}"
        bare = (f"bare client, {AT_ONCE} patches at once", self.pods / self.bare_seconds)
        report(f"ledger_admit_{name}", self.pods / self.seconds, "pods/s", bare, count=self.pods, seed=0)
        work, other = 1000 * self.computed / self.pods, 1000 * self.bare_computed / self.pods
        report(f"ledger_work_{name}", work, "ms of a CPU/pod", (bare[0], other), count=self.pods, seed=0)
        most = ("largest object of etcd, for as many pods", OBJECT_BYTES / self.units)
        report(f"ledger_book_{name}", self.book_bytes / self.units, "bytes/unit", most, count=self.units, seed=0)

    @property
    def row(self) -> str:
        """Its row of the table."""
        rate, bare = self.pods / self.seconds, self.pods / self.bare_seconds
        return (
            f"{self.policies:>8} {self.units:>7} {self.first:>7.1f} {rate:>8.0f} {bare:>7.0f} {rate / bare:>7.2f}"
            f" {1000 * self.computed / self.pods:>7.1f} {1000 * self.bare_computed / self.pods:>8.1f}"
            f" {self.book_bytes / 1024:>9.0f} {self.book_bytes / self.units:>11.0f}"
        )


COLUMNS = {"budgets": 8, "units": 7, "first s": 7, "pods/s": 8, "bare/s": 7, "ratio": 7}
MORE = {"cpu ms": 7, "bare ms": 8, "book KiB": 9, "bytes/unit": 11}
HEADER = " ".join(f"{name:>{width}}" for name, width in {**COLUMNS, **MORE}.items())


@dataclass(slots=True)
class Bench:
    """One control plane: services that stay in the book, and a burst of pods that comes and goes."""

    cluster: Cluster
    kube: Kube
    directory: Path
    pods: int
    profile: Path | None
    standing: Scene = field(init=False)
    burst: Scene = field(init=False)
    _policies: int = 0
    _replicas: int = 0

    async def set_up(self, staying: int) -> None:
        """Make the namespaces, the nodes, and services of which so many pods stay."""
        for name in (SYSTEM, "standing", "burst"):
            await self.kube.create(manifest("v1", "Namespace", name), manager="bench")
        fake, runs = FakeNodes(self.kube), Runs(self.cluster.kubeconfig)
        self.standing = Scene(self.cluster, self.kube, "standing", fake, runs)
        self.burst = Scene(self.cluster, self.kube, "burst", fake, runs)
        for scene in (self.standing, self.burst):
            await scene.set_up(nodes=0)
            for number in range(NODES):
                name = f"{scene.namespace}-{number}"
                await fake.add(name, labels={"pool": scene.pool}, capacity=ROOMY)
        for name, count in services("standing", staying).items():
            await self.standing.create(self.standing.service(name, inference={"minReplicas": count}))
        for name in services("burst", self.pods):
            await self.burst.create(self.burst.service(name))

    def replica(self, *, elect: bool = True) -> Replica:
        """Start one more operator."""
        self._replicas += 1
        identity = f"operator-{self._replicas}"
        return start(self.cluster.kubeconfig, SYSTEM, identity, self.directory, elect=elect, profile=self.profile)

    async def fund(self, policies: int, staying: int) -> None:
        """Have so many budgets pay for the pods that stay, and for none of the burst."""
        for number in range(self._policies, policies):
            await self.kube.create(budget(f"budget-{number:03}"), manager="bench")
        self._policies = policies
        first = not await self.burst.deployments("burst-0")
        async with running(self.replica(elect=False)) as (replica,):
            if first:
                await until("the burst's Deployments", self._burst_made, seconds=120, every=0.5)
            for name in services("burst", self.pods):
                await self.burst.patch("ModelService", name, "/spec/suspend", True)

            async def settled() -> bool:
                await replica.ready()
                units = {name: p for name, p in (await self.book()).placements.items() if p.units}
                paid = all(len(placement.terms.rates) == policies for placement in units.values())
                return paid and sum(len(placement.units) for placement in units.values()) == staying

            await until(f"{staying} pods to be in the book under {policies} budgets", settled, seconds=400, every=1)
            await self._all_run(self.standing, "", staying)

    async def _burst_made(self) -> bool:
        return all([await self.burst.deployments(name) for name in services("burst", self.pods)])

    async def _all_run(self, scene: Scene, selector: str, count: int) -> None:
        async def run() -> bool:
            pods = (await self.kube.list("Pod", namespace=scene.namespace, label_selector=selector)).items
            return len([pod for pod in pods if pod["status"].get("phase") == "Running"]) == count

        await until(f"{count} pods to run in {scene.namespace}", run, seconds=300, every=1)

    async def measure(self, policies: int) -> Cell:
        """One cell: the bare client first, then the operator that stood by meanwhile."""
        async with lease_held(self.kube, SYSTEM) as give_up, running(self.replica()) as (replica,):
            gated = await self._make_gated()
            bare = await self._make_bare()
            bare_seconds, bare_computed = await self._patch(bare)
            await self._all_run(self.burst, "app=bare", len(bare))
            led = await self._when("Lease", SYSTEM, lambda lease: holds(lease, replica.identity))
            last, opened = await self._when_open(gated)
            computed = replica.computed()
            await give_up()
            began, ended = await asyncio.wait_for(asyncio.gather(led, last), 300)
            computed = replica.computed() - computed
            book = await self._checked(gated)
        stored = (await self.kube.get("BudgetLedger", SYSTEM, "open")).object["book"]
        units = sum(len(placement.units) for placement in book.placements.values())
        await self._scale("bare", 0)
        size = len(json.dumps(stored, separators=(",", ":")))
        times = (opened[0] - began, ended - began, bare_seconds)
        return Cell(policies, units, len(gated), *times, computed, bare_computed, size)

    async def contend(self, policies: int, staying: int) -> None:
        """Two operators work at once, both from the start."""
        gated = await self._make_gated()
        last, _ = await self._when_open(gated)
        async with running(self.replica(elect=False), self.replica(elect=False)) as pair:
            await asyncio.wait_for(last, 300)
            await self._checked(gated)
            conflicts = sum([await each.counted("book_conflicts_total") for each in pair])
            writes = sum([await each.counted("book_writes_total") for each in pair])
        name = f"ledger_two_writers_conflicts_p{policies}_u{staying + len(gated)}"
        report(name, conflicts, "passes", ("writes that were stored", float(writes)), count=len(gated), seed=0)
        say(f"two operators: {writes} writes stored, {conflicts} passes begun anew, no pod admitted twice")

    async def book(self) -> Book:
        """The book as it is stored; empty before the first write."""
        listed = await self.kube.list("BudgetLedger", namespace=SYSTEM, field_selector="metadata.name=open")
        return decode(listed.items[0].get("book") or {}) if listed.items else Book()

    async def _checked(self, gated: set[str]) -> Book:
        """The book, which must be solvent and hold each of the pods once."""
        book = await self.book()
        held = [uid for placement in book.placements.values() for uid in placement.units]
        assert book.insolvent() == (), "the book is insolvent"
        assert len(held) == len(set(held)), "a pod is in the book twice"
        assert gated <= set(held), "a pod was admitted that is not in the book"
        return book

    async def _make_gated(self) -> set[str]:
        """Let the controllers make the burst's pods while no operator works; returns their UIDs."""
        for name, count in services("burst", self.pods).items():
            await self.burst.patch("ModelService", name, "/spec/inference/minReplicas", count)
            await self.burst.patch("ModelService", name, "/spec/suspend", False)
            (child,) = await self.burst.deployments(name)
            await self._scale(child["metadata"]["name"], count)
        pods = await self._gated(NAME)
        return {pod["metadata"]["uid"] for pod in pods}

    async def _make_bare(self) -> list[dict[str, Any]]:
        """As many pods of the same making that are not ours."""
        listed = await self.kube.list("Deployment", namespace="burst", field_selector="metadata.name=bare")
        if listed.items:
            await self._scale("bare", self.pods)
        else:
            labels = {"app": "bare"}
            spec = (await self.burst.deployments("burst-0"))[0]["spec"]["template"]["spec"]
            template = {"metadata": {"labels": labels}, "spec": spec}
            made = {"replicas": self.pods, "selector": {"matchLabels": labels}, "template": template}
            await self.kube.create(manifest("apps/v1", "Deployment", "bare", "burst", spec=made), manager="bench")
        return await self._gated("app=bare")

    async def _scale(self, name: str, replicas: int) -> None:
        await self.burst.patch("Deployment", name, "/spec/replicas", replicas)

    async def _gated(self, selector: str) -> list[dict[str, Any]]:
        async def made() -> list[dict[str, Any]] | None:
            pods = (await self.kube.list("Pod", namespace="burst", label_selector=selector)).items
            gated = [pod for pod in pods if is_gated(pod)]
            return gated if len(gated) == self.pods else None

        return await until(f"{self.pods} gated pods with {selector}", made, seconds=120, every=1) or []

    async def _patch(self, pods: list[dict[str, Any]]) -> tuple[float, float]:
        """Remove the gates as the operator does; returns the seconds it took, and those of a processor."""
        began, computed = time.perf_counter(), time.process_time()
        await together(self._open_gate(pod["metadata"]) for pod in pods)
        return time.perf_counter() - began, time.process_time() - computed

    async def _open_gate(self, meta: Mapping[str, Any]) -> None:
        where = "/spec/schedulingGates/0"
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
            {"op": "test", "path": f"{where}/name", "value": GATE},
            {"op": "remove", "path": where},
        ]
        await self.kube.patch_json("Pod", meta["namespace"], meta["name"], operations, manager="bench")

    async def _when_open(self, gated: set[str]) -> tuple[asyncio.Task[float], list[float]]:
        """Begin to wait for the last of these pods to be without its gate; and when each of them came to be."""
        waiting, opened = set(gated), list[float]()

        def seen(pod: dict[str, Any]) -> bool:
            if pod["metadata"]["uid"] in waiting and not is_gated(pod):
                waiting.discard(pod["metadata"]["uid"])
                opened.append(time.perf_counter())
            return not waiting

        return await self._when("Pod", "burst", seen), opened

    async def _when(self, kind: str, namespace: str, seen: Callable[[dict[str, Any]], bool]) -> asyncio.Task[float]:
        """Begin to wait for a version of an object; the task returns when it came in."""
        began, path = asyncio.Event(), RESOURCES[kind].path(namespace)

        async def first() -> float:
            async with aclosing(watch(self.cluster.kubeconfig, path, began)) as versions:
                async for version in versions:
                    if seen(version):
                        return time.perf_counter()
            raise RuntimeError(f"the watch of {kind} ended")

        task = asyncio.create_task(first())
        await began.wait()
        return task


def holds(lease: dict[str, Any], identity: str) -> bool:
    """Whether an operator works."""
    return bool(lease["metadata"]["name"] == LEASE and lease["spec"].get("holderIdentity") == identity)


def services(prefix: str, pods: int) -> dict[str, int]:
    """Names of services, and how many pods each of them has, for so many pods together."""
    counts = [min(PODS_OF_A_SERVICE, pods - first) for first in range(0, pods, PODS_OF_A_SERVICE)]
    return {f"{prefix}-{number}": count for number, count in enumerate(counts)}


def is_gated(pod: dict[str, Any]) -> bool:
    """Whether our gate is there."""
    return any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates") or ())


def budget(name: str) -> dict[str, Any]:
    """A budget of the cluster that pays for every pod and is never short."""
    period = {"calendar": "Month", "timeZone": "UTC"}
    spec = {"currency": "USD", "limit": "100000000.00", "maxRatePerHour": "100000.00", "period": period}
    return manifest(OURS, "ClusterBudgetPolicy", name, spec=spec)


def say(text: str) -> None:
    """One line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


async def measure_plane(
    cluster: Cluster, directory: Path, units: int, options: argparse.Namespace, cells: list[Cell]
) -> None:
    """All cells with so many units, and the two writers on the smallest book."""
    async with Kube(await login(str(cluster.kubeconfig)), user_agent="bench") as kube:
        staying = units - options.pods
        bench = Bench(cluster, kube, directory, options.pods, options.profile)
        await bench.set_up(staying)
        for policies in options.policies:
            say(f"{staying} pods of {len(services('', staying))} services go into the book under {policies} budgets")
            await bench.fund(policies, staying)
            say(f"{options.pods} more wait at their gates")
            cell = await bench.measure(policies)
            cell.tell()
            cells.append(cell)
        if units == min(options.units):
            await bench.fund(policies, staying)
            await bench.contend(policies, staying)


async def measure_all(options: argparse.Namespace, cells: list[Cell]) -> None:
    """One control plane for each number of units."""
    async with asyncio.timeout(options.minutes * 60):
        for units in options.units:
            with tempfile.TemporaryDirectory(prefix="ledger-") as root:
                directory = Path(root)
                say("a control plane starts")
                with control_plane(directory / "plane") as cluster, fake_kubelets(cluster, directory):
                    await measure_plane(cluster, directory, units, options, cells)


def main() -> int:
    """Measure every cell; the table has those that were measured in time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", type=int, nargs="+", default=[1, 10, 100], help="budgets, rising")
    parser.add_argument("--units", type=int, nargs="+", default=[1000, 5000], help="pods in the book at the end")
    parser.add_argument("--pods", type=int, default=500, help="pods to admit")
    parser.add_argument("--minutes", type=float, default=15.0, help="give up after so long")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="profile the operators, which makes them slower")
    options = parser.parse_args()
    cells: list[Cell] = []
    try:
        asyncio.run(measure_all(options, cells))
    except TimeoutError:
        say(f"given up after {options.minutes:.0f} minutes")
        return 1
    finally:
        print("\n".join([HEADER, *(cell.row for cell in cells)]), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
