"""The only writer of the book: one read, one computation, one write; only then gates are removed and pods deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelservice.controllers.auditor import Auditor
from modelservice.controllers.downloads import revision_for
from modelservice.controllers.gates import opening
from modelservice.controllers.heartbeats import Absences, remember
from modelservice.controllers.pages import Pages, ledger
from modelservice.controllers.safeguards import Safeguards
from modelservice.controllers.world import SELECTOR, World, pods_of
from modelservice.domain.book import Book
from modelservice.domain.codec import DamagedBookError, decode, encode
from modelservice.domain.funding import may_ungate
from modelservice.domain.integrity import Fact, Freeze, described, frozen, raised, read_freeze, shortfalls, write_freeze
from modelservice.domain.ledger import WRITE_SECONDS, Policy, may_write
from modelservice.domain.planner import Plan
from modelservice.domain.settlement import Deletion, End, Evidence, Settlement, settle
from modelservice.domain.snapshot import Pod
from modelservice.kit.errors import ApiError, Conflict, NotFound
from modelservice.kit.meter import Meter
from modelservice.kit.objects import Object, Ref
from modelservice.kit.parallel import together
from modelservice.ports import EventSink, KubeClient
from modelservice.render.labels import MANAGER, REVISION

log = logging.getLogger(__name__)

OPEN = "open"
TRIES = 5
LOOK_EVERY = 30.0
"""Seconds after which the book is read although the caches show nothing to do."""
LOOK_FROZEN_EVERY = 3.0
"""The same while the book is frozen: somebody may have acknowledged it."""
PROOF_SECONDS = 40.0
"""For so long the proof is waited for that late pods have stopped. A node that says nothing for longer is not ready."""


@dataclass(slots=True)
class Bookkeeper:
    """Settles the book of one operator namespace; `margin` seconds before the end of a hold its pods are deleted."""

    world: World
    kube: KubeClient
    events: EventSink
    namespace: str
    margin: int
    absences: Absences
    safeguards: Safeguards
    auditor: Auditor
    pages: Pages
    meter: Meter
    ends: dict[str, End] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _looked_at: float | None = None
    _waited_for: set[str] = field(default_factory=set)

    async def settle(self, plan: Plan | None, policies: tuple[Policy, ...]) -> bool:
        """Bring the book, the gates and the pods to what the plan funds; True when the book was written.

        Without a plan a book that is not as it should be is looked at only: what runs cannot be added to it yet.
        """
        async with self._lock:
            if plan is not None and not self._due(plan, policies):
                return False
            if self.world.book is None:
                await self.safeguards.look()
            await self._await_proofs()
            told = await self.auditor.ask()
            for _ in range(TRIES):
                try:
                    return await self._pass(plan, policies, told)
                except Conflict:
                    self.meter.count("book_conflicts_total")
                    log.info("The book was changed by somebody else meanwhile; it is read again")
            return False

    def ended(self, obj: Object) -> None:
        """A watch showed the last state of a pod that is gone now."""
        for pod in pods_of([obj]):
            if pod.node is None:
                remember(self.ends, pod.uid, End(never_bound=True))
            elif pod.terminal:
                finished = pod.finished_at if pod.finished_at is not None else self.world.now()
                remember(self.ends, pod.uid, End(finished_at=finished))
            else:
                self.absences.was_on(pod.uid, pod.node)

    def _due(self, plan: Plan, policies: tuple[Policy, ...]) -> bool:
        """Whether a pass over what the caches show would do anything, or the last look at the book is long ago."""
        book, clock = self.world.book, self.world.clock
        every = LOOK_FROZEN_EVERY if self.world.freeze else LOOK_EVERY
        if book is None or self._looked_at is None or clock.monotonic() - self._looked_at > every:
            return True
        pods, now = self.world.pods(), self.world.now()
        if any(uid not in pods for placement in book.placements.values() for uid in placement.units):
            return True
        still = self.world.freeze is not None
        evidence = Evidence(now, pods, self.ends, foreseen=self.world.foreseen)
        expected = settle(book, now, evidence, policies, plan.funding, self.margin, frozen=still)
        return expected.changed or bool(expected.ungate or expected.delete)

    async def _pass(self, plan: Plan | None, policies: tuple[Policy, ...], told: tuple[Fact, ...]) -> bool:
        began = self.world.clock.monotonic()
        stored, book, date = await self._read()
        listing = await self.kube.list("Pod", label_selector=SELECTOR)
        self.world.saw_date(listing.date)
        pods = {pod.uid: pod for pod in self.world.read(listing.items)}
        stored_pages = await self.pages.keep(book)
        ends = {**self.ends, **await self._proven_gone(book, pods)}
        evidence = Evidence(listing.date, pods, ends, stored_pages, self.safeguards.watch, self.world.foreseen)
        version = stored["metadata"].get("resourceVersion", "")
        running = sum(pod.node is not None and not pod.terminal for pod in pods.values())
        found = await self.auditor.examine(version, book, told, running)
        freeze = read_freeze(stored.get("freeze"))

        def settled_from(start: Book, *, still: bool) -> Settlement:
            return settle(start, date, evidence, policies, plan.funding if plan else {}, self.margin, frozen=still)

        settled = settled_from(found.book, still=bool(freeze or found.seen))
        short = shortfalls(found.facts, found.book, settled.book, found.pages, date, lost=bool(found.seen))
        seen = (*found.seen, *described(short))
        if short:
            settled = settled_from(raised(found.book, short), still=True)
        still = frozen(freeze, seen, date)
        if seen:
            log.error("The book is frozen: %s", " ".join(seen))
        if seen and plan is None:
            self._take_in(settled, pods, still)
            self._looked_at = None
            return False
        self._looked_at = self.world.clock.monotonic()
        written = bool(seen or not version or settled.changed or settled.ungate)
        answered = date
        if written:
            content = {**stored, "book": encode(settled.book), **write_freeze(still)}
            answered = await self._write(content, settled.book, began)
        else:
            self.auditor.stored(version, book)
        self._take_in(settled, pods, still)
        await self._open_gates(settled, answered, {obj["metadata"]["uid"]: obj for obj in listing.items})
        await self._delete(settled.delete)
        return written

    async def _await_proofs(self) -> None:
        """Let nodes report first when pods are gone that could not live for so long, as after an outage.

        A node takes some seconds to prove that they have stopped. A book written before would count them until now.
        """
        book, pods, date = self.world.book, self.world.pods(), self.world.now()
        began = self.world.clock.monotonic()
        while True:
            if book is None:
                _, book, date = await self._read()
                listing = await self.kube.list("Pod", label_selector=SELECTOR)
                pods = {pod.uid: pod for pod in self.world.read(listing.items)}
            over = {uid for placement in book.placements.values() if placement.over(date) for uid in placement.units}
            late = over - pods.keys() - self.ends.keys() - self._waited_for
            if not late or late <= (await self._proven_gone(book, pods)).keys():
                return
            if self.world.clock.monotonic() - began > PROOF_SECONDS:
                log.warning("It is not proven that %d pods have stopped: their nodes do not report", len(late))
                self._waited_for |= late
                return
            await self.world.clock.sleep(1.0)
            book = None

    async def _read(self) -> tuple[Object, Book, int]:
        """The object, the book in it and the server's time; an object without a version when there is none.

        A book that contradicts itself reads as empty while another one is remembered that can take its place.
        """
        try:
            answer = await self.kube.get("BudgetLedger", self.namespace, OPEN)
        except NotFound:
            listing = await self.kube.list("BudgetLedger", namespace=self.namespace)
            return ledger(self.namespace, OPEN), Book(), listing.date
        try:
            book = decode(answer.object.get("book") or {})
        except DamagedBookError:
            if not self.auditor.remembers:
                raise
            book = Book()
        return answer.object, book, answer.date

    async def _write(self, content: Object, book: Book, began: float) -> int:
        """PUT the book with the version that was read, or create it, within the deadline; returns the answer's Date."""
        spent = self.world.clock.monotonic() - began
        if not may_write(spent):
            raise Conflict(f"The write of the book was given up {spent:.0f} s after its read", reason="Late")
        async with asyncio.timeout(WRITE_SECONDS - spent):
            store = self.kube.replace if "resourceVersion" in content["metadata"] else self.kube.create
            answer = await store(content, manager=MANAGER)
        self.auditor.stored(answer.object["metadata"]["resourceVersion"], book)
        return answer.date

    def _take_in(self, settled: Settlement, pods: Mapping[str, Pod], freeze: Freeze | None) -> None:
        self.world.book, self.world.refusals, self.world.freeze = settled.book, settled.refusals, freeze
        open_units = {uid for placement in settled.book.placements.values() for uid in placement.units}
        self.ends = {uid: end for uid, end in self.ends.items() if uid in open_units or uid in pods}
        self.absences.keep_only(open_units)
        self._waited_for &= open_units
        adopted = () if freeze is not None else settled.adopted
        for pod in adopted:
            self.world.unheld[pod.uid] = pod
        self.world.unheld = {uid: pod for uid, pod in self.world.unheld.items() if uid in pods and pods[uid].live}
        for pod in adopted:
            self._tell(pod, "BudgetUnheld", f"Pod {pod.name} ran without money held for it; it is in the book now.")
        for pod in settled.foreign:
            text = f"Pod {pod.name} is not started: it asks for more than what was priced, or for other nodes."
            self._tell(pod, "PodNotAdmitted", text)

    async def _proven_gone(self, book: Book, pods: Mapping[str, Pod]) -> dict[str, End]:
        missing = {
            uid: (unit.node, placement.terms.pool)
            for placement in book.placements.values()
            for uid, unit in placement.units.items()
            if uid not in pods and uid not in self.ends
        }
        return {uid: End() for uid in await self.absences.proven(missing)}

    async def _open_gates(self, settled: Settlement, answered: int, objects: Mapping[str, Object]) -> None:
        ready = [pod for pod in settled.ungate if may_ungate(settled.book, pod.uid, answered)]
        await together(self._open_gate(pod, objects[pod.uid]) for pod in ready)

    async def _open_gate(self, pod: Pod, obj: Object) -> None:
        revision = revision_for(pod, self.world)
        operations = opening(obj, {REVISION: revision} if revision else {})
        try:
            answer = await self.kube.patch_json("Pod", pod.namespace, pod.name, operations, manager=MANAGER)
        except ApiError as error:
            log.info("The gate of pod %s stays for now: %s", pod.name, error)
            self.world.replan()
        else:
            self.world.caches.pods.observe(answer.object)

    async def _delete(self, deletions: Iterable[Deletion]) -> None:
        await together(self._delete_one(deletion) for deletion in deletions)

    async def _delete_one(self, deletion: Deletion) -> None:
        pod = deletion.pod
        version = pod.version if deletion.unbound else None
        try:
            await self.kube.delete("Pod", pod.namespace, pod.name, uid=pod.uid, resource_version=version)
        except (Conflict, NotFound) as error:
            log.info("Pod %s was not deleted, it has changed: %s", pod.name, error)
            return
        if deletion.unbound:
            self.ends[pod.uid] = End(never_bound=True)
        self._tell(pod, "PodStopped", deletion.why)

    def _tell(self, pod: Pod, reason: str, message: str) -> None:
        """An Event about the service of a pod, or a log line when the service is gone."""
        service = self.world.caches.services.get(Ref(*pod.service))
        if service is None:
            log.warning("%s", message)
        else:
            self.events.emit(service, reason=reason, message=message, warning=True)
