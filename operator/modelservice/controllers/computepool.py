"""Reports on one ComputePool: how many ready nodes it has."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from modelservice.api.computepool import ComputePool
from modelservice.api.convert import pool_of
from modelservice.controllers.world import World
from modelservice.domain.conditions import Condition
from modelservice.domain.pools import judge_pool
from modelservice.kit.controller import Result
from modelservice.kit.objects import Key, Object, Ref
from modelservice.kit.status import StatusWriter


@dataclass(slots=True)
class ComputePools:
    """Reconciles keys of kind ComputePool."""

    world: World
    statuses: StatusWriter

    async def reconcile(self, key: Key) -> Result | None:
        """Write the status of one pool when it says something new."""
        obj = self.world.caches.pools.get(Ref("", key.name))
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        count, condition = self._judge(obj)
        generation = obj["metadata"]["generation"]
        made = {
            "observedGeneration": generation,
            "nodes": count,
            "conditions": [
                {
                    "type": condition.type,
                    "status": condition.status,
                    "reason": condition.reason,
                    "message": condition.message,
                    "observedGeneration": generation,
                }
            ],
        }
        self.world.caches.pools.observe(await self.statuses.write(obj, made, now=self.world.now()))
        return None

    def _judge(self, obj: Object) -> tuple[int, Condition]:
        try:
            pool = pool_of(ComputePool.model_validate(obj))
        except (ValidationError, ValueError) as error:
            return 0, judge_pool(0, 0, str(error))
        members = [
            node
            for node in self.world.caches.nodes.values()
            if pool.selector.items() <= (node["metadata"].get("labels") or {}).items()
        ]
        count = sum(_is_ready(node) for node in members)
        return count, judge_pool(len(members), count, "")


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
