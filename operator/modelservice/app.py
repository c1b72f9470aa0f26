"""The composition root: builds every part, starts them in order, stops them in order.

Order of the start: HTTP server, resync gate, Kopf's watches, lease, workers. A standby replica does all but the last,
so it takes over at once. Order of the stop: workers finish what they hold, controllers' tasks end, Events are written,
the lease is given back, the watches end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from modelservice import __version__, watch
from modelservice.adapters.kube import Kube, connection, login
from modelservice.adapters.probes import ProbeServer
from modelservice.adapters.prometheus import Prometheus
from modelservice.adapters.telemetry import Metric, Telemetry
from modelservice.controllers.assembly import assemble
from modelservice.domain.gauges import GAUGES
from modelservice.kit.apply import ChildApplier
from modelservice.kit.clock import SystemClock
from modelservice.kit.controller import Reconcile, Workers
from modelservice.kit.leader import Elector, LeaseTimes
from modelservice.kit.objects import Key
from modelservice.kit.ratelimit import Backoff, TokenBucket
from modelservice.kit.recorder import Recorder
from modelservice.kit.resync import Resync, Source
from modelservice.kit.status import StatusWriter
from modelservice.kit.supervision import catch_signals, raise_first, supervise
from modelservice.kit.watchdog import Watchdog
from modelservice.kit.workqueue import WorkQueue
from modelservice.settings import Settings

log = logging.getLogger(__name__)

CHILDREN = "modelservice"
STATUSES = "modelservice-status"
APPLIED_HASH = "modelservice.dev/applied-hash"
LEASE = "modelservice-operator"

FINISH_SECONDS = 10.0
"""How long a stop waits for what is in work; the pod's terminationGracePeriodSeconds is longer."""


class Failed(Exception):
    """The operator cannot go on and has to be started again; the message says why."""


async def _at_once() -> None:
    """Nothing is in the way."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What controllers are built from."""

    settings: Settings
    kube: Kube
    queue: WorkQueue[Key]
    applier: ChildApplier
    statuses: StatusWriter
    events: Recorder
    telemetry: Telemetry
    clock: SystemClock
    random: Random


@dataclass(frozen=True, slots=True)
class Controllers:
    """What the controllers bring: kinds to watch, who reconciles which kind of key, tasks that run while leading.

    The leader works once `free` has returned; `obstacle` says what is in the way, or is empty.
    """

    sources: Sequence[Source]
    reconcilers: Mapping[str, Reconcile]
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    free: Callable[[], Awaitable[None]] = _at_once
    obstacle: Callable[[], str] = str


Build = Callable[[Tools], Controllers]


@dataclass(slots=True)
class Operator:
    """One run of the operator; `build` makes the controllers from the tools."""

    settings: Settings
    build: Build
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def run(self) -> None:
        """Work until `stopping` is set or a signal asks for it; raises Failed, LoginFailed and CannotListen."""
        configuration = await login(self.settings.kubeconfig)
        telemetry = Telemetry()
        agent = f"modelservice-operator/{__version__}"
        async with (
            Kube(configuration, user_agent=agent, meter=telemetry) as kube,
            Kube(configuration, user_agent=f"{agent} lease") as lease_kube,  # never held up by other requests
        ):
            await self._serve(_Parts.make(self.settings, self.build, kube, lease_kube, telemetry))

    async def _serve(self, parts: _Parts) -> None:
        server = ProbeServer(
            healthy=parts.watchdog.problems,
            ready=lambda: self._not_ready(parts),
            metrics=parts.tools.telemetry.render,
        )
        self.port = await server.start(self.settings.http_host, self.settings.http_port)
        try:
            await self._supervise(parts)
        finally:
            await server.stop()

    async def _supervise(self, parts: _Parts) -> None:
        """Run all tasks until one of them ends or a stop is asked for."""
        catch_signals(self.stopping)
        kopf_stop = asyncio.Event()
        work = asyncio.create_task(self._lead(parts), name="work")
        tasks = [
            asyncio.create_task(parts.watchdog.run(), name="watchdog"),
            asyncio.create_task(parts.tools.events.run(), name="events"),
            asyncio.create_task(self._resync(parts), name="resync"),
            work,
        ]
        ended = await supervise(
            tasks,
            asyncio.create_task(self._watch(parts, kopf_stop), name="watches"),
            stopping=self.stopping,
            end_watches=kopf_stop,
            finish=lambda: self._finish(parts, work),
            patience=FINISH_SECONDS,
        )
        if ended:
            raise Failed(f"The operator's task {ended} ended by itself.")

    async def _resync(self, parts: _Parts) -> None:
        await parts.resync.start()
        await parts.resync.repeat(self.settings.resync_seconds)

    async def _watch(self, parts: _Parts, stop: asyncio.Event) -> None:
        """Run Kopf once everything is listed: it would never watch a kind whose CRD is not there at its start."""
        await parts.resync.synced.wait()
        configuration = parts.tools.kube.configuration
        await watch.run(
            parts.controllers.sources,
            lambda: connection(configuration),
            stop=stop,
            ready=self.started,
            after_start=partial(catch_signals, self.stopping),  # our stop has an order
        )

    async def _lead(self, parts: _Parts) -> None:
        """Wait for the caches and the lease, then work for as long as the lease is kept."""
        await parts.resync.synced.wait()
        await self.started.wait()
        if not self.settings.leader_election:
            await parts.work()
            return
        await parts.elector.acquire()
        work = asyncio.create_task(parts.work(), name="workers")
        keep = asyncio.create_task(parts.elector.keep(), name="lease")
        try:
            await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, keep):
                task.cancel()
            outcome = await asyncio.gather(work, keep, return_exceptions=True)
        for result in outcome:
            if isinstance(result, Exception):
                raise result

    async def _finish(self, parts: _Parts, work: asyncio.Task[None]) -> None:
        """End in order: no new work, Events written, lease given back."""
        log.info("Stopping: what is in work is finished first")
        parts.tools.queue.close()
        if parts.working.is_set():
            await asyncio.wait({work}, timeout=FINISH_SECONDS)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(parts.tools.events.drain(), FINISH_SECONDS / 2)
        await parts.elector.release()

    def _not_ready(self, parts: _Parts) -> list[str]:
        if self.stopping.is_set():
            return ["The operator is stopping."]
        missing = [source.kind for source in parts.controllers.sources if not source.cache.synced]
        if missing:
            return [f"Not listed yet: {', '.join(missing)}."]
        if not self.started.is_set():
            return ["The watches have not started yet."]
        obstacle = parts.controllers.obstacle()
        return [obstacle] if obstacle else []


