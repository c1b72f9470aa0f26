"""What each budget has cost hour by hour, and what follows from it for the time to come.

Amounts are integers of micro-units. An hour is named by its number since the epoch: its first second over 3600.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from math import ceil
from typing import Any

from .book import Account
from .money import HOUR

MOST_HOURS = 28 * 24
MOST_POLICIES = 100
"""More would make the object that keeps them too large."""
LEAST_HOURS = 10 * 24
"""From fewer hours nothing is foreseen: on recorded loads, less than nine days told only half of the periods."""
WEEK = 7 * 24
_STRIDE = 6
"""So many hours lie between the pasts that are compared."""


@dataclass(frozen=True, slots=True)
class Series:
    """One budget: the costs of hours from ``since`` on, through ``at``, and what its accounts had posted by then.

    The last hour is not over. ``posted`` is by the start of the account.
    """

    since: int
    at: int
    costs: tuple[int, ...] = ()
    posted: Mapping[int, int] = field(default_factory=dict)

    @property
    def whole(self) -> tuple[int, ...]:
        """The costs of the hours that are over."""
        return self.costs[: max(0, self.at // HOUR - self.since)]


def record(series: Series | None, accounts: Iterable[Account], posted: Mapping[int, int], at: int) -> Series:
    """Add what was posted since the last record, evenly over that time; a first record knows nothing before it.

    ``posted`` is what each of the budget's ``accounts`` has come to at ``at``, by its start. What was given back by
    corrections is left out.
    """
    begun = {account.start: posted[account.start] for account in accounts if account.start <= at}
    if series is None:
        return Series(-(-at // HOUR), at, (), begun)
    if at <= series.at:
        return series
    spent = sum(max(0, amount - series.posted.get(start, 0)) for start, amount in begun.items())
    costs, passed, done = list(series.costs), at - series.at, 0
    for hour in range(series.at // HOUR, -(-at // HOUR)):
        through = min(at, (hour + 1) * HOUR) - series.at
        part, done = spent * through // passed - done, spent * through // passed
        if hour >= series.since:
            costs += [0] * (hour - series.since + 1 - len(costs))
            costs[hour - series.since] += part
    dropped = max(0, len(costs) - MOST_HOURS)
    return Series(series.since + dropped, at, tuple(costs[dropped:]), begun)


def outlook(hours: Sequence[int], seconds: int) -> tuple[int, int] | None:
    """What the next ``seconds`` will cost after these whole hours: a median and a ninth decile; None when unknown.

    Stretches of the past of that length, or of a third of what is known, are taken as parts of the week before each of
    them; the same part of the last week is what is foreseen. So the level follows the last week, and the spread comes
    from how far weeks have told the time after them. Few stretches that do not overlap say little of a ninth decile: of
    fewer than nine the dearest counts. None before ten days are known, or after a week without cost.
    """
    known = len(hours)
    if known < LEAST_HOURS or seconds <= 0:
        return None
    length = min(ceil(seconds / HOUR), known // 24 // 3 * 24)
    sums = [0, *accumulate(hours)]
    parts = sorted(
        Fraction(sums[start + length] - sums[start], sums[start] - sums[start - WEEK])
        for start in range(known - length, WEEK - 1, -_STRIDE)
        if sums[start] > sums[start - WEEK]
    )
    last = sums[known] - sums[known - WEEK]
    if not parts or not last:
        return None
    scale, apart = Fraction(last * seconds, length * HOUR), max(1, (known - WEEK) // length)
    cautious = min(Fraction(1), Fraction(9 * (apart + 1), 10 * apart))
    return int(scale * _quantile(parts, Fraction(1, 2))), ceil(scale * _quantile(parts, cautious))


def _quantile(values: Sequence[Fraction], share: Fraction) -> Fraction:
    return values[max(0, ceil(share * len(values)) - 1)]


def encode_history(history: Mapping[str, Series]) -> list[dict[str, Any]]:
    """The rows of a BudgetLedger's ``history``, at most ``MOST_POLICIES``: those whose last week cost the most."""
    dearest = sorted(history, key=lambda name: (-sum(history[name].costs[-WEEK:]), name))[:MOST_POLICIES]
    return [
        {
            "policy": name,
            "since": history[name].since,
            "at": history[name].at,
            "costs": list(history[name].costs),
            "posted": [{"start": start, "amount": amount} for start, amount in sorted(history[name].posted.items())],
        }
        for name in sorted(dearest)
    ]


def decode_history(rows: Iterable[Mapping[str, Any]]) -> dict[str, Series]:
    """Read what ``encode_history`` wrote; raises ValueError, TypeError or KeyError for anything else."""
    return {
        str(row["policy"]): Series(
            int(row["since"]),
            int(row["at"]),
            tuple(map(int, row.get("costs", ()))),
            {int(one["start"]): int(one["amount"]) for one in row.get("posted", ())},
        )
        for row in rows
    }
