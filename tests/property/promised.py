"""What a budget says a period costs at most is never exceeded, measured by the truth of the world."""

from __future__ import annotations

from modelservice.domain.codec import decode
from modelservice.domain.guarantee import worst_case

from tests.property.oracles import Oracle, Violation
from tests.property.world import SCALE, TENTHS, World


class Promised:
    """Follows the stored books of a world beside its oracle; raises Violation."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self.oracle = oracle
        self.amounts: dict[tuple[str, int], int] = {}
        self.limits: dict[tuple[str, int], int] = {}
        self.ends: dict[tuple[str, int], int] = {}
        world.on_store.append(self.observe)

    def observe(self, world: World) -> None:
        """Hold the truth against the least that was ever said while the limit stayed or fell."""
        book = decode(world.stored)
        for account in book.accounts:
            key, said = account.key, worst_case(book, account)
            if said is None or account.limit > self.limits.get(key, 0):
                self.amounts.pop(key, None)
            if said is not None:
                self.amounts[key] = min(self.amounts.get(key, said.amount), said.amount)
            self.limits[key], self.ends[key] = account.limit, account.end
        for key, amount in self.amounts.items():
            if key in self.oracle.exempt or key[0] in self.oracle.spared():
                continue
            start, end = key[1] * TENTHS, min(self.ends[key] * TENTHS, world.now)
            payers = (pod for pod in world.pods.values() if pod.bound is not None and key[0] in pod.workload.policies)
            true = sum(pod.true_cost(start, end) for pod in payers)
            if true > amount * SCALE:
                raise Violation(f"worst case: {key} truly cost {true / SCALE:.0f}, no more than {amount} was said")
