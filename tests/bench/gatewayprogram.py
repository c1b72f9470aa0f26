"""The gateway alone, without Kubernetes: one service whose replica is a server on the loopback, and one without any.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.gatewayprogram PORT-OF-THE-REPLICA READY PARKED

READY and PARKED are the names of the two in the namespace `bench`. Prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from modelservice.adapters.telemetry import Telemetry
from modelservice.cli.gateway import METRICS, PREFIX
from modelservice.gateway.gateway import Gateway
from modelservice.gateway.limits import Limits
from modelservice.kit.clock import SystemClock


class NoOperator:
    """Nobody is there to wake anything."""

    async def patch_merge(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], *, manager: str
    ) -> object:
        return None


def objects(port: int, ready: str, parked: str) -> list[dict[str, Any]]:
    services: list[dict[str, Any]] = [
        {
            "kind": "ModelService",
            "metadata": {"namespace": "bench", "name": name, "uid": name, "resourceVersion": "1"},
            "spec": {"inference": {"minReplicas": 0}},
        }
        for name in (ready, parked)
    ]
    meta = {"namespace": "bench", "name": ready, "uid": "slice", "resourceVersion": "1"}
    endpoints = {
        "kind": "EndpointSlice",
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": ready}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    return [*services, endpoints]


async def main(port: int, ready: str, parked: str) -> None:
    telemetry = Telemetry(*METRICS, kit=(), prefix=PREFIX)
    gateway = Gateway(NoOperator(), SystemClock(), telemetry, Limits(held=100_000, connections=65_000))
    sources = {source.kind: source for source in gateway.directory.sources()}
    for obj in objects(port, ready, parked):
        sources[obj["kind"]].observe("ADDED", obj)
    print(await gateway.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
