"""The loop of the fuse: list, read, judge, delete; a Lease says when it last did all of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from modelservice.controllers.bookkeeper import OPEN
from modelservice.controllers.safeguards import FUSE_LEASE, recorded, watch_of
from modelservice.controllers.world import SELECTOR, pods_of
from modelservice.domain.book import Book
from modelservice.domain.codec import DamagedBookError, decode
from modelservice.domain.fuse import Verdict, judge
from modelservice.domain.guarantee import GAP_SECONDS, Watch
from modelservice.domain.settlement import Deletion
from modelservice.domain.snapshot import Pod
from modelservice.kit.errors import ApiError, NotFound
from modelservice.kit.meter import Meter
from modelservice.kit.parallel import together
from modelservice.ports import Clock, KubeClient
from modelservice.render.labels import MANAGER

log = logging.getLogger(__name__)

STUCK_SECONDS = 180
"""A look that takes longer hangs: every request in it has a time limit."""

SOONER = 10
"""After an incomplete look the next one comes so many times sooner."""


class Incomplete(Exception):
    """A look did not do all that it had to; the message says what is missing."""


@dataclass(slots=True)
class Fuse:
    """Looks every `poll` seconds, and sooner after an incomplete look; `namespace` is that of the book and the Lease.

    While the book cannot be read, or is damaged, the last one that could be read decides, see `domain.fuse.judge`;
    without any nothing is deleted. Such a look does not count as a complete one.
    """

    kube: KubeClient
    clock: Clock
    meter: Meter
    namespace: str
    identity: str
    poll: float
    problem: str = "No look has ended yet."
    _book: Book | None = None
    _frozen: bool = False
    _read_at: int = 0
    _ended_at: float | None = None
    _complete_at: float | None = None

    async def run(self) -> None:
        """Look for ever."""
        self._ended_at = self.clock.monotonic()
        while True:
            complete = await self.step()
            await self.clock.sleep(self.poll if complete else self.poll / SOONER)

    async def step(self) -> bool:
        """One look, and the Lease renewed when it was complete; True then."""
        try:
            await self._look()
        except (ApiError, Incomplete, TimeoutError) as error:
            before, self.problem = self.problem, str(error) or "The API server did not answer in time."
            if before != self.problem:
                log.warning("The look was not complete: %s", self.problem)
            self.meter.count("fuse_looks_total", result="incomplete")
            return False
        else:
            self.problem, self._complete_at = "", self.clock.monotonic()
            self.meter.count("fuse_looks_total", result="complete")
            return True
        finally:
            self._ended_at = self.clock.monotonic()

    def stuck(self) -> list[str]:
        """Why the process should be restarted; empty while looks end."""
        if self._ended_at is None or self.clock.monotonic() - self._ended_at <= STUCK_SECONDS:
            return []
        return [f"No look has ended for {self.clock.monotonic() - self._ended_at:.0f} s."]

    def blind(self) -> list[str]:
        """Why the fuse does not protect now; empty while looks are complete."""
        if self._complete_at is not None and self.clock.monotonic() - self._complete_at <= GAP_SECONDS:
            return []
        return [self.problem or f"No look has been complete for {GAP_SECONDS} s."]

    async def _look(self) -> None:
        listing = await self.kube.list("Pod", label_selector=SELECTOR)
        pods = list(pods_of(listing.items))
        try:
            book = await self._read()
        except (ApiError, DamagedBookError) as error:
            await self._decide_blindly(pods, listing.date)
            raise Incomplete(f"The book of budgets cannot be read: {error}") from error
        verdict = judge(pods, book, self._read_at, frozen=self._frozen)
        await self._carry_out(verdict)
        there = {pod.uid for pod in pods} | {uid for placement in book.placements.values() for uid in placement.units}
        await self._report(self._read_at, {pod.uid for pod in verdict.spared}, there)

    async def _read(self) -> Book:
        answer = await self.kube.get("BudgetLedger", self.namespace, OPEN)
        book = decode(answer.object.get("book") or {})
        self._book, self._frozen, self._read_at = book, "freeze" in answer.object, answer.date
        return book

    async def _decide_blindly(self, pods: list[Pod], date: int) -> None:
        if self._book is not None:
            await self._carry_out(judge(pods, self._book, date, read_at=self._read_at, frozen=self._frozen))

    async def _carry_out(self, verdict: Verdict) -> None:
        self.meter.set("fuse_spared_pods", len(verdict.spared))
        failures = [why for why in await together(self._delete(one) for one in verdict.delete) if why]
        if failures:
            raise Incomplete(f"{len(failures)} of {len(verdict.delete)} pods were not deleted: {failures[0]}")

    async def _delete(self, deletion: Deletion) -> str:
        """Delete one pod if it still is what was judged; returns what stood against it."""
        pod = deletion.pod
        version = pod.version if deletion.unbound else None
        try:
            await self.kube.delete("Pod", pod.namespace, pod.name, uid=pod.uid, resource_version=version)
        except NotFound:
            return ""
        except (ApiError, TimeoutError) as error:
            return str(error) or "the API server did not answer in time"
        self.meter.count("fuse_deletions_total")
        log.warning("%s It is deleted.", deletion.why)
        return ""

    async def _report(self, decided: int, spared: set[str], there: set[str]) -> None:
        """Extend the watch that the Lease tells of."""
        try:
            answer = await self.kube.get("Lease", self.namespace, FUSE_LEASE)
        except NotFound:
            meta = {"namespace": self.namespace, "name": FUSE_LEASE}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
            watch = Watch(decided, decided, dict.fromkeys(spared, decided))
            await self.kube.create(recorded(lease, watch, self.identity), manager=MANAGER)
            return
        before = watch_of(answer.object) or Watch(decided, decided)
        watch = before.extended(decided, answer.date, spared, there)
        await self.kube.replace(recorded(answer.object, watch, self.identity), manager=MANAGER)
