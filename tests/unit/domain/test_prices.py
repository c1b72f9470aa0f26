from fractions import Fraction

import pytest
from modelservice.domain.prices import (
    STEADY,
    Billing,
    BillingStart,
    Course,
    PriceUnknownError,
    billed_since,
    dominant_share,
    node_ceiling,
    pod_rate,
)


@pytest.mark.parametrize(
    ("requests", "allocatable", "share"),
    [
        ({"cpu": 1000}, {"cpu": 4000}, Fraction(1, 4)),
        ({"cpu": 1000, "memory": 3}, {"cpu": 4000, "memory": 4}, Fraction(3, 4)),
        ({"cpu": 100, "nvidia.com/gpu": 1}, {"cpu": 96_000, "nvidia.com/gpu": 8}, Fraction(1, 8)),
        ({"cpu": 0}, {"cpu": 4000}, Fraction(0)),
        ({"gpu": 8}, {"gpu": 8}, Fraction(1)),
    ],
)
def test_a_pod_pays_for_its_largest_part_of_a_node(
    requests: dict[str, int], allocatable: dict[str, int], share: Fraction
) -> None:
    assert dominant_share(requests, allocatable) == share


@pytest.mark.parametrize(("requests", "allocatable"), [({"gpu": 9}, {"gpu": 8}), ({"gpu": 1}, {"cpu": 4})])
def test_a_pod_that_fits_on_no_node_has_no_share(requests: dict[str, int], allocatable: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="the pod asks for"):
        dominant_share(requests, allocatable)


@pytest.mark.parametrize(
    ("options", "margin", "ceiling"),
    [
        ({"OnDemand": 1_356_000, "Spot": 1_560_000}, 0, Fraction(1_560_000)),
        ({"OnDemand": 1_356_000, "Spot": 700_000}, 0, Fraction(1_356_000)),
        ({"OnDemand": 1_390_000, "Spot": 1_390_000}, 10, Fraction(1_529_000)),
        ({"OnDemand": 3}, 50, Fraction(9, 2)),
    ],
)
def test_the_ceiling_is_the_dearest_way_to_buy_with_the_margin(
    options: dict[str, int], margin: int, ceiling: Fraction
) -> None:
    assert node_ceiling(options, margin) == ceiling


def test_spot_alone_has_no_ceiling() -> None:
    with pytest.raises(PriceUnknownError, match="OnDemand price is missing"):
        node_ceiling({"Spot": 13_690_000}, 0)


@pytest.mark.parametrize("price", [-1, -1_000_000])
def test_a_price_below_zero_is_unknown(price: int) -> None:
    with pytest.raises(PriceUnknownError, match="Spot price must not be below zero"):
        node_ceiling({"OnDemand": 5, "Spot": price}, 0)


@pytest.mark.parametrize(("devices", "rate"), [(1, 6_880_000), (4, 27_520_000), (8, 55_040_000)])
def test_a_price_is_that_of_a_whole_node_and_never_times_or_by_its_devices_again(devices: int, rate: int) -> None:
    node = {"cpu": 192_000, "nvidia.com/gpu": 8}
    share = dominant_share({"cpu": 1000, "nvidia.com/gpu": devices}, node)
    assert pod_rate(node_ceiling({"OnDemand": 55_040_000}, 0), share) == rate


def test_pods_of_a_free_node_cost_nothing_and_those_of_a_full_node_what_the_node_costs() -> None:
    quarter = dominant_share({"cpu": 1000}, {"cpu": 4000})
    assert pod_rate(node_ceiling({"OnDemand": 0}, 20), quarter) == 0
    assert 4 * pod_rate(node_ceiling({"OnDemand": 4_000_000}, 0), quarter) == 4_000_000


def test_the_rate_of_a_pod_is_rounded_up_once() -> None:
    assert pod_rate(Fraction(10), Fraction(1, 3)) == 4
    assert pod_rate(node_ceiling({"OnDemand": 3}, 50), Fraction(2, 9)) == 1


def test_the_overrun_covers_a_late_deletion_the_longest_stop_and_the_idle_node() -> None:
    assert Billing(stop=300, tail=600, minimum=60, late=120).overrun == 120 + 300 + 600
    assert Billing(stop=30, tail=0, minimum=3600, late=120).overrun == 120 + 3600


def test_two_billings_are_widened_to_the_longer_of_each_time() -> None:
    assert Billing(1, 20, 3, 40).widened(Billing(10, 2, 30, 4)) == Billing(10, 20, 30, 40)
    running = Billing(1, begins=BillingStart.RUNNING)
    assert running.widened(Billing(1)) == Billing(1).widened(running) == Billing(1)
    assert running.widened(running) == running


def test_a_billing_has_no_negative_time() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        Billing(stop=-1)


def test_a_pod_is_billed_from_its_ungating_or_from_its_first_container() -> None:
    assert billed_since(Billing(0), ungated_at=5, started_at=None) == 5
    assert billed_since(Billing(0, begins=BillingStart.RUNNING), ungated_at=5, started_at=None) is None
    assert billed_since(Billing(0, begins=BillingStart.RUNNING), ungated_at=5, started_at=9) == 9


def test_a_course_tells_the_dearest_rate_that_a_stretch_of_time_meets() -> None:
    course = Course(((10, 5), (20, 9), (30, 2)))
    assert [course.dearest(*stretch) for stretch in ((10, 20), (10, 21), (19, 40), (30, 31))] == [5, 9, 9, 2]
    assert [course.dearest(time, time) for time in (0, 10, 20, 29, 30)] == [5, 5, 9, 9, 2]
    assert STEADY.dearest(0, 100) is None


def test_a_rate_covers_a_pod_until_more_is_in_force_or_nothing_is_known() -> None:
    course = Course(((10, 5), (20, 9), (30, 2), (40, 6)), known_until=70)
    assert [course.covered_until(rate, 10) for rate in (4, 5, 8, 9)] == [10, 20, 20, 70]
    assert [course.covered_until(5, since) for since in (0, 20, 29, 30, 41, 90)] == [20, 20, 29, 40, 41, 70]
    assert Course(((10, 5), (20, 2))).covered_until(5, 0) is None
    assert STEADY.covered_until(0, 0) is None
