"""What a period leaves to later ones: a debt at once, unused money only when the period is final.

A debt is what a period costs beyond what it was allowed. It lowers the limit of the next period as soon as it is
foreseen, from the worst case of the holds, and follows it until the account is sealed. What was not used is known only
then, and raises the limit of the period that is open at that moment: late costs can never use it twice. A period on
trial (DryRun) leaves nothing, since nothing kept its limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from .book import Account, Book, Enforcement
from .limits import Overspend, Unused


def settle_debts(book: Book) -> Book:
    """Charge each account that is not final with what the one before it overspends."""
    accounts = list(book.accounts)
    for before, after in pairwise(range(len(accounts))):
        earlier, later = accounts[before], accounts[after]
        if earlier.policy == later.policy and earlier.currency == later.currency and not later.sealed:
            owed = _overspent(book, earlier)
            accounts[after] = later if later.owed == owed else replace(later, owed=owed)
    return book if accounts == list(book.accounts) else replace(book, accounts=tuple(accounts))


def _overspent(book: Book, account: Account) -> int:
    """What the period costs beyond what it was allowed at most, an override that is over included."""
    if account.carry_over.overspend is Overspend.FORGET or account.enforcement is Enforcement.DRY_RUN:
        return 0
    allowed = account.own + max((extra.override.amount for extra in account.extras), default=0)
    return max(0, _foreseen(book, account) - allowed)


def _foreseen(book: Book, account: Account) -> int:
    """What the period costs with the holds of the book; until it is over whatever the time is."""
    if account.sealed or account.end <= book.time:
        return book.worst(account)
    period = account.policy, account.start, account.end, 0
    return account.closed + account.adjustments + sum(p.worst(*period) for p in book.placements.values())


def leave_unused(book: Book, final: Iterable[Account]) -> Book:
    """Give what these sealed accounts have not used to the accounts of their policies at the book's time.

    An override is for its time: what of it is unused is not left.
    """
    accounts = {account.key: account for account in book.accounts}
    for account in final:
        heir = book.account_at(account.policy, book.time)
        unused = account.own - account.closed - account.adjustments
        if heir is None or heir.currency != account.currency or account.carry_over.unused is Unused.NONE or unused <= 0:
            continue
        if account.enforcement is not Enforcement.DRY_RUN:
            own = accounts[heir.key]
            accounts[heir.key] = replace(own, saved=own.saved + unused)
    return replace(book, accounts=tuple(accounts.values()))


def is_final(book: Book, account: Account) -> bool:
    """Whether no late cost of an earlier period can change what is carried over to this one any more."""
    return all(earlier.sealed or earlier.end > account.start for earlier in book.accounts_of(account.policy))
