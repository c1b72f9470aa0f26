"""One plan for all services: where each goes and how many pods of it the budgets pay for (see ``allocation``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelservice.domain.allocation import allocate
from modelservice.domain.asks import Ask, Refused, Unfunded
from modelservice.domain.book import HORIZON_SECONDS, Blocked, Refusal, Terms
from modelservice.domain.curbs import Curb, Curbed, curb_replicas, curbs
from modelservice.domain.handover import newest, shares, together
from modelservice.domain.placement import Option, price
from modelservice.domain.settlement import Funding
from modelservice.domain.snapshot import Deployed, Pod, ServiceView, Snapshot
from modelservice.domain.specs import Role, ServiceName

NO_CURBS: Mapping[str, tuple[Curb, ...]] = {}


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What one service gets.

    `option` and `workload` are the placement that is wanted, `beside` and `tried` that of the next revision, which is
    tried beside it; `counts` the funded replicas of each Deployment by name; `training` the option for the next
    training pod when it is funded; `leaving` names the Deployments that are
    replaced; `payers` the budgets that pay for its pods, `counters` those that only count. `unpaid` when a budget is
    required and there is none. `unfunded` is what a budget lacks to keep its fewest replicas until the period ends,
    `curbed` what a threshold takes from it.
    """

    desired: int = 0
    option: Option | None = None
    workload: str | None = None
    beside: Option | None = None
    tried: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    leaving: tuple[str, ...] = ()
    training: Option | None = None
    training_funded: bool = False
    refused: Refused | None = None
    expiring: Refusal | None = None
    unfunded: tuple[Unfunded, ...] = ()
    curbed: Curbed | None = None
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


def plan(snapshot: Snapshot, now: int) -> Plan:
    """Decide for every service; equal snapshots and times give equal plans."""
    pods = staying(snapshot, now)
    views = sorted(snapshot.services, key=lambda each: each.name)
    in_force = curbs(snapshot.book, snapshot.policies, now)
    drafts = {view.name: draft(view, snapshot, pods, now, in_force) for view in views}
    asks = {ask.workload: ask for _, own in drafts.values() for ask in own}
    allocate(snapshot, now, asks)
    for ask in asks.values():
        ask.all_or_none()
    services = {name: _conclude(drafted, own) for name, (drafted, own) in drafts.items()}
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
    view: ServiceView,
    snapshot: Snapshot,
    pods: Mapping[str, Sequence[Pod]],
    now: int,
    in_force: Mapping[str, tuple[Curb, ...]] = NO_CURBS,
) -> tuple[ServicePlan, list[Ask]]:
    """Where the service goes and what it asks for, without money.

    `pods` are those that stay. Of a Deployment whose pool is gone or has no known price they are kept, and none is
    added. Floors are the fewest replicas, and a training pod that runs; money is kept until the end of the period for
    the replicas of the wanted placement, since it is not known when others end. `in_force` are the curbs by policy.
    """
    labels = tuple((name, view.labels[name]) for name in sorted(snapshot.cost_labels) if name in view.labels)

    def ask(
        workload: str,
        role: Role,
        option: Option,
        want: int,
        *,
        lasting: bool = False,
        extra: bool = False,
        whole: bool = False,
    ) -> Ask:
        pool = option.pool
        matching = snapshot.payers(view, role, pool.name)
        payers = [policy for policy in matching if policy.binds or policy.currency == pool.currency]
        foreign = sorted((policy.name, policy.currency) for policy in payers if policy.currency != pool.currency)
        refusal = Refusal(Blocked.CURRENCY, foreign[0][0], currency=foreign[0][1]) if foreign else None
        rates = {policy.name: option.ceiling for policy in payers}
        advisory = frozenset(policy.name for policy in payers if not policy.binds)
        horizon = max((policy.horizon for policy in payers if policy.binds), default=HORIZON_SECONDS)
        terms = Terms(
            str(view.name), role.value, pool.name, pool.currency, rates, pool.billing, advisory, horizon, labels
        )
        own = pods.get(workload, ())
        unpaid = want > 0 and snapshot.budget_required and not rates
        want = min(want, len(own)) if unpaid else want
        fewest = view.minimum if role is Role.INFERENCE else len(own)
        floor = min(want, fewest) if view.priority.has_floors and not (extra or whole) else 0
        return Ask(
            view.name,
            workload,
            option,
            terms,
            want,
            tuple(pod.uid for pod in sorted(own, key=lambda pod: (not pod.spared(now), pod.uid))),
            sum(pod.spared(now) for pod in own),
            view.priority,
            floor,
            floor if lasting else 0,
            unpaid,
            refusal,
            whole=whole,
        )

    latest = newest(view.deployed)
    option, workload, desired = None, None, view.keep
    if view.inference is not None:
        desired = view.inference.count
        option = view.inference.selection.prefer(latest.pool if latest and not view.waking else None)
        workload = view.inference.workloads[option.pool.name] if option else None
    desired = 0 if view.suspended else desired
    allowed, curbed = _curbed(view, snapshot, pods, now, in_force, option, desired)
    wanted = workload.partition("/")[2] if workload else latest.name if latest else None
    tried, unpriced = _tried(view, latest), {}
    named = tried.workload.partition("/")[2] if tried else None
    asks = [ask(tried.workload, Role.INFERENCE, tried.option, tried.count, extra=True)] if tried else []
    given = shares(view, wanted, named, allowed)
    for deployed in (one for one in view.deployed if one.name in given):
        want, running = given[deployed.name], f"{view.name.namespace}/{deployed.name}"
        pool = snapshot.pools.get(deployed.pool)
        if pool is None or pool.tariff.problem:
            unpriced[deployed.name] = min(want, len(pods.get(running, ())))
            continue
        priced = price(pool, deployed.requests)
        if isinstance(priced, Option) and running != workload:
            asks.append(ask(running, Role.INFERENCE, priced, want, lasting=deployed.name == wanted))
    if option is not None and workload is not None:
        count = given.get(wanted or "", allowed)
        asks.append(ask(workload, Role.INFERENCE, option, count, lasting=True, whole=together(view, wanted)))
    training = view.training.selection.prefer(None) if view.training and not view.suspended else None
    if training is not None and view.training is not None:
        name = view.training.workloads[training.pool.name]
        count, stopped = _curbed_training(view, snapshot, len(pods.get(name, ())), now, in_force, training)
        asks.append(ask(name, Role.TRAINING, training, count))
        curbed = curbed or stopped
    leaving = tuple(sorted(d.name for d in view.deployed if d.name not in (wanted, named)))
    payers, counters = _paying(view, snapshot, asks)
    drafted = ServicePlan(
        desired,
        option,
        workload,
        tried.option if tried else None,
        tried.workload if tried else None,
        unpriced,
        leaving=leaving,
        training=training,
        curbed=curbed,
        unpaid=any(one.unpaid for one in asks),
        payers=payers,
        counters=counters,
    )
    return drafted, asks


