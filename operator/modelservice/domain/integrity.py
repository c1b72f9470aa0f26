"""Whether the book still says what was seen of it before, and what is added to it when it does not.

What a period has cost before adjustments never falls: not from one write of the book to the next, nor from an account
to its page. Less than somebody has seen means that the book was lost, put back from an older copy, or changed by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .book import Account, Book, Line, Terms, Unit
from .money import MICROS, cost, format_amount
from .pages import Span, joined
from .times import format_time

RECOVERED = ("recovered", "Recovered", "-")
"""Service, role and pool of what is known to have been spent and not by whom; nothing real has these names."""
SLACK_SECONDS = 60
"""Several API servers differ by so much at most: what an account costs in that time is no evidence."""
MOST_NAMED = 3
LONGEST = 4096
"""Characters of what is said of a frozen book; the rest is cut off."""


@dataclass(frozen=True, slots=True)
class Fact:
    """That a policy had spent at least so much in ``[start, end)`` at time ``at``, as ``source`` has seen it.

    ``spent`` is in micro-units, ``rate`` what its pods cost per hour together at that time.
    """

    policy: str
    start: int
    end: int
    currency: str
    spent: int
    rate: int
    at: int
    source: str


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A fact that the records do not bear out: what they say as of its time, and what must be added to the account."""

    fact: Fact
    account: Account
    known: int
    missing: int

    @property
    def text(self) -> str:
        """A sentence about it."""
        fact, amount = self.fact, format_amount(self.fact.spent)
        return (
            f"In the period of {fact.policy} from {format_time(fact.start)} {amount} {fact.currency} had been spent by "
            f"{format_time(fact.at)}, as {fact.source} shows; the book said {format_amount(self.known)}."
        )


@dataclass(frozen=True, slots=True)
class Freeze:
    """Since when nothing new is started and nothing stopped, and the sentences that say why."""

    since: int
    because: str

    @property
    def text(self) -> str:
        """What people are told of it."""
        return (
            f"The book of budgets is frozen since {format_time(self.since)}: {self.because} Nothing new starts and "
            "nothing is stopped for want of money until somebody has looked into it and has run "
            "`modelservice ledger acknowledge`."
        )


def facts_of(book: Book) -> tuple[Fact, ...]:
    """What a stored book says of the periods in which something can have been spent, as of its time."""
    return tuple(
        Fact(
            account.policy,
            account.start,
            account.end,
            account.currency,
            book.gross(account),
            0 if account.sealed else book.rate(account.policy),
            book.time,
            "what was stored before",
        )
        for account in book.accounts
        if account.start <= book.time or account.lines
    )


def shortfalls(
    facts: Iterable[Fact], read: Book, settled: Book, pages: Mapping[Span, Account], now: int, *, lost: bool = False
) -> tuple[Shortfall, ...]:
    """The facts that the records do not bear out.

    ``read`` is the book as it was read, ``settled`` what a settlement at ``now`` made of it: the pods that it found
    running without a unit have cost what they cost. Whatever else ran at the time of a fact may have gone on since
    then, so its rate counts through ``now``. A fact in another currency than the account says nothing. Clocks and
    rounding may explain a little, unless the book is known to be ``lost``.
    """
    units = _units(settled) | _units(read)
    found = []
    for fact in facts:
        account = _account_of(read, pages, fact)
        if account.currency != fact.currency:
            continue
        rates = [(terms.rates.get(fact.policy, 0), unit) for terms, unit in units.values()]
        last = min(fact.at, account.end)
        running = sum(cost(rate, max(account.start, unit.start), last) for rate, unit in rates if unit.proven)
        known = account.closed + (0 if account.sealed else running)
        slack = 0 if lost else cost(fact.rate, 0, SLACK_SECONDS) + fact.spent // MICROS
        if known + slack >= fact.spent:
            continue
        unseen = max(0, fact.rate - sum(rate for rate, _ in rates))
        grown = cost(unseen, max(fact.at, fact.start), min(now, fact.end))
        found.append(Shortfall(fact, account, known, fact.spent - known - account.adjustments + grown))
    return tuple(found)


def raised(book: Book, short: Iterable[Shortfall]) -> Book:
    """The book with what is missing in a row of its own: of each period the most that a fact asks for.

    A period without an account gets one: with no more than that as its limit, until its policy gives it another; sealed
    when there is a page of it.
    """
    accounts = {account.key: account for account in book.accounts}
    for key, each in {one.account.key: one for one in sorted(short, key=lambda one: one.missing)}.items():
        account = accounts.get(key) or replace(each.account, base=max(each.account.base, each.missing))
        added = replace(account, lines=(Line(*RECOVERED, each.missing),))
        span = (account.policy, account.start, account.end)
        accounts[key] = replace(account, lines=joined([account, added])[span].lines)
    return replace(book, accounts=tuple(accounts[key] for key in sorted(accounts)))


def _units(book: Book) -> dict[str, tuple[Terms, Unit]]:
    return {uid: (p.terms, unit) for p in book.placements.values() for uid, unit in p.units.items()}


def _account_of(book: Book, pages: Mapping[Span, Account], fact: Fact) -> Account:
    """The account of that period, its page, the first account that shares a part of it, or a new one."""
    own = [each for each in book.accounts_of(fact.policy) if each.start < fact.end and fact.start < each.end]
    exact = next((each for each in own if each.start == fact.start), None)
    page = pages.get((fact.policy, fact.start, fact.end))
    new = Account(fact.policy, fact.start, fact.end, fact.currency, 0)
    return exact or page or next(iter(own), new)


def described(short: Sequence[Shortfall]) -> tuple[str, ...]:
    """Sentences about the first few of them, and how many more there are."""
    more = len(short) - MOST_NAMED
    rest = (f"The same holds for {more} more.",) if more > 0 else ()
    return (*(each.text for each in short[:MOST_NAMED]), *rest)


def frozen(before: Freeze | None, seen: Iterable[str], time: int) -> Freeze | None:
    """The freeze after something more was seen; None while there is nothing."""
    known = before.because if before is not None else ""
    because = " ".join([*([known] if known else []), *(sentence for sentence in seen if sentence not in known)])
    if not because:
        return before
    cut = because if len(because) <= LONGEST else f"{because[: LONGEST - 3]}..."
    return Freeze(time if before is None else before.since, cut)


def read_freeze(value: Mapping[str, Any] | None) -> Freeze | None:
    """The value of ``freeze`` beside the open book."""
    return None if value is None else Freeze(value["since"], value["because"])


def write_freeze(freeze: Freeze | None) -> dict[str, Any]:
    """What stands beside the book in its object."""
    return {} if freeze is None else {"freeze": {"since": freeze.since, "because": freeze.because}}
