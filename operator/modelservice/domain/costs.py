"""What was spent and is held: one statement for each policy and period of the book and its pages.

Every figure is an integer of micro-units; the entries of a statement add up to its totals exactly, however they are
grouped. A pod that several policies pay for stands in the statement of each, so statements are never added up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from .book import Account, Book, CostKey, Enforcement
from .forecast import Forecast
from .ledger import advance
from .limits import Extra
from .money import HOUR
from .pages import joined
from .periods import Span

UNLABELLED = "-"
"""The name of the group of what has no such label."""
_LABEL = re.compile(r"label:(([-a-zA-Z0-9._]{1,253}/)?[-a-zA-Z0-9._]{1,63})", re.ASCII)


@dataclass(frozen=True, slots=True)
class By:
    """What costs are grouped by: a part of their key, or the service's label of the name ``label``."""

    name: str
    label: str = ""

    def group(self, key: CostKey) -> str:
        """The group to which a cost belongs."""
        if self.label:
            return dict(key.labels).get(self.label, UNLABELLED)
        return {"service": key.service, "role": key.role, "pool": key.pool}[self.name]


SERVICE, ROLE, POOL = By("service"), By("role"), By("pool")


def parse_by(text: str) -> By:
    """Read service, pool, role or label:KEY; raises ValueError with a sentence."""
    if match := _LABEL.fullmatch(text):
        return By(text, match[1])
    known = {by.name: by for by in (SERVICE, ROLE, POOL)}
    if text not in known:
        raise ValueError(f"{text!r} is nothing to group by: write service, pool, role or label:KEY, as in label:team.")
    return known[text]


class Phase(StrEnum):
    """Where a period stands: not begun, running, over but waiting for late evidence, final."""

    AHEAD = "Ahead"
    OPEN = "Open"
    CLOSING = "Closing"
    SEALED = "Sealed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One group of a statement: what it has cost and what is held for it.

    ``per_thousand`` is what 1,000 requests of a service cost of late; None where that is not known.
    """

    name: str
    spent: int
    held: int
    per_thousand: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy in one period ``[start, end)`` at the time ``at``; ``rate`` is zero unless the period is open.

    The limit is lower by ``owed``, what the period before spent too much, and higher by ``saved``, what earlier ones
    did not use. ``since`` is when a policy that came later than the period began to count. ``forecast`` is what the
    operator foresees for an open period, None where it is not known; ``per_thousand`` what 1,000 requests of services
    cost of late, as far as that is known.
    """

    policy: str
    currency: str
    start: int
    end: int
    phase: Phase
    limit: int
    at: int
    rate: int = 0
    spending: Mapping[CostKey, int] = field(default_factory=dict)
    holding: Mapping[CostKey, int] = field(default_factory=dict)
    enforcement: Enforcement = Enforcement.HARD
    extras: tuple[Extra, ...] = ()
    forecast: Forecast | None = None
    per_thousand: Mapping[str, int] = field(default_factory=dict)
    owed: int = 0
    saved: int = 0
    since: int | None = None

    @property
    def binds(self) -> bool:
        """Whether its limit must hold; else it only counts."""
        return self.enforcement is Enforcement.HARD

    @property
    def spent(self) -> int:
        """What the period has cost so far."""
        return sum(self.spending.values())

    @property
    def held(self) -> int:
        """What is committed to open pods beyond what is spent."""
        return sum(self.holding.values())

    @property
    def available(self) -> int:
        """What new pods can have; negative when a limit was lowered below what is spent and held."""
        return self.limit - self.spent - self.held

    @property
    def paced(self) -> int:
        """What an even use of the limit would have spent by now."""
        passed = min(max(self.at, self.start), self.end) - self.start
        return self.limit * passed // (self.end - self.start)

    def spent_by_end(self) -> int:
        """What the period costs if the present rate stays until its end."""
        return self.spent + self.rate * max(0, self.end - self.at) // HOUR

    def lasts_until(self) -> int | None:
        """When the limit is used up at the present rate; None when it lasts through the period."""
        if self.spent_by_end() <= self.limit:
            return None
        return self.at + max(0, self.limit - self.spent) * HOUR // self.rate if self.rate else self.at

    def entries(self, by: By) -> tuple[Entry, ...]:
        """The groups, the dearest first; their sums are ``spent`` and ``held``."""
        spent, held = group(self.spending, by), group(self.holding, by)
        known = self.per_thousand if by == SERVICE else {}
        made = (
            Entry(name, spent.get(name, 0), held.get(name, 0), known.get(name)) for name in spent.keys() | held.keys()
        )
        return tuple(sorted(made, key=lambda entry: (-entry.spent, -entry.held, entry.name)))


@dataclass(frozen=True, slots=True)
class Denial:
    """Pods of a service that are wanted and not paid for; ``need`` and ``have`` are micro-units (an hour for Rate).

    ``fits`` replicas are paid for now, None when that is not known, and ``elsewhere`` more could be in ``pool``; from
    ``affordable_at`` on there is enough for one more, None when no such time is known.
    """

    service: str
    policy: str
    blocked_by: str
    need: int
    have: int
    currency: str
    pods: int
    fits: int | None = None
    pool: str = ""
    elsewhere: int = 0
    affordable_at: int | None = None


