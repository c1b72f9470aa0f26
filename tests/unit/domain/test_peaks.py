"""The dearest that the services of a budget can run at once."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.book import Book
from modelservice.domain.peaks import peak_rates
from modelservice.domain.planner import plan
from modelservice.domain.scope import Scope
from modelservice.domain.snapshot import ServiceView, Snapshot

from tests.unit.domain.specs import NOW, USD, policy, pool, view, wish


def peak(*views: ServiceView, scope: Scope | None = None) -> int:
    """Of a budget for the namespace; a pod costs 1.00 USD an hour."""
    budget = replace(policy(), scope=scope or Scope(frozenset({"ns"})))
    seen = Snapshot(views, {"cpu": pool()}, (budget,), {}, Book(time=NOW))
    return peak_rates(seen, plan(seen, NOW))["ns/team"]


def test_every_service_counts_with_all_the_replicas_it_may_have() -> None:
    assert peak() == 0
    assert peak(view(1, pool(), most=4), view(0, pool(), name="rank", most=2)) == 6 * USD


def test_a_training_run_counts_beside_the_replicas() -> None:
    both = view(1, pool(), most=3, training=wish(1, pool(), service="train"))
    assert peak(both) == 4 * USD
    assert peak(both, scope=Scope(roles=frozenset({"Training"}))) == USD


def test_what_the_budget_does_not_pay_for_is_suspended_or_fits_nowhere_does_not_count() -> None:
    assert peak(view(1, pool(), most=4), scope=Scope(pools=frozenset({"gpu"}))) == 0
    assert peak(view(1, pool(), most=4, suspended=True)) == 0
    assert peak(view(1, most=4)) == 0
