"""A meter that remembers, for the tests of the kit."""

from collections import Counter
from typing import Any


class Tally:
    """Counts under (name, *sorted labels), gauges and observations likewise."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Any, ...]] = Counter()
        self.gauges: dict[tuple[Any, ...], float] = {}

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.counts[name, *sorted(labels.items())] += int(amount)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        self.counts[name, *sorted(labels.items())] += 1

    def set(self, name: str, value: float, /, **labels: str) -> None:
        self.gauges[name, *sorted(labels.items())] = value
