"""The pool that is chosen, and why the others are not."""

from __future__ import annotations

import pytest
from modelservice.domain.placement import Selection, requested, select
from modelservice.domain.prices import Billing
from modelservice.domain.quantities import parse_quantity, show, whole
from modelservice.domain.specs import Drain, Role

from tests.unit.domain.specs import USD, gpu_pool, pool, runtime, workload


def why(selection: Selection) -> dict[str, str]:
    return {rejection.pool: rejection.why for rejection in selection.rejections}


def test_the_cheapest_pool_that_fits_comes_first_and_a_tie_goes_by_name() -> None:
    selection = select(workload(), runtime(), [pool("b", 4 * USD), pool("c", 3 * USD), pool("a", 4 * USD)], {})
    assert [option.pool.name for option in selection.options] == ["c", "a", "b"]
    assert selection.options[0].price == 750_000


def test_a_price_is_the_largest_share_of_the_node() -> None:
    requests = {"cpu": "1", "memory": "8Gi"}
    (option,) = select(workload(requests=requests), runtime(), [pool(price=4 * USD)], {}).options
    assert option.price == 2 * USD


def test_what_is_held_is_the_dearest_way_to_buy_with_the_margin() -> None:
    dear = pool(prices={"OnDemand": 4 * USD, "Spot": 6 * USD}, margin_percent=10)
    (option,) = select(workload(), runtime(), [dear], {}).options
    assert (option.price, option.ceiling) == (USD, 1_650_000)


def test_a_pool_in_use_is_kept_while_it_fits_though_another_is_cheaper() -> None:
    selection = select(workload(), runtime(), [pool("cheap", USD), pool("used", 2 * USD)], {})
    assert (kept := selection.prefer("used")) is not None
    assert kept.pool.name == "used"
    assert (other := selection.prefer("gone")) is not None
    assert other.pool.name == "cheap"


def test_an_accelerator_is_asked_for_once_when_the_user_asks_for_none() -> None:
    assert requested(workload(), gpu_pool())["nvidia.com/gpu"] == "1"
    assert requested(workload(limits={"nvidia.com/gpu": "2"}), gpu_pool())["nvidia.com/gpu"] == "2"
    (option,) = select(workload(), runtime(), [gpu_pool(price=8 * USD)], {}).options
    assert option.price == 2 * USD


@pytest.mark.parametrize(
    ("pod", "pools", "said"),
    [
        (workload(pools=("x",)), [pool()], "placement.pools"),
        (workload(accelerators=("GPU",)), [pool()], "placement.accelerators"),
        (workload(requests={"cpu": "5", "memory": "1Gi"}), [pool()], "offers 4 cpu on a node and the pod asks for 5"),
        (workload(requests={"cpu": "1", "memory": "17Gi"}), [pool()], "offers 16 GiB memory"),
        (workload(limits={"nvidia.com/gpu": "1"}), [pool()], "offers 0 nvidia.com/gpu"),
        (workload(), [pool(accelerator="TPU")], "the runtime engine does not run"),
        (workload(), [pool(prices={"Spot": USD})], "OnDemand price is missing"),
    ],
)
def test_each_pool_that_does_not_fit_says_why(pod: object, pools: list[object], said: str) -> None:
    selection = select(pod, runtime(), pools, {})  # type: ignore[arg-type]
    assert selection.options == ()
    assert said in why(selection)["cpu"]
    assert not selection.other_currency


def test_a_pool_that_is_not_paid_for_while_the_engine_drains_is_left_out_and_says_how_long_that_is() -> None:
    drains = runtime(drain=Drain(10, 60))
    selection = select(workload(), drains, [pool("short", billing=Billing(89)), pool("long", billing=Billing(90))], {})
    assert [option.pool.name for option in selection.options] == ["long"]
    assert why(selection)["short"] == (
        "is paid for 89 s of stopping (billing.stopSeconds) and the runtime engine needs 90 s to drain"
    )


def test_a_pool_that_pays_for_no_last_requests_is_left_out_and_says_what_they_need() -> None:
    pools = [pool("short", billing=Billing(29)), pool("long", billing=Billing(30))]
    selection = select(workload(), runtime(), pools, {})
    assert [option.pool.name for option in selection.options] == ["long"]
    assert why(selection)["short"] == (
        "is paid for 29 s of stopping (billing.stopSeconds) and the runtime engine needs 30 s to drain"
    )
    assert not select(workload(), runtime(Role.TRAINING), pools, {}).rejections


def test_a_pool_in_another_currency_than_the_budget_is_refused_for_that_alone() -> None:
    selection = select(workload(), runtime(), [pool()], {"cpu": {"EUR"}})
    assert selection.other_currency
    assert why(selection)["cpu"] == "is priced in USD and the budget is in EUR"
    too_small = select(workload(requests={"cpu": "9", "memory": "1Gi"}), runtime(), [pool()], {"cpu": {"EUR"}})
    assert not too_small.other_currency


@pytest.mark.parametrize(
    ("resource", "text", "amount"),
    [
        ("cpu", "500m", 500),
        ("cpu", "1.5", 1500),
        ("cpu", "0.0001", 1),
        ("memory", "1.5Gi", 3 * 2**29),
        ("x/y", "2k", 2000),
    ],
)
def test_quantities_become_integers_rounded_up(resource: str, text: str, amount: int) -> None:
    assert whole(resource, text) == amount


@pytest.mark.parametrize("text", ["", "1e3", "-1", "1 Gi", "Gi", "٣"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def test_amounts_are_shown_as_people_write_them() -> None:
    assert (show("cpu", 2000), show("cpu", 2500), show("memory", 3 * 2**29), show("x/y", 4)) == (
        "2",
        "2500m",
        "1.5 GiB",
        "4",
    )
