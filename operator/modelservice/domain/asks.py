"""What one workload asks of the budgets, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelservice.domain.book import Refusal, Terms
from modelservice.domain.funding import Key
from modelservice.domain.placement import Option
from modelservice.domain.priorities import Priority
from modelservice.domain.settlement import Funding
from modelservice.domain.specs import ServiceName

Level = tuple[bool, int]
"""Whether a pod is a burst, and the rank of its class: who is paid first has the lowest."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Pods of a service that no money is there for: why, and how many.

    `waiting` of them get the money of lower pods once those have stopped; `yielded` pods are stopped for higher ones.
    """

    why: Refusal
    pods: int
    waiting: int = 0
    yielded: int = 0


@dataclass(frozen=True, slots=True)
class Unfunded:
    """Money that keeps the floor of a service until the end of a budget's period, and less of it that is left.

    Micro-units of `currency`; `until` is the end of the period.
    """

    policy: str
    need: int
    have: int
    currency: str
    until: int


@dataclass(slots=True)
class Ask:
    """What one workload asks for: so many pods, of which the `live` ones are there to stay and `granted` are paid for.

    The first `floor` pods come before the bursts of all others; for `reserved` of them money is kept until the end of
    the period. With `whole` nothing is granted before all of it is. `spared` of the live ones run by break-glass: they
    are granted whether there is money for them or not. Of the granted ones `added` are new; `yielded` live ones have
    given way, and `waiting` pods are granted once the money of others has returned. `through` is until when its pods
    may be paid at most, and `leave` what has to stay in each account, in micro-units, when money is lent to them.
    """

    service: ServiceName
    workload: str
    option: Option
    terms: Terms
    want: int
    live: tuple[str, ...] = ()
    spared: int = 0
    priority: Priority = Priority.STANDARD
    floor: int = 0
    reserved: int = 0
    unpaid: bool = False
    refusal: Refusal | None = None
    expiring: Refusal | None = None
    unfunded: tuple[Unfunded, ...] = ()
    granted: int = 0
    added: int = 0
    waiting: int = 0
    yielded: int = 0
    through: int | None = None
    leave: Mapping[Key, int] = field(default_factory=dict)
    whole: bool = False

    def level(self, pods: int) -> Level:
        """How important the last one of so many pods is."""
        return pods > self.floor, self.priority.rank

    @property
    def due(self) -> int:
        """Pods that are granted or will be."""
        return self.granted + self.waiting

    @property
    def bursts(self) -> int:
        """Live pods that give way to somebody more important."""
        return max(0, self.granted - self.added - max(self.floor, self.spared))

    def all_or_none(self) -> None:
        """Give back what was granted when it is not all that is asked for as a whole."""
        if self.whole and self.granted < self.want:
            self.granted = self.added = 0

    def give_way(self, pods: int) -> None:
        """Let so many live pods stop for somebody more important, or no longer when negative."""
        self.granted -= pods
        self.yielded += pods

    def funding(self) -> Funding:
        """What the book step may do for it."""
        pool = self.option.pool
        burst, rank = self.level(self.granted)
        return Funding(
            self.granted,
            self.terms,
            pool.start_seconds,
            self.option.requests,
            pool.selector,
            self.option.ceiling,
            self.option.course,
            len(Priority) * burst + rank,
            self.through,
            self.leave,
        )
