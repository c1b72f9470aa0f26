"""Those who act on the simulated world: an operator that plans and settles with the real decisions, and a fuse.

An operator is a generator that yields between any two calls of the API, so that it can be delayed, interleaved with
another one, or thrown away at each of these points. Around ``plan`` and ``settle`` it does what the controllers do.
``Faults`` switches single rules off: the oracles must see it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from modelservice.domain import codec
from modelservice.domain.book import Book
from modelservice.domain.endurance import Loan, lend, recall
from modelservice.domain.funding import may_ungate
from modelservice.domain.fuse import judge
from modelservice.domain.guarantee import Watch
from modelservice.domain.ledger import Policy, may_write
from modelservice.domain.placement import Option, Selection, price
from modelservice.domain.planner import Plan, plan
from modelservice.domain.prices import ON_DEMAND, Billing, BillingStart
from modelservice.domain.settlement import End, Evidence, Settlement, settle
from modelservice.domain.snapshot import BreakGlass, Pod, ServiceView, Snapshot, Wish
from modelservice.domain.specs import Pool, Role, ServiceName
from modelservice.domain.tariff import fixed

from tests.property.world import TENTHS, Conflict, View, Workload, World

REQUESTS = {"cpu": 1000}
"""What one pod asks for, and what a node has: a pod costs what a node costs."""


@dataclass(frozen=True)
class Faults:
    """Rules that an operator breaks."""

    no_compare_and_swap: bool = False
    ungate_before_write: bool = False
    release_at_deletion: bool = False
    hold_expires: bool = False
    no_write_deadline: bool = False
    release_while_gated: bool = False
    lends_twice: bool = False
    absence_without_heartbeat: bool = False
    local_clock: bool = False
    count_ticks: bool = False
    cheap_rate_percent: int = 100


NONE = Faults()


@dataclass
class Spec:
    """What users and the platform ask for, with the past for stale readers."""

    policies: list[tuple[int, tuple[Policy, ...]]]

    def policies_at(self, now: int) -> tuple[Policy, ...]:
        """Policies in force at a time in tenths."""
        return [value for since, value in self.policies if since <= now][-1]


@dataclass
class Operator:
    """One replica of the operator; ``tick`` and ``lag`` in seconds, ``skew`` those by which its clock runs ahead."""

    world: World
    spec: Spec
    tick: int
    faults: Faults = NONE
    lag: int = 0
    skew: int = 0
    book: Book | None = None
    ends: dict[str, End] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    away: bool = False

    def __post_init__(self) -> None:
        self.world.on_gone.append(self._watch)

    def crash(self) -> None:
        """Lose everything that was in memory, and see nothing until the next pass."""
        self.book, self.away = None, True
        self.ends, self.nodes, self.absent = {}, {}, {}

    def reconcile(self) -> Iterator[None]:
        """One pass; each yield is a point at which time may pass or the process may die."""
        self.away = False
        past = max(self.world.now - self.lag * TENTHS, self.spec.policies[0][0])
        policies = self.spec.policies_at(past)
        if self.book is None:
            yield from self._settle(Plan(), policies)
        # The plan is made before the book is read: a price that falls after money time holds from the next pass on.
        made = self._plan(policies)
        yield from self._settle(made, policies)
        for workload, grant in made.funding.items():
            yield
            self.world.scale(workload, grant.count)

    def _watch(self, view: View) -> None:
        """A watch shows the last state of a pod; whoever is dead or cut off then does not see it."""
        if self.away or self.world.rng.random() < self.world.quirks.unseen:
            return
        if view.node is None:
            self.ends[view.uid] = End(never_bound=True)
        elif view.finished is not None:
            self.ends[view.uid] = End(finished_at=view.finished)
        else:
            self.nodes[view.uid] = view.node

    def _plan(self, policies: tuple[Policy, ...]) -> Plan:
        """What the planner makes of the last book, of the pods, and of a clock that may be wrong."""
        if self.book is None:
            return Plan()
        workloads = self.world.workloads.values()
        pools = {one.pool: _pool(one, self.faults.cheap_rate_percent) for one in workloads}
        services: dict[str, ServiceView] = {}
        for one in workloads:
            fresh = ServiceView(ServiceName(*one.service.split("/")), suspended=False)
            view = services.get(one.service, fresh)
            option = price(pools[one.pool], REQUESTS)
            assert isinstance(option, Option)
            wish = Wish(Selection((option,), ()), {one.pool: one.name}, one.demand)
            if one.role == Role.TRAINING:
                services[one.service] = replace(view, training=wish)
            else:
                services[one.service] = replace(view, inference=wish, minimum=one.floor)
        views, date = self.world.list_pods()
        pods = {uid: _pod(view) for uid, view in views.items()}
        snapshot = Snapshot(tuple(services.values()), pools, policies, pods, self.book)
        return plan(snapshot, date + self.skew)

    def _settle(self, made: Plan, policies: tuple[Policy, ...]) -> Iterator[None]:
        """Read the book, list, settle, write; then open gates and delete."""
        world, began = self.world, self.world.now
        stored, version, date = world.get_book()
        yield
        views, list_date = world.list_pods()
        pods = {uid: _pod(view) for uid, view in views.items()}
        heartbeats = dict(world.heartbeats)
        yield
        pages = yield from self._store_pages(stored)
        ends = {**self.ends, **self._proven_gone(stored, pods, heartbeats)}
        evidence = self._twisted(stored, made, Evidence(list_date, pods, ends, pages, world.watch))
        settled = settle(stored, self._money_time(stored, date), evidence, policies, made.funding, 2 * self.tick)
        if self.faults.lends_twice:
            settled = replace(settled, book=_lend_twice(settled.book))
        if self.faults.ungate_before_write:
            yield from self._ungate(settled, date)
        if settled.changed or settled.ungate:
            yield
            if not self.faults.no_write_deadline and not may_write((world.now - began) / TENTHS):
                return
            try:
                answered = world.put_book(
                    codec.encode(settled.book), world.version if self.faults.no_compare_and_swap else version
                )
            except Conflict:
                return
            yield from self._ungate(settled, answered)
        self.book = settled.book
        for deletion in settled.delete:
            yield
            bound_to = int(deletion.pod.version) if deletion.unbound else None
            world.delete_pod(deletion.pod.uid, bound_to)

    def _money_time(self, stored: Book, date: int) -> int:
        if self.faults.count_ticks and stored.time:
            return stored.time + self.tick
        return date + self.skew if self.faults.local_clock else date

    def _store_pages(self, stored: Book) -> Generator[None, None, frozenset[tuple[str, int]]]:
        for account in stored.accounts:
            if account.sealed:
                self.world.pages.setdefault(account.key, codec.encode_page(stored, account))
                yield
        return frozenset(self.world.pages)

    def _proven_gone(self, stored: Book, pods: dict[str, Pod], heartbeats: dict[str, int]) -> dict[str, End]:
        """Ends of missing pods: each node that may have run one has reported since it was first missed."""
        gone = {}
        for record in stored.placements.values():
            for uid, unit in record.units.items():
                if uid in pods:
                    continue
                since = self.absent.setdefault(uid, self.world.now)
                node = unit.node or self.nodes.get(uid)
                proofs = [heartbeats[node]] if node is not None else list(heartbeats.values())
                if self.faults.absence_without_heartbeat or min(proofs) > since:
                    gone[uid] = End()
        return gone

    def _ungate(self, settled: Settlement, answered: int) -> Iterator[None]:
        for pod in settled.ungate:
            yield
            if self.faults.no_write_deadline or may_ungate(settled.book, pod.uid, answered):
                self.world.ungate(pod.uid, int(pod.version))

    def _twisted(self, stored: Book, made: Plan, evidence: Evidence) -> Evidence:
        """The evidence as a faulty operator takes it."""
        faults = self.faults
        if not (faults.release_at_deletion or faults.hold_expires or faults.release_while_gated):
            return evidence
        pods, ends = dict(evidence.pods), dict(evidence.ends)
        for record in stored.placements.values():
            units = [uid for uid in record.units if uid in pods]
            for uid in units:
                pod = pods[uid]
                expired = record.hold_through is not None and record.hold_through <= evidence.date
                if (faults.release_at_deletion and pod.deleting) or (faults.hold_expires and expired):
                    pods[uid] = replace(pod, terminal=True, finished_at=evidence.date)
            grant = made.funding.get(record.workload)
            if faults.release_while_gated and grant is not None:
                for uid in [uid for uid in units if pods[uid].gated][: max(0, len(units) - grant.count)]:
                    del pods[uid]
                    ends[uid] = End(never_bound=True)
        return replace(evidence, pods=pods, ends=ends)


def _lend_twice(book: Book) -> Book:
    """Lend to each workload what is free as if nobody else got any of it."""
    free = recall(book)
    lent = [lend(free, [Loan(name)]).placements[name] for name in free.placements if "~" not in name]
    return replace(book, placements={**book.placements, **{one.name: one for one in lent}})


def _pool(workload: Workload, percent: int) -> Pool:
    return Pool(
        name=workload.pool,
        currency="USD",
        accelerator="CPU",
        resource=None,
        allocatable=REQUESTS,
        selector={},
        tolerations=(),
        tariff=fixed({ON_DEMAND: max(1, workload.ceiling * percent // 100)}),
        margin_percent=0,
        billing=Billing(workload.stop, workload.tail, workload.minimum, begins=BillingStart(workload.billed_from)),
        start_seconds=workload.boot,
    )


@dataclass
class Fuse:
    """Deletes what runs past its hold; reads the pods first, then the book."""

    world: World

    def check(self) -> Iterator[None]:
        """One pass."""
        views, _ = self.world.list_pods()
        yield
        book, _, date = self.world.get_book()
        verdict = judge([_pod(view) for view in views.values()], book, date)
        yield
        for deletion in verdict.delete:
            version = int(deletion.pod.version) if deletion.unbound else None
            with suppress(KeyError):
                self.world.delete_pod(deletion.pod.uid, version)
        yield
        watch = self.world.watch or Watch(date, date)
        spared = {pod.uid for pod in verdict.spared}
        there = {uid for record in book.placements.values() for uid in record.units} | views.keys()
        self.world.watch = watch.extended(date, self.world.date, spared, there)


def _pod(view: View) -> Pod:
    namespace, _, name = view.workload.partition("/")
    return Pod(
        uid=view.uid,
        namespace=namespace,
        name=view.uid,
        version=str(view.version),
        service=ServiceName(namespace, name),
        role=Role.INFERENCE,
        workload=view.workload,
        created_at=view.created,
        gated=view.gated,
        node=view.node,
        started_at=view.started,
        terminal=view.finished is not None,
        finished_at=view.finished,
        deleting=view.deleting,
        requests={"cpu": REQUESTS["cpu"] + int(view.dear)},
        break_glass=None if view.spared_until is None else BreakGlass(view.spared_until),
    )
