"""The pages of sealed periods in the operator's namespace: stored once each, and deleted when they are old."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from modelservice.controllers.world import World
from modelservice.domain.book import Account, Book
from modelservice.domain.codec import DamagedBookError, decode_page, encode_page, page_name
from modelservice.domain.pages import beyond
from modelservice.kit.errors import ApiError, Conflict, NotFound
from modelservice.kit.objects import Object
from modelservice.ports import KubeClient
from modelservice.render.labels import API_VERSION, MANAGER

log = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
DAY_SECONDS = 86_400


@dataclass(slots=True)
class Pages:
    """Keeps each page for so many `days` after the end of its period; looks for old ones every `every` seconds."""

    world: World
    kube: KubeClient
    namespace: str
    days: int
    every: float = SWEEP_SECONDS
    _stored: dict[tuple[str, int], Account] = field(default_factory=dict)

    async def run(self) -> None:
        """Delete what is old, for ever."""
        while True:
            try:
                await self.sweep()
            except (ApiError, TimeoutError) as error:
                log.warning("The pages of sealed periods could not be looked at: %s", error)
            await self.world.clock.sleep(self.every)

    async def keep(self, book: Book) -> frozenset[tuple[str, int]]:
        """Store a page for each sealed account before the book drops it; returns the keys of those that are there."""
        sealed = [account for account in book.accounts if account.sealed]
        for account in sealed:
            if self._stored.get(account.key) != account:
                await store_page(self.kube, self.namespace, account)
                self._stored[account.key] = account
        return frozenset(account.key for account in sealed)

    async def sweep(self) -> None:
        """Delete the pages whose period ended too long ago."""
        listing = await self.kube.list("BudgetLedger", namespace=self.namespace)
        for ledger in listing.items:
            page = page_of(ledger)
            if page is None or page.end + self.days * DAY_SECONDS > listing.date:
                continue
            meta = ledger["metadata"]
            try:
                await self.kube.delete("BudgetLedger", self.namespace, meta["name"], uid=meta["uid"])
            except (Conflict, NotFound):
                continue
            log.info("The page %s is deleted: its period ended more than %d days ago", meta["name"], self.days)


async def store_page(kube: KubeClient, namespace: str, account: Account) -> None:
    """Store under the first name that is free what the pages of this period do not have yet."""
    for copy in count(1):
        if not account.lines:
            return
        name = page_name(account, copy)
        try:
            await kube.create(ledger(namespace, name, page=encode_page(Book(), account)), manager=MANAGER)
        except Conflict as conflict:
            if not conflict.already_exists:
                raise
            found = page_of((await kube.get("BudgetLedger", namespace, name)).object)
            if found is not None and found.end == account.end:
                account = beyond(account, found)
        else:
            return


def ledger(namespace: str, name: str, **content: Mapping[str, object]) -> Object:
    """A BudgetLedger that holds a book or a page."""
    meta = {"namespace": namespace, "name": name}
    return {"apiVersion": API_VERSION, "kind": "BudgetLedger", "metadata": meta, **content}


def page_of(ledger: Object) -> Account | None:
    """The page that a BudgetLedger holds; None for the book, and for a page that is damaged."""
    if "page" not in ledger:
        return None
    try:
        return decode_page(ledger["page"])
    except DamagedBookError as error:
        log.warning("The page %s is left alone: %s", ledger["metadata"]["name"], error)
        return None
