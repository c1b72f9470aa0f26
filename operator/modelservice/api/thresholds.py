"""Thresholds of budgets: what happens on the way to the limit, and what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import ATOMIC, SET, Label, Shape, Timestamp, rule


class Threshold(Shape):
    """What happens when a part of the limit is reached; once in a period."""

    name: Annotated[Label, Field(description="Its name.")]
    metric: Annotated[
        Literal["Actual", "Committed", "Forecast"],
        Field(
            description="What is compared with the limit: Actual is what is spent, Committed that and what is held, "
            "Forecast the p90 of the total at the end of the period."
        ),
    ] = "Committed"
    at_percent: Annotated[int, Field(ge=1, le=1000, description="It is reached at or above so much of the limit.")]
    for_seconds: Annotated[int, Field(ge=0, le=86_400, description="The metric must have been there for so long.")] = 0
    clear_below_percent: Annotated[
        int | None,
        Field(ge=1, le=1000, description="Its actions are undone below so much of the limit; absent: atPercent."),
    ] = None
    actions: Annotated[
        tuple[Literal["Notify", "StopScaleUp", "ShrinkByPriority", "ScaleToZero"], ...],
        Field(
            min_length=1,
            max_length=4,
            description="Notify: an Event. StopScaleUp: no further replica. ShrinkByPriority: only minReplicas. "
            "ScaleToZero: none. The lowest class is first, the next one follows 10 minutes later.",
        ),
        SET,
    ] = ("Notify",)


THRESHOLD_RULE = rule(
    "!has(self.clearBelowPercent) || self.clearBelowPercent <= self.atPercent",
    "clearBelowPercent must not be higher than atPercent.",
)


class AppliedAction(Shape):
    """A threshold that was reached in the period, and what became of its actions."""

    threshold: Annotated[Label, Field(description="The threshold.")]
    actions: Annotated[
        tuple[Literal["Notify", "StopScaleUp", "ShrinkByPriority", "ScaleToZero"], ...],
        Field(max_length=4, description="Its actions."),
        ATOMIC,
    ]
    effect: Annotated[
        Literal["Applied", "WouldApply", "Undone"],
        Field(description="Applied: in force. WouldApply: they would be, with another enforcement than DryRun."),
    ]
    since: Annotated[Timestamp, Field(description="When it was reached.")]
    undone: Annotated[Timestamp | None, Field(description="When its actions were undone; absent: not yet.")] = None
