"""What the current period of a budget will have cost at its end, as far as it can be told now.

Money as integers of micro-units, rates in micro-units per hour, times in seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelservice.domain.book import Account, Book
from modelservice.domain.history import Series, outlook
from modelservice.domain.money import HOUR, cost


class Basis(StrEnum):
    """What a forecast follows from."""

    CURRENT_RATE = "CurrentRate"
    HISTORY = "History"


@dataclass(frozen=True, slots=True)
class Forecast:
    """The period's total at its end: ``p50`` is as likely too high as too low, ``p90`` is seldom passed.

    ``exhausts_at`` is when spending that leads to ``p90`` reaches the limit; None when it does not in the period.
    """

    p50: int
    p90: int
    exhausts_at: int | None
    basis: Basis


def forecast(book: Book, policy: str, now: int, peak: int = 0, past: Series | None = None) -> Forecast | None:
    """The forecast for the policy's current period; None when it has no account at ``now``.

    ``peak`` is the rate that its services reach at most (see ``peaks``). From what is posted at ``now`` on, p50
    goes on at the present rate and p90 at the peak, which ``max_rate`` bounds. Pods that are being stopped cost what
    is committed to them. Where the hourly costs of the ``past`` are known for long enough, both follow from these (see
    ``history.outlook``), and the peak only bounds them. A limit that binds is not passed: both are cut there, and never
    below what is spent and held.
    """
    at = max(now, book.time)
    account = book.account_at(policy, at)
    if account is None:
        return None
    posted = book.posted(account, at)
    fixed = posted + _stopping(book, account, at)
    steady = _running(book, policy)
    most = max(steady, peak if account.max_rate is None else min(peak, account.max_rate))
    likely, cautious = (fixed + cost(rate, at, account.end) for rate in (steady, most))
    pace, basis = most, Basis.CURRENT_RATE
    foreseen = None if past is None else outlook(past.whole, account.end - at)
    if foreseen is not None:
        rest = account.end - at
        likely, cautious = (max(fixed, min(posted + part, cautious)) for part in foreseen)
        pace, basis = -(-(cautious - fixed) * HOUR // rest), Basis.HISTORY
    until = _reached(account, fixed, pace, at)
    if account.binds:
        bound = max(account.limit, book.worst(account))
        likely, cautious = min(likely, bound), min(cautious, bound)
    return Forecast(likely, cautious, until, basis)


def _running(book: Book, policy: str) -> int:
    """The rate of the pods that go on."""
    return sum(p.terms.rates.get(policy, 0) * len(p.units) for p in book.placements.values() if not p.draining)


def _stopping(book: Book, account: Account, at: int) -> int:
    """What is committed to the pods that are being stopped, from ``at`` on."""
    return sum(
        len(p.units) * cost(p.terms.rates.get(account.policy, 0), at, min(account.end, p.end_max(at, committed=True)))
        for p in book.placements.values()
        if p.draining
    )


def _reached(account: Account, fixed: int, rate: int, at: int) -> int | None:
    """The first second at which spending at that rate is at the limit; None when the period ends before."""
    missing = account.limit - fixed
    if missing <= 0:
        return at
    if rate == 0:
        return None
    until = at - (-missing * HOUR // rate)
    return until if until <= account.end else None
