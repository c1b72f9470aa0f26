"""Who gets the money: the floors by class, then the bursts class by class, in turns within a class.

What is asked for is tried on scratch books with the operations of the book, so a refusal here is the refusal that the
book would give. Bursts leave what floors need until the end of the period, and what classes have not taken of their
shares. Who is refused takes the place of lower bursts: those are stopped first, and it is granted once their money has
returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from modelservice.domain.asks import Ask, Level, Unfunded
from modelservice.domain.book import Blocked, Book, Refusal
from modelservice.domain.endurance import recall
from modelservice.domain.funding import Key, largest, place
from modelservice.domain.ledger import advance, set_policies
from modelservice.domain.money import cost
from modelservice.domain.priorities import SHARE_UNIT, Priority
from modelservice.domain.purse import Purse
from modelservice.domain.snapshot import Snapshot

DRAIN_MARGIN = 60
"""Pods that cannot be renewed are drained so many seconds, and the pool's stop time, before the end of their hold."""
LEVELS: tuple[Level, ...] = tuple((burst, priority.rank) for burst in (False, True) for priority in Priority)

Try = Callable[[Purse], Purse | Refusal]


def allocate(snapshot: Snapshot, now: int, asks: Mapping[str, Ask]) -> None:
    """Decide what each ask gets: sets `granted`, `refusal` and what belongs to them.

    Of a frozen book only what is there is granted.
    """
    for ask in asks.values():
        ask.granted = min(ask.want, len(ask.live))
    if snapshot.frozen:
        return
    book = set_policies(recall(advance(snapshot.book, now)), snapshot.policies)
    for ask in asks.values():
        placed = ask.refusal or place(book, ask.workload, ask.terms, ask.option.course)
        if isinstance(placed, Refusal):
            ask.refusal = placed
        else:
            book = placed
    classes = {str(view.name): view.priority for view in snapshot.services}
    purse = Purse(book, _shares(snapshot, book), classes)
    for ask in asks.values():
        purse = purse.reserve(ask)
    ordered = tuple(sorted(asks.values(), key=lambda each: each.workload))
    round_ = Round(purse, _emptied(purse, snapshot, asks), ordered, now)
    for level in LEVELS:
        for ask in ordered:
            if ask.granted and ask.level(ask.granted) == level and ask.workload in book.placements:
                round_.keep_paying(ask, level)
        round_.take_turns(level)
    round_.finish()


