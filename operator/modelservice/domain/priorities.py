"""The class of a service: who is paid before whom."""

from __future__ import annotations

from enum import StrEnum

SHARE_UNIT = 1_000_000
"""Shares of classes are counted in millionths."""


class Priority(StrEnum):
    """What a person says about a service; the first is the highest."""

    CRITICAL = "Critical"
    STANDARD = "Standard"
    BATCH = "Batch"

    @property
    def rank(self) -> int:
        """0 for the highest class."""
        return list(Priority).index(self)

    @property
    def has_floors(self) -> bool:
        """Whether its fewest replicas are paid before anybody's bursts; all pods of the lowest class are bursts."""
        return self is not Priority.BATCH
