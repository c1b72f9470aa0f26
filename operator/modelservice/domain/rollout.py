"""How a change of what the pods are made of reaches the users: one revision takes over from another.

A revision serves once replicas of it have proved themselves; until then the one that serves keeps its own. A canary
gets a share of the requests in steps, and gives it back by itself when it is worse. Times in epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from modelservice.domain.analysis import Finding, Verdict

SETTLED_SECONDS = 10
"""A replica answers for another one when it has been ready for so long."""
UNREADY_SECONDS = 120
"""A canary without any ready replica for so long is taken back."""
KEPT = 5
"""So many revisions are remembered."""
ALL = 100


class Strategy(StrEnum):
    """Where the replicas of the next revision stand while the old ones serve.

    OVERLAP starts beside them what there is money for, one after the other if need be; WAIT starts nothing before all
    of it can be paid beside them; RECREATE stops them first.
    """

    OVERLAP = "Overlap"
    WAIT = "Wait"
    RECREATE = "Recreate"


@dataclass(frozen=True, slots=True)
class CanaryRule:
    """The share of requests grows by `step` percent after `period` seconds each."""

    step: int
    period: int


@dataclass(frozen=True, slots=True)
class Rule:
    """How one service changes revisions."""

    strategy: Strategy = Strategy.OVERLAP
    canary: CanaryRule | None = None


class State(StrEnum):
    """What has become of a revision."""

    STARTING = "Starting"
    CANARY = "Canary"
    SERVING = "Serving"
    ROLLED_BACK = "RolledBack"
    UNDONE = "Undone"
    RETIRED = "Retired"


@dataclass(frozen=True, slots=True)
class Revision:
    """What pods are made of, by name, and what became of it; `served_at` is when it last took over."""

    name: str
    uri: str = ""
    image: str = ""
    runtime: str = ""
    created_at: int = 0
    state: State = State.STARTING
    served_at: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    """The share in percent that the canary has since `since`, and the one that its replicas are being started for.

    `dark_since` is since when no replica of it is ready although it has a share; `held` says why it does not go on.
    """

    since: int
    target: int
    percent: int = 0
    dark_since: int | None = None
    held: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """The revisions of a service, the newest first, and how far the canary is."""

    revisions: tuple[Revision, ...] = ()
    canary: Canary | None = None

    def find(self, name: str) -> Revision | None:
        """The revision of that name."""
        return next((one for one in self.revisions if one.name == name), None)

    @property
    def serving(self) -> Revision | None:
        """The one that has proved itself last."""
        return next((one for one in self.revisions if one.state is State.SERVING), None)


@dataclass(frozen=True, slots=True)
class Presence:
    """What is there of a revision: replicas as its Deployments ask for, ready ones, and those ready for long enough.

    `trouble` is a sentence about a pod that fails, "" if none does.
    """

    replicas: int = 0
    ready: int = 0
    settled: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a person has decided: serve `undo_to` as long as the spec describes `undo_from`; promote that revision."""

    undo_from: str = ""
    undo_to: str = ""
    promote: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the decision is made from; `described` is the revision of the spec, None while it cannot be rendered.

    `finding` is about the canary's requests; `splits` says whether requests come through the gateway, which alone can
    give it a share.
    """

    described: Revision | None
    desired: int
    rule: Rule = field(default_factory=Rule)
    present: Mapping[str, Presence] = field(default_factory=dict)
    orders: Orders = field(default_factory=Orders)
    finding: Finding = field(default_factory=Finding)
    splits: bool = False

    def of(self, name: str) -> Presence:
        """What is there of a revision."""
        return self.present.get(name, Presence())


@dataclass(frozen=True, slots=True)
class Stance:
    """What follows for the pods.

    `main` gets the replicas that are wanted; `beside` gets `count` more; the Service is `pinned` to one revision or
    selects all. `failing` says what is wrong with the revision that shall take over. `undone` is set while a person
    has another revision served than the spec describes.
    """

    main: str = ""
    beside: str = ""
    count: int = 0
    pinned: str = ""
    failing: str = ""
    undone: bool = False


def advance(record: Record, scene: Scene, now: int) -> Record:
    """What is to be remembered after this look; the same look again changes nothing."""
    if scene.described is None:
        return record
    own = scene.described.name
    rows = {one.name: one for one in record.revisions}
    rows.setdefault(own, replace(scene.described, state=State.STARTING, created_at=now))
    goal, undone = _goal(record, scene)
    serving, canary = record.serving, None
    rows = {name: kept for name, one in rows.items() if (kept := _left_over(one, own, goal, undone=undone))}
    if serving is None:
        if scene.of(goal).settled:
            rows[goal] = replace(rows[goal], state=State.SERVING, served_at=now, message="")
    elif goal != serving.name and scene.rule.canary is not None and not undone:
        rows[goal], canary = _step(rows[goal], record.canary, scene.rule.canary, scene, now)
    elif goal != serving.name:
        there = scene.of(goal)
        over = there.settled and not there.trouble
        taken = there.settled >= scene.desired or not scene.of(serving.name).replicas
        rows[goal] = replace(rows[goal], state=State.STARTING)
        if over and taken:
            rows[goal] = replace(rows[goal], state=State.SERVING, served_at=now, message="")
    if serving is not None and serving.name != goal and rows[goal].state is State.SERVING:
        rows[serving.name] = replace(serving, state=State.RETIRED)
    return Record(_newest(rows, goal, own), canary)


def _goal(record: Record, scene: Scene) -> tuple[str, bool]:
    """The revision that shall serve, and whether a person has put it in the place of the spec's."""
    own = scene.described.name if scene.described is not None else ""
    orders, serving = scene.orders, record.serving
    known = orders.undo_to in scene.present and record.find(orders.undo_to) is not None
    if known and orders.undo_from == own and orders.undo_to != own:
        return orders.undo_to, True
    row = record.find(own)
    if serving is not None and row is not None and row.state is State.ROLLED_BACK:
        return serving.name, False
    return own, False


