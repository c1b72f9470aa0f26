"""How many replicas each Deployment of a service gets while one takes over from others."""

from __future__ import annotations

from collections.abc import Iterable

from modelservice.domain.rollout import Strategy
from modelservice.domain.snapshot import Deployed, ServiceView


def shares(view: ServiceView, wanted: str | None, beside: str | None, desired: int) -> dict[str, int]:
    """Replicas by Deployment: the old ones keep what the wanted one does not yet answer for.

    The revision that has served goes last, and takes over again where the next one fails; of that one a single replica
    goes on trying then.
    """
    others = sorted(
        (one for one in view.deployed if one.name not in (wanted, beside)),
        key=lambda each: (each.revision != view.turn.serving, not each.ready, -each.created_at, each.name),
    )
    if view.turn.strategy is Strategy.RECREATE:
        busy = any(one.replicas for one in others)
        return {**{one.name: 0 for one in others}, **({wanted: 0 if busy else desired} if wanted else {})}
    rest = max(0, desired - sum(one.ready for one in view.deployed if one.name == wanted))
    alone = view.turn.failing and any(one.ready for one in others)
    made = {wanted: min(desired, 1) if alone else desired} if wanted else {}
    for one in others:
        back = view.turn.failing and bool(one.revision) and one.revision == view.turn.serving
        made[one.name] = rest if back else min(rest, one.replicas)
        rest -= made[one.name]
    return made


def newest(deployed: Iterable[Deployed]) -> Deployed | None:
    """The latest Deployment that answers, else the latest: where a service is it stays while it can."""
    return max(deployed, key=lambda one: (one.ready > 0, one.replicas > 0, one.created_at, one.name), default=None)


def together(view: ServiceView, wanted: str | None) -> bool:
    """Whether the wanted Deployment starts with all its replicas or not at all."""
    waits = view.turn.strategy is Strategy.WAIT and any(one.replicas for one in view.deployed if one.name != wanted)
    return waits and not any(one.replicas for one in view.deployed if one.name == wanted)
