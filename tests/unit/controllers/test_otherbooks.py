"""An operator waits while another namespace has a book, and says what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from modelservice.controllers.otherbooks import OtherBooks
from modelservice.kit.errors import Forbidden
from modelservice.kit.objects import Object
from modelservice.ports import KubeClient, Listing

from tests.unit.controllers.test_budget import Still


@dataclass
class Ledgers:
    """Answers one list after the other; the last one stays."""

    answers: list[list[Object] | Exception]
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def list(self, kind: str, **asked: Any) -> Listing:
        self.asked.append({"kind": kind, **asked})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Listing(answer, "1", 0)


@dataclass
class Clock(Still):
    """Remembers what is in the way at each sleep."""

    books: OtherBooks | None = None
    said: list[str] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        assert seconds == 15.0
        assert self.books is not None
        self.said.append(self.books.problem)


def open_book(namespace: str) -> Object:
    return {"metadata": {"namespace": namespace, "name": "open"}, "book": {"time": 1_767_247_200}}


async def test_it_waits_until_no_other_namespace_has_a_book_and_says_which_has_and_what_to_do() -> None:
    mine, b, c = open_book("system"), open_book("b"), open_book("c")
    ledgers = Ledgers([[mine, c, b], Forbidden("no", status=403), [{"metadata": c["metadata"]}], [mine]])
    clock = Clock()
    clock.books = books = OtherBooks(cast("KubeClient", ledgers), clock, "system")
    await books.gone()
    first, second, third = clock.said
    assert first.startswith("Namespace b has a book of budgets too, as of 2026-01-01T06:00:00Z. A cluster has one book")
    assert "`kubectl -n b delete budgetledgers --all`" in first
    assert second == "Whether another namespace has a book of budgets could not be seen: no"
    assert third.startswith("Namespace c has a book of budgets too")
    assert books.problem == ""
    assert ledgers.asked == [{"kind": "BudgetLedger", "field_selector": "metadata.name=open"}] * 4
