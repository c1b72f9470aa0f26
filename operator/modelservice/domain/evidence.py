"""The requests that count for a canary, added up from the counters of the gateway's replicas.

A counter that falls has started anew. The first sight of a replica is where its counting starts, since what it had
answered before is not known to belong here; of a replica that is known, a new series started at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelservice.domain.analysis import Finding, Track, compare

STABLE, CANARY = "stable", "canary"
UNPROCESSABLE = "422"
"""What a server answers whose model cannot compute the request: the client's fault, or that of a broken model."""

Series = tuple[str, str]
"""("code", "503") for a counter of answers, ("le", "0.25") for a bucket of their durations."""
Counters = Mapping[tuple[str, Series], float]
"""Values by track and series."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What Prometheus says of one service now, by replica of the gateway; `problem` ends a sentence."""

    replicas: Mapping[str, Counters] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What has come in since `about`, a revision and the time from which it has its share."""

    about: tuple[str, int]
    last: Mapping[str, Counters] = field(default_factory=dict)
    counts: Mapping[tuple[str, Series], int] = field(default_factory=dict)
    problem: str = ""

    def finding(self) -> Finding:
        """The verdict on it; unknown while the latest look at Prometheus said nothing."""
        return Finding(message=self.problem) if self.problem else compare(self.track(STABLE), self.track(CANARY))

    @property
    def passes(self) -> bool:
        """Whether the gateway has answered requests for the service at all."""
        return any(track == STABLE for counters in self.last.values() for track, _ in counters)

    def track(self, name: str) -> Track:
        """The requests of one side."""
        own = {series: count for (track, series), count in self.counts.items() if track == name}
        codes = {value: count for (kind, value), count in own.items() if kind == "code"}
        return Track(
            sum(codes.values()),
            sum(count for code, count in codes.items() if code.startswith("5") or code == UNPROCESSABLE),
            {_bound(value): count for (kind, value), count in own.items() if kind == "le"},
        )


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def collect(before: Evidence | None, about: tuple[str, int], traffic: Traffic) -> Evidence:
    """Add what has come since the last look; a new share, or a new canary, starts at nothing."""
    evidence = before or Evidence(about)
    if evidence.about != about:
        evidence = replace(evidence, about=about, counts={})
    if traffic.problem:
        return replace(evidence, problem=traffic.problem)
    counts, last = dict(evidence.counts), dict(evidence.last)
    for name, counters in traffic.replicas.items():
        known = last.get(name)
        for key, value in counters.items():
            if known is not None:
                since = known.get(key, 0.0)
                counts[key] = counts.get(key, 0) + round(value - since if value >= since else value)
        last[name] = {**(known or {}), **counters}
    seen = {track for counters in traffic.replicas.values() for track, _ in counters}
    problem = "" if {STABLE, CANARY} <= seen else "Prometheus has no requests of both revisions from the gateway"
    return replace(evidence, counts=counts, last=last, problem=problem)
