"""How many replicas the measured work of one service asks for.

A replica carries `target` units of work: requests in flight (Concurrency) or requests per second (RPS). More replicas
are wanted when the work is above 85 % of what the present ones carry; fewer when it fits below 70 % on fewer, and did
so for the whole delay. What cannot be measured holds: silence of a scraped pod is zero, silence of Prometheus is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

UP = Fraction(85, 100)
DOWN = Fraction(70, 100)

Metric = Literal["Concurrency", "RPS", "Activity"]
SERIES: dict[Metric, tuple[str, ...]] = {
    "Concurrency": ("running", "waiting"),
    "RPS": ("requests",),
    "Activity": ("activity",),
}
"""Names of series by what is measured; Activity is a sum since the start of a replica that each request adds to."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The rule of one service.

    `target` units of `metric` per replica; fewer only after `down_delay` seconds, and none after `idle_delay` seconds
    without a request where that is allowed.
    """

    metric: Metric
    target: int
    down_delay: int
    idle_delay: int = 300


@dataclass(frozen=True, slots=True)
class PodMetrics:
    """What Prometheus says of one pod: the target's `up`, when it was scraped, and the value of each series."""

    up: float | None = None
    scraped_at: float | None = None
    series: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer for all services at Prometheus' own time, by (namespace, pod); `problem` says why there is none."""

    at: float = 0.0
    pods: Mapping[tuple[str, str], PodMetrics] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Replica:
    """A ready pod: when its container started and since when it is ready, in epoch seconds."""

    name: str
    started_at: int
    ready_since: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """The work that is known of; `complete` when no replica's part is missing; `problem` says what should be."""

    work: Fraction = Fraction(0)
    complete: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one tick leaves for the next.

    `desired` replicas; while fewer would do: the largest `need` seen since `fewer_since`; `blind_since` and `problem`
    while the work cannot be measured.
    """

    desired: int
    need: int = 0
    fewer_since: int | None = None
    blind_since: int | None = None
    problem: str = ""


def measure(
    metric: Metric, namespace: str, replicas: Iterable[Replica], reading: Reading, now: int, max_age: int
) -> Measurement:
    """Add up the work of the ready replicas; a scrape older than `max_age` seconds, or than its pod, says nothing."""
    if reading.problem:
        return Measurement(problem=reading.problem)
    work, complete, problem, seen = Fraction(0), True, "", False
    for replica in sorted(replicas, key=lambda each: each.name):
        seen = True
        young = now - replica.ready_since <= max_age
        part = _work(metric, replica, reading.pods.get((namespace, replica.name)), reading.at, max_age, young=young)
        if isinstance(part, Fraction):
            work += part
            continue
        complete = False
        if part != _NEVER or not young:
            problem = problem or f"Pod {replica.name} {part}."
    return Measurement(work, complete and seen, problem)


_NEVER = "is not scraped by Prometheus"


def _work(
    metric: Metric, replica: Replica, metrics: PodMetrics | None, at: float, max_age: int, *, young: bool
) -> Fraction | str:
    """The work of one replica, or what is wrong with its samples."""
    if metrics is None or metrics.up is None or metrics.scraped_at is None or not math.isfinite(metrics.scraped_at):
        return _NEVER
    if metrics.scraped_at < replica.started_at:
        return _NEVER
    if at - metrics.scraped_at > max_age:
        return f"was last scraped {at - metrics.scraped_at:.0f} s ago"
    if metrics.up != 1:
        return _NEVER if young else "could not be scraped by Prometheus (up is not 1)"
    work = Fraction(0)
    for name in SERIES[metric]:
        if name not in metrics.series and young:
            return _NEVER
        value = metrics.series.get(name, 0.0)
        if not math.isfinite(value) or value < 0:
            return f"reports {value} for {name}, which is no amount of work"
        work += Fraction(value)
    return work


def desire(memory: Memory, rule: Scaling, measured: Measurement, bounds: tuple[int, int], now: int) -> Memory:
    """The replicas wanted after this tick, within the inclusive `bounds`."""
    low, high = bounds
    blind = memory.blind_since if measured.problem and memory.blind_since is not None else now
    held = replace(
        memory,
        desired=min(max(memory.desired, low), high),
        blind_since=blind if measured.problem else None,
        problem=measured.problem,
    )
    most = _replicas(measured.work, UP, rule.target, low, high)
    if most > held.desired:
        return replace(held, desired=most, need=0, fewer_since=None)
    if measured.problem:
        return replace(held, need=0, fewer_since=None)
    if not measured.complete:
        return held
    least = _replicas(measured.work, DOWN, rule.target, low, high)
    if least >= held.desired:
        return replace(held, need=0, fewer_since=None)
    since = now if held.fewer_since is None else held.fewer_since
    need = max(held.need, least)
    if now - since < rule.down_delay:
        return replace(held, need=need, fewer_since=since)
    return replace(held, desired=need, need=0, fewer_since=None)


def _replicas(work: Fraction, share: Fraction, target: int, low: int, high: int) -> int:
    return min(max(math.ceil(work / (share * target)), low), high)
