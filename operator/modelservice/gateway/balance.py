"""Which replica takes a request. Pure.

Least loaded by the gateway's own count of open requests; replicas with the same count take turns. Two choices at random
are cheaper where there are hundreds of replicas, and spread worse: docs/how-fast.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from modelservice.gateway.objects import Address

WHOLE = 100


class Track(Enum):
    """Which placements answer: those that the Service selects, or the one that is being tried."""

    STABLE = "stable"
    CANARY = "canary"


@dataclass(slots=True, eq=False)
class Replica:
    """One ready endpoint.

    Attributes:
        in_flight: requests of this gateway that are open there.
        rests_until: monotonic seconds; until then it is left alone, because it refused a connection.
        gone: whether it takes nothing new any more.
    """

    address: Address
    track: Track
    in_flight: int = 0
    rests_until: float = 0.0
    gone: bool = False


@dataclass(slots=True)
class Turns:
    """Spreads requests of equal standing: over replicas, and over tracks by percent."""

    replica: int = 0
    share: int = 0

    def take(self, candidates: Sequence[Replica]) -> Replica:
        """The least loaded of one or more; among equals the next in turn."""
        self.replica += 1
        start, count = self.replica % len(candidates), len(candidates)
        best = candidates[start]
        for offset in range(1, count):
            one = candidates[(start + offset) % count]
            if one.in_flight < best.in_flight:
                best = one
        return best

    def track(self, percent: int) -> Track:
        """The track of the next request: of any `n` in a row, the canary gets n * percent / 100, to the nearest."""
        self.share += percent
        if self.share < WHOLE:
            return Track.STABLE
        self.share -= WHOLE
        return Track.CANARY


def usable(replicas: Iterable[Replica], now: float) -> list[Replica]:
    """Those that do not rest."""
    return [one for one in replicas if one.rests_until <= now]
