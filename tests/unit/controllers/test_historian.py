"""Hourly costs that are kept beside the book: read at a start, stored after each record, never in the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from modelservice.controllers.historian import NAME, Historian
from modelservice.controllers.world import World
from modelservice.domain.history import WEEK, Series, encode_history
from modelservice.domain.integrity import Freeze
from modelservice.kit.errors import Conflict, NotFound
from modelservice.ports import Answer, KubeClient, Object

from tests.unit.controllers.test_auditor import Clock
from tests.unit.domain.costbooks import NOW, book_of

HOUR = 3600


@dataclass
class Shelf:
    """One object, with the versions of the API server."""

    stored: Object | None = None
    writes: list[str] = field(default_factory=list)

    async def get(self, kind: str, namespace: str, name: str) -> Answer:
        assert (kind, namespace, name) == ("BudgetLedger", "sys", NAME)
        if self.stored is None:
            raise NotFound("no such object")
        return Answer(self.stored, NOW)

    async def create(self, obj: Object, *, manager: str) -> Answer:
        return self._put("create", obj)

    async def replace(self, obj: Object, *, manager: str) -> Answer:
        if obj["metadata"]["resourceVersion"] != (self.stored or {})["metadata"]["resourceVersion"]:
            raise Conflict("another version")
        return self._put("replace", obj)

    def _put(self, verb: str, obj: Object) -> Answer:
        self.writes.append(verb)
        self.stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(len(self.writes))}}
        return Answer(self.stored, NOW)


def historian(shelf: Shelf) -> Historian:
    world = World(Clock(), book=book_of())
    world.saw_date(NOW)
    return Historian(world, cast("KubeClient", shelf), "sys")


async def test_each_budget_of_the_book_is_recorded_and_stored() -> None:
    shelf = Shelf()
    keeper = historian(shelf)
    assert await keeper.keep()
    keeper.world.saw_date(NOW + HOUR)
    assert await keeper.keep()
    assert shelf.writes == ["create", "replace"]
    assert shelf.stored is not None
    assert shelf.stored["history"] == encode_history(keeper.world.history)
    # The pods of the book cost 3.60 and 1.000001 USD an hour; what the rest of it has cost lies before.
    assert keeper.world.history["team/daily"].costs == (3_600_000,)
    assert keeper.world.history["team/monthly"].costs == (4_600_001,)


async def test_after_a_start_what_was_stored_goes_on() -> None:
    shelf = Shelf()
    await historian(shelf).keep()
    later = historian(shelf)
    later.world.saw_date(NOW + 2 * HOUR)
    await later.keep()
    assert later.world.history["team/daily"].costs == (3_600_000, 3_600_000)


async def test_a_record_of_somebody_else_is_no_loss() -> None:
    shelf = Shelf()
    one, other = historian(shelf), historian(shelf)
    await one.keep()
    await other.keep()
    one.world.saw_date(NOW + HOUR)
    with pytest.raises(Conflict):
        await one.keep()
    assert shelf.writes == ["create", "replace"]


@pytest.mark.parametrize("rows", [[{"since": 1}], [{"policy": "a", "since": "x", "at": 1}], "text"])
async def test_what_cannot_be_read_begins_anew(rows: Any) -> None:
    shelf = Shelf({"metadata": {"namespace": "sys", "name": NAME, "resourceVersion": "0"}, "history": rows})
    keeper = historian(shelf)
    await keeper.keep()
    assert keeper.world.history["team/daily"] == Series(NOW // HOUR, NOW, (), {book_of().accounts[0].start: 3_600_000})


async def test_nothing_is_recorded_from_a_book_that_is_frozen_or_not_read() -> None:
    shelf = Shelf()
    keeper = historian(shelf)
    keeper.world.freeze = Freeze(NOW, "lost")
    assert not await keeper.keep()
    keeper.world.freeze, keeper.world.book = None, None
    assert not await keeper.keep()
    assert (shelf.writes, keeper.world.history) == ([], {})


async def test_a_budget_that_is_gone_is_kept_for_a_week_and_goes_on_when_it_is_made_anew() -> None:
    keeper = historian(Shelf())
    await keeper.keep()
    keeper.world.saw_date(NOW + HOUR)
    await keeper.keep()
    keeper.world.book = replace(book_of(), accounts=book_of().accounts[:1])
    keeper.world.saw_date(NOW + 10 * HOUR)
    await keeper.keep()
    assert keeper.world.history["team/monthly"].costs == (4_600_001, *[0] * 9)
    anew = replace(book_of().accounts[1], start=NOW + 10 * HOUR, lines=())
    keeper.world.book = replace(book_of(), accounts=(*book_of().accounts[:1], anew))
    keeper.world.saw_date(NOW + 11 * HOUR)
    await keeper.keep()
    assert keeper.world.history["team/monthly"].costs == (4_600_001, *[0] * 9, 4_600_001)

    keeper.world.book = replace(book_of(), accounts=book_of().accounts[:1])
    for hours in (11 + WEEK, 12 + WEEK):
        assert "team/monthly" in keeper.world.history
        keeper.world.saw_date(NOW + hours * HOUR)
        await keeper.keep()
    assert list(keeper.world.history) == ["team/daily"]
