"""The price tables that pools refer to: ConfigMaps of the operator's namespace, read by name every few seconds.

They are not watched, so that the right to read them can end at the operator's namespace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from modelservice.controllers.world import World
from modelservice.domain.pricetable import Table, parse_table
from modelservice.kit.errors import ApiError, Forbidden, NotFound
from modelservice.ports import KubeClient

log = logging.getLogger(__name__)

KEY = "prices.csv"
LOOK_SECONDS = 10.0


@dataclass(slots=True)
class PriceTables:
    """Keeps `world.tables`; `changed` is called when one of them has another content, or a pool names another one."""

    world: World
    kube: KubeClient
    namespace: str
    every: float = LOOK_SECONDS
    changed: Callable[[], None] = lambda: None
    _versions: dict[str, str] = field(default_factory=dict)
    _looked_at: float | None = None

    async def refresh(self) -> None:
        """Read the tables when it is time, or when a pool names one that has not been read.

        A table that was read before stays as it was while the API server does not answer; raises ApiError when there
        is none yet.
        """
        names, now = self._named(), self.world.clock.monotonic()
        known = names <= self.world.tables.keys()
        if known and self._looked_at is not None and now - self._looked_at < self.every:
            return
        tables: dict[str, Table | str] = {}
        for name in sorted(names):
            try:
                tables[name] = await self._read(name)
            except ApiError as error:
                if name not in self.world.tables:
                    raise
                log.warning("The price table %s stays as it was, it could not be read: %s", name, error)
                tables[name] = self.world.tables[name]
        self._looked_at = now
        if tables != self.world.tables:
            self.world.tables = tables
            self.changed()

    def _named(self) -> set[str]:
        specs = (obj["spec"].get("priceTable") or {} for obj in self.world.caches.pools.values())
        return {spec["configMapRef"]["name"] for spec in specs if spec}

    async def _read(self, name: str) -> Table | str:
        where = f"the ConfigMap {name} in the namespace {self.namespace}"
        try:
            found = (await self.kube.get("ConfigMap", self.namespace, name)).object
        except NotFound:
            return f"{where} does not exist"
        except Forbidden:
            return f"the operator may not read {where}"
        version = found["metadata"]["resourceVersion"]
        before = self.world.tables.get(name)
        if isinstance(before, Table) and self._versions.get(name) == version:
            return before
        self._versions[name] = version
        text = (found.get("data") or {}).get(KEY)
        return f"{where} has no key {KEY}" if text is None else parse_table(text)
