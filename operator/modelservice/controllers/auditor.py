"""Compares the book that is read with what was seen of it: what this operator stored, and what others remember."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelservice.controllers.world import World
from modelservice.domain.book import Account, Book
from modelservice.domain.codec import DamagedBookError, decode_page
from modelservice.domain.gauges import LEDGER_RATE, LEDGER_SPENT, LEDGER_TIME, Gauge
from modelservice.domain.integrity import Fact, facts_of
from modelservice.domain.money import MICROS, parse_amount
from modelservice.domain.pages import Span, joined
from modelservice.domain.times import format_time, parse_time
from modelservice.kit.errors import Unavailable
from modelservice.kit.objects import Object
from modelservice.ports import KubeClient, MetricsSource

log = logging.getLogger(__name__)

ASK_EVERY = 60.0
"""Seconds until Prometheus is asked again when it did not answer."""
LOOK_BACK_DAYS = 7
"""How old evidence may be: it need only bridge the time in which no operator worked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The book to go on from, what is wrong with the one that was read, and the facts to hold it against.

    ``pages`` are those that are there, where some fact is of a period that is not in the book.
    """

    book: Book
    seen: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    pages: Mapping[Span, Account] = field(default_factory=dict)


@dataclass(slots=True)
class Auditor:
    """Remembers what was stored last; after a start the statuses of the budgets and Prometheus are asked instead."""

    world: World
    kube: KubeClient
    metrics: MetricsSource | None
    namespace: str
    _last: tuple[str, Book] | None = None
    _remembered: tuple[Fact, ...] | None = None
    _compared: bool = False
    _asked_at: float = -math.inf

    @property
    def remembers(self) -> bool:
        """Whether it knows what was stored last."""
        return self._last is not None

    def stored(self, version: str, book: Book) -> None:
        """The object of that version holds that book, and it bears out whatever has been asked for."""
        self._last = (version, book)
        self._compared = self._remembered is not None

    async def ask(self) -> tuple[Fact, ...]:
        """What others remember, until a stored book has borne it out."""
        if self._compared:
            return ()
        if self._remembered is None:
            self._remembered = await self._query()
        oldest = self.world.now() - LOOK_BACK_DAYS * 86_400
        told = (*_told(self.world), *(self._remembered or ())) if self._last is None else self._remembered or ()
        return tuple(fact for fact in told if fact.end > oldest)

    async def examine(self, version: str, book: Book, told: tuple[Fact, ...], running: int) -> Finding:
        """Compare a book that was read, empty and without a version when there is none; so many pods run."""
        if self._last is None:
            pages = await self._pages() if told or not version else {}
            if not version and (running or pages):
                text = f"There was no book, although {running} pods run and {len(pages)} past periods have pages."
                return Finding(book, (text,), told, pages)
            return Finding(book, (), told, pages)
        last_version, last = self._last
        if version == last_version:
            return Finding(book, (), told, await self._pages() if told else {})
        if book.time < last.time:
            return Finding(last, (_backwards(version, book.time, last.time),))
        facts = (*facts_of(last), *told)
        known = {account.key for account in book.accounts}
        gone = any((fact.policy, fact.start) not in known for fact in facts)
        return Finding(book, (), facts, await self._pages() if gone else {})

    async def _pages(self) -> dict[Span, Account]:
        listing = await self.kube.list("BudgetLedger", namespace=self.namespace)
        pages = []
        for ledger in listing.items:
            try:
                pages += [decode_page(ledger["page"])] if "page" in ledger else []
            except DamagedBookError as error:
                log.warning("The page %s proves nothing: %s", ledger["metadata"]["name"], error)
        return joined(pages)

    async def _query(self) -> tuple[Fact, ...] | None:
        """What Prometheus has seen; None while it does not answer."""
        if self.metrics is None:
            return ()
        now = self.world.clock.monotonic()
        if now - self._asked_at < ASK_EVERY:
            return None
        self._asked_at = now
        own = f'{{ledger="{self.world.ledger(self.namespace)}"}}'
        try:
            spent = await self._values(self.metrics, LEDGER_SPENT, f"max_over_time(%s{own}[{LOOK_BACK_DAYS}d])")
            rates = await self._values(self.metrics, LEDGER_RATE, f"last_over_time(%s{own}[{LOOK_BACK_DAYS}d])")
            times = await self._values(self.metrics, LEDGER_TIME, f"max_over_time(%s{own}[{LOOK_BACK_DAYS}d])")
        except Unavailable as error:
            log.warning("The book cannot be compared with what Prometheus has seen of it yet: %s", error)
            return None
        at = max((round(value) for value in times.values()), default=0)
        facts = []
        for labels, value in spent.items():
            _, policy, currency, start, end = labels
            rate = round(rates.get(labels, 0.0) * MICROS)
            facts.append(
                Fact(policy, int(start), int(end), currency, round(value * MICROS), rate, at, "a series in Prometheus")
            )
        return tuple(facts)

    @staticmethod
    async def _values(metrics: MetricsSource, gauge: Gauge, query: str) -> dict[tuple[str, ...], float]:
        """The greatest value by the gauge's labels."""
        name = f"modelservice_operator_{gauge.name}"
        samples = await metrics.query(f"max by ({', '.join(gauge.labels)}) ({query % name})")
        return {
            tuple(sample.labels.get(label, "") for label in gauge.labels): sample.value
            for sample in samples
            if math.isfinite(sample.value)
        }


def _backwards(version: str, time: int, last: int) -> str:
    if not version:
        return "The book was deleted."
    if not time:
        return "The book was changed and contradicts itself."
    return f"The book was put back to {format_time(time)}, from {format_time(last)}."


def _told(world: World) -> Iterator[Fact]:
    """What the statuses of the budgets say of the periods that they showed last."""
    for obj in (*world.caches.policies.values(), *world.caches.cluster_policies.values()):
        fact = _fact_of(obj)
        if fact is not None:
            yield fact


def _fact_of(obj: Object) -> Fact | None:
    meta, spec = obj["metadata"], obj["spec"]
    status: Mapping[str, Any] = obj.get("status") or {}
    namespace = meta.get("namespace")
    try:
        start, end = parse_time(status["period"]["start"]), parse_time(status["period"]["end"])
        spent, rate, at = parse_amount(status["spent"]), parse_amount(status["ratePerHour"]), parse_time(status["asOf"])
    except (KeyError, ValueError):
        return None
    if start is None or end is None or at is None:
        return None
    name = f"{namespace}/{meta['name']}" if namespace else meta["name"]
    return Fact(name, start, end, spec["currency"], spent, rate, at, "the status of the budget")
