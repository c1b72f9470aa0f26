"""A gateway in a process of its own, whose replicas are servers on the loopback: where, says the argument as JSON.

It prints its two ports when it is ready. The API server refuses endpoints on the loopback, so they have other names.
"""

from __future__ import annotations

import asyncio
import json
import sys

from modelservice.cli.gateway import GatewayProcess
from modelservice.gateway.objects import Address
from modelservice.settings import GatewaySettings


async def main(ports: dict[str, int]) -> None:
    gateway = GatewayProcess(
        GatewaySettings.from_environment(), dial=lambda address: Address("127.0.0.1", ports[address.host])
    )
    running = asyncio.create_task(gateway.run())
    ready = asyncio.create_task(_ready(gateway))
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    print(gateway.port, gateway.probe_port, flush=True)
    await running


async def _ready(gateway: GatewayProcess) -> None:
    await gateway.started.wait()
    while gateway.port == 0:  # noqa: ASYNC110 - both come within moments
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
