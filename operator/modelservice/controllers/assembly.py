"""Puts the controllers together: which kinds are watched, what a change of each wakes, which tasks run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from modelservice.api.budgetpolicy import BudgetPolicy, ClusterBudgetPolicy
from modelservice.controllers.auditor import Auditor
from modelservice.controllers.bookkeeper import Bookkeeper
from modelservice.controllers.budget import Budgets
from modelservice.controllers.computepool import ComputePools
from modelservice.controllers.gather import Rules
from modelservice.controllers.gauges import Gauges
from modelservice.controllers.heartbeats import Absences
from modelservice.controllers.historian import EVERY_SECONDS as KEEP_SECONDS
from modelservice.controllers.historian import Historian
from modelservice.controllers.modelservice import ModelServices
from modelservice.controllers.otherbooks import LOOK_SECONDS as BOOK_SECONDS
from modelservice.controllers.otherbooks import OtherBooks
from modelservice.controllers.pages import SWEEP_SECONDS, Pages
from modelservice.controllers.planning import Planner
from modelservice.controllers.pricetables import LOOK_SECONDS as TABLE_SECONDS
from modelservice.controllers.pricetables import PriceTables
from modelservice.controllers.safeguards import LOOK_SECONDS, Safeguards
from modelservice.controllers.world import SELECTOR, World, service_name
from modelservice.domain.gauges import Reading
from modelservice.domain.specs import ServiceName
from modelservice.kit.apply import ChildApplier
from modelservice.kit.controller import Reconcile
from modelservice.kit.debounce import Debounce
from modelservice.kit.meter import Meter
from modelservice.kit.objects import Key, Object, key_of, label_of
from modelservice.kit.resync import Source
from modelservice.kit.status import StatusWriter
from modelservice.kit.workqueue import LIVE, RELIST, WorkQueue
from modelservice.ports import Clock, EventSink, KubeClient, MetricsSource
from modelservice.render.labels import GATEWAY, MANAGER, SLICE_MANAGER
from modelservice.settings import Settings

GATHER_SECONDS = 0.2
"""The pods of a service start and stop together: their changes are reported together."""

Changed = Callable[[Object, int], None]


@dataclass(frozen=True, slots=True)
class Assembly:
    """What runs: the watched kinds, who reconciles which kind of key, the tasks of the leader, the book's gauges.

    No work begins while there are other `books`.
    """

    sources: Sequence[Source]
    reconcilers: Mapping[str, Reconcile]
    tasks: Sequence[Callable[[], Awaitable[None]]]
    gauges: Callable[[], Iterable[Reading]]
    books: OtherBooks


@dataclass(slots=True)
class PodSource(Source):
    """The pods, whose last state is evidence for the book."""

    ended: Callable[[Object], None] = lambda _: None

    def observe(self, event: str | None, obj: Object) -> None:
        """Take in one event of the watch."""
        if event == "DELETED":
            self.ended(obj)
        Source.observe(self, event, obj)


class Toolbox(Protocol):
    """What the composition root gives to the controllers."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102 - the names say it
    @property
    def kube(self) -> KubeClient: ...  # noqa: D102
    @property
    def queue(self) -> WorkQueue[Key]: ...  # noqa: D102
    @property
    def applier(self) -> ChildApplier: ...  # noqa: D102
    @property
    def statuses(self) -> StatusWriter: ...  # noqa: D102
    @property
    def events(self) -> EventSink: ...  # noqa: D102
    @property
    def telemetry(self) -> Meter: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102


