"""Zero replicas: when a service that nobody asks is parked, and what wakes it.

A service is idle while every ready replica is measured, none of them works, and no request was answered since the last
look. What is not known neither starts nor ends that, and never parks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

SKEW = 60
"""Seconds by which the clock of whoever asks for a wake may differ from the API server's."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What one look at a service leaves for the next; times in epoch seconds.

    `parked_at` is set while it is parked, `woken_at` while it is up again after that. `request` is the time in the wake
    request that was taken in last. `idle_since` and `served`, the requests answered by the replicas that are there,
    are those of the last look at which all was known.
    """

    parked_at: int | None = None
    woken_at: int | None = None
    request: int | None = None
    idle_since: int | None = None
    served: Fraction | None = None

    @property
    def parked(self) -> bool:
        """Whether no replica is wanted until somebody asks."""
        return self.parked_at is not None


@dataclass(frozen=True, slots=True)
class Activity:
    """What all replicas did: units of work at this moment, and requests they have answered since each started."""

    work: Fraction
    served: Fraction


def take_in(rest: Rest, request: int | None, now: int) -> Rest:
    """Take in the wake request that a service carries.

    One that was taken in before, lies in the future, or is older than the parking changes nothing. While the service is
    up it is a sign that somebody asks.
    """
    if request is None or request == rest.request or request > now + SKEW:
        return rest
    if rest.parked_at is None:
        return replace(rest, request=request, idle_since=None)
    return rest if request < rest.parked_at - SKEW else Rest(woken_at=now, request=request)


def look(rest: Rest, activity: Activity | None, delay: int, now: int, *, starting: bool) -> Rest:
    """What this look at a service that is up leaves: parked once it was idle for `delay` seconds.

    `activity` is None when something could not be measured. A service of which a replica is `starting` is not parked.
    """
    if activity is None:
        return rest
    quiet = activity.work == 0
    since = rest.idle_since if quiet and activity.served == rest.served else None
    if since is not None and now - since >= delay and not starting:
        return Rest(parked_at=now, request=rest.request)
    return replace(rest, served=activity.served, idle_since=now if since is None and quiet else since)
