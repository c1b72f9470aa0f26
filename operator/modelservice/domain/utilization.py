"""What the nodes of a pool cost per hour against what the book charges for the pods on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelservice.domain.book import Book


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One pool at one moment: its ready nodes, what they cost per hour at the on-demand price, and what is charged.

    Amounts in micro-units per hour. The book charges the dearest price and the margin, and pods before and after their
    nodes are ready: it may charge more than the nodes cost.
    """

    pool: str
    currency: str
    nodes: int
    costs: int
    charged: int

    @property
    def uncharged(self) -> int:
        """What no pod pays for, micro-units per hour; 0 when the book charges as much as the nodes cost."""
        return max(0, self.costs - self.charged)


def charged(book: Book, pool: str) -> int:
    """What the book charges per hour for the pods that run in the pool, each once, whoever pays; micro-units."""
    return sum(one.running_rate for one in book.placements.values() if one.terms.pool == pool)


def pools_of(uses: Iterable[PoolUse], names: Iterable[str]) -> tuple[PoolUse, ...]:
    """Those of the named pools, by their names."""
    wanted = frozenset(names)
    return tuple(sorted((use for use in uses if use.pool in wanted), key=lambda use: use.pool))
