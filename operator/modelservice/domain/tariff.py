"""What a node hour of a pool costs now, and as long as a hold that is made now can last.

Prices are micro-units per node hour, never per device; times are seconds since the epoch. An unknown price is never
zero: a tariff without a usable on-demand price says why, and nothing new starts in its pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from .money import format_amount
from .prices import ON_DEMAND, SPOT
from .pricetable import Row, Table
from .times import format_time

PLAN_SECONDS = 600
"""A plan is made anew, and carried out, within less than this: prices are looked at so much further ahead."""
MOST_ENDS = 20
"""So many of the next ends of rows are looked at for a fall of the price."""
MOST_FALLS = 3
"""So many of the next falls of a price are remembered."""
JUMP_PERCENT = 35
"""A price that differs by more from the one before it (0.3 in the logarithm) is pointed out."""
JUMP_SECONDS = 86_400
"""For how long after its beginning a jump is pointed out."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The price of one purchase option in force: where it is from, and its time; `row` is None outside of a table."""

    price: int
    source: str
    row: int | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one pool.

    Attributes:
        offers: what is in force, by purchase option.
        dearest: the highest price of each option from now until a hold that is made now is over for sure.
        steps: the highest price in force from each time on until the next; none when prices have no time.
        rises_at: when the first price begins in that time that is above all in force, None when none does.
        known_until: when the on-demand prices end, None when they have no end.
        changes_at: when any of this changes, None for never.
        jumps: a sentence for each price that is far from the one before it.
        cheaper: the next times from which the dearest is less than before, each with the tariff from then on.
        problem: why no ceiling of the cost is known, "" when it is; not a sentence of its own.
    """

    offers: Mapping[str, Offer] = field(default_factory=dict)
    dearest: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[tuple[int, int], ...] = ()
    rises_at: int | None = None
    known_until: int | None = None
    changes_at: int | None = None
    jumps: tuple[str, ...] = ()
    cheaper: tuple[tuple[int, Tariff], ...] = ()
    problem: str = ""

    def comparison(self) -> str:
        """How the dearer purchase option compares with the other one, "" when there is only one."""
        (first, cheap), *others = sorted(self.offers.items(), key=lambda each: (each[1].price, each[0]))
        if not others:
            return ""
        second, dear = others[0]
        if dear.price == cheap.price:
            return f"{first} and {second} cost the same"
        return f"{second} costs {format_amount(dear.price - cheap.price)} more per hour than {first}"


def fixed(prices: Mapping[str, int]) -> Tariff:
    """The tariff of prices that stand in the pool's own spec, micro-units by purchase option."""
    if ON_DEMAND not in prices:
        return Tariff(problem="the OnDemand price is missing, so that no ceiling of the cost is known")
    return Tariff({name: Offer(price, "spec") for name, price in prices.items()}, dict(prices))


def unknown(problem: str) -> Tariff:
    """The tariff of a pool of which no price is known, and why."""
    return Tariff(problem=problem)


def quote(table: Table, pool: str, currency: str, now: int, longest: int) -> Tariff:
    """The tariff of a pool by a table; a hold that is made now lasts at most `longest` seconds, its overrun included.

    The on-demand price must be known for all that time. A spot price may be absent: then there is no such option.
    """
    tariff = _quote(table, pool, currency, now, longest)
    if tariff.problem:
        return tariff
    falls: list[tuple[int, Tariff]] = []
    ends = sorted({row.end for row in table.rows.get(pool, ()) if row.end is not None and row.end > now})
    for time in ends[:MOST_ENDS]:
        later, before = _quote(table, pool, currency, time, longest), falls[-1][1] if falls else tariff
        if not later.problem and max(later.dearest.values()) < max(before.dearest.values()):
            falls.append((time, later))
    return replace(tariff, cheaper=tuple(falls[:MOST_FALLS]))


