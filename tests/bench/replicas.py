"""Operators in processes of their own, and the Lease that says which of them works."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from modelservice.adapters.kube import Kube
from modelservice.app import LEASE

from tests.cluster.conftest import manifest, until
from tests.cluster.plane import REPO

RENEW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One operator that runs; `log` is what it has written."""

    identity: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    async def get(self, path: str) -> tuple[int, str]:
        """What its HTTP server answers; status 0 when it does not."""
        assert self.process.poll() is None, f"the operator ended early: {self.log.read_text()[-2000:]}"
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def ready(self) -> bool:
        """Whether its caches are filled and its watches have started."""
        return (await self.get("/readyz"))[0] == 200

    def computed(self) -> float:
        """Seconds of a processor that it has taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def counted(self, metric: str) -> int:
        """One counter without labels; 0 while it has counted nothing."""
        lines = (line.split() for line in (await self.get("/metrics"))[1].splitlines())
        return int(sum(float(line[1]) for line in lines if line and line[0] == f"modelservice_operator_{metric}"))


def start(
    kubeconfig: Path, namespace: str, identity: str, directory: Path, *, elect: bool = True, profile: Path | None = None
) -> Replica:
    """Start an operator with the settings of production; without `elect` it works at once.

    What it did is written to the directory `profile` for `pstats` at its end.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {
        "kubeconfig": str(kubeconfig),
        "namespace": namespace,
        "identity": identity,
        "http_host": "127.0.0.1",
        "http_port": str(port),
        "leader_election": str(elect),
        "log_level": "WARNING",
    }
    settings = {f"MODELSERVICE_{name.upper()}": value for name, value in given.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MODELSERVICE_")}
    environment = {**inherited, "PYTHONPATH": str(REPO / "operator"), **settings}
    log = directory / f"{identity}.log"
    profiled = ["-m", "cProfile", "-o", str(profile / f"{identity}.pstats")] if profile else []
    command = [sys.executable, *profiled, "-m", "modelservice.cli.main", "run"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=out, stderr=out)
    return Replica(identity, port, process, log)


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[tuple[Replica, ...]]:
    """Wait until all are ready; none is left at the end."""
    try:
        for replica in replicas:
            await until(f"{replica.identity} to be ready", replica.ready, seconds=60, every=0.02)
        yield replicas
    finally:
        for replica in replicas:
            if replica.process.poll() is None:
                replica.process.terminate()
        for replica in replicas:
            await asyncio.to_thread(replica.process.wait, 40)


@asynccontextmanager
async def lease_held(kube: Kube, namespace: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Keep every operator from working until what is yielded is called."""
    listed = await kube.list("Lease", namespace=namespace, field_selector=f"metadata.name={LEASE}")
    if not listed.items:
        await kube.create(manifest("coordination.k8s.io/v1", "Lease", LEASE, namespace), manager="bench")
    await _hold(kube, namespace, "bench")
    renewals = asyncio.create_task(_renew(kube, namespace))

    async def give_up() -> None:
        renewals.cancel()
        await asyncio.gather(renewals, return_exceptions=True)
        await _hold(kube, namespace, "")

    try:
        yield give_up
    finally:
        renewals.cancel()


async def _renew(kube: Kube, namespace: str) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        await _hold(kube, namespace, "bench")


async def _hold(kube: Kube, namespace: str, holder: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": now}
    operations = [{"op": "add", "path": "/spec", "value": spec}]
    await kube.patch_json("Lease", namespace, LEASE, operations, manager="bench")
