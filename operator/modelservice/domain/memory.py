"""Amounts of memory that are not known exactly."""

from __future__ import annotations

from dataclasses import dataclass

from modelservice.domain.modelfacts import Source

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Figure:
    """Bytes: no less than `least`, `likely`, no more than `most`; `source` says what that rests on."""

    least: int
    likely: int
    most: int
    source: Source

    def __add__(self, other: Figure) -> Figure:
        source = self.source.weaker(other.source)
        return Figure(self.least + other.least, self.likely + other.likely, self.most + other.most, source)

    @classmethod
    def exactly(cls, amount: int, source: Source) -> Figure:
        """An amount that is known."""
        return cls(amount, amount, amount, source)


NOTHING = Figure(0, 0, 0, Source.MEASURED)


def gib(amount: int) -> str:
    """Bytes for people, in GiB with at most two decimals: ``22.05 GiB``; little in MiB."""
    size, unit = (amount / GIB, "GiB") if amount >= GIB // 100 else (amount / 2**20, "MiB")
    return f"{size:.2f}".rstrip("0").rstrip(".") + f" {unit}"
