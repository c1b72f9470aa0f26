"""One pass over the book: evidence in, money held, and what follows for the pods.

See `ledger` for the order of the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from modelservice.domain.book import Book, Placement, Refusal, Terms, Unit
from modelservice.domain.curbs import watch
from modelservice.domain.endurance import Loan, keep_holds, lend, outlives, recall
from modelservice.domain.funding import Key, Wanted, admit, admit_all, drain, place, renew
from modelservice.domain.guarantee import Watch
from modelservice.domain.ledger import (
    Policy,
    advance,
    close_all,
    collect,
    differs,
    end_gone,
    end_seen,
    prove,
    release,
    seal,
    set_policies,
    start_seen,
)
from modelservice.domain.prices import STEADY, BillingStart, Course, billed_since
from modelservice.domain.snapshot import Pod


@dataclass(frozen=True, slots=True)
class Funding:
    """What the plan grants a workload: so many pods under these terms.

    The price of `ceiling` micro-units per hour holds for pods that ask for no more than `requests` and run on the
    nodes of `selector`; `course` says how it moves. `terms` is None when the pool is not known now. Who has the lower
    `rank` is paid first. Pods are renewed no further than `through`, if it is set, and what is lent to them leaves so
    much in each account as `leave` says: that money is for somebody else.
    """

    count: int
    terms: Terms | None = None
    start_seconds: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    ceiling: int = 0
    course: Course = STEADY
    rank: int = 0
    through: int | None = None
    leave: Mapping[Key, int] = field(default_factory=dict)

    def covers(self, pod: Pod) -> bool:
        """Whether the pod is what was priced; one that a person made or changed may ask for more."""
        dearer = any(amount > self.requests.get(resource, 0) for resource, amount in pod.requests.items())
        return not dearer and self.selector.items() <= pod.selector.items()


@dataclass(frozen=True, slots=True)
class End:
    """Proof that a pod which is gone has stopped: when, if its kubelet said so; or that it was never bound."""

    finished_at: int | None = None
    never_bound: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen after the book was read: our pods by UID at `date`, ends of pods that are gone, stored pages.

    `watch` is that of the fuse, None where there is none. `foreseen` is the p90 of the total of each period, by policy.
    """

    date: int
    pods: Mapping[str, Pod]
    ends: Mapping[str, End] = field(default_factory=dict)
    pages: frozenset[tuple[str, int]] = frozenset()
    watch: Watch | None = None
    foreseen: Mapping[str, int] = field(default_factory=dict)

    def bounds(self, record: Placement, uid: str) -> bool:
        """Whether the fuse has deleted that pod in time after its hold, if nobody else had."""
        hold, watch = record.hold_through, self.watch
        if watch is None or hold is None or record.units[uid].start > hold:
            return False
        return watch.bounds(uid, hold, self.date)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A pod to delete and the sentence that says why; `unbound` when it must never have been bound."""

    pod: Pod
    why: str
    unbound: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """The next book and what to do once it is stored.

    `ungate`: gated pods that are in it. `delete`: pods whose time is up, or that never found a node. `adopted`: pods
    that were found running without a hold. `foreign`: gated pods that are not what was priced. `refusals`: by
    workload, why money for more or for longer is not there.
    """

    book: Book
    changed: bool
    ungate: tuple[Pod, ...] = ()
    delete: tuple[Deletion, ...] = ()
    adopted: tuple[Pod, ...] = ()
    foreign: tuple[Pod, ...] = ()
    refusals: Mapping[str, Refusal] = field(default_factory=dict)


def settle(
    stored: Book,
    date: int,
    evidence: Evidence,
    policies: Iterable[Policy],
    funding: Mapping[str, Funding],
    margin: int,
    *,
    frozen: bool = False,
) -> Settlement:
    """The next book from the one read at `date`; pods are deleted `margin` seconds before their hold ends.

    While the book is `frozen` what runs is posted and paid for longer, and nothing is started, stopped or drained.
    """
    policies = tuple(policies)
    book = set_policies(recall(advance(stored, date)), policies)
    book = _take_evidence(book, evidence)
    book = collect(seal(book), evidence.pages)
    refusals: dict[str, Refusal] = {}
    book = _drain_leaving(book, evidence.pods)
    book = _set_terms(book, funding, refusals)
    book, adopted = _adopt(book, evidence)
    grants = {p.workload: funding.get(p.workload, _UNPLANNED) for p in book.placements.values()}
    for workload, grant in sorted(grants.items(), key=lambda each: (each[1].rank, each[0])):
        if grant.count > 0:
            kept = replace(grant, count=0) if frozen else grant
            book = _renew(book, workload, kept, margin, refusals)
    loans = tuple(_loans(stored, book, funding, refusals))
    if not frozen:
        book = watch(_admit(book, evidence.pods.values(), funding, refusals), policies, evidence.foreseen)
    book = lend(book, loans)
    changed = differs(stored, book) or outlives(stored, _bounds(stored, funding, book.time), book.time)
    if not changed:
        book = keep_holds(stored, book)
    if frozen:
        return Settlement(book, changed, adopted=adopted, refusals=refusals)
    return Settlement(
        book,
        changed,
        tuple(_gated_units(book, evidence.pods, funding)),
        (*_expired(book, evidence.pods, margin), *_lost(book, evidence.pods, funding)),
        adopted,
        tuple(pod for pod in evidence.pods.values() if pod.gated and _foreign(pod, funding)),
        refusals,
    )


_UNPLANNED = Funding(1)


def _loans(stored: Book, book: Book, funding: Mapping[str, Funding], refusals: Mapping[str, Refusal]) -> Iterable[Loan]:
    """Whom money is lent to: workloads whose pods are paid and wanted. Without a plan they keep what they have."""
    bounds = _bounds(book, funding, book.time)
    for placement in book.placements.values():
        grant, before = funding.get(placement.name), stored.placements.get(placement.name)
        if placement.draining or placement.name in refusals:
            continue
        if grant is not None and grant.terms is not None and grant.count > 0:
            yield Loan(placement.name, grant.rank, bounds.get(placement.name), grant.leave)
        elif grant is None and before is not None:
            yield Loan(placement.name, until=before.end_max(book.time))


def _bounds(book: Book, funding: Mapping[str, Funding], time: int) -> dict[str, int]:
    """From when on a pod of a workload can cost more than is held for it, where that is in sight."""
    bounds = {}
    for name, grant in funding.items():
        rates = book.placements[name].terms.rates.values() if name in book.placements else ()
        until = min(
            (end for rate in rates if (end := grant.course.covered_until(rate, time)) is not None), default=None
        )
        if until is not None:
            bounds[name] = until
    return bounds


def _keep(result: Book | Refusal, book: Book, workload: str, refusals: dict[str, Refusal]) -> Book:
    if isinstance(result, Refusal):
        refusals[workload] = result
        return book
    return result


def _renew(book: Book, workload: str, grant: Funding, margin: int, refusals: dict[str, Refusal]) -> Book:
    """Pay a workload's pods for longer; when that is refused and their time is up, as many as there is money for.

    Their time is up without warning when a budget begins to bind that only counted before.
    """
    result = renew(book, workload, grant.terms, through=grant.through)
    placement = book.placements.get(workload)
    if isinstance(result, Refusal) and placement is not None and placement.hold_through is not None:
        uids = sorted(placement.units)
        up = placement.hold_through <= book.time + margin
        for kept in range(min(grant.count, len(uids) - 1) if up else 0, 0, -1):
            fewer = renew(drain(book, workload, uids[kept:]), workload, grant.terms, through=grant.through)
            if isinstance(fewer, Book):
                book = fewer
                break
    return _keep(result, book, workload, refusals)


def _take_evidence(book: Book, evidence: Evidence) -> Book:
    for record in list(book.placements.values()):
        ends: dict[str, int] = {}
        for uid, unit in record.units.items():
            pod = evidence.pods.get(uid)
            if pod is not None:
                book = _prove_bound(book, pod, evidence.date)
            if pod is not None and pod.terminal:
                ends[uid] = _end(evidence.date, pod.finished_at)
            elif pod is None and (end := evidence.ends.get(uid)) is not None:
                if end.never_bound and not unit.proven:
                    book = release(book, uid)
                elif end.finished_at is not None:
                    ends[uid] = _end(evidence.date, end.finished_at)
                else:
                    ends[uid] = end_gone(record, evidence.date, fused=evidence.bounds(record, uid))
        book = close_all(book, record.name, ends) if ends else book
    return book


def _prove_bound(book: Book, pod: Pod, date: int) -> Book:
    """Record since when a pod of the book is billed, when the list of that date shows it bound."""
    record = book.placement_of(pod.uid)
    if record is None or pod.node is None:
        return book
    billing, unit = record.terms.billing, record.units[pod.uid]
    since = billed_since(billing, ungated_at=unit.start, started_at=pod.started_at)
    if since is None and not pod.terminal:
        return book
    latest = date if billing.begins is BillingStart.UNGATE else None
    return prove(book, pod.uid, start_seen(date, unit.start if since is None else since), pod.node, latest)


def _end(list_date: int, finished_at: int | None) -> int:
    return end_seen(list_date, list_date if finished_at is None else finished_at)


def _set_terms(book: Book, funding: Mapping[str, Funding], refusals: dict[str, Refusal]) -> Book:
    for workload, grant in sorted(funding.items()):
        if grant.terms is not None:
            book = _keep(place(book, workload, grant.terms, grant.course), book, workload, refusals)
    return book


def _adopt(book: Book, evidence: Evidence) -> tuple[Book, tuple[Pod, ...]]:
    """Take in pods that are bound and in no unit: what they cost is the truth, whether money was held for it or not.

    When they were let go is not known, so one that is billed from then on is billed from its birth.
    """
    adopted = []
    for pod in evidence.pods.values():
        placement = book.placements.get(pod.workload)
        if pod.node is None or pod.terminal or placement is None or book.placement_of(pod.uid) is not None:
            continue
        units = {**placement.units, pod.uid: Unit(min(pod.created_at, book.time))}
        book = _prove_bound(book.with_placement(replace(placement, units=units)), pod, evidence.date)
        adopted.append(pod)
    return book, tuple(adopted)


def _drain_leaving(book: Book, pods: Mapping[str, Pod]) -> Book:
    for record in list(book.placements.values()):
        if not record.draining:
            leaving = [uid for uid in record.units if uid not in pods or pods[uid].deleting]
            book = drain(book, record.name, leaving)
    return book


def _admit(book: Book, pods: Iterable[Pod], funding: Mapping[str, Funding], refusals: dict[str, Refusal]) -> Book:
    """Admit gated pods as far as the plan grants them: in turns, one of each workload, when money is short."""
    waiting: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=lambda each: (each.created_at, each.name)):
        grant = funding.get(pod.workload)
        if pod.gated and pod.live and grant and grant.covers(pod) and book.placement_of(pod.uid) is None:
            waiting.setdefault(pod.workload, []).append(pod)
    turns = sorted(name for name in waiting if name in book.placements)
    wanted = []
    for name in turns:
        room = max(0, funding[name].count - len(book.placements[name].units))
        wanted.append(Wanted(name, [pod.uid for pod in waiting[name][:room]], funding[name].terms))
    if (everything := admit_all(book, wanted)) is not None:
        return everything
    while turns:
        turns.sort(key=lambda name: (funding[name].rank, len(book.placements[name].units), name))
        name = turns.pop(0)
        placement = book.placements[name]
        if not waiting[name] or len(placement.units) >= funding[name].count:
            continue
        admitted = admit(book, name, [waiting[name].pop(0).uid], funding[name].terms)
        if isinstance(admitted, Refusal):
            refusals[name] = admitted
            continue
        book = admitted
        turns.append(name)
    return book


def _foreign(pod: Pod, funding: Mapping[str, Funding]) -> bool:
    grant = funding.get(pod.workload)
    return grant is not None and not grant.covers(pod)


def _gated_units(book: Book, pods: Mapping[str, Pod], funding: Mapping[str, Funding]) -> Iterable[Pod]:
    """The gated pods of the book that the plan still wants, the oldest first; without a plan all of them."""
    for record in book.placements.values():
        if record.draining:
            continue
        live = [pods[uid] for uid in record.units if uid in pods and pods[uid].live]
        gated = sorted((pod for pod in live if pod.gated), key=lambda each: (each.created_at, each.name))
        grant = funding.get(record.workload)
        yield from gated if grant is None else gated[: max(0, grant.count - len(live) + len(gated))]


def _expired(book: Book, pods: Mapping[str, Pod], margin: int) -> Iterable[Deletion]:
    for record in book.placements.values():
        if record.hold_through is None or book.time < record.hold_through - margin:
            continue
        for uid in record.units:
            pod = pods.get(uid)
            if pod is not None and pod.live and not pod.spared(book.time):
                yield Deletion(
                    pod, f"Pod {pod.name} is stopped: no budget pays for it any longer.", unbound=pod.node is None
                )


def _lost(book: Book, pods: Mapping[str, Pod], funding: Mapping[str, Funding]) -> Iterable[Deletion]:
    for record in book.placements.values():
        grant = funding.get(record.workload)
        if grant is None or grant.start_seconds <= 0:
            continue
        for uid, unit in record.units.items():
            pod = pods.get(uid)
            if pod is None or pod.gated or pod.node is not None or not pod.live or pod.spared(book.time):
                continue
            if book.time - unit.start > 2 * grant.start_seconds:
                why = f"Pod {pod.name} found no node within {2 * grant.start_seconds} s; its money is given back."
                yield Deletion(pod, why, unbound=True)
