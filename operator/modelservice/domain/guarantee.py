"""What a budget can promise now: the watch of the fuse, and the level of the guarantee with its reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from modelservice.domain.book import Account, Book
from modelservice.domain.prices import LATE_SECONDS
from modelservice.domain.snapshot import Pod
from modelservice.domain.times import format_time

GAP_SECONDS = LATE_SECONDS // 2
"""Longest time from the decision of one look of the fuse to the end of the next in an unbroken watch. The other half of
the delay that is paid for is the bound on the difference of clocks."""
MOST_SPARED = 100
"""A watch remembers no more spared pods than that."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Complete looks without a gap, the first decided at ``since``, the last at ``until`` (Dates of the API server).

    A look is complete when the book could be read and everything that had to be deleted was. Of pods that were spared
    it proves nothing, since they do live longer than they are paid: ``spared`` gives by UID when each was last there.
    """

    since: int
    until: int
    spared: Mapping[str, int] = field(default_factory=dict)

    def extended(self, decided: int, finished: int, spared: Collection[str] = (), there: Collection[str] = ()) -> Watch:
        """The watch after one more complete look, decided and finished at these Dates.

        ``spared`` are the UIDs of the pods that were, ``there`` those of all that are listed or in the book. Who is
        neither any more is forgotten once no write can bring it into the book. The watch begins anew after a gap, and
        when more are spared than it can remember.
        """
        seen = {uid: decided if uid in there else last for uid, last in self.spared.items()}
        known = {uid: last for uid, last in seen.items() if decided - last <= 2 * GAP_SECONDS}
        known |= dict.fromkeys(spared, decided)
        if len(known) > MOST_SPARED:
            return Watch(decided, decided)
        if finished - self.until > GAP_SECONDS:
            return Watch(decided, decided, known)
        return Watch(self.since, max(self.until, decided), known)

    def fresh(self, date: int) -> bool:
        """Whether the fuse still watches, seen at that Date."""
        return date - self.until <= GAP_SECONDS

    def bounds(self, uid: str, hold_through: int, date: int) -> bool:
        """Whether a pod that is found gone at ``date`` was deleted in time after that end of its hold or before."""
        return uid not in self.spared and self.since <= hold_through and self.fresh(date)


ALL_IS_WELL = (
    "Money is held before a pod starts, the fuse watches the ends of holds, and the admission policies are in force."
)


class Level(StrEnum):
    """How far one may rely on a budget."""

    GUARANTEED = "Guaranteed"
    BEST_EFFORT = "BestEffort"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The level, and the sentences it follows from."""

    level: Level
    because_of: str


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that a period can cost in all, in micro-units, whatever is asked for until its end; and why so much."""

    amount: int
    because_of: str


def worst_case(book: Book, account: Account) -> WorstCase | None:
    """What a period can cost at most while its limit stays as it is; None when the limit does not bind."""
    if not account.binds:
        return None
    worst = book.worst(account)
    if worst > account.limit:
        because = "More is spent and held than the limit allows; nothing is started or renewed until it is less."
        return WorstCase(worst, because)
    return WorstCase(account.limit, "It is the limit: what would pass it is not started and not renewed.")


def judge_guarantee(watch: Watch | None, now: int, weaknesses: Iterable[str]) -> Guarantee:
    """The guarantee of one budget: any weakness, or a fuse that does not watch, leaves best effort."""
    found = [*_of_the_fuse(watch, now), *weaknesses]
    if found:
        return Guarantee(Level.BEST_EFFORT, " ".join(found))
    return Guarantee(Level.GUARANTEED, ALL_IS_WELL)


def _of_the_fuse(watch: Watch | None, now: int) -> Iterable[str]:
    if watch is None:
        yield "No fuse has reported: while the operator is away nobody stops pods at the end of their hold."
    elif not watch.fresh(now):
        yield (
            f"The fuse has finished no look for more than {GAP_SECONDS} s: while the operator is away nobody stops "
            "pods at the end of their hold."
        )


def weak_pods(pods: Iterable[Pod], unheld: Iterable[Pod], now: int) -> Iterable[str]:
    """A sentence for each pod that may cost more than the book holds: by break-glass, or found without a hold."""
    for pod in sorted(pods, key=lambda each: each.name):
        if pod.break_glass is not None and pod.spared(now) and pod.live:
            reason = f": {pod.break_glass.reason}" if pod.break_glass.reason else ""
            yield f"Pod {pod.name} runs by break-glass until {format_time(pod.break_glass.until)}{reason.rstrip('.')}."
    for pod in sorted(unheld, key=lambda each: each.name):
        yield f"Pod {pod.name} ran before money was held for it."
