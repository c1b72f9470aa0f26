"""What a service costs per 1,000 requests: its cost and its requests of the last hour, while both were known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from modelservice.domain.book import Book
from modelservice.domain.money import HOUR
from modelservice.domain.specs import Role

WINDOW_SECONDS = 3600
PAUSE_SECONDS = 60
"""A longer time between two samples is not counted: what happened in it is not known."""
_MILLI = 1000


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute that begins at ``start``: the sums of rates and of thousandths of requests, each times seconds."""

    start: int
    cost: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of one service, and the last sample: micro-units per hour and requests per second."""

    minutes: tuple[Minute, ...] = ()
    at: int = 0
    rate: int = 0
    load: Fraction | None = None


def count(tally: Tally, now: int, rate: int, load: Fraction | None) -> Tally:
    """Add the stretch since the last sample, in which that sample held; ``load`` is None where it is not known.

    A stretch without a known load or without a rate is left out of both sums.
    """
    passed, minutes = now - tally.at, [one for one in tally.minutes if one.start > now - WINDOW_SECONDS]
    if tally.load is not None and tally.rate and 0 < passed <= PAUSE_SECONDS:
        start = now - now % 60
        last = minutes.pop() if minutes and minutes[-1].start == start else Minute(start)
        served = round(tally.load * _MILLI) * passed
        minutes.append(replace(last, cost=last.cost + tally.rate * passed, requests=last.requests + served))
    return Tally(tuple(minutes), now, rate, load)


def per_thousand(tally: Tally) -> int | None:
    """Micro-units per 1,000 requests, rounded down; None before the first whole request."""
    cost, requests = sum(one.cost for one in tally.minutes), sum(one.requests for one in tally.minutes)
    return cost * 1000 * _MILLI // (HOUR * requests) if requests >= _MILLI else None


def serving_rates(book: Book) -> dict[str, int]:
    """What the running inference pods of each service cost per hour, each once, whoever pays; micro-units by name."""
    rates: dict[str, int] = {}
    for placement in book.placements.values():
        if placement.terms.role == Role.INFERENCE:
            service = placement.terms.service
            rates[service] = rates.get(service, 0) + placement.running_rate
    return rates
