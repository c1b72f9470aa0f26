"""The gates of a price table: what is refused, with the number of the row, and what is not."""

from __future__ import annotations

import pytest
from modelservice.domain.pricetable import COLUMNS, Table, parse_table

HEADER = ",".join(COLUMNS)


def table(*rows: str) -> Table:
    return parse_table("\n".join([HEADER, *rows]))


def priced(text: str, source: str = "list") -> Table:
    return table(f"a100,OnDemand,{text},USD,,,{source}")


@pytest.mark.parametrize(
    "text", ["-1", "-1000000", "NaN", "nan", "inf", "Infinity", '"1,39"', "1e-9", "1.0000001", "+1"]
)
def test_a_price_that_is_none_is_refused_with_its_row(text: str) -> None:
    read = priced(text)
    assert read.rows == {}
    (fault,) = read.faults["a100"]
    assert fault.startswith("row 2: ")
    assert "is not an amount" in fault


@pytest.mark.parametrize("text", ["0", "0.0", "0.000000"])
def test_a_zero_is_taken_for_an_unknown_price_unless_the_row_says_that_the_node_is_free(text: str) -> None:
    assert priced(text).faults["a100"] == (
        f"row 2: the price is {text}: a node that costs nothing needs the source free",
    )
    (row,) = priced(text, "free").rows["a100"]
    assert (row.price, priced(text, "free").faults) == (0, {})


def test_a_row_that_says_free_has_no_price_above_zero() -> None:
    assert priced("1.39", "free").faults["a100"] == ("row 2: the source is free and the price is 1.39",)


def test_a_price_that_is_left_open_is_no_fault_and_no_price() -> None:
    (row,) = priced("").rows["a100"]
    assert row.price is None


def test_a_decimal_comma_without_quotes_is_recognised() -> None:
    assert priced("1,39").faults["a100"] == ("row 2: it has 8 fields and 7 are needed; a decimal comma does not work",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a100,Reserved,1.39,USD,,,list", "row 2: the type is 'Reserved': write OnDemand or Spot"),
        ("a100,OnDemand,1.39,usd,,,list", "row 2: 'usd' is not a currency"),
        ("a100,OnDemand,1.39,USD,2026-07-01,,list", "row 2: valid_from is '2026-07-01': write a time such as"),
        ("a100,OnDemand,1.39,USD,,tomorrow,list", "row 2: valid_to is 'tomorrow'"),
        ("a100,OnDemand,1.39,USD,2026-07-01T00:00:00Z,2026-07-01T00:00:00Z,list", "row 2: valid_to 2026-07-01T00:00"),
        ("a100,OnDemand,1.39,USD,,,", "row 2: it names no source"),
        ("a100,OnDemand", "row 2: it has 2 fields and 7 are needed"),
        ('a100,OnDemand,"1.39"x,USD,,,list', "row 2 is no CSV"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_number(row: str, said: str) -> None:
    read = table(row)
    ((fault, *_),) = read.faults.values()
    assert fault.startswith(said)


def test_a_fault_concerns_only_the_pool_of_its_row_and_rows_are_counted_as_an_editor_does() -> None:
    read = table("good,OnDemand,1,USD,,,list", "", "bad,OnDemand,-1,USD,,,list")
    assert set(read.faults) == {"bad"}
    assert read.faults["bad"][0].startswith("row 4: ")
    assert [row.number for row in read.rows["good"]] == [2]


@pytest.mark.parametrize("unit", ["per_gpu_hour", "per_device_hour", "price", "per_node_month"])
def test_another_unit_than_a_node_hour_is_refused(unit: str) -> None:
    read = parse_table(HEADER.replace("per_node_hour", unit) + "\na100,OnDemand,1.39,USD,,,list")
    assert read.rows == {}
    assert read.faults[""][0].startswith(f"the first row must be {HEADER}, and it is pool,type,{unit},")


def test_a_table_without_any_row_says_so() -> None:
    assert parse_table("\n \n").faults == {"": ("it is empty",)}
    assert parse_table(HEADER) == Table()


def test_a_byte_order_mark_and_spaces_around_fields_do_no_harm() -> None:
    (row,) = parse_table(f"\ufeff{HEADER}\r\na100 , OnDemand, 1.39, USD, , , list\r\n").rows["a100"]
    assert (row.pool, row.option, row.price, row.source) == ("a100", "OnDemand", 1_390_000, "list")


def test_rows_that_overlap_are_both_named() -> None:
    july, august = "2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"
    read = table(
        f"a100,OnDemand,1.39,USD,{july},,list",
        f"a100,OnDemand,1.50,USD,{august},,list",
        f"a100,Spot,0.50,USD,{july},,list",
    )
    assert read.faults["a100"] == ("row 2 and row 3 both give the OnDemand price from 2026-08-01T00:00:00Z on",)
    twice = table("a100,Spot,1,USD,,,list", "a100,Spot,1,USD,,,list")
    assert twice.faults["a100"] == ("row 2 and row 3 both give the Spot price from the beginning on",)


def test_rows_that_follow_each_other_at_the_same_instant_do_not_overlap() -> None:
    august = "2026-08-01T00:00:00Z"
    read = table(f"a100,OnDemand,1.50,USD,{august},,list", f"a100,OnDemand,1.39,USD,,{august},list")
    assert read.faults == {}
    early, late = read.rows["a100"]
    assert (early.number, late.number) == (3, 2)
    assert early.end == late.start is not None
    assert (early.covers(late.start - 1), early.covers(late.start), late.covers(late.start)) == (True, False, True)
