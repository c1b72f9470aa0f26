"""How the kit reports figures: three verbs over named metrics, implemented by the telemetry adapter."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Takes figures; names are without prefix ("reconcile_total"), labels are those the metric declares."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add one observation to a histogram."""
        ...

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        ...


class NoMeter:
    """Forgets every figure."""

    __slots__ = ()

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Forget it."""

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Forget it."""

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Forget it."""
