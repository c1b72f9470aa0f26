import pytest
from modelservice.domain.money import check_currency, cost, format_amount, parse_amount, parse_price


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("1", 1_000_000),
        ("12.5", 12_500_000),
        ("3.39", 3_390_000),
        ("0.000001", 1),
        ("999999999999.999999", 999_999_999_999_999_999),
    ],
)
def test_a_decimal_string_is_read_to_the_micro_unit(text: str, micros: int) -> None:
    assert parse_amount(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "-1000000", "+1", "NaN", "inf", "1,39", "1e-9", "1.", ".5", "01", "1.0000001"),
        *(" 1", "1\n", "1_000", "\u0661", "1000000000000"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount: write digits"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["0", "0.0", "0.000000"])
def test_a_price_of_zero_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be above zero"):
        parse_price(text)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (12_500_000, "12.50"),
        (278, "0.000278"),
        (-1_000_000, "-1.00"),
        (-1, "-0.000001"),
        (120_000, "0.12"),
    ],
)
def test_an_amount_is_written_with_two_decimals_or_what_it_needs(micros: int, text: str) -> None:
    assert format_amount(micros) == text


def test_what_is_written_can_be_read() -> None:
    for micros in (0, 1, 10, 999_999, 1_000_000, 123_456_789):
        assert parse_amount(format_amount(micros)) == micros


@pytest.mark.parametrize("code", ["usd", "US", "USDT", "", "U$D", "ÄÖÜ"])
def test_a_currency_has_three_capital_letters(code: str) -> None:
    assert check_currency("CHF") == "CHF"
    with pytest.raises(ValueError, match="three capital letters"):
        check_currency(code)


@pytest.mark.parametrize(
    ("rate", "start", "end", "micros"),
    [
        (3600, 0, 1, 1),
        (1, 0, 1, 1),
        (1, 0, 3600, 1),
        (1, 0, 3601, 2),
        (6_000_000, 100, 700, 1_000_000),
        (5, 10, 10, 0),
        (5, 10, 9, 0),
    ],
)
def test_a_cost_is_rounded_up_and_an_empty_time_is_free(rate: int, start: int, end: int, micros: int) -> None:
    assert cost(rate, start, end) == micros


def test_a_cost_stays_exact_beyond_the_precision_of_a_float() -> None:
    assert cost(9_007_199_254_740_993 * 3600, 0, 1) == 9_007_199_254_740_993