def concerning(denials: Iterable[Denial], statements: Iterable[Statement]) -> tuple[Denial, ...]:
    """The denials by budgets whose present period is among the statements: nothing is refused in any other."""
    policies = {statement.policy for statement in statements if statement.phase is Phase.OPEN}
    return tuple(denial for denial in denials if denial.policy in policies)


def group(amounts: Mapping[CostKey, int], by: By) -> dict[str, int]:
    """The amounts added up by what they are grouped by."""
    groups: dict[str, int] = {}
    for key, amount in amounts.items():
        groups[by.group(key)] = groups.get(by.group(key), 0) + amount
    return groups


def holds(book: Book, account: Account) -> dict[CostKey, int]:
    """What is committed by what it is for; the values add up to ``book.committed(account)``."""
    if account.sealed:
        return {}
    worst = {line.key: line.closed + line.adjusted for line in account.lines}
    for placement in book.placements.values():
        if account.policy in placement.terms.rates:
            key = placement.terms.key
            most = placement.worst(account.policy, account.start, account.end, book.time, committed=True)
            worst[key] = worst.get(key, 0) + most
    posted = book.costs(account)
    return {key: most - posted.get(key, 0) for key, most in worst.items() if most != posted.get(key, 0)}


def draw_up(book: Book, pages: Iterable[Account], now: int) -> tuple[Statement, ...]:
    """Statements of all accounts and pages at ``now``, sorted by policy and start; a page stands for its account."""
    current = advance(book, now)
    accounts = {(a.policy, a.start, a.end): a for a in book.accounts} | joined(pages)
    return tuple(_statement(current, accounts[span]) for span in sorted(accounts))


def _statement(book: Book, account: Account) -> Statement:
    phase = _phase(account, book.time)
    return Statement(
        policy=account.policy,
        currency=account.currency,
        start=account.start,
        end=account.end,
        phase=phase,
        limit=account.limit,
        at=book.time,
        rate=book.rate(account.policy) if phase is Phase.OPEN else 0,
        spending={key: amount for key, amount in book.costs(account).items() if amount},
        holding=holds(book, account),
        enforcement=account.enforcement,
        extras=account.extras,
        owed=account.owed,
        saved=account.saved,
        since=account.since,
    )


def _phase(account: Account, now: int) -> Phase:
    if account.sealed:
        return Phase.SEALED
    if now < account.start:
        return Phase.AHEAD
    return Phase.OPEN if account.covers(now) else Phase.CLOSING


CURRENT = "current"
PREVIOUS = "previous"
ALL = "all"
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


def select(
    statements: Iterable[Statement], *, namespace: str = "", policy: str = "", period: str = CURRENT
) -> tuple[Statement, ...]:
    """Those of a namespace, of a policy (``name`` or ``namespace/name``) and of a period.

    ``period`` is current, previous, all, a month such as 2026-07 or a day such as 2026-07-10, both in UTC: a statement
    belongs to it when the middle of the shorter of both lies in the longer, which tells apart periods of other time
    zones too. Raises ValueError with a sentence for any other text.
    """
    found = [s for s in statements if _is_of(s.policy, namespace, policy)]
    if period == ALL:
        return tuple(found)
    if period == CURRENT:
        return tuple(s for s in found if s.start <= s.at < s.end)
    if period == PREVIOUS:
        over = [s for s in found if s.end <= s.at]
        last = {s.policy: s.start for s in sorted(over, key=lambda each: each.start)}
        return tuple(s for s in over if s.start == last[s.policy])
    span = _span(period)
    return tuple(s for s in found if _matches(Span(s.start, s.end), span))


def complete(
    statements: Iterable[Statement],
    forecasts: Mapping[tuple[str, int], Forecast],
    per_thousand: Mapping[tuple[str, str], int],
) -> tuple[Statement, ...]:
    """The statements, those of open periods with what is known beside the book.

    ``forecasts`` by policy and start of the period, ``per_thousand`` by service and currency.
    """
    return tuple(_completed(each, forecasts, per_thousand) if each.phase is Phase.OPEN else each for each in statements)


def _completed(
    statement: Statement,
    forecasts: Mapping[tuple[str, int], Forecast],
    per_thousand: Mapping[tuple[str, str], int],
) -> Statement:
    known = {service: cost for (service, money), cost in per_thousand.items() if money == statement.currency}
    return replace(statement, forecast=forecasts.get((statement.policy, statement.start)), per_thousand=known)


def pools_in(statements: Iterable[Statement]) -> frozenset[str]:
    """The pools in which something was spent or is held."""
    return frozenset(key.pool for each in statements for key in (*each.spending, *each.holding))


def _is_of(name: str, namespace: str, policy: str) -> bool:
    owner, _, short = name.rpartition("/")
    return (not namespace or owner == namespace) and policy in ("", name, short)


def _span(text: str) -> Span:
    """The day or month of that name in UTC."""
    try:
        if month := _MONTH.fullmatch(text):
            first = date(int(month[1]), int(month[2]), 1)
            return Span(_begin(first), _begin((first + timedelta(days=31)).replace(day=1)))
        day = date.fromisoformat(text)
        return Span(_begin(day), _begin(day + timedelta(days=1)))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a period: write current, previous, all, a month such as 2026-07 or a day such as "
            "2026-07-10."
        ) from None


def _begin(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _matches(one: Span, other: Span) -> bool:
    short, long = sorted((one, other), key=lambda span: span.end - span.start)
    return long.start <= (short.start + short.end) // 2 < long.end