def _quote(table: Table, pool: str, currency: str, now: int, longest: int) -> Tariff:
    """The same without what follows later."""
    rows, ahead = table.rows.get(pool, ()), longest + PLAN_SECONDS
    bounds = [bound for row in rows for bound in (row.start, row.end) if bound is not None]
    changes = [time for bound in bounds for time in (bound, bound - ahead + 1, bound + JUMP_SECONDS) if time > now]
    changes_at = min(changes, default=None)
    known_until = _known_until(rows, now)
    if problem := _problem(table, pool, currency) or _gap(rows, known_until, now, now + ahead):
        return Tariff(changes_at=changes_at, problem=problem)
    coming = [row for row in rows if row.price is not None and row.meets(now, now + ahead)]
    offers = {
        row.option: Offer(row.price, row.source, row.number, row.start, row.end)
        for row in coming
        if row.price is not None and row.covers(now)
    }
    dearest = {row.option: max(_prices(coming, row.option)) for row in coming}
    highest = max(offer.price for offer in offers.values())
    rises = [row.start for row in coming if row.start is not None and row.price is not None and row.price > highest]
    jumps = tuple(_jumps(rows, now))
    return Tariff(offers, dearest, _steps(rows), min(rises, default=None), known_until, changes_at, jumps)


def _steps(rows: Iterable[Row]) -> tuple[tuple[int, int], ...]:
    steps: list[tuple[int, int]] = []
    for time in sorted({bound or 0 for row in rows for bound in (row.start, row.end)}):
        prices = [row.price for row in rows if row.price is not None and row.covers(time)]
        if prices and (not steps or steps[-1][1] != max(prices)):
            steps.append((time, max(prices)))
    return tuple(steps)


def _prices(rows: Iterable[Row], option: str) -> list[int]:
    return [row.price for row in rows if row.option == option and row.price is not None]


def _known_until(rows: Iterable[Row], now: int) -> int | None:
    """When the on-demand prices that follow each other from `now` on end; `now` when none is in force."""
    time = now
    for row in rows:
        if row.option == ON_DEMAND and row.price is not None and row.covers(time):
            if row.end is None:
                return None
            time = row.end
    return time


def _problem(table: Table, pool: str, currency: str) -> str:
    """What is wrong with the rows themselves."""
    faults = (*table.faults.get("", ()), *table.faults.get(pool, ()))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return f"{faults[0]}{more}"
    rows = table.rows.get(pool, ())
    if not rows:
        return f"the price table has no row for pool {pool}"
    foreign = next((row for row in rows if row.currency != currency), None)
    if foreign is not None:
        return f"row {foreign.number} is in {foreign.currency} and the pool in {currency}"
    return ""


def _gap(rows: Sequence[Row], known_until: int | None, now: int, until: int) -> str:
    """Why the on-demand price is not known from `now` until then, "" when it is."""
    if known_until is None or known_until >= until:
        return ""
    own = [row for row in rows if row.option == ON_DEMAND]
    if known_until > now:
        last = next(row for row in own if row.end == known_until)
        return (
            f"{last} ends at {format_time(known_until)} and none follows, "
            "while a pod that starts now may be paid for beyond that"
        )
    blank = next((row for row in own if row.price is None and row.covers(now)), None)
    if blank is not None:
        return f"{blank} leaves the OnDemand price open, so that no ceiling of the cost is known"
    if not own:
        return f"the OnDemand price is missing, there is only {rows[0]}, so that no ceiling of the cost is known"
    ended = [row for row in own if row.end is not None and row.end <= now]
    if ended:
        return f"{ended[-1]} ended at {format_time(ended[-1].end or 0)} and none is in force"
    return f"{own[0]} begins only at {format_time(own[0].start or 0)}"


def _jumps(rows: Iterable[Row], now: int) -> Iterable[str]:
    """A sentence for each price that is to come or came of late and is far from the one before it."""
    for option in (ON_DEMAND, SPOT):
        priced = [(row, row.price) for row in rows if row.option == option and row.price]
        for (before, old), (after, new) in pairwise(priced):
            far = max(old, new) * 100 > min(old, new) * (100 + JUMP_PERCENT)
            if far and after.start is not None and now < after.start + JUMP_SECONDS:
                yield f"{after} is far from {before}: if that is no mistake, nothing needs to be done"
