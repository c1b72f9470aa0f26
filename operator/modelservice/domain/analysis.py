"""Whether a canary answers worse than what serves: a test of shares on the requests of the same time.

Two shares are compared by the score interval of their difference (Newcombe 1998, method 10): the canary is worse when
the lower end of the interval passes a margin, so that chance alone hardly ever condemns it, although one and the same
growing sample is looked at many times.

Errors: the share of 5xx and 422 answers, margin `ERROR_MARGIN`, 3.9 standard errors: 1 chance in 20,000 for one look.
Latency: for each bound b of the histogram the share of the canary's requests that took longer than b against the share
of the others that took longer than b / `SLOWER`, margin `SLOW_MARGIN`, 3 standard errors: a canary that is nowhere more
than `SLOWER` times slower has no larger share, so one that is as fast is far from the margin. Bounds that are more than
`SLOWER` apart tell less: then only a canary is found out that is slower by about the square of their distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SURE_OF_ERRORS = 3.9
SURE_OF_TIMES = 3.0
ENOUGH = 50
"""Requests of either side without which nothing is said."""
ERROR_MARGIN = 0.01
SLOWER = 1.5
SLOW_MARGIN = 0.05
NOTICEABLE_SECONDS = 0.01
"""Nobody minds a share of requests that took longer than less than this."""


class Verdict(StrEnum):
    """What can be said about a canary."""

    UNKNOWN = "Unknown"
    FINE = "Fine"
    WORSE = "Worse"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict; `message` is a sentence for WORSE, and ends a sentence for UNKNOWN."""

    verdict: Verdict = Verdict.UNKNOWN
    message: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """The requests of one side: all, those answered with 5xx or 422, by bound in seconds those that took no longer."""

    requests: int = 0
    errors: int = 0
    within: Mapping[float, int] = field(default_factory=dict)

    @property
    def timed(self) -> int:
        """How many requests the histogram has."""
        return max(self.within.values(), default=0)


def compare(stable: Track, canary: Track) -> Finding:
    """Judge the canary by the requests of both sides since its share is what it is."""
    for side, name in ((canary, "canary"), (stable, "serving revision")):
        if side.requests < ENOUGH:
            return Finding(message=f"the {name} has answered fewer than {ENOUGH} requests at this share")
    if exceeds(canary.errors, canary.requests, stable.errors, stable.requests, ERROR_MARGIN, SURE_OF_ERRORS):
        return Finding(
            Verdict.WORSE,
            f"{canary.errors} of {canary.requests} requests to it failed with 5xx or 422, "
            f"{stable.errors} of {stable.requests} to the revision that serves.",
        )
    return _slower(stable, canary) or Finding(Verdict.FINE)


def _slower(stable: Track, canary: Track) -> Finding | None:
    slow, all_ = canary.timed, stable.timed
    for bound in sorted(bound for bound in canary.within if NOTICEABLE_SECONDS <= bound < math.inf):
        longer = slow - canary.within[bound]
        others = round(_longer(stable, bound / SLOWER))
        if exceeds(longer, slow, others, all_, SLOW_MARGIN, SURE_OF_TIMES):
            return Finding(
                Verdict.WORSE,
                f"{longer} of {slow} requests to it took longer than {_seconds(bound)}, but only {others} of {all_} to "
                f"the revision that serves took longer than {_seconds(bound / SLOWER)}.",
            )
    return None


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def _longer(side: Track, seconds: float) -> float:
    """Requests that took longer, no fewer than there were where the histogram is too coarse to say."""
    low, below = 0.0, 0
    for bound in sorted(side.within):
        count = side.within[bound]
        if bound >= seconds:
            fine = low > 0 and bound <= low * SLOWER
            part = (seconds - low) / (bound - low) if fine else float(bound == seconds)
            return side.timed - below - part * (count - below)
        low, below = bound, count
    return 0.0


def exceeds(hits: int, of: int, others: int, among: int, margin: float, sure: float) -> bool:
    """Whether one share is above another by more than the margin, beyond what chance explains."""
    if not of or not among:
        return False
    share, other = hits / of, others / among
    low, _ = wilson(hits, of, sure)
    _, high = wilson(others, among, sure)
    return share - other - math.hypot(share - low, high - other) > margin


def wilson(hits: int, of: int, sure: float) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927), `sure` standard errors to either side."""
    z2 = sure**2
    middle = (hits + z2 / 2) / (of + z2)
    half = sure * math.sqrt(hits * (of - hits) / of + z2 / 4) / (of + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
