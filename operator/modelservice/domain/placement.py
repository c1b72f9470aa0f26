"""Which pool a pod goes to: the cheapest on-demand one that fits, and for each other one why not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from modelservice.domain.prices import ON_DEMAND, STEADY, Course, dominant_share, node_ceiling, pod_rate
from modelservice.domain.quantities import show, wholes
from modelservice.domain.specs import Drain, Pool, Role, Runtime, Workload

LONGEST_GRACE = 60
STOP_MARGIN = 15
"""Between the end of the time that a pod has to stop and the kubelet's proof that it has."""
KILL_SECONDS = 5
"""What a pod has beyond its drain, so that one that ends in time is not killed."""
DRAIN_DELAY = 5
"""Between the order to stop and the signal to the process: endpoints are withdrawn everywhere meanwhile."""
LEAST_DRAIN = 5
"""What the last requests have after the signal, at least."""


@dataclass(frozen=True, slots=True)
class Option:
    """A pool that fits.

    `price` is what a pod costs per hour at the on-demand price, `ceiling` what is held for it, both in micro-units;
    `requests` is what it asks of a node there, in integers of `quantities`. `course` says how the ceiling moves over
    time: the dearest of it that a hold can meet is held.
    """

    pool: Pool
    purchase: str
    price: int
    ceiling: int
    requests: Mapping[str, int]
    course: Course = STEADY


@dataclass(frozen=True, slots=True)
class Rejection:
    """A pool that does not fit; `why` ends a sentence that begins with its name; `currency` when only that is wrong."""

    pool: str
    why: str
    currency: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """All pools, judged: options from the cheapest on, ties by name."""

    options: tuple[Option, ...]
    rejections: tuple[Rejection, ...]

    def prefer(self, pool: str | None) -> Option | None:
        """The option of the pool that is in use already, which is kept while it fits, else the cheapest."""
        return next((option for option in self.options if option.pool.name == pool), next(iter(self.options), None))

    @property
    def other_currency(self) -> bool:
        """Whether no pool is left, and at least one would be if it were priced in the budget's currency."""
        return not self.options and any(rejection.currency for rejection in self.rejections)


def requested(pod: Workload, pool: Pool) -> dict[str, str]:
    """The requests of a pod on that pool: a limit counts as a request, and an accelerator is asked for if none is."""
    requests = {**pod.limits, **pod.requests}
    if pool.resource is not None:
        requests.setdefault(pool.resource, "1")
    return requests


def grace_seconds(pool: Pool, drain: Drain | None = None) -> int:
    """Time for a pod to end by itself, so that the kubelet's proof comes within the pool's `stopSeconds`."""
    if drain is not None:
        return drain.delay + drain.timeout + KILL_SECONDS
    return max(1, min(LONGEST_GRACE, pool.billing.stop - STOP_MARGIN))


def drain_of(runtime: Runtime, pool: Pool) -> Drain:
    """How a replica stops there: as its runtime says, else in the time that the pool is paid for."""
    if runtime.drain is not None:
        return runtime.drain
    return Drain(DRAIN_DELAY, max(LEAST_DRAIN, grace_seconds(pool) - DRAIN_DELAY - KILL_SECONDS))


def select(
    pod: Workload, runtime: Runtime, pools: Iterable[Pool], currencies: Mapping[str, Collection[str]]
) -> Selection:
    """Judge the pools for one kind of pod; `currencies` are those of the budgets that pay in each pool, by its name."""
    options, rejections = [], []
    for pool in sorted(pools, key=lambda each: each.name):
        judged = _judge(pod, runtime, pool)
        if isinstance(judged, str):
            rejections.append(Rejection(pool.name, judged))
        elif (paid := currencies.get(pool.name)) and set(paid) != {pool.currency}:
            why = f"is priced in {pool.currency} and the budget is in {' and '.join(sorted(paid))}"
            rejections.append(Rejection(pool.name, why, currency=True))
        else:
            options.append(judged)
    options.sort(key=lambda each: (each.pool.currency, each.price, each.pool.name))
    return Selection(tuple(options), tuple(rejections))


def _judge(pod: Workload, runtime: Runtime, pool: Pool) -> Option | str:
    if pod.pools and pool.name not in pod.pools:
        return "is not among placement.pools"
    if pod.accelerators and pool.accelerator not in pod.accelerators:
        return f"has {pool.accelerator}, which is not among placement.accelerators"
    if pool.accelerator not in runtime.engines:
        return f"has {pool.accelerator}, on which the runtime {runtime.name} does not run"
    if runtime.role is Role.INFERENCE:
        need = grace_seconds(pool, drain_of(runtime, pool)) + STOP_MARGIN
        if need > pool.billing.stop:
            return (
                f"is paid for {pool.billing.stop} s of stopping (billing.stopSeconds) and the runtime {runtime.name} "
                f"needs {need} s to drain"
            )
    requests = wholes(requested(pod, pool))
    if lack := _lack(requests, pool.allocatable):
        return lack
    return price(pool, requests)


def price(pool: Pool, requests: Mapping[str, int]) -> Option | str:
    """What a pod with these requests costs on the pool, or why that is not known."""
    try:
        share = dominant_share(requests, pool.allocatable)
    except ValueError as error:
        return f"cannot hold it: {error}"
    if pool.tariff.problem:
        return f"has no usable price: {pool.tariff.problem}"
    ceiling = pod_rate(node_ceiling(pool.tariff.dearest, pool.margin_percent), share)
    course = Course(
        tuple(
            (time, pod_rate(node_ceiling({ON_DEMAND: dearest}, pool.margin_percent), share))
            for time, dearest in pool.tariff.steps
        ),
        pool.tariff.known_until,
    )
    return Option(pool, ON_DEMAND, ceil(pool.tariff.offers[ON_DEMAND].price * share), ceiling, requests, course)


def _lack(requests: Mapping[str, int], allocatable: Mapping[str, int]) -> str:
    for resource, amount in sorted(requests.items()):
        room = allocatable.get(resource, 0)
        if amount > room:
            return f"offers {show(resource, room)} {resource} on a node and the pod asks for {show(resource, amount)}"
    return ""
