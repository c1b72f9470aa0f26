"""What a BudgetPolicy shows before the book has been read, and while it cannot be read."""

from __future__ import annotations

from typing import Any

from modelservice.api.budgetpolicy import BudgetPolicy
from modelservice.controllers.budget import Budgets
from modelservice.controllers.safeguards import Safeguards
from modelservice.controllers.world import World
from modelservice.domain.book import Book
from modelservice.domain.ledger import set_policies
from modelservice.kit.objects import Key, Object

from tests.unit.domain.specs import NOW, policy

FIGURES = {
    "period": {"name": "team.1", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "limit": "100",
    "spent": "7.50",
    "held": {"committed": "0.00", "endurance": "0.00"},
    "available": "92.50",
    "ratePerHour": "0.00",
    "asOf": "2026-01-01T05:00:00Z",
}
TEAM: dict[str, Any] = {
    "apiVersion": "modelservice.dev/v1alpha1",
    "kind": "BudgetPolicy",
    "metadata": {"namespace": "ns", "name": "team", "uid": "u", "generation": 1, "resourceVersion": "1"},
    "spec": {"currency": "USD", "limit": "100", "period": {"calendar": "Day", "timeZone": "UTC"}},
    "status": {**FIGURES, "conditions": []},
}


class Still:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


class Paper:
    """Keeps what is written and what is told."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.told: list[str] = []

    async def write(self, observed: Object, status: dict[str, Any], *, now: int) -> Object:
        self.written.append(status)
        return {**observed, "status": status}

    def emit(self, about: Object, *, reason: str, message: str, warning: bool) -> None:
        self.told.append(reason)


async def shown(world: World) -> dict[str, Any] | None:
    paper = Paper()
    world.caches.policies.observe(TEAM)
    unwatched = Safeguards(world, paper, "system", ())  # type: ignore[arg-type]
    cache = world.caches.policies
    policies = Budgets(world, paper, paper, unwatched, cache, BudgetPolicy)  # type: ignore[arg-type]
    await policies.reconcile(Key("BudgetPolicy", "ns", "team"))
    return paper.written[0] if paper.written else None


async def test_after_a_start_nothing_is_said_before_the_book_has_been_read() -> None:
    assert await shown(World(Still())) is None


async def test_a_book_that_cannot_be_read_leaves_the_figures_as_they_were() -> None:
    made = await shown(World(Still(), book_problem="it is damaged."))
    assert made is not None
    assert made["conditions"][0]["reason"] == "LedgerUnavailable"
    assert {name: made[name] for name in FIGURES} == FIGURES


async def test_a_book_without_an_account_shows_no_figures_and_one_with_an_account_its_own() -> None:
    unused = await shown(World(Still(), book=Book(time=NOW)))
    assert unused is not None
    assert (unused["conditions"][0]["reason"], "spent" in unused) == ("NotUsedYet", False)
    used = await shown(World(Still(), book=set_policies(Book(time=NOW), [policy()])))
    assert used is not None
    assert (used["conditions"][0]["reason"], used["spent"], used["available"]) == ("Funded", "0.00", "100.00")
