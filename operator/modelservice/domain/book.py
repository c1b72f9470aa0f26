"""The book of all budgets: which pods may cost money, until when, and who pays. Types and what can be read from them.

Times are whole seconds since the epoch in money time (the ``Date`` of the API server), amounts micro-units, rates
micro-units per hour. Every value is immutable; the operations that make the next book are in ``ledger``.

For one unit and one account ``[a, b)``: ``worst`` is what it can cost there if it lives as long as its hold lets it,
``posted`` what it has cost up to the book's time, and ``held`` the difference. Of what is held, the part within the
horizon is ``committed``; the rest is endurance, which may be taken back. An account is solvent while worst <= limit.
Costs are rounded up once per unit and period, never per write.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, NamedTuple

from .limits import DEBTS_ONLY, CarryOver, Extra, in_force
from .money import cost
from .prices import Billing
from .thresholds import Crossing


@dataclass(frozen=True, slots=True)
class Unit:
    """One pod. Held from ``start``; posts nothing until it is proven, that is, seen bound to ``node``.

    ``latest`` is the latest time at which its billing can have begun, None when that is ``start``.
    """

    start: int
    node: str | None = None
    latest: int | None = None

    @property
    def proven(self) -> bool:
        """Whether there is evidence that the pod is billed."""
        return self.node is not None


HORIZON_SECONDS = 3600
"""How far ahead each pod is paid when it is admitted or renewed, unless the budgets that bind say otherwise."""


class Enforcement(StrEnum):
    """What a budget does when its limit is reached: only a hard one refuses, the others count."""

    HARD = "Hard"
    SOFT = "Soft"
    DRY_RUN = "DryRun"


Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


class CostKey(NamedTuple):
    """What a cost is kept apart by; the labels are those of the service that reports group by."""

    service: str
    role: str
    pool: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """For whom and at which price the pods of a placement run.

    ``service`` is ``namespace/name``; ``rates`` gives micro-units per hour of one pod for each policy that pays, at the
    ceiling, in ``currency``; ``advisory`` names those of them that only count and never refuse. Each pod is paid
    ``horizon`` seconds ahead. ``labels`` are those of the service that reports group by.
    """

    service: str
    role: str
    pool: str
    currency: str
    rates: Mapping[str, int]
    billing: Billing
    advisory: frozenset[str] = frozenset()
    horizon: int = HORIZON_SECONDS
    labels: Labels = ()

    @property
    def key(self) -> CostKey:
        """Where its costs are booked."""
        return CostKey(self.service, self.role, self.pool, self.labels)

    @property
    def binding(self) -> tuple[str, ...]:
        """The policies that must have the money, sorted."""
        return tuple(sorted(self.rates.keys() - self.advisory))


@dataclass(frozen=True, slots=True)
class Placement:
    """Pods under equal terms that are paid until ``hold_through``; it is None when no policy must have the money.

    ``name`` is ``namespace/deployment`` (or Job). A record of pods that are being stopped has ``~n`` behind it.
    ``sums`` are those that ``total`` has made so far.
    """

    name: str
    terms: Terms
    hold_through: int | None
    units: Mapping[str, Unit] = field(default_factory=dict)
    sums: dict[tuple[int, int, int, Literal["all", "proven"]], int] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def over(self, time: int) -> bool:
        """Whether none of its pods can live at that time, if all goes as it should."""
        return self.hold_through is not None and self.hold_through + self.terms.billing.overrun < time

    @property
    def draining(self) -> bool:
        """Whether its pods are being stopped: their hold stays and is not renewed."""
        return "~" in self.name

    @property
    def workload(self) -> str:
        """``namespace/name`` of the Deployment or Job that its pods belong to."""
        return self.name.partition("~")[0]

    @property
    def running_rate(self) -> int:
        """Micro-units per hour of its proven pods, each once, however many policies pay."""
        return max(self.terms.rates.values(), default=0) * sum(unit.proven for unit in self.units.values())

    def with_units(self, more: Mapping[str, Unit]) -> Placement:
        """This placement with further units."""
        placement, added = replace(self, units={**self.units, **more}), replace(self, units=more)
        for key in self.sums:
            placement.sums[key] = self.total(*key) + added.total(*key)
        return placement

    def end_max(self, time: int, *, committed: bool = False) -> int:
        """Latest time up to which one of its pods can cost money, seen from money time ``time``.

        With ``committed`` only by what is held through the horizon.
        """
        if self.hold_through is None:
            return time
        hold = min(self.hold_through, time + self.terms.horizon) if committed else self.hold_through
        return max(hold + self.terms.billing.overrun, time)

    def worst(self, policy: str, start: int, end: int, time: int, *, committed: bool = False) -> int:
        """Most that its pods can cost the policy within ``[start, end)``; see ``end_max``."""
        rate = self.terms.rates.get(policy, 0)
        last = min(end, self.end_max(time, committed=committed))
        if not rate or last <= start:
            return 0
        return self.total(rate, start, last)

    def posted(self, policy: str, start: int, end: int) -> int:
        """What its proven pods cost the policy within ``[start, end)``."""
        rate = self.terms.rates.get(policy, 0)
        return self.total(rate, start, end, "proven") if rate and start < end else 0

    def total(self, rate: int, start: int, end: int, which: Literal["all", "proven"] = "all") -> int:
        """The cost of its units at one rate within ``[start, end)``; remembered, since policies often agree in both."""
        key = (rate, start, end, which)
        if key not in self.sums:
            counted = (unit for unit in self.units.values() if which == "all" or unit.proven)
            self.sums[key] = sum(cost(rate, max(start, unit.start), end) for unit in counted)
        return self.sums[key]


@dataclass(frozen=True, slots=True)
class Line:
    """What the closed units of one service, role and pool under the same labels have cost in one period.

    ``closed`` never falls; ``adjusted`` is zero or negative and takes back what was posted beyond a proven end.
    """

    service: str
    role: str
    pool: str
    closed: int = 0
    adjusted: int = 0
    labels: Labels = ()

    @property
    def key(self) -> CostKey:
        """What it is for; one line of an account has it."""
        return CostKey(self.service, self.role, self.pool, self.labels)


@dataclass(frozen=True, slots=True)
class Account:
    """One policy in one period ``[start, end)``.

    ``base`` is the amount of the policy, ``extras`` are its overrides, ``owed`` is what the period before spent too
    much and ``saved`` what earlier ones did not use: they make the ``limit``. ``carry_over`` says what this one leaves.
    ``max_rate`` bounds the rate of all open units together; it and the limit bind only under hard enforcement. A sealed
    account is final: its lines are the period's cost. ``since`` is set when the policy came after the period had begun:
    from then on costs are counted.
    account is final: its lines are the period's cost. ``crossings`` are the thresholds that were reached, or soon are.
    """

    policy: str
    start: int
    end: int
    currency: str
    base: int
    max_rate: int | None = None
    sealed: bool = False
    lines: tuple[Line, ...] = ()
    enforcement: Enforcement = Enforcement.HARD
    extras: tuple[Extra, ...] = ()
    carry_over: CarryOver = DEBTS_ONLY
    owed: int = 0
    saved: int = 0
    since: int | None = None
    crossings: tuple[Crossing, ...] = ()

    @property
    def extra(self) -> Extra | None:
        """The override that is in force."""
        return in_force(self.extras)

    @property
    def limit(self) -> int:
        """The most that the period may cost."""
        return max(0, self.own + (self.extra.override.amount if self.extra else 0))

    @property
    def own(self) -> int:
        """The amount of the policy with what is carried over; negative when more is owed than that."""
        return self.base + self.carried

    @property
    def carried(self) -> int:
        """What earlier periods leave to this one; negative when they leave a debt."""
        return self.saved - self.owed

    @property
    def key(self) -> tuple[str, int]:
        """Policy and start of the period, unique in a book."""
        return self.policy, self.start

    @property
    def closed(self) -> int:
        """Cost of closed units before adjustments."""
        return sum(line.closed for line in self.lines)

    @property
    def adjustments(self) -> int:
        """Sum of the adjustments, zero or negative."""
        return sum(line.adjusted for line in self.lines)

    @property
    def binds(self) -> bool:
        """Whether its limit must hold."""
        return self.enforcement is Enforcement.HARD

    def covers(self, time: int) -> bool:
        """Whether the period contains that time."""
        return self.start <= time < self.end


@dataclass(frozen=True, slots=True)
class Book:
    """All open accounts and placements at money time ``time``; accounts are sorted by policy and start.

    ``known`` are the accounts whose worst case has been added up so far.
    """

    time: int = 0
    accounts: tuple[Account, ...] = ()
    placements: Mapping[str, Placement] = field(default_factory=dict)
    known: dict[tuple[str, int], tuple[Account, int]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _by_policy: dict[str, tuple[Account, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def accounts_of(self, policy: str) -> tuple[Account, ...]:
        """The policy's accounts in order of time."""
        if self.accounts and not self._by_policy:
            for account in self.accounts:
                self._by_policy[account.policy] = (*self._by_policy.get(account.policy, ()), account)
        return self._by_policy.get(policy, ())

    def account_at(self, policy: str, time: int) -> Account | None:
        """The policy's account whose period contains that time."""
        return next((account for account in self.accounts_of(policy) if account.covers(time)), None)

    def placement_of(self, uid: str) -> Placement | None:
        """The record that holds the pod of that UID."""
        return next((p for p in self.placements.values() if uid in p.units), None)

    def records(self, workload: str) -> Iterator[Placement]:
        """The placement of a workload and the draining records split from it."""
        return (p for p in self.placements.values() if p.workload == workload)

    def with_placement(self, placement: Placement) -> Book:
        """This book with the record of that name replaced or added.

        Sums that are known are carried over, so that admitting many pods one by one does not add all up each time.
        """
        book = replace(self, placements={**self.placements, placement.name: placement})
        before = self.placements.get(placement.name)
        for key, (account, worst) in self.known.items():
            period = account.policy, account.start, account.end, self.time
            rise = 0 if account.sealed else placement.worst(*period) - (before.worst(*period) if before else 0)
            book.known[key] = account, worst + rise
        return book

    def with_accounts(self, accounts: tuple[Account, ...]) -> Book:
        """This book with other lines in its accounts; sums that are known are carried over."""
        book = replace(self, accounts=accounts)
        for account in accounts:
            before, worst = self.known.get(account.key, (None, 0))
            if before is not None:
                rise = account.closed + account.adjustments - before.closed - before.adjustments
                book.known[account.key] = account, worst + rise
        return book

    def without_units(self, record: str, uids: Container[str]) -> Book:
        """Drop units of a record; a draining one goes with its last, a placement stays for later admissions."""
        placement = self.placements[record]
        units = {uid: unit for uid, unit in placement.units.items() if uid not in uids}
        if units or not placement.draining:
            return self.with_placement(replace(placement, units=units))
        return replace(self, placements={name: p for name, p in self.placements.items() if name != placement.name})

    def worst(self, account: Account) -> int:
        """Posted + held: what the account can cost at most with the holds of this book."""
        known, total = self.known.get(account.key, (None, 0))
        if known is account:
            return total
        total = account.closed + account.adjustments
        if not account.sealed:
            period = account.policy, account.start, account.end, self.time
            total += sum(placement.worst(*period) for placement in self.placements.values())
        self.known[account.key] = account, total
        return total

    def posted(self, account: Account, at: int | None = None) -> int:
        """What the account has cost up to the book's time, or up to a later time ``at``."""
        return sum(self.costs(account, at).values())

    def gross(self, account: Account) -> int:
        """Posted without adjustments: it never falls within a period."""
        return self.posted(account) - account.adjustments

    def held(self, account: Account) -> int:
        """What is set aside for the open units beyond what is posted."""
        return self.worst(account) - self.posted(account)

    def committed(self, account: Account, at: int | None = None) -> int:
        """The part of what is held that may not be taken back, at the book's time or a later time ``at``."""
        if account.sealed:
            return 0
        time = self.time if at is None else max(at, self.time)
        period = account.policy, account.start, account.end, time
        most = sum(placement.worst(*period, committed=True) for placement in self.placements.values())
        return account.closed + account.adjustments + most - self.posted(account, time)

    def available(self, account: Account) -> int:
        """What new pods can be admitted for; negative when a limit was lowered below posted + committed."""
        return account.limit - self.posted(account) - self.committed(account)

    def free(self, account: Account) -> int:
        """What nothing is held for, endurance included."""
        return account.limit - self.worst(account)

    def rate(self, policy: str) -> int:
        """Micro-units per hour of all open units of the policy, gated and stopping ones included."""
        return sum(p.terms.rates.get(policy, 0) * len(p.units) for p in self.placements.values())

    def costs(self, account: Account, at: int | None = None) -> dict[CostKey, int]:
        """Posted cost by what it is for; the values add up to ``posted`` exactly."""
        costs = {line.key: line.closed + line.adjusted for line in account.lines}
        if account.sealed:
            return costs
        last = min(account.end, self.time if at is None else max(at, self.time))
        for placement in self.placements.values():
            if amount := placement.posted(account.policy, account.start, last):
                key = placement.terms.key
                costs[key] = costs.get(key, 0) + amount
        return costs

    def insolvent(self) -> tuple[Account, ...]:
        """Accounts whose worst case is above the limit stored in them, although it binds."""
        return tuple(account for account in self.accounts if account.binds and self.worst(account) > account.limit)


class Blocked(StrEnum):
    """What stands against an admission or a renewal."""

    RATE = "Rate"
    LIMIT = "Limit"
    CURRENCY = "Currency"
    LEDGER_FULL = "LedgerFull"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the book stays as it is.

    ``need`` and ``have`` are micro-units per hour for Rate, micro-units for Limit (in the period that begins at
    ``period_start``) and units for LedgerFull; both are 0 for Currency. ``kept`` is what there is beside ``have`` and
    is kept for others.
    """

    blocked_by: Blocked
    policy: str
    need: int = 0
    have: int = 0
    currency: str = ""
    period_start: int | None = None
    kept: int = 0
