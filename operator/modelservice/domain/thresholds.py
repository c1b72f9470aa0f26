"""Thresholds of a budget: what happens on the way to its limit, once in a period, and when it is undone.

A threshold is *reached* when its metric has been at or above `at` per cent of the limit for so many seconds. From then
on its actions are in force, until the metric is below `clear_below` per cent: they are *undone* then, and it is not
reached again in that period. Another period, and another wording of the threshold, begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Metric(StrEnum):
    """What is compared with the limit."""

    ACTUAL = "Actual"
    COMMITTED = "Committed"
    FORECAST = "Forecast"


class Action(StrEnum):
    """What is done, the mildest first."""

    NOTIFY = "Notify"
    STOP_SCALE_UP = "StopScaleUp"
    SHRINK_BY_PRIORITY = "ShrinkByPriority"
    SCALE_TO_ZERO = "ScaleToZero"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One threshold of a policy; parts of the limit in per cent, `sustained` in seconds."""

    name: str
    metric: Metric
    at: int
    clear_below: int
    sustained: int = 0
    actions: tuple[Action, ...] = (Action.NOTIFY,)

    @property
    def wording(self) -> str:
        """All that it says but its name: what is remembered of another wording does not count."""
        actions = ",".join(self.actions)
        return f"{self.metric} {self.at}% {self.sustained}s {self.clear_below}% {actions}"


@dataclass(frozen=True, slots=True)
class Crossing:
    """What an account remembers of one threshold: since when the metric is above, when it was reached and undone."""

    name: str
    wording: str
    since: int
    reached: int | None = None
    undone: int | None = None

    @property
    def in_force(self) -> bool:
        """Whether its actions are in force."""
        return self.reached is not None and self.undone is None


def follow(
    crossings: Iterable[Crossing], thresholds: Iterable[Threshold], values: Mapping[Metric, int], limit: int, time: int
) -> tuple[Crossing, ...]:
    """What is to be remembered at that time; `values` and `limit` are micro-units of one account.

    A metric without a value is not known now: what is remembered stays.
    """
    before = {one.name: one for one in crossings}
    made = []
    for threshold in sorted(thresholds, key=lambda each: each.name):
        known = before.get(threshold.name)
        if known is not None and known.wording != threshold.wording:
            known = None
        value = values.get(threshold.metric)
        stepped = known if value is None else _step(known, threshold, value * 100, limit, time)
        made += [stepped] if stepped is not None else []
    return tuple(made)


def _step(known: Crossing | None, threshold: Threshold, hundredfold: int, limit: int, time: int) -> Crossing | None:
    if known is not None and known.reached is not None:
        cleared = known.undone is None and hundredfold < threshold.clear_below * limit
        return replace(known, undone=time) if cleared else known
    if hundredfold < threshold.at * limit:
        return None
    crossing = known or Crossing(threshold.name, threshold.wording, time)
    sustained = time - crossing.since >= threshold.sustained
    return replace(crossing, reached=time) if sustained else crossing
