"""Money as integers: amounts are micro-units of a currency, rates are micro-units per hour, times are whole seconds."""

from __future__ import annotations

import re

MICROS = 1_000_000
HOUR = 3600

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,6}))?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def parse_amount(text: str) -> int:
    """Read a decimal string such as ``"12.50"`` as micro-units.

    At most 12 digits before the point and 6 after it; no sign, exponent or grouping. Raises ValueError.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount: write digits with at most six decimals, such as 12.50")
    whole, fraction = match.groups()
    return int(whole) * MICROS + int((fraction or "").ljust(6, "0"))


def parse_price(text: str) -> int:
    """Read a price per hour as micro-units per hour; zero is refused, since an unknown price is often written so."""
    price = parse_amount(text)
    if price == 0:
        raise ValueError(f"{text!r} is not a price: it must be above zero")
    return price


def format_amount(micros: int) -> str:
    """Write micro-units as the shortest decimal string with at least two decimals: ``-12.50``, ``0.000278``."""
    whole, fraction = divmod(abs(micros), MICROS)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{digits}"


def check_currency(code: str) -> str:
    """Return the code when it has the form of ISO 4217, such as ``USD``; raise ValueError otherwise."""
    if _CURRENCY.fullmatch(code) is None:
        raise ValueError(f"{code!r} is not a currency: write three capital letters, such as USD")
    return code


def cost(rate: int, start: int, end: int) -> int:
    """Micro-units for ``rate`` micro-units per hour over ``[start, end)`` seconds, rounded up; 0 if it is empty."""
    return -(-rate * (end - start) // HOUR) if end > start else 0
