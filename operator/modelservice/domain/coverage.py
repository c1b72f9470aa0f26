"""Of which pools a budget knows the price, and what runs in the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelservice.domain.book import Book
from modelservice.domain.ledger import Policy
from modelservice.domain.specs import Pool


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many pools the scope of a budget covers, and the names of those without a known price."""

    pools: int
    unpriced: tuple[str, ...]


def cover(policy: Policy, pools: Mapping[str, Pool]) -> Coverage:
    """What the budget can pay for."""
    inside = [pool for name, pool in pools.items() if not policy.scope.pools or name in policy.scope.pools]
    return Coverage(len(inside), tuple(sorted(pool.name for pool in inside if pool.tariff.problem)))


def unpriced_pods(policy: Policy, pools: Mapping[str, Pool], book: Book) -> Iterable[str]:
    """A sentence for each pool without a known price in which pods run that the budget pays for."""
    paid = [placement for placement in book.placements.values() if policy.name in placement.terms.rates]
    for name, pool in sorted(pools.items()):
        pods = sum(len(placement.units) for placement in paid if placement.terms.pool == name)
        if pool.tariff.problem and pods:
            yield f"The price of pool {name} is not known; its {pods} pods are held at the last price that was."
