"""A book to try things on, and what of its money bursts have to leave: for floors, and for the shares of classes.

Floors need money until the end of each period; what of that is not held yet is closed to bursts. What a class has not
taken of its share is closed to the bursts of all others. Amounts in micro-units.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from modelservice.domain.asks import Ask
from modelservice.domain.book import Account, Book, Placement, Refusal
from modelservice.domain.funding import Keep, Key, admit, renew
from modelservice.domain.ledger import bill, billed_until
from modelservice.domain.money import cost
from modelservice.domain.priorities import Priority


@dataclass(frozen=True, slots=True)
class Purse:
    """A book and what is closed in it.

    `shares` are the least that classes have in an account, `classes` those of the services by namespace/name; a service
    that is not there any more counts as Standard. `needs` is what the floor of each workload needs beyond what is held.
    """

    book: Book
    shares: Mapping[Key, Mapping[Priority, int]] = field(default_factory=dict)
    classes: Mapping[str, Priority] = field(default_factory=dict)
    needs: Mapping[str, Mapping[Key, int]] = field(default_factory=dict)
    closed: Mapping[Key, int] = field(default_factory=dict)

    def reserve(self, ask: Ask) -> Purse:
        """Close what the floor of this ask needs, now that its placement is as it is."""
        if not ask.reserved or ask.workload not in self.book.placements:
            return self
        needs = lasting(self.book, self.book.placements[ask.workload], ask.reserved)
        closed, before = dict(self.closed), self.needs.get(ask.workload, {})
        for key, amount in needs.items():
            closed[key] = closed.get(key, 0) - before.get(key, 0) + amount
        return replace(self, needs={**self.needs, ask.workload: needs}, closed=closed)

    def renew(self, ask: Ask, pods: int, *, wholly: bool = False) -> Purse | Refusal:
        """Pay for so many pods of the ask for longer; the last of them decides what they have to leave."""
        return self._after(renew(self.book, ask.workload, ask.terms, keep=self._keep(ask, pods), wholly=wholly), ask)

    def admit(self, ask: Ask, pods: int) -> Purse | Refusal:
        """Hold money for the pods of the ask that are missing until there are so many."""
        uids = [f"planned/{ask.workload}/{number}" for number in range(ask.due + 1, pods + 1)]
        return self._after(admit(self.book, ask.workload, uids, ask.terms, self._keep(ask, pods)), ask)

    def stop(self, record: str, uids: Collection[str]) -> Purse:
        """Have pods stopped now, each of which takes as long as it may."""
        placement = self.book.placements[record]
        billing, hold, book = placement.terms.billing, placement.hold_through, self.book
        end = book.time + billing.stop + 1
        if hold is not None:
            end = min(end, max(book.time, hold + billing.late + billing.stop))
        ended = [placement.units[uid] for uid in uids]
        book = bill(book, placement.terms, [(unit, billed_until(placement, unit, end)) for unit in ended])
        units = {uid: unit for uid, unit in placement.units.items() if uid not in uids}
        return replace(self, book=book.with_placement(replace(placement, units=units)))

    def lacks(self, ask: Ask, refusal: Refusal) -> int:
        """What is missing at least to turn a refusal of the ask into money, in its measure."""
        account = next((a for a in self.book.accounts if a.key == (refusal.policy, refusal.period_start)), None)
        if refusal.kept == 0 or account is None:
            return refusal.need - refusal.have
        others = self.closed.get(account.key, 0) - self.needs.get(ask.workload, {}).get(account.key, 0)
        return refusal.need - self.book.free(account) + others

    def left_by(self, ask: Ask) -> Mapping[Key, int]:
        """What has to stay in each account when the pods that are granted to the ask are paid for longer."""
        keep = self._keep(ask, ask.granted)
        return keep(self.book.placements[ask.workload]) if keep is not None else {}

    def _after(self, book: Book | Refusal, ask: Ask) -> Purse | Refusal:
        return book if isinstance(book, Refusal) else replace(self, book=book).reserve(ask)

    def _keep(self, ask: Ask, pods: int) -> Keep | None:
        if pods <= ask.floor:
            return None
        mine = self.needs.get(ask.workload, {})

        def keep(placement: Placement) -> Mapping[Key, int]:
            kept = {
                key: self.closed.get(key, 0) - mine.get(key, 0) + own
                for key, own in lasting(self.book, placement, ask.reserved).items()
            }
            for key in kept.keys() & self.shares.keys():
                kept[key] += self._untaken(key, ask.priority)
            return kept

        return keep

    def _untaken(self, key: Key, priority: Priority) -> int:
        """What the other classes have not taken of their shares."""
        account = next(a for a in self.book.accounts_of(key[0]) if a.key == key)
        taken = self._taken(account)
        others = {other: share for other, share in self.shares[key].items() if other is not priority}
        return sum(max(0, share - taken.get(other, 0)) for other, share in others.items())

    def _taken(self, account: Account) -> dict[Priority, int]:
        """What each class has spent and holds in the account, and what is closed for its floors."""
        period = account.policy, account.start, account.end, self.book.time
        amounts = [(line.service, line.closed + line.adjusted) for line in account.lines]
        amounts += [(p.terms.service, p.worst(*period)) for p in self.book.placements.values()]
        amounts += [
            (self.book.placements[workload].terms.service, needs.get(account.key, 0))
            for workload, needs in self.needs.items()
        ]
        taken: dict[Priority, int] = {}
        for service, amount in amounts:
            priority = self.classes.get(service, Priority.STANDARD)
            taken[priority] = taken.get(priority, 0) + amount
        return taken


def lasting(book: Book, placement: Placement, pods: int) -> dict[Key, int]:
    """What so many pods need until the end of each account, beyond what is held for those of them that are there."""
    needs, end, held = {}, placement.end_max(book.time), min(pods, len(placement.units))
    for policy in placement.terms.binding:
        rate = placement.terms.rates[policy]
        for account in book.accounts_of(policy):
            if account.end > book.time and not account.sealed:
                paid = held * cost(rate, max(account.start, end), account.end)
                new = (pods - held) * cost(rate, max(account.start, book.time), account.end)
                needs[account.key] = paid + new
    return needs
