"""`modelservice gateway`: the process through which requests reach services, also those that have no replica yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from modelservice import __version__, watch
from modelservice.adapters.kube import Kube, connection, login
from modelservice.adapters.probes import CannotListen, ProbeServer
from modelservice.adapters.telemetry import KIT, Metric, Telemetry
from modelservice.app import Failed
from modelservice.gateway.gateway import Gateway
from modelservice.gateway.limits import Limits
from modelservice.gateway.objects import Address
from modelservice.kit.clock import SystemClock
from modelservice.kit.objects import Ref
from modelservice.kit.resync import Resync
from modelservice.kit.supervision import catch_signals, supervise
from modelservice.settings import GatewaySettings

log = logging.getLogger(__name__)

PREFIX = "modelservice_gateway_"
END_SECONDS = 10.0
DEAF = 2
"""Resyncs in a row that found missed changes before the process should be started again."""

SERVICE = ("service_namespace", "service_name")
DOUBLING = tuple(0.001 * 2**power for power in range(20))
HALF_STEPS = tuple(round(0.001 * 2 ** (step / 2), 6) for step in range(40))
"""Bounds that are less than 1.5 apart: so a canary that is twice as slow is told from one that is as fast."""

METRICS = (
    Metric(
        "requests_total",
        "Requests by the status of their answers; 499: the client went away, 502 also: the answer was broken off.",
        (*SERVICE, "track", "code"),
        "counter",
    ),
    Metric(
        "request_duration_seconds",
        "From the choice of a replica to the end of its answer.",
        (*SERVICE, "track"),
        "histogram",
        HALF_STEPS,
    ),
    Metric("held_requests", "Requests that wait for a replica.", SERVICE),
    Metric("hold_duration_seconds", "How long requests waited for a replica.", SERVICE, "histogram", DOUBLING),
    Metric(
        "wakes_total",
        "Requests to the operator to start a replica of a service without one.",
        (*SERVICE, "result"),
        "counter",
    ),
    Metric("refused_total", "Requests that the gateway answered itself, by the reason.", ("reason",), "counter"),
    Metric("retries_total", "Replicas asked in vain before another was, by the reason.", ("reason",), "counter"),
    Metric("connections", "Open connections of clients."),
)

WATCHING = tuple(
    metric
    for metric in KIT
    if metric.name
    in ("api_requests_total", "api_request_seconds", "cache_synced", "resync_missed_total", "resync_ghosts_total")
)


@dataclass(slots=True)
class GatewayProcess:
    """One run of the gateway from start to stop; `dial` says where an address is really reached."""

    settings: GatewaySettings
    dial: Callable[[Address], Address] = lambda address: address
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    probe_port: int = 0

    async def run(self) -> None:
        """Pass requests on until `stopping` is set or a signal comes; raises LoginFailed, CannotListen and Failed."""
        settings, telemetry = self.settings, Telemetry(*METRICS, kit=WATCHING, prefix=PREFIX)
        configuration = await login(settings.kubeconfig)
        async with Kube(configuration, user_agent=f"modelservice-gateway/{__version__}", meter=telemetry) as kube:

            def forget(ref: Ref) -> None:
                telemetry.forget(service_namespace=ref.namespace, service_name=ref.name)

            gateway = Gateway(kube, SystemClock(), telemetry, limits(settings), dial=self.dial, deleted=forget)
            sources = gateway.directory.sources()
            resync = Resync(sources, kube, telemetry, Random(), chunk=watch.CHUNK)  # noqa: S311 - jitter is no secret
            probes = ProbeServer(healthy=lambda: _deaf(resync), ready=self._not_ready, metrics=telemetry.render)
            self.probe_port = await probes.start(settings.http_host, settings.http_port)
            try:
                await self._supervise(kube, gateway, resync)
            finally:
                await gateway.stop()
                await probes.stop()

    async def _supervise(self, kube: Kube, gateway: Gateway, resync: Resync) -> None:
        """Watch and serve until a task ends or a stop is asked for; then drain while the watches go on."""
        catch_signals(self.stopping)
        kopf_stop = asyncio.Event()
        tasks = [
            asyncio.create_task(self._resync(resync), name="resync"),
            asyncio.create_task(self._serve(gateway, resync), name="serve"),
        ]
        ended = await supervise(
            tasks,
            asyncio.create_task(self._watch(kube, resync, kopf_stop), name="watches"),
            stopping=self.stopping,
            end_watches=kopf_stop,
            finish=lambda: self._drain(gateway),
            patience=END_SECONDS,
        )
        if ended:
            raise Failed(f"The task {ended} ended by itself.")

    async def _drain(self, gateway: Gateway) -> None:
        log.info("Stopping: open requests are finished first")
        await gateway.drain(self.settings.drain_delay_seconds, most=self.settings.drain_timeout_seconds)

    async def _resync(self, resync: Resync) -> None:
        await resync.start()
        await resync.repeat(self.settings.resync_seconds)

    async def _watch(self, kube: Kube, resync: Resync, stop: asyncio.Event) -> None:
        await resync.synced.wait()
        await watch.run(
            resync.sources,
            lambda: connection(kube.configuration),
            stop=stop,
            ready=self.started,
            after_start=partial(catch_signals, self.stopping),  # our stop has an order
        )

    async def _serve(self, gateway: Gateway, resync: Resync) -> None:
        """Take requests once all services are known: before that an unknown one could be answered with 404."""
        await resync.synced.wait()
        host, port = self.settings.gateway_host, self.settings.gateway_port
        try:
            self.port = await gateway.start(host, port)
        except OSError as error:
            why = f"{host}:{port} cannot be listened on ({error.strerror}); set MODELSERVICE_GATEWAY_PORT."
            raise CannotListen(why) from error
        await asyncio.Event().wait()

    def _not_ready(self) -> list[str]:
        if self.stopping.is_set():
            return ["The gateway is stopping."]
        return [] if self.port and self.started.is_set() else ["The services are not known yet."]


def limits(settings: GatewaySettings) -> Limits:
    """The settings as the gateway takes them."""
    return Limits(
        connections=settings.max_connections,
        body_bytes=settings.max_body_bytes,
        kept_bytes=settings.kept_body_bytes,
        kept_total_bytes=settings.kept_total_bytes,
        idle=settings.idle_timeout_seconds,
        head=settings.head_timeout_seconds,
        body=settings.client_timeout_seconds,
        connect=settings.connect_timeout_seconds,
        silence=settings.replica_timeout_seconds,
        hold=settings.hold_timeout_seconds,
        held=settings.max_held_requests,
    )


def _deaf(resync: Resync) -> list[str]:
    """The kinds whose watch shows nothing, though the list does."""
    return [f"The watch of {kind} misses changes." for kind, missed in resync.missed.items() if missed.in_a_row >= DEAF]
