"""`modelservice fuse`: the process that stops pods at the end of their hold when the operator does not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from modelservice import __version__
from modelservice.adapters.kube import Kube, login
from modelservice.adapters.probes import ProbeServer
from modelservice.adapters.telemetry import REQUESTS, Metric, Telemetry
from modelservice.controllers.fuse import Fuse
from modelservice.kit.clock import SystemClock
from modelservice.kit.supervision import catch_signals
from modelservice.settings import Settings

METRICS = (
    Metric("fuse_looks_total", "Looks of the fuse by their result.", ("result",), "counter"),
    Metric("fuse_deletions_total", "Pods that the fuse deleted.", (), "counter"),
    Metric("fuse_spared_pods", "Pods without money that run by break-glass, or since the book is frozen."),
)


@dataclass(slots=True)
class FuseProcess:
    """One run of the fuse from start to stop."""

    settings: Settings
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def run(self) -> None:
        """Watch until `stopping` is set or a signal asks for it; raises LoginFailed and CannotListen."""
        settings, telemetry = self.settings, Telemetry(*METRICS, kit=REQUESTS)
        configuration = await login(settings.kubeconfig)
        async with Kube(configuration, user_agent=f"modelservice-fuse/{__version__}", meter=telemetry) as kube:
            fuse = Fuse(
                kube, SystemClock(), telemetry, settings.namespace, settings.identity, settings.fuse_poll_seconds
            )
            server = ProbeServer(healthy=fuse.stuck, ready=fuse.blind, metrics=telemetry.render)
            self.port = await server.start(settings.http_host, settings.http_port)
            try:
                self.started.set()
                await self._watch(fuse)
            finally:
                await server.stop()

    async def _watch(self, fuse: Fuse) -> None:
        catch_signals(self.stopping)
        looking = asyncio.create_task(fuse.run(), name="fuse")
        stop = asyncio.create_task(self.stopping.wait(), name="stop")
        try:
            await asyncio.wait({looking, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (looking, stop):
                task.cancel()
            outcome = await asyncio.gather(looking, stop, return_exceptions=True)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
