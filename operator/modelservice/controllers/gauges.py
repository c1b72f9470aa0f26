"""The figures of the book as they are at a scrape: from the book as last read, the plan, and the objects that exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelservice.controllers.observation import count_nodes
from modelservice.controllers.world import World
from modelservice.domain.asks import Refused
from modelservice.domain.book import Book
from modelservice.domain.costs import Denial
from modelservice.domain.gauges import (
    Reading,
    read_book,
    read_evidence,
    read_pools,
    read_prices,
    read_troubles,
    read_unit_costs,
)
from modelservice.domain.prices import ON_DEMAND
from modelservice.domain.specs import ServiceName
from modelservice.domain.utilization import PoolUse, charged


@dataclass(slots=True)
class Gauges:
    """Reads the world; a replica that stands by has no book and shows nothing."""

    world: World
    namespace: str

    def read(self) -> Iterable[Reading]:
        """All readings now."""
        world = self.world
        if world.book is None:
            return
        policies = [f"{ref.namespace}/{ref.name}" for ref in world.caches.policies.refs()]
        policies += [ref.name for ref in world.caches.cluster_policies.refs()]
        yield from read_book(world.book, policies, world.now(), world.peaks, world.history)
        yield from read_evidence(world.book, world.ledger(self.namespace))
        yield from read_pools(self._pools(world.book))
        yield from read_unit_costs(world.book, world.tallies)
        unheld = dict.fromkeys(map(str, world.drafts), 0)
        for pod in world.unheld.values():
            unheld[str(pod.service)] = unheld.get(str(pod.service), 0) + 1
        yield from read_prices((pool for _, pool in sorted(world.pools.items())), world.now())
        yield from read_troubles(
            self._denials(),
            self._objections(),
            unheld,
            usable=not world.book_problem,
            frozen=world.freeze is not None,
        )

    def _pools(self, book: Book) -> Iterator[PoolUse]:
        for name, pool in sorted(self.world.pools.items()):
            if not pool.tariff.problem:
                _, ready = count_nodes(pool, self.world.caches.nodes.values())
                costs = pool.tariff.offers[ON_DEMAND].price * ready
                yield PoolUse(name, pool.currency, ready, costs, charged(book, name))

    def _denials(self) -> Iterator[Denial]:
        for name, plan in sorted(self.world.plan.services.items()):
            if plan.refused is not None:
                yield _denial(name, plan.refused, plan.refused.why.policy)

    def _objections(self) -> Iterator[Denial]:
        for policy, objections in sorted(self.world.objections.items()):
            for objection in objections:
                yield _denial(objection.service, objection.refused, policy)


def _denial(service: ServiceName, refused: Refused, policy: str) -> Denial:
    why = refused.why
    return Denial(str(service), policy, why.blocked_by.value, why.need, why.have, why.currency, refused.pods)
