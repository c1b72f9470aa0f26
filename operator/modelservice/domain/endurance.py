"""Endurance: free money that is lent to pods that run, so that they stay paid when nobody renews their holds for long.

What is held beyond the horizon may be taken back at any time, what is held within it may not. So each step over the
book takes all of it back, lets renewals and admissions have what they need, and lends what is left anew. Holds are
times in seconds since the epoch, amounts micro-units.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from .book import Account, Book, Placement
from .funding import Key, largest
from .money import cost


@dataclass(frozen=True, slots=True)
class Loan:
    """A workload to which money may be lent.

    Those of a lower ``rank`` come first; within one all get the same end as far as the money goes. What is lent pays
    for no time after ``until``, None for no bound. Of what is free before anything is lent, ``leave`` stays in each
    account.
    """

    workload: str
    rank: int = 0
    until: int | None = None
    leave: Mapping[Key, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Borrower:
    """One placement: the present end of its hold, the last that it may get, and the accounts that pay for it."""

    placement: Placement
    hold: int
    most: int
    time: int
    accounts: tuple[Account, ...]
    leave: Mapping[Key, int]

    def demand(self, account: Account, hold: int) -> int:
        """No less than what the account has to bear beyond the present hold for one that ends at most then."""
        terms = self.placement.terms
        since, last = (max(end + terms.billing.overrun, self.time) for end in (self.hold, min(hold, self.most)))
        each = cost(terms.rates[account.policy], max(since, account.start), min(last, account.end))
        return len(self.placement.units) * each


def recall(book: Book) -> Book:
    """Take all endurance back: no hold ends later than the horizon from now."""
    shortened = {}
    for name, placement in book.placements.items():
        through = book.time + placement.terms.horizon
        if placement.hold_through is not None and placement.hold_through > through:
            shortened[name] = replace(placement, hold_through=through)
    return replace(book, placements={**book.placements, **shortened}) if shortened else book


def lend(book: Book, loans: Iterable[Loan]) -> Book:
    """Lend what is free to the pods of these workloads, by rank, and fairly within one.

    Nothing is lent beyond the end of the period that follows the present one, nor by an account that has nothing free.
    """
    ranks: dict[int, list[Borrower]] = {}
    for loan in loans:
        if (borrower := _borrower(book, loan)) is not None:
            ranks.setdefault(loan.rank, []).append(borrower)
    before = book
    for rank in sorted(ranks):
        longer = {placement.name: placement for placement in _fill(ranks[rank], before, book)}
        book = replace(book, placements={**book.placements, **longer})
    return book


def outlives(book: Book, bounds: Mapping[str, int], now: int) -> bool:
    """Whether a hold pays for time after the bound of its workload, other than within the horizon from now."""
    held = [placement for name, placement in book.placements.items() if name in bounds and placement.units]
    return any(p.end_max(now) > max(bounds[p.name], p.end_max(now, committed=True)) for p in held)


def keep_holds(stored: Book, book: Book) -> Book:
    """The book with the holds as they are stored."""
    placements = {
        name: replace(placement, hold_through=stored.placements[name].hold_through)
        if name in stored.placements and placement.units
        else placement
        for name, placement in book.placements.items()
    }
    return replace(book, placements=placements)


def _borrower(book: Book, loan: Loan) -> Borrower | None:
    placement = book.placements.get(loan.workload)
    if placement is None or placement.hold_through is None or not placement.units:
        return None
    accounts: list[Account] = []
    ends = [] if loan.until is None else [loan.until]
    for policy in placement.terms.binding:
        own = tuple(_present_and_next(book, policy))
        if not own:
            return None
        accounts += own
        ends.append(own[-1].end)
    most = min(ends) - placement.terms.billing.overrun
    if most <= placement.hold_through:
        return None
    return Borrower(placement, placement.hold_through, most, book.time, tuple(accounts), loan.leave)


def _present_and_next(book: Book, policy: str) -> Iterator[Account]:
    present = book.account_at(policy, book.time)
    if present is not None:
        yield present
        yield from (account for account in book.accounts_of(policy) if account.start == present.end)


def _fill(borrowers: Iterable[Borrower], before: Book, book: Book) -> Iterator[Placement]:
    """Raise all holds together; those that an empty account pays for stay where they are, and the others go on.

    ``before`` is the book in which nothing is lent yet.
    """
    waiting = {borrower.placement.name: borrower for borrower in borrowers}
    members: dict[Key, list[Borrower]] = {}
    payers: dict[Key, Account] = {}
    for borrower in waiting.values():
        for account in borrower.accounts:
            members.setdefault(account.key, []).append(borrower)
            payers[account.key] = account
    free = {}
    for key, account in payers.items():
        leave = max(borrower.leave.get(key, 0) for borrower in members[key])
        free[key] = min(book.free(account), before.free(account) - leave)
    payers = _tightest(payers, members, free)
    while waiting:
        levels = {}
        for key, account in payers.items():
            members[key] = [borrower for borrower in members[key] if borrower.placement.name in waiting]
            if members[key]:
                levels[key] = _level(account, members[key], free[key])
        level = min(levels.values())
        for name, borrower in list(waiting.items()):
            own = [account for account in borrower.accounts if account.key in payers]
            if borrower.most > level and all(levels[account.key] > level for account in own):
                continue
            del waiting[name]
            hold = max(borrower.hold, min(level, borrower.most))
            yield replace(borrower.placement, hold_through=hold)
            for account in own:
                free[account.key] -= borrower.demand(account, hold)


def _tightest(
    payers: Mapping[Key, Account], members: Mapping[Key, Collection[Borrower]], free: Mapping[Key, int]
) -> dict[Key, Account]:
    """Of accounts that pay the same for the same pods in the same period, the one with the least money."""
    tightest: dict[Hashable, Account] = {}
    for key, account in payers.items():
        rates = tuple((each.placement.name, each.placement.terms.rates[account.policy]) for each in members[key])
        alike = account.start, account.end, rates
        if alike not in tightest or free[key] < free[tightest[alike].key]:
            tightest[alike] = account
    return {account.key: account for account in tightest.values()}


def _level(account: Account, members: Collection[Borrower], free: int) -> int:
    """The latest common end of holds that the account can bear; the last that any of them may get when it bears all."""

    def bears(hold: int) -> bool:
        rise = sum(member.demand(account, hold) for member in members)
        return rise == 0 or rise <= free

    return largest(min(each.hold for each in members), max(each.most for each in members), bears)
