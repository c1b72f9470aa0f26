"""A price table that is edited while a service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.domain.pricetable import COLUMNS
from modelservice.domain.times import format_time

from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.scenes import Scene, conditions, policy, staged

HOUR = 3600


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    """A pool whose prices stand in the table `prices`; a pod costs a quarter of a node."""
    made = Scene(cluster, kube, namespace, nodes, operators)
    prices: dict[str, Any] = {"purchaseOptions": None, "priceTable": {"configMapRef": {"name": "prices"}}}
    async with staged(made, **prices) as scene:
        yield scene


def table(*rows: str) -> str:
    return "\n".join([",".join(COLUMNS), *rows])


async def priced(scene: Scene, status: str, reason: str) -> dict[str, Any]:
    """The pool, once its condition Priced reads so."""

    async def seen() -> dict[str, Any] | None:
        found = (await scene.kube.get("ComputePool", "", scene.pool)).object
        one = conditions(found).get("Priced", {})
        return found if (one.get("status"), one.get("reason")) == (status, reason) else None

    return await until(f"Priced={status} {reason}", seen) or {}


async def test_a_dearer_price_is_held_before_it_is_in_force_and_a_bad_row_starts_nothing(scene: Scene) -> None:
    name = scene.pool
    await scene.create(policy("team", scene.namespace))
    await scene.operate()
    await priced(scene, "False", "PriceUnknown")
    today = (await scene.kube.get("Namespace", "", scene.namespace)).date
    later, soon = format_time(today + 3 * HOUR), format_time(today + HOUR)
    rows = [f"{name},OnDemand,4.00,USD,,{later},list", f"{name},OnDemand,5.00,USD,{later},,list"]
    await scene.create(manifest("v1", "ConfigMap", "prices", scene.namespace, data={"prices.csv": table(*rows)}))
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)

    async def rate(expected: int) -> None:
        async def seen() -> bool:
            held = [one.terms.rates for one in (await scene.book()).placements.values() if one.units]
            return held == [{f"{scene.namespace}/team": expected}]

        await until(f"a rate of {expected}", seen)

    await rate(1_000_000)
    (pod,) = await scene.pods("chat")

    await scene.patch("ConfigMap", "prices", "/data/prices.csv", table(*rows).replace(later, soon))
    await rate(1_250_000)
    pool = await priced(scene, "True", "PriceKnown")
    price = {"type": "OnDemand", "perNodeHour": "4.00", "source": "list", "row": 2, "validTo": soon}
    assert pool["status"]["resolved"] == {"prices": [price], "ceilingPerNodeHour": "5.00"}
    assert f"A dearer price begins at {soon} and is held already." in conditions(pool)["Priced"]["message"]
    assert (await scene.book()).insolvent() == ()

    await scene.patch("ConfigMap", "prices", "/data/prices.csv", table(rows[0].replace("4.00", "-1"), rows[1]))
    pool = await priced(scene, "False", "PriceUnknown")
    assert conditions(pool)["Priced"]["message"].startswith("The price is not known: row 2: '-1' is not an amount")
    assert conditions(pool)["Ready"]["reason"] == "PriceUnknown"
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 2)
    said = await scene.condition("chat", "HardwareSelected", "False", "NoPoolFits")
    assert f"{name} has no usable price: row 2" in said

    async def weakened() -> dict[str, Any] | None:
        status = (await scene.get("BudgetPolicy", "team")).get("status") or {}
        coverage = status.get("priceCoverage") or {}
        return status if name in (coverage.get("unpriced") or ()) else None

    status = await until("the budget to name the pool", weakened) or {}
    assert f"The price of pool {name} is not known; its 1 pods" in status["guarantee"]["becauseOf"]
    assert [one["metadata"]["uid"] for one in await scene.pods("chat")] == [pod["metadata"]["uid"]]
    await rate(1_250_000)

    await scene.patch("ConfigMap", "prices", "/data/prices.csv", table(*rows))
    await scene.ready("chat", 2)
    await rate(1_000_000)
