"""Where a service wakes from zero: in the pool where it starts soonest among those that its budgets pay for.

Elsewhere the cheapest pool is chosen; here somebody waits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from modelservice.domain.placement import Option, Selection
from modelservice.domain.planner import Plan, ServicePlan, plan
from modelservice.domain.snapshot import ServiceView, Snapshot
from modelservice.domain.specs import ServiceName

MOST_POOLS = 4
"""So many pools are tried, those where it starts soonest; then it waits for money in the cheapest one."""


@dataclass(frozen=True, slots=True)
class Room:
    """A node that takes pods: its labels, and what our pods leave of it in integers of `quantities`."""

    labels: Mapping[str, str]
    free: Mapping[str, int]


def soonest(selection: Selection, rooms: Iterable[Room]) -> Selection:
    """The options in the order in which a replica would be ready: first where a node with room for it runs."""
    rooms = tuple(rooms)

    def seconds(option: Option) -> int:
        taken = any(_fits(option, room) for room in rooms)
        return 0 if taken else option.pool.start_seconds

    return replace(selection, options=tuple(sorted(selection.options, key=seconds)))


def _fits(option: Option, room: Room) -> bool:
    selected = option.pool.selector.items() <= room.labels.items()
    return selected and all(room.free.get(name, 0) >= amount for name, amount in option.requests.items())


def plan_waking(snapshot: Snapshot, rooms: Iterable[Room], now: int, refused: Collection[ServiceName] = ()) -> Plan:
    """The plan of all services, in which those that wake go where they start soonest among the pools that are paid.

    One that is not paid for in any waits for money in the cheapest; so do at once those that were `refused` just now.
    """
    rooms = tuple(rooms)
    left = {
        view.name: _candidates(view.inference.selection, rooms)
        for view in snapshot.services
        if view.inference is not None and view.inference.selection.options and view.waking and view.name not in refused
    }
    while True:
        made = plan(_ordered(snapshot, left), now)
        again = [name for name, options in left.items() if len(options) > 1 and _refused(made.services[name])]
        if not again:
            return made
        left.update({name: left[name][1:] for name in again})


def refused_wakes(snapshot: Snapshot, made: Plan) -> frozenset[ServiceName]:
    """The services that wake and that the plan pays for nowhere."""
    return frozenset(view.name for view in snapshot.services if view.waking and _refused(made.services[view.name]))


def _candidates(selection: Selection, rooms: Iterable[Room]) -> tuple[Option, ...]:
    first, cheapest = soonest(selection, rooms).options[:MOST_POOLS], selection.options[0]
    return first if first[-1] is cheapest else (*first, cheapest)


def _refused(own: ServicePlan) -> bool:
    return own.refused is not None and not own.funded


def _ordered(snapshot: Snapshot, left: Mapping[ServiceName, tuple[Option, ...]]) -> Snapshot:
    """The snapshot with the first of these options before all others of its service."""

    def ordered(view: ServiceView) -> ServiceView:
        if view.inference is None or view.name not in left:
            return view
        selection, first = view.inference.selection, left[view.name][0]
        others = (option for option in selection.options if option is not first)
        options = replace(selection, options=(first, *others))
        return replace(view, inference=replace(view.inference, selection=options))

    return replace(snapshot, services=tuple(ordered(view) for view in snapshot.services))
