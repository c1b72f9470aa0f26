"""A price table: rows of CSV, each the price of one purchase option of one pool in a stretch of time.

Nothing is guessed: a row that cannot be believed is a fault of its pool, named by its number in the file, in which the
header is row 1. Prices are micro-units per node hour; times are seconds since the epoch, and a row holds from its start
until just before its end.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from .money import check_currency, format_amount, parse_amount
from .prices import ON_DEMAND, SPOT
from .times import format_time, parse_instant

COLUMNS = ("pool", "type", "per_node_hour", "currency", "valid_from", "valid_to", "source")
FREE = "free"
"""The source of a price of zero, which is otherwise taken for an unknown one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One price; `price` is None where the row says that there is none, `start` and `end` where it has no bound."""

    number: int
    pool: str
    option: str
    price: int | None
    currency: str
    start: int | None
    end: int | None
    source: str

    def covers(self, time: int) -> bool:
        """Whether it is in force at that time."""
        return self.meets(time, time + 1)

    def meets(self, start: int, end: int) -> bool:
        """Whether it is in force at some time of that stretch."""
        return (self.start is None or self.start < end) and (self.end is None or self.end > start)

    def __str__(self) -> str:
        price = "no price" if self.price is None else f"{format_amount(self.price)} {self.currency}"
        return f"row {self.number} ({self.option}, {price})"


@dataclass(frozen=True, slots=True)
class Table:
    """The rows and the faults of each pool; faults of the whole table have the name ""."""

    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    faults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def parse_table(text: str) -> Table:
    """Read a table; what is wrong with it stands in its faults."""
    rows: dict[str, list[Row]] = {}
    faults: dict[str, list[str]] = {}
    lines = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
    header: list[str] | None = None
    try:
        for line in lines:
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            if header is None:
                header = cells
                if tuple(cells) != COLUMNS:
                    return _broken(f"the first row must be {','.join(COLUMNS)}, and it is {','.join(cells)}")
                continue
            try:
                row = _row(lines.line_num, cells)
            except ValueError as error:
                faults.setdefault(cells[0], []).append(f"row {lines.line_num}: {error}")
            else:
                rows.setdefault(row.pool, []).append(row)
    except csv.Error as error:
        return _broken(f"row {lines.line_num} is no CSV: {error}")
    if header is None:
        return _broken("it is empty")
    for pool, own in rows.items():
        faults.setdefault(pool, []).extend(_overlaps(own))
    ordered = {pool: tuple(sorted(own, key=_begin)) for pool, own in rows.items()}
    return Table(ordered, {pool: tuple(found) for pool, found in faults.items() if found})


def _broken(why: str) -> Table:
    return Table({}, {"": (why,)})


def _row(number: int, cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        hint = "; a decimal comma does not work" if len(cells) > len(COLUMNS) else ""
        raise ValueError(f"it has {len(cells)} fields and {len(COLUMNS)} are needed{hint}")
    pool, option, price, currency, begin, end, source = cells
    if not pool:
        raise ValueError("it names no pool")
    if option not in (ON_DEMAND, SPOT):
        raise ValueError(f"the type is {option!r}: write {ON_DEMAND} or {SPOT}")
    if not source:
        raise ValueError("it names no source")
    start, until = _time("valid_from", begin), _time("valid_to", end)
    if start is not None and until is not None and until <= start:
        raise ValueError(f"valid_to {end} is not later than valid_from {begin}")
    return Row(number, pool, option, _price(price, source), check_currency(currency), start, until, source)


def _price(text: str, source: str) -> int | None:
    if not text:
        return None
    price = parse_amount(text)
    if price == 0 and source != FREE:
        raise ValueError(f"the price is {text}: a node that costs nothing needs the source {FREE}")
    if price > 0 and source == FREE:
        raise ValueError(f"the source is {FREE} and the price is {text}")
    return price


def _time(column: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"{column} is {text!r}: write a time such as 2026-07-01T00:00:00Z, or nothing") from None


def _begin(row: Row) -> tuple[bool, int]:
    return row.start is not None, row.start or 0


def _overlaps(rows: Iterable[Row]) -> Iterable[str]:
    for option in (ON_DEMAND, SPOT):
        own = sorted((row for row in rows if row.option == option), key=_begin)
        for earlier, later in pairwise(own):
            if earlier.end is None or later.start is None or earlier.end > later.start:
                since = "the beginning" if later.start is None else format_time(later.start)
                yield f"row {earlier.number} and row {later.number} both give the {option} price from {since} on"
