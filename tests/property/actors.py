"""Those who act on the simulated world: an operator that uses the ledger, and a fuse.

An operator is a generator that yields between any two calls of the API, so that it can be delayed, interleaved with
another one, or thrown away at each of these points. ``Faults`` switches single rules off: the oracles must see it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from modelservice.domain import codec, funding, ledger
from modelservice.domain.book import HORIZON_SECONDS, Book, Refusal, Terms
from modelservice.domain.fuse import judge
from modelservice.domain.guarantee import Watch
from modelservice.domain.ledger import Policy
from modelservice.domain.prices import Billing, BillingStart, billed_since
from modelservice.domain.snapshot import Pod
from modelservice.domain.specs import Role, ServiceName

from tests.property.world import TENTHS, Conflict, View, World


@dataclass(frozen=True)
class Faults:
    """Rules that an operator breaks."""

    no_compare_and_swap: bool = False
    ungate_before_write: bool = False
    release_at_deletion: bool = False
    hold_expires: bool = False
    no_write_deadline: bool = False
    release_while_gated: bool = False
    absence_without_heartbeat: bool = False
    local_clock: int = 0
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
    """One replica of the operator; ``tick`` in seconds."""

    world: World
    spec: Spec
    tick: int
    faults: Faults = NONE
    lag: int = 0
    absent: dict[str, int] = field(default_factory=dict)

    def reconcile(self) -> Iterator[None]:
        """One pass; each yield is a point at which time may pass or the process may die."""
        world, began = self.world, self.world.now
        # The plan is made before the book is read: a price that falls after money time holds from the next pass on.
        ceilings = {name: workload.ceiling for name, workload in world.workloads.items()}
        value, version, date = world.get_book()
        yield
        before = codec.decode(value)
        book = ledger.advance(before, date + self.faults.local_clock)
        pods, list_date = world.list_pods()
        heartbeats = dict(world.heartbeats)
        past = max(world.now - self.lag * TENTHS, self.spec.policies[0][0])
        book = ledger.set_policies(book, self.spec.policies_at(past))
        yield
        book = self._evidence(book, pods, list_date, heartbeats)
        stored = yield from self._store_pages(before)
        policies = self.spec.policies_at(past)
        terms = {name: self._terms(name, ceiling, policies) for name, ceiling in sorted(ceilings.items())}
        book = self._change_terms(ledger.collect(ledger.seal(book), stored), pods, terms)
        book, doomed = yield from self._give_up(book, pods)
        book = self._fund(self._shed(book, doomed), pods, doomed)
        admitted = self._admitted(book, pods)
        if self.faults.ungate_before_write:
            yield from self._ungate(book, pods, admitted, book.time)
        if ledger.differs(before, book) or admitted:
            yield
            if not self.faults.no_write_deadline and not ledger.may_write((world.now - began) / TENTHS):
                return
            try:
                answer = world.put_book(
                    codec.encode(book), world.version if self.faults.no_compare_and_swap else version
                )
            except Conflict:
                return
            yield from self._ungate(book, pods, admitted, answer)
        yield
        for uid in self._to_delete(book, pods):
            world.delete_pod(uid)
            yield
        self._refill()

    def _store_pages(self, before: Book) -> Generator[None, None, set[tuple[str, int]]]:
        sealed = [account for account in before.accounts if account.sealed]
        for account in sealed:
            self.world.pages.setdefault(account.key, codec.encode_page(before, account))
            yield
        return {account.key for account in sealed}

    def _change_terms(self, book: Book, pods: dict[str, View], terms: dict[str, Terms]) -> Book:
        alive = {view.uid for view in pods.values() if not view.deleting and view.finished is None}
        for placement in list(book.placements.values()):
            if not placement.draining:
                book = funding.drain(book, placement.name, placement.units.keys() - alive)
        for name, wanted in terms.items():
            placed = funding.place(book, name, wanted)
            assert isinstance(placed, Book)
            book = placed
        return book

    def _give_up(self, book: Book, pods: dict[str, View]) -> Generator[None, None, tuple[Book, list[str]]]:
        """Delete the surplus that is not bound; the bound rest is to be drained."""
        doomed = []
        for uid in self._surplus(book, pods):
            view = pods[uid]
            if view.bound is not None:
                doomed.append(uid)
                continue
            if self.faults.release_while_gated or self.world.delete_pod(uid, view.version):
                book = ledger.release(book, uid)
                del pods[uid]
            yield
        return book, doomed

    def _ungate(self, book: Book, pods: dict[str, View], uids: Sequence[str], answer: int) -> Iterator[None]:
        for uid in uids:
            yield
            if self.faults.no_write_deadline or funding.may_ungate(book, uid, answer):
                self.world.ungate(uid, pods[uid].version)

    def _terms(self, name: str, ceiling: int, policies: Sequence[Policy]) -> Terms:
        workload = self.world.workloads[name]
        rate = ceiling * self.faults.cheap_rate_percent // 100
        billing = Billing(workload.stop, workload.tail, workload.minimum)
        payers = [policy for policy in policies if policy.name in workload.policies]
        counting = frozenset(policy.name for policy in payers if not policy.binds)
        horizon = max((policy.horizon for policy in payers if policy.binds), default=HORIZON_SECONDS)
        rates = dict.fromkeys(workload.policies, rate)
        return Terms(workload.service, "Inference", "pool", "USD", rates, billing, counting, horizon)

    def _evidence(self, book: Book, pods: dict[str, View], list_date: int, heartbeats: dict[str, int]) -> Book:
        for placement in list(book.placements.values()):
            for uid in list(placement.units):
                view = pods.get(uid)
                if view is None:
                    book = self._absent(book, uid, list_date, heartbeats)
                    continue
                self.absent.pop(uid, None)
                book = self._present(book, uid, view, list_date)
        return book

    def _present(self, book: Book, uid: str, view: View, list_date: int) -> Book:
        placement = book.placement_of(uid)
        assert placement is not None
        workload = self.world.workloads[view.workload]
        if view.node is not None:
            admitted_at = placement.units[uid].start
            since = billed_since(BillingStart(workload.billed_from), ungated_at=admitted_at, started_at=view.started)
            if since is not None:
                latest = list_date if workload.billed_from == "Ungate" else None
                book = ledger.prove(book, uid, ledger.start_seen(list_date, since), view.node, latest)
        if view.finished is not None:
            return ledger.close(book, uid, ledger.end_seen(list_date, view.finished))
        if self.faults.release_at_deletion and view.deleting:
            return ledger.close(book, uid, list_date + 1)
        if self.faults.hold_expires and book.time - placement.units[uid].start > 600:
            return ledger.close(book, uid, list_date + 1)
        return book

    def _absent(self, book: Book, uid: str, list_date: int, heartbeats: dict[str, int]) -> Book:
        since = self.absent.setdefault(uid, self.world.now)
        placement = book.placement_of(uid)
        assert placement is not None
        node = placement.units[uid].node
        proofs = [heartbeats[node]] if node is not None else list(heartbeats.values())
        if self.faults.absence_without_heartbeat or min(proofs) > since:
            watch, hold = self.world.watch, placement.hold_through
            fused = watch is not None and hold is not None and watch.bounds(hold, list_date)
            return ledger.close(book, uid, ledger.end_gone(placement, list_date, fused=fused))
        return book

    def _surplus(self, book: Book, pods: dict[str, View]) -> Sequence[str]:
        """Pods beyond the demand, gated ones first; pods that were never scheduled; gated ones that are not paid."""
        surplus = []
        for name, workload in self.world.workloads.items():
            own = [v for v in pods.values() if v.workload == name and not v.deleting and v.finished is None]
            own.sort(key=lambda v: (not v.gated, v.bound is not None, -v.created))
            surplus += [v.uid for v in own[: max(0, len(own) - workload.demand)]]
            late = book.time - 2 * workload.boot
            surplus += [
                v.uid
                for v in own
                if v.ungated is not None and v.bound is None and v.ungated < late and v.uid not in surplus
            ]
        for placement in book.placements.values():
            hold = placement.hold_through
            if placement.draining or (hold is not None and hold <= book.time):
                surplus += [u for u in placement.units if u in pods and pods[u].bound is None and u not in surplus]
        return surplus

    def _shed(self, book: Book, doomed: Sequence[str]) -> Book:
        """Drain what is to stop, and one pod of each account that is insolvent."""
        for name in sorted(self.world.workloads):
            book = funding.drain(book, name, doomed)
        for account in book.insolvent():
            paying = [p for p in book.placements.values() if account.policy in p.terms.rates]
            active = sorted((p for p in paying if p.units and not p.draining), key=lambda p: p.name)
            if active:
                book = funding.drain(book, active[0].name, [min(active[0].units)])
        return book

    def _fund(self, book: Book, pods: dict[str, View], doomed: Sequence[str]) -> Book:
        for name in sorted(self.world.workloads):
            renewed = funding.renew(book, name)
            if isinstance(renewed, Book):
                book = renewed
                continue
            placement = book.placements[name]
            if placement.hold_through is not None and placement.hold_through - book.time <= 2 * self.tick:
                book = funding.drain(book, name, list(placement.units))
        for view in sorted(pods.values(), key=lambda v: (v.created, v.uid)):
            if view.gated and not view.deleting and book.placement_of(view.uid) is None and view.uid not in doomed:
                admitted = funding.admit(book, view.workload, [view.uid])
                book = book if isinstance(admitted, Refusal) else admitted
        return book

    def _admitted(self, book: Book, pods: dict[str, View]) -> list[str]:
        found = []
        for uid, view in pods.items():
            placement = book.placement_of(uid)
            if view.gated and not view.deleting and placement is not None and not placement.draining:
                found.append(uid)
        return found

    def _to_delete(self, book: Book, pods: dict[str, View]) -> list[str]:
        found = []
        for uid, view in pods.items():
            placement = book.placement_of(uid)
            if placement is None:
                wanted = view.finished is None
            else:
                wanted = view.deleting or view.bound is None or not placement.draining
            if not wanted:
                found.append(uid)
        return found

    def _refill(self) -> None:
        for name, workload in self.world.workloads.items():
            own = [
                p
                for p in self.world.pods.values()
                if p.workload.name == name and p.exists and p.deleting is None and p.ended is None
            ]
            for _ in range(workload.demand - len(own)):
                self.world.create_pod(name)


@dataclass
class Fuse:
    """Deletes what runs past its hold; reads the pods first, then the book."""

    world: World

    def check(self) -> Iterator[None]:
        """One pass."""
        views, _ = self.world.list_pods()
        yield
        value, _, date = self.world.get_book()
        verdict = judge([_seen(view) for view in views.values()], codec.decode(value), date)
        yield
        for deletion in verdict.delete:
            version = int(deletion.pod.version) if deletion.unbound else None
            with suppress(KeyError):
                self.world.delete_pod(deletion.pod.uid, version)
        yield
        self.world.watch = (self.world.watch or Watch(date, date)).extended(date, self.world.date)


def _seen(view: View) -> Pod:
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
        terminal=view.finished is not None,
        deleting=view.deleting,
    )
