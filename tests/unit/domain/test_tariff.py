"""What a pool costs by its table now and while a hold lasts; the rows of real catalogues, cases C13 and C14."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.placement import Option, price, select
from modelservice.domain.pools import ceiling, judge_pool, judge_price
from modelservice.domain.pricetable import COLUMNS, parse_table
from modelservice.domain.tariff import JUMP_SECONDS, PLAN_SECONDS, Tariff, fixed, quote
from modelservice.domain.times import format_time

from tests.unit.domain.specs import NOW, pool, runtime, workload

LONGEST = 3600 + 240
AHEAD = LONGEST + PLAN_SECONDS
DAY = 86_400


def tariff(*rows: str, at: int = NOW, name: str = "cpu") -> Tariff:
    return quote(parse_table("\n".join([",".join(COLUMNS), *rows])), name, "USD", at, LONGEST)


def row(
    price: str, option: str = "OnDemand", start: int | None = None, end: int | None = None, pool: str = "cpu"
) -> str:
    begin, until = ("" if time is None else format_time(time) for time in (start, end))
    return f"{pool},{option},{price},USD,{begin},{until},catalogue"


def why(made: Tariff) -> str:
    """What a service is told about the pool."""
    selection = select(workload(), runtime(), [replace(pool(), tariff=made)], {})
    assert selection.options == ()
    return selection.rejections[0].why


def in_force(made: Tariff) -> dict[str, int]:
    return {name: offer.price for name, offer in made.offers.items()}


# C13: rows of a real price catalogue.


def test_c13_1_spot_without_on_demand_is_not_usable_and_the_row_is_named() -> None:
    empty = tariff(row("", pool="8B200"), row("13.69", "Spot", pool="8B200"), name="8B200")
    assert why(empty) == (
        "has no usable price: row 2 (OnDemand, no price) leaves the OnDemand price open, so that no ceiling of the "
        "cost is known"
    )
    absent = tariff(row("13.69", "Spot", pool="8B200"), name="8B200")
    assert why(absent) == (
        "has no usable price: the OnDemand price is missing, there is only row 2 (Spot, 13.69 USD), so that no ceiling "
        "of the cost is known"
    )


def test_c13_2_on_demand_without_spot_has_no_spot_option() -> None:
    made = tariff(row("3.39", pool="1H200"), row("", "Spot", pool="1H200"), name="1H200")
    assert (in_force(made), dict(made.dearest)) == ({"OnDemand": 3_390_000}, {"OnDemand": 3_390_000})


def test_c13_3_equal_prices_are_fine() -> None:
    made = tariff(row("1.39"), row("1.39", "Spot"))
    assert in_force(made) == {"OnDemand": 1_390_000, "Spot": 1_390_000}
    assert made.comparison() == "OnDemand and Spot cost the same"
    assert not made.problem
    assert not made.jumps


@pytest.mark.parametrize("price", ["-1", "-1000000", "0", "0.0", "NaN", "inf", '"1,39"', "1e-9"])
@pytest.mark.parametrize("option", ["OnDemand", "Spot"])
def test_c13_4_to_6_a_sentinel_makes_the_pool_unusable_and_the_row_is_named(price: str, option: str) -> None:
    rows = {"OnDemand": row("1.39"), "Spot": row("0.50", "Spot"), option: row(price, option)}
    assert why(tariff(rows["OnDemand"], rows["Spot"])).startswith(
        f"has no usable price: row {2 if option == 'OnDemand' else 3}: "
    )


def test_c13_5_a_price_of_zero_never_wins_as_the_cheapest_unless_it_is_said_to_be_free() -> None:
    zero = replace(pool("zero"), tariff=tariff(row("0", pool="zero"), name="zero"))
    free = replace(pool("free"), tariff=tariff("free,OnDemand,0,USD,,,free", name="free"))
    assert [one.pool.name for one in select(workload(), runtime(), [zero, pool("paid")], {}).options] == ["paid"]
    (first, _) = select(workload(), runtime(), [free, pool("paid")], {}).options
    assert (first.pool.name, first.price, first.ceiling) == ("free", 0, 0)


# C14: spot dearer than on-demand.


def test_c14_the_cheaper_option_is_named_and_by_how_much_the_other_one_is_dearer() -> None:
    made = tariff(row("1.356"), row("1.56", "Spot"))
    assert made.comparison() == "Spot costs 0.204 more per hour than OnDemand"
    assert not made.problem


def test_c14_the_hold_is_at_the_dearer_of_both_with_the_margin() -> None:
    made = replace(pool(margin_percent=10), tariff=tariff(row("1.356"), row("1.56", "Spot")))
    assert ceiling(made) == 1_716_000
    (option,) = select(workload(requests={"cpu": "4", "memory": "1Gi"}), runtime(), [made], {}).options
    assert (option.price, option.ceiling) == (1_356_000, 1_716_000)


def test_c14_a_spot_price_that_rises_is_held_before_it_is_in_force_and_pointed_out() -> None:
    rise = NOW + DAY
    rows = (row("1.356"), row("1.06", "Spot", end=rise), row("1.56", "Spot", start=rise))
    before = tariff(*rows)
    assert (before.dearest["Spot"], before.rises_at, before.changes_at) == (1_060_000, None, rise - AHEAD + 1)
    assert before.jumps == (
        "row 4 (Spot, 1.56 USD) is far from row 3 (Spot, 1.06 USD): if that is no mistake, nothing needs to be done",
    )
    announced = tariff(*rows, at=rise - AHEAD + 1)
    assert (in_force(announced)["Spot"], announced.dearest["Spot"]) == (1_060_000, 1_560_000)
    assert (announced.rises_at, announced.changes_at) == (rise, rise)
    held = tariff(*rows, at=rise)
    assert (in_force(held)["Spot"], held.dearest["Spot"], held.rises_at) == (1_560_000, 1_560_000, None)
    assert tariff(*rows, at=rise + JUMP_SECONDS).jumps == ()


def test_c14_a_price_that_falls_is_held_until_it_is_in_force() -> None:
    fall = NOW + 600
    rows = (row("1.356"), row("1.56", "Spot", end=fall), row("0.70", "Spot", start=fall))
    assert tariff(*rows).dearest["Spot"] == 1_560_000
    assert tariff(*rows).changes_at == fall
    after = tariff(*rows, at=fall)
    assert after.dearest["Spot"] == 700_000
    assert after.comparison() == "OnDemand costs 0.656 more per hour than Spot"


# Time.


def test_a_row_that_ends_without_a_successor_is_usable_only_while_a_hold_ends_before_it() -> None:
    end = NOW + 2 * AHEAD
    rows = (row("4.00", end=end), row("5.00", "Spot"))
    assert (tariff(*rows).problem, tariff(*rows).known_until) == ("", end)
    assert tariff(*rows, at=end - AHEAD).problem == ""
    late = tariff(*rows, at=end - AHEAD + 1)
    assert late.problem == (
        f"row 2 (OnDemand, 4.00 USD) ends at {format_time(end)} and none follows, while a pod that starts now may be "
        "paid for beyond that"
    )
    assert late.changes_at == end
    assert tariff(*rows, at=end).problem == (
        f"row 2 (OnDemand, 4.00 USD) ended at {format_time(end)} and none is in force"
    )


def test_a_row_that_has_not_begun_is_no_price_yet() -> None:
    begin = NOW + 60
    assert tariff(row("4.00", start=begin)).problem == f"row 2 (OnDemand, 4.00 USD) begins only at {format_time(begin)}"
    assert tariff(row("4.00", start=begin), at=begin).problem == ""


def test_spot_rows_may_end_since_only_that_option_ends_with_them() -> None:
    made = tariff(row("4.00"), row("5.00", "Spot", end=NOW + 60))
    assert (made.problem, made.known_until, made.dearest["Spot"]) == ("", None, 5_000_000)
    assert "Spot" not in tariff(row("4.00"), row("5.00", "Spot", end=NOW + 60), at=NOW + 60).dearest


def test_on_demand_rows_that_follow_each_other_count_as_one_stretch() -> None:
    half, end = NOW + 600, NOW + 10 * DAY
    made = tariff(row("4.00", end=half), row("4.10", start=half, end=end))
    assert (made.problem, made.known_until, made.dearest["OnDemand"]) == ("", end, 4_100_000)
    gap = tariff(row("4.00", end=half), row("4.10", start=half + 1))
    assert "and none follows" in gap.problem


@pytest.mark.parametrize(("price", "far"), [("5.40", False), ("5.41", True), ("2.97", False), ("2.96", True)])
def test_a_change_of_more_than_a_third_is_pointed_out(price: str, *, far: bool) -> None:
    made = tariff(row("4.00", end=NOW + DAY), row(price, start=NOW + DAY))
    assert bool(made.jumps) is far
    assert not made.problem


def test_rows_in_another_currency_or_of_other_pools_are_no_price() -> None:
    made = quote(parse_table(f"{','.join(COLUMNS)}\n{row('1')}"), "cpu", "EUR", NOW, LONGEST)
    assert made.problem == "row 2 is in USD and the pool in EUR"
    assert tariff(row("1", pool="other")).problem == "the price table has no row for pool cpu"


def test_several_faults_of_a_pool_are_counted() -> None:
    assert tariff(row("-1"), row("NaN", "Spot")).problem.endswith("such as 12.50 (and 1 more)")


def test_the_steps_are_the_highest_prices_whichever_way_a_node_is_bought() -> None:
    made = tariff(
        row("2.00", end=NOW + DAY),
        row("1.00", start=NOW + DAY),
        row("3.00", "Spot", start=NOW - 60, end=NOW + 60),
        row("0.50", "Spot", start=NOW + 60),
    )
    assert made.steps == ((0, 2_000_000), (NOW - 60, 3_000_000), (NOW + 60, 2_000_000), (NOW + DAY, 1_000_000))
    option = price(replace(pool(margin_percent=10), tariff=made), {"cpu": 1000})
    assert isinstance(option, Option)
    assert option.ceiling == option.course.dearest(NOW, NOW + 1) == 825_000
    assert option.course.dearest(NOW + 60, NOW + 61) == 550_000


def test_a_tariff_is_the_same_until_it_says_that_it_changes() -> None:
    rise, end = NOW + DAY, NOW + 3 * DAY
    rows = (row("4.00", end=rise), row("6.00", start=rise, end=end), row("1.00", "Spot", start=NOW + 3600))
    time, steps = NOW, 0
    while (following := tariff(*rows, at=time).changes_at) is not None:
        assert following > time
        assert tariff(*rows, at=following - 1) == tariff(*rows, at=time)
        time, steps = following, steps + 1
    assert time >= end
    assert steps <= 12


# What the pool says.


def test_the_condition_names_prices_rows_and_what_is_held() -> None:
    made = replace(pool(margin_percent=10), tariff=tariff(row("1.356"), row("1.56", "Spot")))
    said = judge_price(made, NOW)
    assert (said.status, said.reason) == ("True", "PriceKnown")
    assert said.message == (
        "A node hour costs OnDemand 1.356 USD (row 2) and Spot 1.56 USD (row 3); 1.716 USD is held for it. "
        "Spot costs 0.204 more per hour than OnDemand."
    )
    assert judge_price(pool(), NOW).message == "A node hour costs OnDemand 4.00 USD; 4.00 USD is held for it."


def test_the_condition_says_in_time_that_prices_end_and_that_a_price_is_far_from_the_last() -> None:
    ends = replace(pool(), tariff=tariff(row("4.00", end=NOW + 7 * DAY)))
    assert judge_price(ends, NOW - 1).reason == "PriceKnown"
    assert judge_price(ends, NOW).reason == "PriceEnds"
    assert judge_price(ends, NOW).message.endswith("ends at 2026-01-08T06:00:00Z: add a row that follows.")
    jump = replace(pool(), tariff=tariff(row("4.00", end=NOW + DAY), row("40.00", start=NOW + DAY)))
    assert judge_price(jump, NOW).reason == "PriceJump"
    assert "Row 3 (OnDemand, 40.00 USD) is far from row 2 (OnDemand, 4.00 USD)" in judge_price(jump, NOW).message


def test_an_unknown_price_makes_the_pool_unready_and_says_what_becomes_of_what_runs() -> None:
    made = replace(pool(), tariff=tariff(row("-1")))
    said = judge_price(made, NOW)
    assert (said.status, said.reason) == ("False", "PriceUnknown")
    assert said.message.startswith("The price is not known: row 2: '-1' is not an amount")
    assert said.message.endswith("What runs goes on at the price that was held for it last.")
    ready = judge_pool(1, 1, "", made.tariff.problem)
    assert (ready.status, ready.reason) == ("False", "PriceUnknown")


def test_prices_of_the_spec_are_a_tariff_without_time() -> None:
    made = fixed({"OnDemand": 4, "Spot": 3})
    assert (in_force(made), dict(made.dearest)) == ({"OnDemand": 4, "Spot": 3}, {"OnDemand": 4, "Spot": 3})
    assert (made.changes_at, made.known_until, made.rises_at, made.problem) == (None, None, None, "")
    assert "OnDemand price is missing" in fixed({"Spot": 3}).problem
