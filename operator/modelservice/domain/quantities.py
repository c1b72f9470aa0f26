"""Kubernetes quantities as integers, rounded up: processors in thousandths, all else in units (bytes, devices)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?", re.ASCII)
_FACTOR = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """The exact value of a quantity such as `500m` or `1.5Gi`; raises ValueError."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity: write a number with a unit such as 500m or 2Gi")
    number, unit = match.groups()
    return Fraction(number) * _FACTOR[unit or ""]


def whole(resource: str, text: str) -> int:
    """The quantity as an integer: thousandths for `cpu`, else units, rounded up."""
    return math.ceil(parse_quantity(text) * (1000 if resource == "cpu" else 1))


def wholes(quantities: Mapping[str, str]) -> dict[str, int]:
    """All quantities of a resource list as integers."""
    return {resource: whole(resource, text) for resource, text in quantities.items()}


def show(resource: str, amount: int) -> str:
    """An integer of `whole` for people: `2500m`, `6.5 GiB`, `4`."""
    if resource == "cpu":
        return f"{amount // 1000}" if amount % 1000 == 0 else f"{amount}m"
    if resource == "memory":
        return f"{amount / 2**30:.4g} GiB"
    return str(amount)