@dataclass(slots=True)
class _Parts:
    """All that one run is made of."""

    tools: Tools
    controllers: Controllers
    resync: Resync
    workers: Workers
    elector: Elector
    watchdog: Watchdog
    working: asyncio.Event

    @classmethod
    def make(cls, settings: Settings, build: Build, kube: Kube, lease_kube: Kube, telemetry: Telemetry) -> _Parts:
        scale, clock, random = settings.time_scale, SystemClock(), Random()  # noqa: S311 - jitter is no secret
        queue: WorkQueue[Key] = WorkQueue(
            backoff=Backoff(first=1.0 * scale, ceiling=300.0 * scale),
            bucket=TokenBucket(rate=10 / scale, burst=100),
            random=random,
            meter=telemetry,
        )
        tools = Tools(
            settings=settings,
            kube=kube,
            queue=queue,
            applier=ChildApplier(kube, manager=CHILDREN, annotation=APPLIED_HASH, meter=telemetry),
            statuses=StatusWriter(kube, manager=STATUSES, meter=telemetry),
            events=Recorder(kube, clock=clock, component="modelservice", instance=settings.identity, meter=telemetry),
            telemetry=telemetry,
            clock=clock,
            random=random,
        )
        controllers = build(tools)
        resync = Resync(controllers.sources, kube, telemetry, random, chunk=watch.CHUNK, settle=5.0 * scale)
        workers = Workers(queue, controllers.reconcilers, meter=telemetry, random=random, count=settings.workers)
        elector = Elector(
            lease_kube,
            namespace=settings.namespace,
            name=LEASE,
            identity=settings.identity,
            clock=clock,
            times=LeaseTimes().scaled(scale),
            random=random,
            meter=telemetry,
        )
        working = asyncio.Event()
        watchdog = Watchdog(
            queue,
            meter=telemetry,
            missed=resync.missed,
            sources=controllers.sources,
            last_done=lambda: workers.last_done,
            working=working.is_set,
        )
        return cls(tools, controllers, resync, workers, elector, watchdog, working)

    async def work(self) -> None:
        """Run the workers and the controllers' tasks until the queue is closed or one of them fails."""
        await self.controllers.free()
        self.working.set()
        tasks = [asyncio.ensure_future(task()) for task in self.controllers.tasks]
        workers = asyncio.create_task(self.workers.run(), name="workers")
        try:
            done, _ = await asyncio.wait({*tasks, workers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.working.clear()
            for task in (*tasks, workers):
                task.cancel()
            await asyncio.gather(*tasks, workers, return_exceptions=True)
        raise_first(done)


METRICS = (
    Metric("book_writes_total", "Writes of the book of budgets.", (), "counter"),
    Metric(
        "book_conflicts_total",
        "Passes over the book begun anew: it had changed since its read, or the write would have come too late.",
        (),
        "counter",
    ),
    Metric("metrics_available", "1 while Prometheus answers, 0 while it does not."),
)


def build(tools: Tools) -> Controllers:
    """All controllers of the operator."""
    for metric in METRICS:
        tools.telemetry.declare(metric)
    url = tools.settings.prometheus_url
    prometheus = Prometheus(url) if url else None
    made = assemble(tools, prometheus)
    tools.telemetry.expose(GAUGES, made.gauges)
    tasks = (*made.tasks, prometheus.keep_open) if prometheus else made.tasks
    return Controllers(made.sources, made.reconcilers, tasks, made.books.gone, lambda: made.books.problem)


async def run(settings: Settings) -> None:
    """Run the operator with all its controllers."""
    await Operator(settings, build).run()
