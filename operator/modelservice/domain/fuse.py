"""The fuse: which pods are deleted when nobody else stops them at the end of their hold.

A look at the cluster lists the pods first and reads the book then. A pod in the list without a gate was in a stored
book before its gate went, so the book that is read later knows it. An old answer can only cost a pod that was paid for,
never money.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelservice.domain.book import HORIZON_SECONDS, Book, Placement
from modelservice.domain.guarantee import GAP_SECONDS
from modelservice.domain.settlement import Deletion
from modelservice.domain.snapshot import Pod


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to delete, and the pods that would be, were it not for a person's word or a book that is frozen."""

    delete: tuple[Deletion, ...] = ()
    spared: tuple[Pod, ...] = ()


def judge(pods: Iterable[Pod], book: Book, date: int, *, read_at: int | None = None, frozen: bool = False) -> Verdict:
    """Decide at the Date of the book's answer which of the listed pods have no money any more.

    Deleted are pods that are past the end of their hold, gated or not, and pods without a gate that are in no unit. A
    gated pod in no unit costs nothing and stays. ``read_at`` is the Date of an older book when the present one cannot
    be read: its holds still prove until when its pods are paid, through the horizon, since what lies beyond may have
    been taken back. Of other pods it proves nothing until the longest horizon has passed, for whoever was admitted
    after it may be paid that long. A ``frozen`` book has lost something: it condemns nobody.
    """
    sure = None if read_at is None else max(book.time, read_at - GAP_SECONDS)
    holds = {uid: _held_through(placement, sure) for placement in book.placements.values() for uid in placement.units}
    unknown_too = read_at is None or date - read_at >= HORIZON_SECONDS
    doomed: list[Deletion] = []
    spared: list[Pod] = []
    for pod in pods:
        if not pod.live:
            continue
        if pod.uid not in holds:
            if pod.gated or not unknown_too:
                continue
            why = f"Pod {pod.namespace}/{pod.name} runs and the book of budgets does not know it."
        else:
            hold = holds[pod.uid]
            if hold is None or date < hold:
                continue
            why = f"Pod {pod.namespace}/{pod.name} is {date - hold} s past the time through which it is paid."
        if frozen or pod.spared(date):
            spared.append(pod)
        else:
            doomed.append(Deletion(pod, why, unbound=pod.node is None))
    return Verdict(tuple(doomed), tuple(spared))


def _held_through(placement: Placement, sure: int | None) -> int | None:
    """The end of a hold, as far as nobody can have taken it back who read the book at the time ``sure`` or later."""
    hold = placement.hold_through
    return hold if sure is None or hold is None else min(hold, sure + placement.terms.horizon)
