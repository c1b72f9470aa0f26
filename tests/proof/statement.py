"""The stored book in the proof's own arithmetic: who is paid, since when, until when at most, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.proof.history import price

Object = dict[str, Any]
Key = tuple[str, int]
"""An account: the budget and the beginning of the period."""
LineKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Paid:
    """One unit: who it is for, its rates by budget, and the times of its record."""

    uid: str
    line: LineKey
    rates: Mapping[str, int]
    hold: int | None
    billing: Mapping[str, int]
    start: int
    node: str

    @property
    def latest_stop(self) -> int | None:
        """The latest moment at which it can run: it is deleted late, and takes long to stop."""
        return None if self.hold is None else self.hold + self.billing["late"] + self.billing["stop"]

    def last(self, time: int, horizon: int | None = None) -> int:
        """The latest moment up to which it can cost, seen at that time, and of that what is held for that horizon."""
        if self.hold is None:
            return time
        hold = self.hold if horizon is None else min(self.hold, time + horizon)
        longest = max(self.billing["stop"], self.billing["minimum"])
        return max(time, hold + self.billing["late"] + longest + self.billing["tail"])

    def cost(self, budget: str, start: int, end: int) -> int:
        """What it costs a budget in that time, if it is paid from then on at least."""
        rate = self.rates.get(budget, 0)
        return price(rate, max(start, self.start), end) if rate else 0


@dataclass(frozen=True, slots=True)
class Account:
    """One budget in one period, as it is stored."""

    key: Key
    end: int
    limit: int
    binds: bool
    sealed: bool
    posted: int
    held: int
    lines: Mapping[LineKey, tuple[int, int]]

    @property
    def worst(self) -> int:
        return self.posted + self.held

    @property
    def settled(self) -> int:
        """What pods that have stopped have cost."""
        return sum(closed + adjusted for closed, adjusted in self.lines.values())

    @property
    def gross(self) -> int:
        """Posted without corrections."""
        return self.posted - sum(adjusted for _, adjusted in self.lines.values())


@dataclass(frozen=True, slots=True)
class Statement:
    """One stored version of the open book; `at` is when we were told of it."""

    at: float
    version: int
    time: int
    accounts: Mapping[Key, Account]
    units: Mapping[str, Paid]

    def wrong_figures(self) -> Iterator[str]:
        """Accounts whose stated posted and held do not follow from the units."""
        for account in self.accounts.values():
            if account.sealed:
                continue
            posted = account.settled + sum(self._cost(account, unit, self.time) for unit in self._proven())
            worst = account.settled + sum(
                self._cost(account, unit, unit.last(self.time)) for unit in self.units.values()
            )
            if (posted, worst) != (account.posted, account.worst):
                yield f"{account.key} states {account.posted} + {account.held}, its rows give {posted} and {worst}"

    def worst_of(self, account: Account, uid: str) -> int:
        """The most that one unit can cost the account."""
        unit = self.units[uid]
        return self._cost(account, unit, unit.last(self.time))

    def _proven(self) -> Iterator[Paid]:
        return (unit for unit in self.units.values() if unit.node)

    def _cost(self, account: Account, unit: Paid, until: int) -> int:
        return unit.cost(account.key[0], account.key[1], min(account.end, until))


def read(obj: Object, at: float) -> Statement:
    """The statement that a BudgetLedger object makes."""
    book = obj["book"]
    units = {unit.uid: unit for row in book["placements"] for unit in _units(row)}
    accounts = {account.key: account for account in map(_account, book["accounts"])}
    return Statement(at, int(obj["metadata"]["resourceVersion"]), book["time"], accounts, units)


def _account(row: Object) -> Account:
    lines = {
        (line["service"], line["role"], line["pool"]): (line["closed"], line.get("adjusted", 0))
        for line in row.get("lines", ())
    }
    return Account(
        (row["policy"], row["start"]),
        row["end"],
        row["limit"],
        "enforcement" not in row,
        bool(row.get("sealed")),
        row["posted"],
        row["held"],
        lines,
    )


def _units(row: Object) -> Iterator[Paid]:
    line = row["service"], row["role"], row["pool"]
    for uid, text in row["units"].items():
        start, _, place = text.partition("@")
        node = place.partition("/")[0]
        yield Paid(uid, line, row["rates"], row.get("holdThrough"), row["billing"], int(start), node)