def _shares(snapshot: Snapshot, book: Book) -> dict[Key, Mapping[Priority, int]]:
    """The least that classes have of each account, where its policy says so."""
    shares: dict[Key, Mapping[Priority, int]] = {}
    for policy in snapshot.policies:
        if policy.binds and policy.shares:
            for account in book.accounts_of(policy.name):
                amounts = {one: account.limit * share // SHARE_UNIT for one, share in policy.shares.items()}
                shares[account.key] = amounts
    return shares


def _emptied(purse: Purse, snapshot: Snapshot, asks: Mapping[str, Ask]) -> Purse:
    """The purse as it is once all pods that are being stopped, or will be, have ended."""
    for name, record in purse.book.placements.items():
        ask = asks.get(record.workload)
        staying = set(record.units) if record.draining or ask is None else set(ask.live[: ask.granted])
        leaving = [
            uid
            for uid in record.units
            if record.draining or uid not in staying or uid not in snapshot.pods or not snapshot.pods[uid].live
        ]
        if leaving:
            purse = purse.stop(name, leaving)
            purse = purse.reserve(ask) if ask is not None and not record.draining else purse
    return purse


@dataclass(slots=True)
class Round:
    """One round over all asks.

    `purse` is the money as it is, `ahead` as it will be once the pods that are being stopped have ended.
    """

    purse: Purse
    ahead: Purse
    asks: tuple[Ask, ...]
    now: int

    def keep_paying(self, ask: Ask, level: Level) -> None:
        """Pay what runs for longer; when money is short and the hold ends soon, only what can be paid for longer."""
        pods = ask.granted
        secured = self._secure(ask, level, lambda purse: purse.renew(ask, pods, wholly=True))
        if isinstance(secured, Refusal):
            secured = self.ahead.renew(ask, pods)
        longer = secured if self.purse is self.ahead else self.purse.renew(ask, pods)
        self.purse = self.purse if isinstance(longer, Refusal) else longer
        if not isinstance(secured, Refusal):
            self.ahead = secured
            return
        placement = self.ahead.book.placements[ask.workload]
        hold, uids = placement.hold_through, [uid for uid in ask.live[:pods] if uid in placement.units]
        if hold is None or self.now < hold - (placement.terms.billing.stop + DRAIN_MARGIN):
            return

        def only(count: int) -> Purse | Refusal:
            return self.ahead.stop(ask.workload, uids[count:]).renew(ask, count)

        kept = largest(0, max(0, pods - 1), lambda count: isinstance(only(count), Purse))
        renewed = only(kept)
        self.ahead = self.ahead if isinstance(renewed, Refusal) else renewed
        ask.expiring, ask.granted = secured, max(kept, min(ask.want, ask.spared))

    def take_turns(self, level: Level) -> None:
        """Grant pods of one level: when money is short one at a time, to the ask that has the fewest."""
        burst, rank = level

        def most(ask: Ask) -> int:
            return ask.want if burst else min(ask.want, ask.floor)

        def wants(ask: Ask) -> bool:
            able = (ask.refusal is None or ask.waiting > 0) and ask.expiring is None
            return able and ask.due < most(ask)

        takers = [ask for ask in self.asks if ask.priority.rank == rank and wants(ask)]
        if self._grant_all({ask.workload: most(ask) for ask in takers}):
            return
        while takers:
            takers.sort(key=lambda ask: (ask.due, ask.workload))
            ask = takers.pop(0)
            if self._grant(ask, level) and wants(ask):
                takers.append(ask)

    def _grant_all(self, wanted: Mapping[str, int]) -> bool:
        """Grant these asks so many pods if there is money for all of them now; then turns would come to the same."""
        takers = [ask for ask in self.asks if ask.workload in wanted]
        if self.purse is not self.ahead or any(ask.refusal is not None for ask in takers):
            return False
        purse = self.purse
        for ask in takers:
            admitted = purse.admit(ask, wanted[ask.workload])
            if isinstance(admitted, Refusal):
                return False
            purse = admitted
        for ask in takers:
            ask.added, ask.granted = ask.added + wanted[ask.workload] - ask.due, wanted[ask.workload]
        self.purse = self.ahead = purse
        return True

    def _grant(self, ask: Ask, level: Level) -> bool:
        """Grant one pod more, now or once others have stopped; False when there is no money for it."""
        pods = ask.due + 1
        secured = self._secure(ask, level, lambda purse: purse.admit(ask, pods))
        if isinstance(secured, Refusal):
            ask.refusal = ask.refusal or secured
            return False
        admitted = secured if self.purse is self.ahead else ask.refusal or self.purse.admit(ask, pods)
        self.ahead = secured
        if isinstance(admitted, Refusal):
            ask.refusal, ask.waiting = admitted, ask.waiting + 1
        else:
            self.purse, ask.granted, ask.added = admitted, ask.granted + 1, ask.added + 1
        return True

    def _secure(self, ask: Ask, level: Level, attempt: Try) -> Purse | Refusal:
        """Try something on what will be there; when it is refused, have as many lower bursts give way as it takes."""
        tried = attempt(self.ahead)
        if not isinstance(tried, Refusal):
            return tried
        others = (other for other in self.asks if other is not ask and other.bursts)
        lower = [other for other in others if (True, other.priority.rank) > level]
        if self._relief(lower, tried) < self.ahead.lacks(ask, tried):
            return tried
        base, given, refusal = self.ahead, list[Ask](), tried
        while isinstance(tried, Refusal):
            paying = [other for other in lower if other.bursts and tried.policy in other.terms.binding]
            if not paying:
                for victim in given:
                    victim.give_way(-1)
                return refusal
            victim = max(paying, key=lambda other: (other.priority.rank, other.bursts, other.workload))
            victim.give_way(1)
            given.append(victim)
            base = base.stop(victim.workload, [victim.live[victim.granted]])
            tried = attempt(base)
        for victim in given:
            victim.refusal = refusal
        self.ahead = base
        return tried

    def _relief(self, lower: Iterable[Ask], refusal: Refusal) -> int:
        """No less than what returns when all these bursts are stopped, in the measure of the refusal."""
        book, relief = self.ahead.book, 0
        account = next((a for a in book.accounts_of(refusal.policy) if a.start == refusal.period_start), None)
        for ask in lower:
            rate = ask.terms.rates.get(refusal.policy, 0)
            if refusal.blocked_by is Blocked.RATE:
                relief += ask.bursts * rate
            elif account is not None:
                end = min(account.end, book.placements[ask.workload].end_max(book.time))
                relief += ask.bursts * cost(rate, max(account.start, book.time), end)
        return relief

    def finish(self) -> None:
        """Say which floors are not paid until the end of the period, and how far and from what bursts may be paid."""
        book, ahead = self.purse.book, self.ahead.book
        current = {account.key: account for account in ahead.accounts if account.covers(ahead.time)}
        left = {key: ahead.free(account) for key, account in current.items()}
        for ask in sorted(self.asks, key=lambda each: (each.priority.rank, each.workload)):
            for key, need in self.ahead.needs.get(ask.workload, {}).items():
                if key not in current:
                    continue
                have, account = max(0, left[key]), current[key]
                left[key] -= need
                if need > have + ask.reserved:
                    lack = Unfunded(account.policy, need, have, account.currency, account.end)
                    ask.unfunded = (*ask.unfunded, lack)
            if ask.granted > ask.floor and ask.workload in book.placements:
                ask.through = book.placements[ask.workload].hold_through
                ask.leave = self.purse.left_by(ask)