def _left_over(one: Revision, own: str, goal: str, *, undone: bool) -> Revision | None:
    """What becomes of a revision that nothing is done with; None when it is forgotten, since it never served."""
    if one.name == goal:
        return replace(one, state=State.STARTING, message="") if one.state in _PAST else one
    if one.name == own:
        if undone and one.state not in (State.SERVING, State.ROLLED_BACK):
            return replace(one, state=State.UNDONE)
        return one
    if one.state is State.SERVING:
        return one
    return replace(one, state=State.RETIRED, message="") if one.served_at is not None else None


_PAST = (State.RETIRED, State.UNDONE)


def _step(
    row: Revision, canary: Canary | None, rule: CanaryRule, scene: Scene, now: int
) -> tuple[Revision, Canary | None]:
    """One look at a canary: taken back, held, given more, or made the one that serves."""
    if row.state is not State.CANARY or canary is None:
        row, canary = replace(row, state=State.CANARY), Canary(now, min(ALL, rule.step))
    there, promoted = scene.of(row.name), scene.orders.promote == row.name
    if promoted:
        canary = replace(canary, target=ALL)
    elif not scene.desired:
        return row, replace(canary, percent=0, target=min(ALL, rule.step), dark_since=None)
    dark = canary.percent > 0 and there.replicas > 0 and not there.ready
    dark_since = (now if canary.dark_since is None else canary.dark_since) if dark else None
    canary = replace(canary, dark_since=dark_since, held="")
    if why := _bad(canary, there, scene.finding, now):
        return replace(row, state=State.ROLLED_BACK, message=why), None
    if canary.target > canary.percent:
        return _raise(row, canary, scene, now)
    if scene.finding.verdict is not Verdict.FINE:
        return row, replace(canary, held=scene.finding.message)
    if now - canary.since >= rule.period:
        canary = replace(canary, target=min(ALL, canary.percent + rule.step))
    return row, canary


def _raise(row: Revision, canary: Canary, scene: Scene, now: int) -> tuple[Revision, Canary | None]:
    """Give the canary the share that it is due once its replicas stand."""
    there = scene.of(row.name)
    if there.trouble or there.settled < share(scene.desired, canary.target):
        return row, canary
    if canary.target >= ALL:
        return replace(row, state=State.SERVING, served_at=now, message=""), None
    if not scene.splits:
        return row, replace(canary, held=NO_GATEWAY)
    return row, replace(canary, percent=canary.target, since=now)


NO_GATEWAY = (
    "no request for the service has come through the gateway, which alone gives a canary its share: send them there, "
    "or promote the revision by hand"
)


def _bad(canary: Canary, there: Presence, finding: Finding, now: int) -> str:
    """Why the canary is taken back, "" while it may go on."""
    if not canary.percent:
        return ""
    if there.trouble:
        return there.trouble
    if canary.dark_since is not None and now - canary.dark_since >= UNREADY_SECONDS:
        return f"No replica of it has been ready for {UNREADY_SECONDS} s."
    return finding.message if finding.verdict is Verdict.WORSE else ""


def share(desired: int, percent: int) -> int:
    """Replicas that so many percent of the requests need, at least one if any is wanted."""
    return -(-desired * percent // ALL)


def _newest(rows: Mapping[str, Revision], goal: str, own: str) -> tuple[Revision, ...]:
    """Those that are in use, then the latest that served."""
    used = [one for one in rows.values() if one.state is not State.RETIRED or one.name in (goal, own)]
    past = sorted(
        (one for one in rows.values() if one not in used),
        key=lambda each: (each.served_at or 0, each.created_at, each.name),
        reverse=True,
    )
    kept = (*used, *past[: max(0, KEPT - len(used))])
    return tuple(sorted(kept, key=lambda each: (each.created_at, each.name), reverse=True))


def stance(record: Record, scene: Scene) -> Stance:
    """What the record means for the pods and for the Service."""
    serving = record.serving
    if scene.described is None:
        return Stance(pinned=serving.name if serving is not None and scene.of(serving.name).ready else "")
    own = scene.described.name
    goal, undone = _goal(record, scene)
    if serving is None:
        return Stance(goal, undone=undone)
    proved = scene.of(serving.name).ready > 0
    if goal == serving.name:
        others = any(one.replicas for name, one in scene.present.items() if name != goal)
        return Stance(goal, pinned=goal if others and proved else "", undone=undone)
    there, pinned = scene.of(goal), serving.name if proved else ""
    if record.canary is not None and goal == own:
        count = share(scene.desired, max(record.canary.percent, record.canary.target))
        return Stance(serving.name, goal, count, pinned, there.trouble)
    unproved = bool(there.trouble) or not there.settled
    return Stance(goal, pinned=pinned if unproved else "", failing=there.trouble, undone=undone)
