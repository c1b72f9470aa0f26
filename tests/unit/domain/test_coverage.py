"""Of which pools a budget knows the price."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.coverage import Coverage, cover, unpriced_pods
from modelservice.domain.scope import Scope
from modelservice.domain.tariff import unknown

from tests.unit.domain.books import admitted, opened, policy
from tests.unit.domain.specs import pool

LOST = {name: replace(pool(name), tariff=unknown("row 2 is wrong")) for name in ("b", "a")}
POOLS = {"cpu": pool("cpu"), **LOST}


def test_a_budget_counts_the_pools_of_its_scope_and_names_those_without_a_price() -> None:
    assert cover(policy(), POOLS) == Coverage(3, ("a", "b"))
    assert cover(replace(policy(), scope=Scope(pools=frozenset({"cpu", "b", "gone"}))), POOLS) == Coverage(2, ("b",))


def test_pods_in_a_pool_without_a_price_weaken_the_budgets_that_pay_for_them() -> None:
    book = admitted(opened(), "a", "b")
    lost = {"cpu": replace(pool("cpu"), tariff=unknown("row 2 is wrong")), **LOST}
    assert list(unpriced_pods(policy(), lost, book)) == [
        "The price of pool cpu is not known; its 2 pods are held at the last price that was."
    ]
    assert list(unpriced_pods(policy(), POOLS, book)) == []
    assert list(unpriced_pods(policy(name="team/other"), lost, book)) == []
