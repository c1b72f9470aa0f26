"""The first look at the book after an outage: what ended meanwhile is proven before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelservice.controllers.auditor import Auditor
from modelservice.controllers.bookkeeper import PROOF_SECONDS, Bookkeeper
from modelservice.controllers.heartbeats import NODE_LEASES, Absences
from modelservice.controllers.pages import Pages
from modelservice.controllers.safeguards import FUSE_LEASE, Safeguards, lease_spec
from modelservice.controllers.world import World
from modelservice.domain.book import Book
from modelservice.domain.codec import decode, encode
from modelservice.domain.guarantee import Watch
from modelservice.domain.ledger import prove
from modelservice.kit.errors import NotFound
from modelservice.kit.meter import NoMeter
from modelservice.ports import Answer, Listing

from tests.unit.domain.books import FOR_ONE, LATE, NOW, STOP, admitted, opened, policy, posted, worst

LIMIT = policy(FOR_ONE + 10)
OVER = NOW + FOR_ONE
"""The latest end of the pod that is admitted at NOW."""
BEAT_SECONDS = 10


@dataclass
class Plane:
    """A cluster without pods whose node reports every ten seconds, or not; the time moves when somebody waits."""

    book: Book
    seconds: float
    node: bool = True
    reports: bool = True
    fused: bool = True
    written: list[Book] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def emit(self, about: dict[str, Any], *, reason: str, message: str, warning: bool = False) -> None:
        raise AssertionError(f"{reason} is told: {message}")

    async def get(self, kind: str, namespace: str, name: str) -> Answer:
        if kind == "BudgetLedger":
            meta = {"namespace": namespace, "name": name, "resourceVersion": str(len(self.written) + 1)}
            return Answer({"kind": kind, "metadata": meta, "book": encode(self.book)}, int(self.seconds))
        if (kind, name) == ("Lease", FUSE_LEASE) and self.fused:
            watch = Watch(NOW, int(self.seconds))
            return Answer({"metadata": {"name": name}, "spec": lease_spec(watch, "fuse")}, int(self.seconds))
        raise NotFound(name)

    async def list(self, kind: str, *, namespace: str = "", **_: Any) -> Listing:
        items: list[dict[str, Any]] = []
        if kind == "Node" and self.node:
            items = [{"metadata": {"name": "n"}, "status": {}}]
        if kind == "Lease" and namespace == NODE_LEASES and self.node:
            beat = int(self.seconds) // BEAT_SECONDS if self.reports else 0
            items = [{"metadata": {"name": "n"}, "spec": {"renewTime": str(beat)}}]
        return Listing(items, "1", int(self.seconds))

    async def replace(self, obj: dict[str, Any], *, manager: str) -> Answer:
        self.book = decode(obj["book"])
        self.written.append(self.book)
        return Answer({**obj, "metadata": {**obj["metadata"], "resourceVersion": "2"}}, int(self.seconds))


def bookkeeper(plane: Plane) -> Bookkeeper:
    world = World(plane)
    absences, safeguards = Absences(world, plane), Safeguards(world, plane, "system", ())  # type: ignore[arg-type]
    auditor, pages = Auditor(world, plane, None, "system"), Pages(world, plane, "system", 400)  # type: ignore[arg-type]
    return Bookkeeper(world, plane, plane, "system", 10, absences, safeguards, auditor, pages, NoMeter())  # type: ignore[arg-type]


def outage(after: int, **more: Any) -> Plane:
    """A pod ran when the operator went; it comes back so many seconds after the pod's latest end."""
    return Plane(prove(admitted(opened(LIMIT), "u"), "u", NOW, "n"), OVER + after, **more)


async def test_no_book_is_written_that_counts_pods_beyond_their_latest_end_before_their_node_has_reported() -> None:
    plane = outage(after=500)
    await bookkeeper(plane).settle(None, (LIMIT,))
    assert [posted(book) for book in plane.written] == [3600 + LATE + STOP]
    assert all(worst(book) <= LIMIT.limit for book in plane.written)
    assert plane.seconds - (OVER + 500) <= BEAT_SECONDS + 1


async def test_a_pod_whose_node_is_gone_too_is_billed_as_far_as_the_fuse_let_it_live() -> None:
    plane = outage(after=500, node=False)
    await bookkeeper(plane).settle(None, (LIMIT,))
    assert [posted(book) for book in plane.written] == [3600 + LATE + STOP]


async def test_without_a_fuse_it_is_billed_until_it_is_missed() -> None:
    plane = outage(after=500, node=False, fused=False)
    await bookkeeper(plane).settle(None, (LIMIT,))
    assert [posted(book) for book in plane.written] == [FOR_ONE + 500 + 1]


async def test_a_node_that_does_not_report_is_waited_for_once_and_its_pod_stays_in_the_book() -> None:
    plane = outage(after=500, reports=False)
    kept = bookkeeper(plane)
    await kept.settle(None, (LIMIT,))
    assert PROOF_SECONDS < plane.seconds - (OVER + 500) < PROOF_SECONDS + 3
    waited = plane.seconds
    await kept.settle(None, (LIMIT,))
    assert plane.seconds == waited
    assert plane.book.placement_of("u") is not None


async def test_nobody_waits_for_the_proof_of_a_pod_that_could_still_live() -> None:
    plane = outage(after=-100)
    await bookkeeper(plane).settle(None, (LIMIT,))
    assert plane.seconds == OVER - 100
