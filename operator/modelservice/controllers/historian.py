"""Keeps what each budget has cost hour by hour in a BudgetLedger of its own, for forecasts; no money rests on it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from modelservice.controllers.world import World
from modelservice.domain.history import WEEK, decode_history, encode_history, record
from modelservice.kit.errors import ApiError, NotFound
from modelservice.ports import KubeClient, Object
from modelservice.render.labels import API_VERSION, MANAGER

log = logging.getLogger(__name__)

NAME = "history"
EVERY_SECONDS = 600.0


@dataclass(slots=True)
class Historian:
    """Records every `every` seconds into `world.history`, and stores it; what was stored is read first."""

    world: World
    kube: KubeClient
    namespace: str
    every: float = EVERY_SECONDS
    _stored: Object | None = None

    async def run(self) -> None:
        """Record for ever; what cannot be read or stored is tried again the next time."""
        while True:
            recorded = False
            try:
                recorded = await self.keep()
            except (ApiError, TimeoutError) as error:
                self._stored = None
                log.warning("The hourly costs could not be kept, the next try is in %.0f s: %s", self.every / 60, error)
            await self.world.clock.sleep(self.every if recorded else self.every / 60)

    async def keep(self) -> bool:
        """One record of all budgets that the book knows, or knew in the last week; False while there is none to make.

        A budget that is deleted and made anew goes on from what it has cost.
        """
        if self._stored is None:
            await self._read()
        book, now = self.world.book, self.world.now()
        if book is None or self.world.freeze is not None:
            return False
        at = max(now, book.time)
        history = {}
        lately = {name for name, series in self.world.history.items() if any(series.costs[-WEEK:])}
        for policy in sorted({account.policy for account in book.accounts} | lately):
            accounts = book.accounts_of(policy)
            posted = {account.start: book.posted(account, at) for account in accounts}
            history[policy] = record(self.world.history.get(policy), accounts, posted, at)
        self.world.history = history
        if self._stored is None or not history:
            return False
        content = {**self._stored, "history": encode_history(self.world.history)}
        store = self.kube.replace if "resourceVersion" in content["metadata"] else self.kube.create
        self._stored = (await store(content, manager=MANAGER)).object
        return True

    async def _read(self) -> None:
        try:
            self._stored = (await self.kube.get("BudgetLedger", self.namespace, NAME)).object
        except NotFound:
            meta = {"namespace": self.namespace, "name": NAME}
            self._stored = {"apiVersion": API_VERSION, "kind": "BudgetLedger", "metadata": meta}
            return
        try:
            self.world.history = decode_history(self._stored.get("history") or ())
        except (KeyError, TypeError, ValueError) as error:
            log.warning("The hourly costs begin anew, those that were stored cannot be read: %r", error)
