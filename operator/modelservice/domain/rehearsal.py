"""What budgets on trial (DryRun) would refuse if they were hard: all pods that are wanted are asked for once more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from modelservice.domain.asks import Ask, Refused
from modelservice.domain.book import Book, Enforcement, Refusal
from modelservice.domain.funding import admit, place
from modelservice.domain.ledger import Policy, bill, set_policies
from modelservice.domain.planner import draft
from modelservice.domain.relief import starts
from modelservice.domain.snapshot import Snapshot
from modelservice.domain.specs import ServiceName


@dataclass(frozen=True, slots=True)
class Objection:
    """Pods of a service that a budget on trial would refuse: why, and how many.

    It would pay for `fits` others, and for one more from `affordable_at` on, None when no such time was found.
    """

    service: ServiceName
    refused: Refused
    fits: int = 0
    affordable_at: int | None = None

    @property
    def cause(self) -> tuple[ServiceName, str, int]:
        """What must differ for it to be another objection; its figures change with time."""
        return self.service, self.refused.why.blocked_by.value, self.refused.pods


def rehearse(snapshot: Snapshot, now: int) -> Mapping[str, tuple[Objection, ...]]:
    """The objections of each budget on trial, by its name.

    A budget is asked for all the pods that are wanted, as if none of them were running and it alone had to pay, since
    those that run would not have been admitted either.
    """
    return {
        policy.name: tuple(_dated(snapshot, policy, now))
        for policy in snapshot.policies
        if policy.enforcement is Enforcement.DRY_RUN
    }


def _dated(snapshot: Snapshot, policy: Policy, now: int) -> Iterable[Objection]:
    """The objections, each with the first of the next periods in which fewer pods would be refused."""
    found, enough = _objections(snapshot, policy, now), dict[ServiceName, int]()
    for moment in sorted(time for time in starts(policy, now) if time > now) if found else ():
        later = {one.service: one.refused.pods for one in _objections(snapshot, policy, moment)}
        for one in found:
            if later.get(one.service, 0) < one.refused.pods:
                enough.setdefault(one.service, moment)
    return (replace(one, affordable_at=enough.get(one.service)) for one in found)


def _objections(snapshot: Snapshot, policy: Policy, now: int) -> list[Objection]:
    trial = replace(
        snapshot,
        services=tuple(view for view in snapshot.services if policy.scope.reaches(view.origin)),
        policies=(replace(policy, enforcement=Enforcement.HARD),),
        book=_without_pods(snapshot.book, policy.name, now),
        budget_required=False,
    )
    book, found = set_policies(trial.book, trial.policies), []
    for view in sorted(trial.services, key=lambda each: each.name):
        refusals, wanted = [], 0
        for ask in draft(view, trial, {}, now)[1]:
            wanted += ask.want
            book, refused = _admit(book, ask)
            refusals += [refused] if refused is not None else []
        if refusals:
            pods = sum(each.pods for each in refusals)
            found.append(Objection(view.name, replace(refusals[0], pods=pods), wanted - pods))
    return found


def _admit(book: Book, ask: Ask) -> tuple[Book, Refused | None]:
    """Admit as many pods as there is money for; and what is refused beyond them."""
    placed = ask.refusal or place(book, ask.workload, ask.terms)
    if isinstance(placed, Refusal):
        return book, Refused(placed, ask.want) if ask.want else None
    pods = [f"wanted/{ask.workload}/{number}" for number in range(ask.want)]
    book, admitted, least = placed, 0, ask.want + 1
    while admitted + 1 < least:
        middle = (admitted + least) // 2
        tried = admit(placed, ask.workload, pods[:middle])
        if isinstance(tried, Refusal):
            least = middle
        else:
            book, admitted = tried, middle
    refusal = admit(book, ask.workload, pods[admitted : admitted + 1])
    return book, Refused(refusal, ask.want - admitted) if isinstance(refusal, Refusal) else None


def _without_pods(book: Book, policy: str, now: int) -> Book:
    """The book as if the pods that the policy counts had ended now."""
    book = replace(book, time=max(book.time, now))
    for placement in book.placements.values():
        if policy in placement.terms.rates and not placement.draining:
            proven = [(unit, book.time) for unit in placement.units.values() if unit.proven]
            book = bill(book, placement.terms, proven)
            book = book.with_placement(replace(placement, units={}))
    return book
