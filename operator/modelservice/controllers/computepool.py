"""Reports on one ComputePool: how many ready nodes it has, and what an hour of one costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from modelservice.api.computepool import ComputePool
from modelservice.api.convert import pool_of, tariff_of
from modelservice.controllers.observation import count_nodes
from modelservice.controllers.world import World
from modelservice.domain.conditions import Condition
from modelservice.domain.money import format_amount
from modelservice.domain.pools import ENDS_SECONDS, ceiling, judge_pool, judge_price
from modelservice.domain.specs import Pool
from modelservice.domain.tariff import Offer
from modelservice.domain.times import format_time
from modelservice.kit.controller import Result
from modelservice.kit.objects import Key, Object, Ref
from modelservice.kit.status import StatusWriter

UNTIL_READ = 1.0
"""Seconds until a pool is looked at again whose price table has not been read yet."""


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
        now = self.world.now()
        try:
            parsed = ComputePool.model_validate(obj)
            table = parsed.spec.price_table
            if table is not None and table.config_map_ref.name not in self.world.tables:
                return Result(UNTIL_READ)
            pool = pool_of(parsed, tariff_of(parsed, self.world.tables, now))
        except (ValidationError, ValueError) as error:
            await self._write(obj, {"nodes": 0}, [judge_pool(0, 0, str(error))], now)
            return None
        nodes, ready = count_nodes(pool, self.world.caches.nodes.values())
        conditions = [judge_pool(nodes, ready, "", pool.tariff.problem), judge_price(pool, now)]
        await self._write(obj, {"nodes": ready, "resolved": _resolved(pool)}, conditions, now)
        return _again(pool, now)

    async def _write(self, obj: Object, made: dict[str, Any], conditions: list[Condition], now: int) -> None:
        generation = obj["metadata"]["generation"]
        rows = [one.row(generation) for one in conditions]
        status = {"observedGeneration": generation, "conditions": rows, **made}
        self.world.caches.pools.observe(await self.statuses.write(obj, status, now=now))


def _again(pool: Pool, now: int) -> Result | None:
    """When its prices, or what is said of them, change next."""
    ends = pool.tariff.known_until
    times = [pool.tariff.changes_at, None if ends is None else ends - ENDS_SECONDS]
    coming = [time - now for time in times if time is not None and time > now]
    return Result(float(min(coming))) if coming else None


def _resolved(pool: Pool) -> dict[str, Any]:
    if pool.tariff.problem:
        return {}
    prices = [_price(name, offer) for name, offer in sorted(pool.tariff.offers.items())]
    return {"prices": prices, "ceilingPerNodeHour": format_amount(ceiling(pool))}


def _price(name: str, offer: Offer) -> dict[str, Any]:
    made: dict[str, Any] = {"type": name, "perNodeHour": format_amount(offer.price), "source": offer.source}
    if offer.row is not None:
        made["row"] = offer.row
    if offer.since is not None:
        made["validFrom"] = format_time(offer.since)
    if offer.until is not None:
        made["validTo"] = format_time(offer.until)
    return made
