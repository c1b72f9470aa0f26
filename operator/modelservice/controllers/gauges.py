"""The figures of the book as they are at a scrape: from the book as last read, the plan, and the objects that exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelservice.controllers.world import World
from modelservice.domain.costs import Denial
from modelservice.domain.gauges import Reading, read_book, read_troubles


@dataclass(slots=True)
class Gauges:
    """Reads the world; a replica that stands by has no book and shows nothing."""

    world: World

    def read(self) -> Iterable[Reading]:
        """All readings now."""
        world = self.world
        if world.book is None:
            return
        policies = [f"{ref.namespace}/{ref.name}" for ref in world.caches.policies.refs()]
        yield from read_book(world.book, policies, world.now())
        unheld = dict.fromkeys(map(str, world.drafts), 0)
        for pod in world.unheld.values():
            unheld[str(pod.service)] = unheld.get(str(pod.service), 0) + 1
        yield from read_troubles(self._denials(), unheld, usable=not world.book_problem)

    def _denials(self) -> Iterator[Denial]:
        for name, plan in sorted(self.world.plan.services.items()):
            if plan.refused is not None:
                why = plan.refused.why
                yield Denial(
                    str(name), why.policy, why.blocked_by.value, why.need, why.have, why.currency, plan.refused.pods
                )
