"""Classes under random services and budgets, with the plan, the settlement and pods that take their time to stop."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from modelservice.domain.allocation import DRAIN_MARGIN, Round
from modelservice.domain.book import Account, Book, Refusal
from modelservice.domain.endurance import recall
from modelservice.domain.funding import admit
from modelservice.domain.ledger import Policy, close
from modelservice.domain.money import cost
from modelservice.domain.planner import Plan, plan
from modelservice.domain.priorities import Priority
from modelservice.domain.settlement import End, Evidence, settle
from modelservice.domain.snapshot import Pod, ServiceView, Snapshot

from tests.unit.domain.specs import HOUR, NOW, USD, pod, policy, pool, running, view

CPU = pool()
STOP = CPU.billing.stop
pytestmark = pytest.mark.timeout(300 + int(os.environ.get("MODELSERVICE_PROPERTY_EXAMPLES", "0")))
TICK = 11
ROUNDS = 9
ONE = cost(USD, 0, HOUR + CPU.billing.overrun)
"""What one pod holds when it is admitted."""
REST = cost(USD, 0, 18 * HOUR)
"""What one pod costs until the end of the day."""


@dataclass(frozen=True)
class Wanted:
    """One service: its class, its floor and how many replicas it wants."""

    priority: Priority
    minimum: int
    count: int

    @property
    def floor(self) -> int:
        """Replicas that come before all bursts."""
        return min(self.minimum, self.count) if self.priority is not Priority.BATCH else 0


@dataclass
class Simulation:
    """A cluster that does what the plan and the settlement say, and in which a pod takes `stop` seconds to end."""

    policies: tuple[Policy, ...]
    stop: int = STOP
    now: int = NOW
    book: Book = field(default_factory=lambda: Book(time=NOW))
    pods: dict[str, Pod] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    born: int = 0

    def snapshot(self, services: dict[str, Wanted]) -> Snapshot:
        """What the planner sees now."""
        views = tuple(seen(name, wanted) for name, wanted in services.items())
        return Snapshot(views, {"cpu": CPU}, self.policies, dict(self.pods), self.book)

    def step(self, services: dict[str, Wanted]) -> Plan:
        """One pass: plan, scale, settle, start and stop; every book on the way is checked."""
        self.now += TICK
        seen_now = self.snapshot(services)
        made = plan(seen_now, self.now)
        self._scale(made)
        ends = {}
        for uid, since in list(self.deleted.items()):
            if self.now >= since + self.stop:
                ends[uid] = End(finished_at=since + self.stop)
                self.pods.pop(uid, None)
        evidence = Evidence(self.now, dict(self.pods), ends)
        settled = settle(self.book, self.now, evidence, self.policies, made.funding, 10)
        assert settled.book.insolvent() == ()
        self._check_floors_first(services, recall(settled.book))
        self.book = settled.book
        self.deleted = {uid: since for uid, since in self.deleted.items() if uid not in ends}
        for one in settled.ungate:
            self.pods[one.uid] = running(one.uid, one.workload, started_at=self.now)
        for deletion in settled.delete:
            self._delete(deletion.pod.uid)
        return made

    def rest(self) -> None:
        """Let time go by until a hold ends soon; a pass each tick follows then."""
        holds = [p.hold_through for p in self.book.placements.values() if p.hold_through is not None and p.units]
        soon = min(holds, default=self.now + HOUR) - STOP - DRAIN_MARGIN - TICK
        self.now = max(self.now, min(self.now + HOUR // 10, soon))

    def _scale(self, made: Plan) -> None:
        for own in made.services.values():
            for name, count in own.counts.items():
                mine = [one for one in self.pods.values() if one.workload == f"ns/{name}" and one.live]
                for _ in range(len(mine), count):
                    self.born += 1
                    uid = f"p{self.born:04}"
                    self.pods[uid] = pod(uid, f"ns/{name}", created_at=self.now)
                for one in sorted(mine, key=lambda each: (each.gated, each.uid))[count:]:
                    self._delete(one.uid)

    def _delete(self, uid: str) -> None:
        if self.pods[uid].gated and self.book.placement_of(uid) is None:
            del self.pods[uid]
            return
        self.deleted.setdefault(uid, self.now)
        self.pods[uid] = replace(self.pods[uid], deleting=True)

    def _check_floors_first(self, services: dict[str, Wanted], after: Book) -> None:
        """No burst is admitted or paid for longer out of what floors need until the end of the period."""
        for name, wanted in services.items():
            workload = f"ns/{name}-cpu"
            new, old = after.placements.get(workload), self.book.placements.get(workload)
            if new is None or len(new.units) <= wanted.floor:
                continue
            fresh = set(new.units) - set(old.units if old else ())
            longer = old is not None and old.units and (new.hold_through or 0) > (old.hold_through or 0)
            if fresh or longer:
                for account in after.accounts:
                    left = after.available(account) + len(after.placements) * 20
                    assert left >= needed(services, after, account), (name, account.policy)
                    assert left >= self.untaken(services, after, account, wanted.priority), (name, account.policy)

    def untaken(self, services: dict[str, Wanted], book: Book, account: Account, priority: Priority) -> int:
        """What classes but this one have not taken of their shares, floors included; who is gone was Standard."""
        policy = next(one for one in self.policies if one.name == account.policy)
        total = 0
        for other, share in policy.shares.items():

            def theirs(service: str, of: Priority = other) -> bool:
                wanted = services.get(service[3:])
                return (wanted.priority if wanted else Priority.STANDARD) is of

            taken = needed({name: one for name, one in services.items() if one.priority is other}, book, account)
            taken += sum(line.closed + line.adjusted for line in account.lines if theirs(line.service))
            for placement in book.placements.values():
                if theirs(placement.terms.service):
                    taken += placement.worst(account.policy, account.start, account.end, book.time)
            if other is not priority:
                total += max(0, account.limit * share // 1_000_000 - taken)
        return total

    def lives(self, name: str) -> int:
        """Pods of a service that are there to stay."""
        return sum(one.workload == f"ns/{name}-cpu" and one.live for one in self.pods.values())


@cache
def seen(name: str, wanted: Wanted) -> ServiceView:
    return view(wanted.count, CPU, name=name, priority=wanted.priority, minimum=wanted.minimum)


def needed(services: dict[str, Wanted], book: Book, account: Account) -> int:
    """What all floors need from the ends of their holds until the end of the account."""
    total = 0
    for name, wanted in services.items():
        placement = book.placements.get(f"ns/{name}-cpu")
        held = min(wanted.floor, len(placement.units)) if placement else 0
        end = placement.end_max(book.time) if placement else book.time
        total += held * cost(USD, max(account.start, end), account.end)
        total += (wanted.floor - held) * cost(USD, max(account.start, book.time), account.end)
    return total


def usurped(simulation: Simulation, services: dict[str, Wanted]) -> list[str]:
    """Services that are refused a pod although the money of lower bursts that live would pay for it."""
    found = []
    for name, wanted in services.items():
        have = simulation.lives(name)
        if have >= wanted.count:
            continue
        floor = have < wanted.floor
        book, closed = recall(simulation.book), False
        for other, theirs in services.items():
            if other == name or not (floor or theirs.priority.rank > wanted.priority.rank):
                continue
            mine = sorted(
                uid
                for uid, one in simulation.pods.items()
                if one.workload == f"ns/{other}-cpu" and one.live and book.placement_of(uid)
            )
            for uid in mine[theirs.floor :]:
                book, closed = close(book, uid, book.time + STOP + 1), True
        if not closed:
            continue
        tried = admit(book, f"ns/{name}-cpu", ["one-more"])
        if isinstance(tried, Refusal):
            continue
        slack = sum(len(p.units) for p in tried.placements.values()) + 20
        free = {account: tried.available(account) - slack for account in tried.accounts}
        kept = {account: simulation.untaken(services, tried, account, wanted.priority) for account in tried.accounts}
        if floor or all(left >= needed(services, tried, a) + kept[a] for a, left in free.items()):
            found.append(name)
    return found


services = st.dictionaries(
    st.sampled_from("abcde"),
    st.builds(Wanted, st.sampled_from(Priority), st.integers(1, 2), st.integers(0, 4)),
    min_size=1,
)
limits = st.sampled_from([0, ONE, 2 * ONE + 5, 4 * ONE, 7 * ONE, REST + ONE, 2 * REST, 3 * REST + 3 * ONE, 9 * REST])
shares: st.SearchStrategy[dict[Priority, int]] = st.just({}) | st.dictionaries(
    st.sampled_from(Priority), st.integers(1, 333_333)
)
budgets = st.lists(
    st.tuples(limits, st.none() | st.integers(0, 8).map(lambda n: n * USD), shares), min_size=1, max_size=2
).map(
    lambda made: tuple(
        replace(policy(limit, rate, f"ns/{number}"), shares=parts) for number, (limit, rate, parts) in enumerate(made)
    )
)


@given(services, services, budgets, st.integers(0, STOP))
@example(
    # Money that is lent to floors is free for a new floor, and not for a burst that has to leave it to them.
    {"a": Wanted(Priority.CRITICAL, 1, 2), "b": Wanted(Priority.CRITICAL, 1, 2)},
    {
        "a": Wanted(Priority.CRITICAL, 1, 3),
        "b": Wanted(Priority.BATCH, 1, 2),
        "c": Wanted(Priority.CRITICAL, 1, 1),
        "d": Wanted(Priority.CRITICAL, 2, 2),
    },
    (policy(3 * REST + 3 * ONE, name="ns/0"),),
    0,
)
def test_a_plan_that_is_carried_out_again_and_again_settles_and_leaves_nobody_in_the_place_of_a_higher_class(
    before: dict[str, Wanted], after: dict[str, Wanted], policies: tuple[Policy, ...], stop: int
) -> None:
    simulation = Simulation(policies, stop)
    for wanted in (before, after):
        now = {**dict.fromkeys(before, Wanted(Priority.BATCH, 1, 0)), **wanted}
        made = [simulation.step(now) for _ in range(ROUNDS)]
        counts = [{name: own.counts for name, own in one.services.items()} for one in made]
        assert counts[-1] == counts[-2] == counts[-3]
        assert usurped(simulation, now) == []


@given(services, budgets)
def test_bursts_never_use_the_money_of_floors_while_a_day_goes_by(
    wanted: dict[str, Wanted], policies: tuple[Policy, ...]
) -> None:
    simulation = Simulation(policies)
    for _ in range(30):
        simulation.step(wanted)
        simulation.rest()


@example(
    before={"a": Wanted(Priority.CRITICAL, 1, 0), "b": Wanted(Priority.CRITICAL, 1, 1)},
    after={"a": Wanted(Priority.BATCH, 1, 2)},
    policies=(replace(policy(4_166_668, None, "ns/0"), shares={Priority.STANDARD: 247_810}),),
)
@given(services, services, budgets)
def test_what_is_granted_at_once_is_what_turns_come_to(
    before: dict[str, Wanted], after: dict[str, Wanted], policies: tuple[Policy, ...]
) -> None:
    simulation = Simulation(policies)
    for wanted in (before, after):
        for _ in range(3):
            seen_now = simulation.snapshot(wanted)
            with pytest.MonkeyPatch.context() as turns_only:
                turns_only.setattr(Round, "_grant_all", lambda *_: False)
                in_turns = plan(seen_now, simulation.now + TICK)
            assert simulation.step(wanted) == in_turns
