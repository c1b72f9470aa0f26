"""How far the download of a model is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """The download of one pod: bytes that are there, bytes of the model, and bytes a second in the last seconds."""

    pod: str
    done: int
    total: int
    speed: int

    @property
    def percent(self) -> int:
        """The part that is done, never more than there is."""
        return min(100, 100 * self.done // self.total) if self.total else 0

    @property
    def remaining(self) -> int | None:
        """Seconds left at this speed, None while nothing comes."""
        left = max(0, self.total - self.done)
        return -(-left // self.speed) if self.speed > 0 else None if left else 0

    def __str__(self) -> str:
        left = "time left unknown" if self.remaining is None else f"{self.remaining} s left"
        return f"{self.percent} % of {self.total / 1e6:,.1f} MB, {left}"
