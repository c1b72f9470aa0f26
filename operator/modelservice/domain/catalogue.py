"""What the platform and the teams have written, as of one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelservice.domain.ledger import Policy
from modelservice.domain.scope import Origin
from modelservice.domain.specs import Pool, Role, Runtime


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Pools and runtimes by name, and all budgets."""

    pools: Mapping[str, Pool]
    runtimes: Mapping[str, Runtime]
    policies: tuple[Policy, ...]

    def currencies(self, origin: Origin, role: Role) -> dict[str, set[str]]:
        """Those of the budgets that must have the money for such pods, by pool."""
        binding = [policy for policy in self.policies if policy.binds]
        return {
            pool: {policy.currency for policy in binding if policy.scope.covers(origin, role.value, pool)}
            for pool in self.pools
        }
