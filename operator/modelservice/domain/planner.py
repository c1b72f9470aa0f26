"""One plan for all services: where each goes and how many pods of it the budgets pay for.

What is wanted is tried on a scratch copy of the book with the book's own operations, so a refusal here is the refusal
that the book would give. Pods that exist come first; then the services take turns, one pod at a time, the one with
the fewest pods first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelservice.domain.book import HORIZON_SECONDS, Blocked, Book, Refusal, Terms
from modelservice.domain.funding import admit, place, renew
from modelservice.domain.ledger import advance, close, set_policies
from modelservice.domain.placement import Option, price
from modelservice.domain.settlement import Funding
from modelservice.domain.snapshot import Deployed, Pod, ServiceView, Snapshot
from modelservice.domain.specs import Role, ServiceName

DRAIN_MARGIN = 60
"""Pods that cannot be renewed are drained so many seconds, and the pool's stop time, before the end of their hold."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Pods of a service that no money is there for: why, and how many."""

    why: Refusal
    pods: int


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What one service gets.

    `option` and `workload` are the placement that is wanted; `counts` the funded replicas of each Deployment by name;
    `training` the option for the next training pod when it is funded; `leaving` names the Deployments that are
    replaced; `payers` the budgets that pay for its pods, `counters` those that only count. `unpaid` when a budget is
    required and there is none.
    """

    desired: int = 0
    option: Option | None = None
    workload: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    leaving: tuple[str, ...] = ()
    training: Option | None = None
    training_funded: bool = False
    refused: Refused | None = None
    expiring: Refusal | None = None
    unpaid: bool = False
    payers: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()

    @property
    def funded(self) -> int:
        """Replicas of all its Deployments that are paid for."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of all services, and what the book step may fund, by workload."""

    services: Mapping[ServiceName, ServicePlan] = field(default_factory=dict)
    funding: Mapping[str, Funding] = field(default_factory=dict)


@dataclass(slots=True)
class Ask:
    """What one workload asks for: so many pods, of which `live` are there to stay and `granted` are paid for.

    `spared` of the live ones run by break-glass: they are granted whether there is money for them or not.
    """

    service: ServiceName
    workload: str
    option: Option
    terms: Terms
    want: int
    live: int
    spared: int = 0
    granted: int = 0
    unpaid: bool = False
    refusal: Refusal | None = None
    expiring: Refusal | None = None

    def funding(self) -> Funding:
        """What the book step may do for it."""
        pool = self.option.pool
        return Funding(
            self.granted,
            self.terms,
            pool.start_seconds,
            self.option.requests,
            pool.selector,
            self.option.ceiling,
            self.option.course,
        )


def plan(snapshot: Snapshot, now: int) -> Plan:
    """Decide for every service; equal snapshots and times give equal plans."""
    asks: dict[str, Ask] = {}
    drafts: dict[ServiceName, ServicePlan] = {}
    pods = staying(snapshot, now)
    for view in sorted(snapshot.services, key=lambda each: each.name):
        drafts[view.name], own = draft(view, snapshot, pods, now)
        asks.update({ask.workload: ask for ask in own})
    _fund(snapshot, now, asks)
    services = {name: _conclude(draft, name, asks) for name, draft in drafts.items()}
    return Plan(services, {ask.workload: ask.funding() for ask in asks.values()})


def staying(snapshot: Snapshot, now: int) -> dict[str, list[Pod]]:
    """The live pods of each workload that are in the book or run by break-glass, and so are not to be stopped.

    A book that is frozen may have lost some of them.
    """
    pods: dict[str, list[Pod]] = {}
    for pod in snapshot.pods.values():
        placement = snapshot.book.placements.get(pod.workload)
        booked = placement is not None and pod.uid in placement.units
        if pod.live and (booked or pod.spared(now) or (snapshot.frozen and pod.node is not None)):
            pods.setdefault(pod.workload, []).append(pod)
    return pods


