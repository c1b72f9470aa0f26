"""What is to be said about a revision that is tried, failed, taken back or undone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from modelservice.domain.rollout import Canary, Record, Stance, State
from modelservice.domain.times import format_time


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
