"""From a node's price to a pod's ceiling rate, and the terms by which a pool's nodes are billed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import ceil

LATE_SECONDS = 120
"""Longest delay between the end of a hold and the deletion of its pods: one pass of the one who deletes, its restart
included (60 s), and the bound on the difference of clocks (60 s)."""

ON_DEMAND = "OnDemand"
SPOT = "Spot"


class PriceUnknownError(ValueError):
    """A price that the ceiling needs is missing or cannot be believed; the text says which."""


class BillingStart(StrEnum):
    """From when a pod costs money: its ungating (its node boots for it) or the start of its first container."""

    UNGATE = "Ungate"
    RUNNING = "Running"


@dataclass(frozen=True, slots=True)
class Billing:
    """How a pod's time is billed around its run; all times in seconds.

    ``begins``: what it is billed from. ``stop``: longest time from deletion to the kubelet's proof of the end.
    ``tail``: idle time of the node afterwards. ``minimum``: least billed time of one start. ``late``: how long after
    the end of its hold a pod may still live before it is deleted.
    """

    stop: int
    tail: int = 0
    minimum: int = 0
    late: int = LATE_SECONDS
    begins: BillingStart = BillingStart.UNGATE

    def __post_init__(self) -> None:
        if min(self.stop, self.tail, self.minimum, self.late) < 0:
            raise ValueError(f"billing times cannot be negative: {self}")

    @property
    def overrun(self) -> int:
        """X: the longest billed time after ``hold_through``."""
        return self.late + max(self.stop, self.minimum) + self.tail

    def widened(self, other: Billing) -> Billing:
        """The earlier begin and the longer of each time: safe for pods that were started under either."""
        return Billing(
            max(self.stop, other.stop),
            max(self.tail, other.tail),
            max(self.minimum, other.minimum),
            max(self.late, other.late),
            self.begins if self.begins is other.begins else BillingStart.UNGATE,
        )


@dataclass(frozen=True, slots=True)
class Course:
    """What a pod can cost over time: steps of (time, micro-units per hour), each until the next; none if it stands.

    The on-demand price is known until ``known_until``; None when it has no end.
    """

    steps: tuple[tuple[int, int], ...] = ()
    known_until: int | None = None

    def dearest(self, start: int, end: int) -> int | None:
        """The highest rate in force within ``[start, end)``, at ``start`` when that is empty; None without steps.

        The first step stands for the time before it too.
        """
        ends = [time for time, _ in self.steps[1:]]
        met = [
            rate
            for index, (time, rate) in enumerate(self.steps)
            if (index == 0 or time < max(end, start + 1)) and (index == len(ends) or ends[index] > start)
        ]
        return max(met, default=None)

    def covered_until(self, rate: int, since: int) -> int | None:
        """The first time from ``since`` on at which a pod can cost more than ``rate``; None when that is never."""
        ends = [time for time, _ in self.steps[1:]]
        above = (
            max(time, since) if index else since
            for index, (time, dearer) in enumerate(self.steps)
            if dearer > rate and (index == len(ends) or ends[index] > since)
        )
        bounds = (bound for bound in (*above, self.known_until) if bound is not None)
        return min(bounds, default=None)


STEADY = Course()


def billed_since(billing: Billing, *, ungated_at: int, started_at: int | None) -> int | None:
    """Time from which a bound pod is billed, or None while it is not.

    ``ungated_at`` is the money time of the write that admitted it, or later when its ungating is known better.
    ``started_at`` is the start of its first container; when only a restarted container's start is known, pass the time
    at which the pod was bound.
    """
    return ungated_at if billing.begins is BillingStart.UNGATE else started_at


def dominant_share(requests: Mapping[str, int], allocatable: Mapping[str, int]) -> Fraction:
    """Largest part of one node's allocatable that the pod asks for, over all resources it names (same unit in both).

    Raises ValueError when the pod does not fit on an empty node.
    """
    share = Fraction(0)
    for resource, amount in sorted(requests.items()):
        if amount <= 0:
            continue
        room = allocatable.get(resource, 0)
        if amount > room:
            raise ValueError(f"the pod asks for {amount} {resource} and a node of the pool has {room}")
        share = max(share, Fraction(amount, room))
    return share


def node_ceiling(per_node_hour: Mapping[str, int], margin_percent: int) -> Fraction:
    """Micro-units per hour that a node of the pool costs at most, whichever way it is bought.

    ``per_node_hour`` maps purchase options to micro-units per hour; zero stands for a node that is said to be free. The
    dearest counts, since a spot node can be refilled on demand and spot can be the dearer one. Raises PriceUnknownError
    without an on-demand price.
    """
    for option, price in sorted(per_node_hour.items()):
        if price < 0:
            raise PriceUnknownError(f"the {option} price must not be below zero")
    if ON_DEMAND not in per_node_hour:
        raise PriceUnknownError("the OnDemand price is missing, so that no ceiling of the cost is known")
    return Fraction(max(per_node_hour.values()) * (100 + margin_percent), 100)


def pod_rate(ceiling: Fraction, share: Fraction) -> int:
    """Micro-units per hour of one pod, rounded up once."""
    return ceil(ceiling * share)