@dataclass(frozen=True, slots=True)
class _Tried:
    """The placement of the revision that is tried beside the one that serves."""

    workload: str
    option: Option
    count: int


def _tried(view: ServiceView, latest: Deployed | None) -> _Tried | None:
    wish = view.turn.beside
    option = wish.selection.prefer(latest.pool if latest else None) if wish else None
    if wish is None or option is None or view.suspended:
        return None
    return _Tried(wish.workloads[option.pool.name], option, wish.count)


def _paying(view: ServiceView, snapshot: Snapshot, asks: Sequence[Ask]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The budgets that pay for its pods, and those that only count them."""
    counters = {policy.name for policy in snapshot.reaching(view) if not policy.binds}
    payers = {policy.name for policy in snapshot.reaching(view) if policy.binds}
    if asks:
        counters = {policy for one in asks for policy in one.terms.advisory}
        payers = {policy for one in asks for policy in one.terms.binding}
    return tuple(sorted(payers)), tuple(sorted(counters))


def _curbed(
    view: ServiceView,
    snapshot: Snapshot,
    pods: Mapping[str, Sequence[Pod]],
    now: int,
    in_force: Mapping[str, tuple[Curb, ...]],
    option: Option | None,
    desired: int,
) -> tuple[int, Curbed | None]:
    """How many replicas thresholds leave, those that run by break-glass in any case, and which one takes most."""
    used = {option.pool.name} if option is not None else set()
    used |= {deployed.pool for deployed in view.deployed}
    payers = {policy.name for pool in used for policy in snapshot.payers(view, Role.INFERENCE, pool)}
    own = [curb for name in sorted(payers) for curb in in_force.get(name, ())]
    there = sum(deployed.replicas for deployed in view.deployed)
    allowed, curbed = curb_replicas(own, desired, there, view.minimum, view.priority, now)
    running = [pod for one in view.deployed for pod in pods.get(f"{view.name.namespace}/{one.name}", ())]
    spared = min(desired, sum(pod.spared(now) for pod in running))
    if curbed is None or spared <= allowed:
        return allowed, curbed
    return spared, Curbed(curbed.curb, desired - spared) if spared < desired else None


def _curbed_training(
    view: ServiceView,
    snapshot: Snapshot,
    running: int,
    now: int,
    in_force: Mapping[str, tuple[Curb, ...]],
    option: Option,
) -> tuple[int, Curbed | None]:
    """How many training pods thresholds leave, those that run in any case, and which one takes the others."""
    count = view.training.count if view.training is not None else 0
    payers = snapshot.payers(view, Role.TRAINING, option.pool.name)
    own = [curb for policy in payers for curb in in_force.get(policy.name, ())]
    most, curbed = curb_replicas(own, count, 0, 0, view.priority, now)
    allowed = max(most, min(count, running))
    return allowed, curbed if allowed < count else None


def _conclude(draft: ServicePlan, own: Sequence[Ask]) -> ServicePlan:
    counts = {ask.workload.partition("/")[2]: ask.granted for ask in own if ask.terms.role == Role.INFERENCE}
    training = next((ask for ask in own if ask.terms.role == Role.TRAINING), None)
    refused = [(ask.refusal, ask) for ask in own if ask.refusal is not None]
    return replace(
        draft,
        counts={**draft.counts, **counts},
        training_funded=training is not None and 0 < training.want <= training.granted,
        refused=Refused(
            refused[0][0],
            sum(ask.want - ask.granted for _, ask in refused),
            sum(ask.waiting for _, ask in refused),
            sum(ask.yielded for _, ask in refused),
        )
        if refused
        else None,
        expiring=next((ask.expiring for ask in own if ask.expiring is not None), None),
        unfunded=tuple(lack for ask in own for lack in ask.unfunded),
    )