def assemble(tools: Toolbox, metrics: MetricsSource | None) -> Assembly:
    """Build all controllers over one world; without `metrics` the services that scale are held where they are."""
    settings, queue = tools.settings, tools.queue
    tick, scale = settings.tick_seconds, settings.time_scale
    world = World(tools.clock)
    debounce = Debounce(idle=1.0 * scale, longest=10.0 * scale)
    world.replan = debounce.trigger
    world.hurry = partial(debounce.trigger, at_once=True)
    margin = max(1, round(2 * tick))
    safeguards = Safeguards(
        world, tools.kube, settings.namespace, settings.admission_policies.split(), LOOK_SECONDS * scale
    )
    absences = Absences(world, tools.kube)
    auditor = Auditor(world, tools.kube, metrics, settings.namespace)
    pages = Pages(world, tools.kube, settings.namespace, settings.ledger_retention_days, SWEEP_SECONDS * scale)
    bookkeeper = Bookkeeper(
        world,
        tools.kube,
        tools.events,
        settings.namespace,
        margin,
        absences,
        safeguards,
        auditor,
        pages,
        tools.telemetry,
    )

    def wake(name: ServiceName) -> None:
        queue.add(Key("ModelService", name.namespace, name.name))

    def wake_policies() -> None:
        for ref in world.caches.policies.refs():
            queue.add(Key("BudgetPolicy", *ref), priority=RELIST)
        for ref in world.caches.cluster_policies.refs():
            queue.add(Key("ClusterBudgetPolicy", *ref), priority=RELIST)

    def wake_pools() -> None:
        for ref in world.caches.pools.refs():
            queue.add(Key("ComputePool", *ref), priority=LIVE)
        wake_policies()

    safeguards.changed = wake_policies
    tables = PriceTables(world, tools.kube, settings.namespace, TABLE_SECONDS * scale, wake_pools)
    planner = Planner(
        world,
        bookkeeper,
        tables,
        metrics,
        tools.telemetry,
        debounce,
        tick,
        wake,
        wake_policies,
        rules=Rules(settings.budget_required, tuple(settings.cost_labels.split())),
    )
    historian = Historian(world, tools.kube, settings.namespace, KEEP_SECONDS * scale)
    services = ModelServices(
        world, tools.kube, tools.applier, tools.statuses, tools.events, settings.worker_image, settings.namespace
    )
    return Assembly(
        _sources(world, queue, bookkeeper, GATHER_SECONDS * scale),
        {
            "ModelService": services.reconcile,
            "BudgetPolicy": Budgets(
                world, tools.statuses, tools.events, safeguards, world.caches.policies, BudgetPolicy
            ).reconcile,
            "ClusterBudgetPolicy": Budgets(
                world, tools.statuses, tools.events, safeguards, world.caches.cluster_policies, ClusterBudgetPolicy
            ).reconcile,
            "ComputePool": ComputePools(world, tools.statuses).reconcile,
        },
        (planner.run, safeguards.run, pages.run, historian.run),
        Gauges(world, settings.namespace).read,
        OtherBooks(tools.kube, tools.clock, settings.namespace, BOOK_SECONDS * scale),
    )


def _sources(world: World, queue: WorkQueue[Key], bookkeeper: Bookkeeper, gather: float) -> list[Source]:
    """Every change has the plan made again; it also wakes the object whose status shows it.

    A service is looked at `gather` seconds after a change of one of its children, for many others come with it. What a
    held request waits for is not put off: that a service is to be woken, and the gate of its first pod.
    """
    caches = world.caches

    def own(kind: str) -> Changed:
        def changed(obj: Object, priority: int) -> None:
            queue.add(key_of(kind, obj), priority=priority)
            world.replan()

        return changed

    def child(obj: Object, priority: int) -> None:
        queue.add_after(Key("ModelService", *service_name(obj)), gather, priority=priority)
        world.replan()

    def endpoints(obj: Object, priority: int) -> None:
        if label_of(obj, SLICE_MANAGER) == MANAGER:
            child(obj, priority)
            return
        for name in world.rests:
            queue.add(Key("ModelService", *name), priority=priority)

    def elsewhere(_: Object, __: int) -> None:
        world.replan()

    def node(_: Object, priority: int) -> None:
        for ref in caches.pools.refs():
            queue.add(Key("ComputePool", *ref), priority=min(priority, LIVE))

    return [
        Source("ModelService", caches.services, _hurrying(world, own("ModelService"), world.asked_for)),
        Source("BudgetPolicy", caches.policies, own("BudgetPolicy")),
        Source("ClusterBudgetPolicy", caches.cluster_policies, own("ClusterBudgetPolicy")),
        Source("Namespace", caches.namespaces, elsewhere),
        Source("ComputePool", caches.pools, own("ComputePool")),
        Source("ModelRuntime", caches.runtimes, elsewhere),
        Source("PersistentVolumeClaim", caches.claims, elsewhere),
        Source("Node", caches.nodes, node),
        Source("Deployment", caches.deployments, child, label_selector=SELECTOR),
        Source("Service", caches.addresses, child, label_selector=SELECTOR),
        Source("EndpointSlice", caches.slices, endpoints, label_selector=GATEWAY),
        Source("Job", caches.jobs, child, label_selector=SELECTOR),
        PodSource(
            "Pod",
            caches.pods,
            _hurrying(world, child, world.at_an_awaited_gate),
            label_selector=SELECTOR,
            ended=bookkeeper.ended,
        ),
    ]


def _hurrying(world: World, changed: Changed, awaited: Callable[[Object], bool]) -> Changed:
    """The same, and the plan is made at once when somebody waits for what the change leads to."""

    def both(obj: Object, priority: int) -> None:
        changed(obj, priority)
        if awaited(obj):
            world.hurry()

    return both
