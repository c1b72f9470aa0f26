"""What the limit of a period is made of besides the amount of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MOST_EXTRAS = 20
"""So many overrides of one period are remembered, the latest ones."""


class Overspend(StrEnum):
    """Whether the next period pays for what was spent too much."""

    CARRY = "Carry"
    FORGET = "Forget"


class Unused(StrEnum):
    """How much of what was not used a later period gets."""

    NONE = "None"
    ALL = "All"


@dataclass(frozen=True, slots=True)
class CarryOver:
    """What a period leaves to later ones."""

    overspend: Overspend = Overspend.CARRY
    unused: Unused = Unused.NONE


DEBTS_ONLY = CarryOver()
"""What is carried over unless a policy says otherwise."""


@dataclass(frozen=True, slots=True)
class Override:
    """So many micro-units more until a time, as a person asks for it and says why."""

    amount: int
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class Extra:
    """An override as the book has it: in force from ``since`` on, and no longer once ``ended`` is set."""

    override: Override
    since: int
    ended: int | None = None


def in_force(extras: tuple[Extra, ...]) -> Extra | None:
    """The override that counts: the last one, unless it has ended."""
    return extras[-1] if extras and extras[-1].ended is None else None


def renew_extras(
    extras: tuple[Extra, ...], wanted: Override | None, start: int, end: int, time: int
) -> tuple[Extra, ...]:
    """The overrides of a period ``[start, end)`` when ``wanted`` is asked for at ``time``; the last may be in force.

    One that lasts to the end of the period or beyond stays in force there for good.
    """
    extras = lapse_extras(extras, end, time)
    if wanted is not None and not max(start, time) < wanted.until:
        wanted = None
    current = in_force(extras)
    if wanted == (current.override if current else None):
        return extras
    if current is not None:
        withdrawn = () if time <= current.since else (Extra(current.override, current.since, time),)
        extras = (*extras[:-1], *withdrawn)
    if wanted is not None:
        extras = (*extras, Extra(wanted, max(start, time)))
    return extras[-MOST_EXTRAS:]


def lapse_extras(extras: tuple[Extra, ...], end: int, time: int) -> tuple[Extra, ...]:
    """The same without an override in force whose time is over before the period ends."""
    last = in_force(extras)
    if last is None or last.override.until > time or last.override.until >= end:
        return extras
    return (*extras[:-1], Extra(last.override, last.since, last.override.until))
