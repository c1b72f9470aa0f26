"""What is to be said about a revision that is tried, failed, taken back or undone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from modelservice.domain.book import Blocked, Refusal
from modelservice.domain.money import format_amount
from modelservice.domain.relief import Relief
from modelservice.domain.rollout import Canary, Record, Stance, State
from modelservice.domain.times import format_time

TOLD = frozenset({"Canary", "CanaryHeld", "RolledBack", "RolloutFailed", "Undone"})
"""Reasons of Progressing that follow from a revision."""


class Told(NamedTuple):
    """Status, reason and message of the condition Progressing."""

    status: Literal["True", "False"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Turnover:
    """The revision of the spec, all that are known, and what follows from them."""

    revision: str = ""
    revisions: Record = field(default_factory=Record)
    stance: Stance = field(default_factory=Stance)

    @property
    def raising(self) -> bool:
        """Whether replicas are being started for a larger share of a canary."""
        canary = self.revisions.canary
        return canary is not None and canary.target > canary.percent

    def told(self) -> Told | None:
        """What sets this rollout apart from one that goes well, None when nothing does."""
        own, row, serving = self.revision, self.revisions.find(self.revision), self.revisions.serving
        if row is None or serving is None:
            return None
        if self.stance.undone and self.stance.main == serving.name:
            text = (
                f"Revision {serving.name} serves in place of {own}, which the spec describes, because the annotation "
                "modelservice.dev/rollout-undo says so; a change of the spec ends that."
            )
            return Told("False", "Undone", text)
        if row.state is State.ROLLED_BACK:
            text = (
                f"Revision {own} was rolled back and gets no requests: {row.message} Revision {serving.name} serves; "
                f"{own} is not tried again until the spec changes."
            )
            return Told("False", "RolledBack", text)
        if self.stance.failing:
            goal = self.stance.beside or self.stance.main
            text = (
                f"Revision {goal} does not get ready: {self.stance.failing} Revision {serving.name} keeps serving; "
                "correct the spec, or return to it by modelservice rollout undo."
            )
            return Told("False", "RolloutFailed", text)
        return self._canary(self.revisions.canary) if self.revisions.canary is not None else None

    def _canary(self, canary: Canary) -> Told:
        name, share = self.stance.beside, f"{canary.percent} % of the requests"
        if canary.held:
            return Told("True", "CanaryHeld", f"Revision {name} stays at {share}: {canary.held}.")
        text = f"Revision {name} has {share} since {format_time(canary.since)}"
        if canary.target > canary.percent:
            text += f" and gets {canary.target} % once enough replicas of it are ready"
        return Told("True", "Canary", f"{text}.")


def waiting(leaving: int, arrived: int, wanted: int, why: Refusal, relief: Relief | None) -> str:
    """What a rollout waits for that there is no money for: so many replicas leave, and have arrived of those wanted."""
    if leaving:
        text = (
            f"The previous placement keeps {leaving} {'replica' if leaving == 1 else 'replicas'} until there is money"
        )
        text += f" for new ones beside them: {arrived} of {wanted} are ready"
    else:
        text = "The canary waits until there is money for its replicas beside those that serve"
    if why.blocked_by in (Blocked.RATE, Blocked.LIMIT):
        each = " an hour" if why.blocked_by is Blocked.RATE else ""
        text += f"; one more needs {format_amount(why.need)} {why.currency}{each} and {why.policy} has "
        text += f"{format_amount(why.have)} {why.currency}{each}"
    if relief is not None and relief.affordable_at is not None:
        text += f", enough from {format_time(relief.affordable_at)} on"
    return f"{text}."
