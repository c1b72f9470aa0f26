"""Compares every stored book with what really happened, and says in sentences where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.proof.history import Life, price
from tests.proof.statement import Account, Key, LineKey, Paid, Statement

DELAY = 31
"""The list behind a write is at most so many seconds younger than the time of the write."""
Amounts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """One way to bill a unit that was closed: from, until, and by which evidence."""

    start: int
    until: int
    evidence: str


@dataclass(slots=True)
class Audit:
    """What was compared, what differed, and the sums."""

    lives: Mapping[str, Life]
    watching: Sequence[tuple[float, float]]
    """From when until when each replica of the operator saw what happened."""
    books: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    admitted: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    nearest: dict[str, float] = field(default_factory=dict)
    """By budget, the highest part of a limit that was really spent."""

    def run(self, statements: Sequence[Statement], ungated: Mapping[str, int], end: float) -> None:
        """Compare the versions of the book in their order; `ungated` gives the version at which a gate was gone."""
        for statement in statements:
            self.books += 1
            self.faults += [f"book {statement.version}: {text}" for text in statement.wrong_figures()]
        for before, after in pairwise(statements):
            self._solvency(before, after)
            self._monotone(before, after)
            self._admissions(before, after)
            self._closings(before, after)
            self._coverage(before, after.at)
        if statements:
            self._coverage(statements[-1], end)
        for uid, version in ungated.items():
            if uid in self.lives and version < self.told.get(uid, version + 1):
                self.faults.append(f"pod {self.lives[uid].name} lost its gate before its UID was in a stored book")

    def _fault(self, statement: Statement, text: str) -> None:
        self.faults.append(f"book {statement.version} of {statement.time}: {text}")

    def _solvency(self, before: Statement, after: Statement) -> None:
        for key, account in after.accounts.items():
            old = before.accounts.get(key)
            lowered = old.worst if old is not None else 0  # above the limit only where that was lowered
            if account.binds and account.worst > max(account.limit, lowered):
                self._fault(after, f"{key} holds {account.worst} of a limit of {account.limit}")

    def _monotone(self, before: Statement, after: Statement) -> None:
        if after.time < before.time:
            self._fault(after, f"its time went back from {before.time}")
        for key, old in before.accounts.items():
            new = after.accounts.get(key)
            if new is not None and new.gross < old.gross:
                self._fault(after, f"{key} posted {old.gross} before and {new.gross} now")

    def _admissions(self, before: Statement, after: Statement) -> None:
        for uid, unit in after.units.items():
            old = before.units.get(uid)
            if old is None:
                self.admitted[uid] = after.time
                self.told[uid] = after.version
                if unit.node or unit.start != after.time:
                    self._fault(after, f"pod {uid} was found running without a hold")
            elif dict(old.rates) != dict(unit.rates):
                self._fault(after, f"pod {uid} changed its price from {old.rates} to {unit.rates}")
            life = self.lives.get(uid)
            if life is None:
                self._fault(after, f"unit {uid} is of no pod")
                continue
            if unit.node and unit.start != (start := self._start(life)):
                self._fault(after, f"pod {life.name} is paid from {unit.start} and began at {start}")
            if any(rate != life.tariff.rate for rate in unit.rates.values()) or set(unit.rates) != set(life.policies):
                self._fault(after, f"pod {life.name} is paid by {unit.rates}, not at {life.tariff.rate}")

    def _start(self, life: Life) -> int:
        """From when its pool bills it: never before its admission."""
        admitted = self.admitted.get(life.uid, 0)
        return admitted if life.tariff.ungate or life.started is None else max(admitted, life.started)

    def _coverage(self, statement: Statement, until: float) -> None:
        """While a book is in force, nothing costs more than it holds, and nobody more than the limit."""
        for key, account in statement.accounts.items():
            policy, start = key
            spent = sum(life.cost(start, account.end, until) for life in self.lives.values() if policy in life.policies)
            self.nearest[policy] = max(self.nearest.get(policy, 0), spent / account.limit)
            if spent > account.limit:
                self._fault(statement, f"{key} has really spent {spent} of {account.limit}")
            if spent > account.worst:
                self._fault(statement, f"{key} has really spent {spent}, posted and held are {account.worst}")
            for uid in statement.units:
                life = self.lives.get(uid)
                if life is None or policy not in life.policies:
                    continue
                cost, most = life.cost(start, account.end, until), statement.worst_of(account, uid)
                if cost > most:
                    self._fault(statement, f"pod {life.name} has cost {key} {cost}, and {most} is held for it")

    def _closings(self, before: Statement, after: Statement) -> None:
        """What was added to each line is what the units that left it cost, to the micro-unit."""
        left: dict[LineKey, list[Paid]] = {}
        for uid, unit in before.units.items():
            if uid not in after.units:
                left.setdefault(unit.line, []).append(unit)
        lines = {line for statement in (before, after) for a in statement.accounts.values() for line in a.lines}
        for line in sorted(lines | left.keys()):
            accounts = [after.accounts[key] for key in sorted(after.accounts.keys())]
            billed = tuple(_settled(after, a.key, line) - _settled(before, a.key, line) for a in accounts)
            units = left.get(line, [])
            found = self._explain(units, accounts, billed, after)
            if found is None:
                ways = [f"{self._name(unit)} {self._bills(unit, after)[:2]}" for unit in units]
                self._fault(after, f"{line} was billed {billed}, which nothing explains: {ways}")
            else:
                self.closed.update(found)

    def _explain(
        self, units: Sequence[Paid], accounts: Sequence[Account], billed: Amounts, after: Statement
    ) -> tuple[str, ...] | None:
        """The evidence by which the units were billed just so, that which is wanted most first; None if there is none.

        Sums of amounts that were reached, with the evidence of each unit.
        """
        sums: dict[Amounts, tuple[str, ...]] = {(0,) * len(accounts): ()}
        for unit in units:
            longer: dict[Amounts, tuple[str, ...]] = {}
            for bill in self._bills(unit, after):
                amounts = tuple(
                    price(unit.rates.get(a.key[0], 0), max(a.key[1], bill.start), min(a.end, bill.until))
                    for a in accounts
                )
                for total, evidence in sums.items():
                    reached = tuple(x + y for x, y in zip(total, amounts, strict=True))
                    longer.setdefault(reached, (*evidence, bill.evidence))
            sums = longer
        return sums.get(billed)

    def _bills(self, unit: Paid, after: Statement) -> list[Bill]:
        """The ways in which a unit may be billed that is gone in this book, by what could be known."""
        life = self.lives[unit.uid]
        if life.bound is None:
            bills = [Bill(0, 0, "never bound")]
        elif life.finished is not None:
            bills = list(_bill(unit, self._start(life), [life.finished + 1], "kubelet"))
            if not unit.node:  # it vanished before a list showed that it ran
                bills += _bill(unit, unit.start, [life.finished + 1], "kubelet, start unseen", unseen=True)
        else:
            bills = []
        if life.vanished is None or (bills and self._watched(life.vanished, after.at)):
            return bills
        missed = "missed" if bills else "node gone"
        earliest = int(life.vanished if life.lost is None else min(life.lost, life.vanished)) - 1
        ends = [end + 1 for end in range(earliest, after.time + DELAY)]
        if unit.latest_stop is not None:
            ends = sorted({min(end, unit.latest_stop) for end in ends})
        starts = {unit.start if unit.node else self._start(life)}
        bills += [bill for start in starts for bill in _bill(unit, start, ends, missed)]
        if not unit.node:
            bills += _bill(unit, unit.start, ends, f"{missed}, start unseen", unseen=True)
        return bills

    def _watched(self, moment: float, until: float) -> bool:
        """Whether one replica of the operator saw what happened at that moment and was there until then."""
        return any(since <= moment - 1 and until <= to for since, to in self.watching)

    def _name(self, unit: Paid) -> str:
        return self.lives[unit.uid].name if unit.uid in self.lives else unit.uid


def _settled(statement: Statement, key: Key, line: LineKey) -> int:
    account = statement.accounts.get(key)
    return sum(account.lines.get(line, (0, 0))) if account is not None else 0


def _bill(unit: Paid, start: int, ends: Iterable[int], evidence: str, *, unseen: bool = False) -> Iterator[Bill]:
    """Bill at least the pool's minimum, counted from the latest possible start, and the idle tail of the node."""
    minimum, tail = unit.billing["minimum"], unit.billing["tail"]
    for end in ends:
        begun = min(end, unit.hold + unit.billing["late"]) if unseen and unit.hold is not None else start
        least = begun + minimum + (0 if unseen else 1) if minimum else 0
        yield Bill(start, max(end, least) + tail, evidence)
