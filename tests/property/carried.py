"""What must hold for money that is carried from one period to the next, computed from the JSON of stored books."""

from __future__ import annotations

from itertools import pairwise

from tests.property.oracles import Figures, Oracle, Row, Violation
from tests.property.world import World


class Carried:
    """Follows the stored books of a world beside its oracle; raises Violation."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self.oracle = oracle
        self.rows: dict[tuple[str, int], Row] = {}
        self.worst: dict[tuple[str, int], int] = {}
        self.allowed: dict[tuple[str, int], int] = {}
        world.on_store.append(self.observe)

    def observe(self, world: World) -> None:
        """Debts are what sealed periods overspent, unused money is given once, and both keep the sum of the limits."""
        book = self.oracle.book
        for key, row in book.accounts.items():
            self.rows[key], self.worst[key] = row, book.nominal[key]
            self.allowed[key] = max(self.allowed.get(key, 0), _most(row) - _carried(row))
        for key in self.rows.keys() - book.accounts.keys():
            self.rows[key]["sealed"] = True
        for policy in {policy for policy, _ in self.rows}:
            keys = sorted(key for key in self.rows if key[0] == policy)
            self._debts(keys, book)
            self._unused(keys)
            self._sum(keys)

    def _debts(self, keys: list[tuple[str, int]], book: Figures) -> None:
        for earlier, later in pairwise(keys):
            before, after = self.rows[earlier], self.rows[later]
            if not before.get("sealed") or later not in book.accounts:
                continue
            rule = before.get("carryOver", {"overspend": "Carry"})["overspend"]
            debt = max(0, _cost(before) - _most(before)) if rule == "Carry" and _counts(before) else 0
            if after.get("owed", 0) != debt:
                raise Violation(f"carry-over: {earlier} overspent {debt}, {later} owes {after.get('owed', 0)}")

    def _unused(self, keys: list[tuple[str, int]]) -> None:
        rows = [self.rows[key] for key in keys]
        left = sum(
            max(0, _base(row) + _carried(row) - _cost(row))
            for row in rows
            if row.get("sealed") and row.get("carryOver", {}).get("unused") == "All" and _counts(row)
        )
        given = sum(row.get("saved", 0) for row in rows)
        if given != left:
            raise Violation(f"carry-over: {keys[0][0]} left {left} unused, {given} was given on")

    def _sum(self, keys: list[tuple[str, int]]) -> None:
        """All periods together cost no more than their own limits, where nothing but the book could break one."""
        if not self.oracle.exempt.isdisjoint(keys) or keys[0][0] in self.oracle.spared():
            return
        cost, allowed = sum(self.worst[key] for key in keys), sum(self.allowed[key] for key in keys)
        if cost > allowed:
            raise Violation(f"carry-over: all periods of {keys[0][0]} can cost {cost}, they were allowed {allowed}")


def _cost(row: Row) -> int:
    return sum(line["closed"] + line["adjusted"] for line in row["lines"])


def _base(row: Row) -> int:
    return int(row["base"] if "base" in row else row["limit"])


def _carried(row: Row) -> int:
    return int(row.get("saved", 0) - row.get("owed", 0))


def _most(row: Row) -> int:
    """The most that the period was allowed, with the largest of its overrides."""
    extra = max((extra["amount"] for extra in row.get("extras", ())), default=0)
    return _base(row) + _carried(row) + int(extra)


def _counts(row: Row) -> bool:
    return bool(row.get("enforcement") != "DryRun")