def draft(
    view: ServiceView, snapshot: Snapshot, pods: Mapping[str, Sequence[Pod]], now: int
) -> tuple[ServicePlan, list[Ask]]:
    """Where the service goes and what it asks for, without money.

    `pods` are those that stay. Of a Deployment whose pool is gone or has no known price they are kept, and none is
    added.
    """

    def ask(workload: str, role: Role, option: Option, want: int) -> Ask:
        pool = option.pool
        matching = snapshot.payers(view, role, pool.name)
        payers = [policy for policy in matching if policy.binds or policy.currency == pool.currency]
        foreign = sorted((policy.name, policy.currency) for policy in payers if policy.currency != pool.currency)
        refusal = Refusal(Blocked.CURRENCY, foreign[0][0], currency=foreign[0][1]) if foreign else None
        rates = {policy.name: option.ceiling for policy in payers}
        advisory = frozenset(policy.name for policy in payers if not policy.binds)
        horizon = max((policy.horizon for policy in payers if policy.binds), default=HORIZON_SECONDS)
        terms = Terms(str(view.name), role.value, pool.name, pool.currency, rates, pool.billing, advisory, horizon)
        own = pods.get(workload, ())
        unpaid = want > 0 and snapshot.budget_required and not rates
        want = min(want, len(own)) if unpaid else want
        spared = sum(pod.spared(now) for pod in own)
        return Ask(view.name, workload, option, terms, want, len(own), spared, unpaid=unpaid, refusal=refusal)

    newest = max(view.deployed, key=lambda each: (each.ready > 0, each.created_at, each.name), default=None)
    option, workload, desired = None, None, view.keep
    if view.inference is not None:
        desired = view.inference.count
        option = view.inference.selection.prefer(newest.pool if newest else None)
        workload = view.inference.workloads[option.pool.name] if option else None
    desired = 0 if view.suspended else desired
    wanted = workload.partition("/")[2] if workload else newest.name if newest else None
    asks, unpriced = [], {}
    for deployed, want in _shares(view, wanted, desired):
        running = f"{view.name.namespace}/{deployed.name}"
        pool = snapshot.pools.get(deployed.pool)
        if pool is None or pool.tariff.problem:
            unpriced[deployed.name] = min(want, len(pods.get(running, ())))
            continue
        priced = price(pool, deployed.requests)
        if isinstance(priced, Option) and running != workload:
            asks.append(ask(running, Role.INFERENCE, priced, want))
    if option is not None and workload is not None:
        asks.append(ask(workload, Role.INFERENCE, option, desired))
    training = view.training.selection.prefer(None) if view.training and not view.suspended else None
    if training is not None and view.training is not None:
        asks.append(ask(view.training.workloads[training.pool.name], Role.TRAINING, training, view.training.count))
    leaving = tuple(sorted(d.name for d in view.deployed if d.name != wanted))
    counters = {policy.name for policy in snapshot.reaching(view) if not policy.binds}
    payers = {policy.name for policy in snapshot.reaching(view) if policy.binds}
    if asks:
        counters = {policy for one in asks for policy in one.terms.advisory}
        payers = {policy for one in asks for policy in one.terms.binding}
    drafted = ServicePlan(
        desired,
        option,
        workload,
        unpriced,
        leaving=leaving,
        training=training,
        unpaid=any(one.unpaid for one in asks),
        payers=tuple(sorted(payers)),
        counters=tuple(sorted(counters)),
    )
    return drafted, asks


def _shares(view: ServiceView, wanted: str | None, desired: int) -> list[tuple[Deployed, int]]:
    """Replicas of each Deployment: the old ones keep what the wanted one does not yet answer for, the newest first."""
    rest = max(0, desired - sum(d.ready for d in view.deployed if d.name == wanted))
    shares = []
    for deployed in sorted(view.deployed, key=lambda each: (-each.created_at, each.name)):
        if deployed.name == wanted:
            shares.append((deployed, desired))
        else:
            shares.append((deployed, min(rest, deployed.replicas)))
            rest -= shares[-1][1]
    return shares


def _fund(snapshot: Snapshot, now: int, asks: Mapping[str, Ask]) -> None:
    """Set `granted` and `refusal` of every ask; of a frozen book only what is there is granted."""
    if snapshot.frozen:
        for ask in asks.values():
            ask.granted = min(ask.want, ask.live)
        return
    book = set_policies(advance(snapshot.book, now), snapshot.policies)
    for ask in asks.values():
        placed = ask.refusal or place(book, ask.workload, ask.terms, ask.option.course)
        if isinstance(placed, Refusal):
            ask.refusal = placed
        else:
            book = placed
    for ask in asks.values():
        ask.granted = min(ask.want, ask.live)
        if ask.granted and ask.workload in book.placements:
            book = _keep_paying(book, ask, now, snapshot)
            ask.granted = max(ask.granted, min(ask.want, ask.spared))
    takers = [ask for ask in asks.values() if ask.refusal is None and ask.expiring is None]
    while takers:
        takers.sort(key=lambda ask: (ask.granted, ask.workload))
        ask = takers.pop(0)
        if ask.granted >= ask.want:
            continue
        tried = admit(book, ask.workload, [f"planned/{ask.workload}/{ask.granted}"], ask.terms)
        if isinstance(tried, Refusal):
            ask.refusal = tried
            continue
        book = tried
        ask.granted += 1
        takers.append(ask)


def _keep_paying(book: Book, ask: Ask, now: int, snapshot: Snapshot) -> Book:
    """Renew what runs; when money is short and the hold ends soon, grant only pods that can be paid for longer."""
    renewed = renew(book, ask.workload, ask.terms)
    if not isinstance(renewed, Refusal):
        return renewed
    placement = book.placements[ask.workload]
    hold = placement.hold_through
    if hold is None or now < hold - (ask.option.pool.billing.stop + DRAIN_MARGIN):
        return book
    ask.expiring = renewed
    pods = sorted(uid for uid in placement.units if uid in snapshot.pods and snapshot.pods[uid].live)
    for count in range(ask.granted - 1, 0, -1):
        trial = book
        for uid in pods[count:]:
            trial = close(trial, uid, book.time + 1)
        longer = renew(trial, ask.workload, ask.terms)
        if not isinstance(longer, Refusal):
            ask.granted = count
            return book
    ask.granted = 0
    return book


def _conclude(draft: ServicePlan, name: ServiceName, asks: Mapping[str, Ask]) -> ServicePlan:
    own = [ask for ask in asks.values() if ask.service == name]
    counts = {ask.workload.partition("/")[2]: ask.granted for ask in own if ask.terms.role == Role.INFERENCE}
    counts = {**draft.counts, **counts}
    training = next((ask for ask in own if ask.terms.role == Role.TRAINING), None)
    refusal = next((ask.refusal for ask in own if ask.refusal is not None), None)
    missing = sum(ask.want - ask.granted for ask in own if ask.refusal is not None)
    return replace(
        draft,
        counts=counts,
        training_funded=training is not None and 0 < training.want <= training.granted,
        refused=Refused(refusal, missing) if refusal is not None else None,
        expiring=next((ask.expiring for ask in own if ask.expiring is not None), None),
    )
