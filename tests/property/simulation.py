"""Seeded schedules: two operators and a fuse on one world, with pauses and crashes between any two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from modelservice.domain.book import HORIZON_SECONDS, Enforcement
from modelservice.domain.ledger import Policy
from modelservice.domain.limits import CarryOver, Override, Overspend, Unused
from modelservice.domain.periods import Calendar, Period, Span, Window
from modelservice.domain.scope import Scope
from modelservice.domain.specs import Role

from tests.property.actors import NONE, Faults, Fuse, Operator, Spec
from tests.property.carried import Carried
from tests.property.oracles import Oracle
from tests.property.promised import Promised
from tests.property.world import TENTHS, Quirks, Workload, World

EPOCH = 1_790_000_000
CARRY_OVERS = [CarryOver(overspend, unused) for overspend in Overspend for unused in Unused]


@dataclass(frozen=True)
class Shifts(Period):
    """Periods of a fixed length, so that a short schedule crosses many of them."""

    seconds: int = 7200

    def span_at(self, time: int) -> Span:
        """The period that contains a time."""
        start = time - time % self.seconds
        return Span(start, start + self.seconds)


@dataclass(frozen=True)
class Schedule:
    """How rough a schedule is; seconds, and probabilities per step; whether users and the platform change anything."""

    length: int
    tick: int
    pause: float
    longest_pause: int
    crash: float
    longest_outage: int
    fuse: bool = True
    lowered_limits: bool = True
    prices: bool = True
    changes: bool = True


STRESS = Schedule(3 * 3600, 60, 0.03, 2400, 0.006, 2400)
CONTENTION = Schedule(2400, 4, 0.3, 20, 0.002, 30)


def build(rng: Random) -> tuple[World, Spec]:
    """A world with one to three workloads that one or two policies pay for, each with its own periods."""
    lengths = rng.choice([(5400, 10800), (7200, 7200), (3600 * 24, 5400), (3600, 1800)])
    rates = [rng.choice([7, 999_983, 8_000_000, 98_320_000]) for _ in range(3)]
    names = ("team/small", "team/large")
    workloads = {}
    for index in range(rng.randint(1, 3)):
        name = f"team/w{index}"
        workloads[name] = Workload(
            name=name,
            service=f"team/s{index // 2}",
            role=(Role.INFERENCE, Role.TRAINING)[index % 2],
            policies=rng.choice([names, names, names[:1], names[1:]]),
            billed_from=rng.choice(["Ungate", "Running"]),
            stop=rng.choice([60, 300, 900]),
            tail=rng.choice([0, 0, 37, 600]),
            minimum=rng.choice([0, 60, 600]),
            ceiling=rates[index],
            true_rates=[(0, rates[index])],
            demand=rng.randint(0, 8),
            floor=rng.choice([0, 1, 8]),
        )
    policies: list[Policy] = []
    epoch = EPOCH + rng.randint(0, 86400)
    for name, length in zip(names, lengths, strict=True):
        payees = [w.ceiling for w in workloads.values() if name in w.policies] or [1_000_000]
        limit = int(max(payees) * rng.choice([2, 6, 15, 60]) * rng.uniform(0.5, 1.5))
        cap = rng.choice([None, int(max(payees) * rng.uniform(1, 9))])
        period: Period | Window = Shifts(Calendar.DAY, "UTC", seconds=length)
        if rng.random() < 0.1:
            opens = epoch + rng.choice([-600, 0, 1800])
            period = Window(opens, opens + rng.choice([5400, 10800]))
        mode = rng.choice(list(Enforcement)) if rng.random() < 0.2 else Enforcement.HARD
        ahead = rng.choice([300, 900]) if rng.random() < 0.2 else HORIZON_SECONDS
        pools = frozenset(w.pool for w in workloads.values() if name in w.policies) or frozenset({"none"})
        scope = Scope(pools=pools)
        made = Policy(name, "USD", limit, period, cap, scope=scope, enforcement=mode, horizon=ahead)
        recurs = isinstance(period, Shifts)
        policies.append(replace(made, carry_over=CARRY_OVERS[limit % len(CARRY_OVERS)]) if recurs else made)
    begin = epoch * TENTHS
    world = World(rng, begin, workloads, Quirks())
    return world, Spec([(begin, tuple(policies))])


Build = Callable[[Random], tuple[World, Spec]]


class Run:
    """One schedule of one seed."""

    def __init__(self, seed: int, schedule: Schedule, faults: Faults = NONE, build: Build = build) -> None:
        self.rng = Random(seed)
        self.schedule = schedule
        self.world, self.spec = build(self.rng)
        periods = {policy.name: policy.period for policy in self.spec.policies[0][1]}
        windows = {name: (p.start, p.end) for name, p in periods.items() if isinstance(p, Window)}
        self.oracle = Oracle(self.world, windows)
        Carried(self.world, self.oracle)
        Promised(self.world, self.oracle)
        self.operators = [
            Operator(self.world, self.spec, schedule.tick, faults, self.rng.randint(0, 60)) for _ in range(2)
        ]
        self.end = self.world.now + schedule.length * TENTHS

    def play(self) -> Oracle:
        """Run it through, then let everything stop, and check the totals."""
        world, rng = self.world, self.rng
        for operator in self.operators:
            world.after(rng.uniform(0, self.schedule.tick), partial(self.run_pass, operator))
        if self.schedule.fuse:
            self.light_fuse()
        if self.schedule.changes:
            self._plan_changes()
        while world.now < self.end:
            world.run_until(min(self.end, world.now + 600 * TENTHS))
            self.oracle.check_time()
        self.settle()
        return self.oracle

    def _plan_changes(self) -> None:
        rng = self.rng
        self._at_random(rng.randint(2, 10), self._change_demand)
        self._at_random(rng.randint(0, 3), self._change_limit)
        for change in (self._change_enforcement, self._change_override):
            self._at_random(rng.randint(1, 3) if rng.random() < 0.2 else 0, change)
        if rng.random() < 0.2:
            self._at_random(rng.randint(1, 3), rng.choice([self._break_glass, self._make_by_hand]))
        for operator in self.operators if rng.random() < 0.4 else ():
            operator.skew = rng.choice([-3, 0, 2, 20])
            self._at_random(rng.randint(1, 4), partial(self._jump, operator))
        if self.schedule.prices and rng.random() < 0.5:
            self._at_random(1, self._change_price)

    def _at_random(self, times: int, action: Callable[[], None]) -> None:
        for _ in range(times):
            self.world.at(self.rng.randint(self.world.now, self.end), action)

    def light_fuse(self) -> None:
        """Start the fuse."""
        self.world.after(self.rng.uniform(0, 20), lambda: self._watch(Fuse(self.world)))

    def settle(self) -> None:
        """Let everything stop and check the totals."""
        world = self.world
        for workload in world.workloads.values():
            workload.demand = 0
        for _ in range(200):
            world.run_until(world.now + 120 * TENTHS)
            self.oracle.check_time()
            if not self.oracle.book.units and not any(p.exists for p in world.pods.values()):
                break
        else:
            raise AssertionError("the book does not empty when nothing is wanted")
        self.oracle.check_totals(world.pages)

    def run_pass(self, operator: Operator) -> None:
        """Begin a pass of an operator; others follow for as long as the run lasts."""
        self._step(operator, operator.reconcile())

    def _step(self, operator: Operator, steps: Iterator[None]) -> None:
        rng, schedule, world = self.rng, self.schedule, self.world
        if rng.random() < schedule.crash and world.now < self.end:
            operator.crash()
            outage = rng.uniform(1, 30) if rng.random() < 0.7 else rng.uniform(1, schedule.longest_outage)
            world.after(outage, lambda: self.run_pass(operator))
            return
        try:
            next(steps)
        except StopIteration:
            tick = schedule.tick if world.now < self.end else max(schedule.tick, STRESS.tick)
            world.after(rng.uniform(0.5, 1.2) * tick, lambda: self.run_pass(operator))
            return
        delay = rng.uniform(0, 0.5)
        if rng.random() < schedule.pause and world.now < self.end:
            delay = rng.uniform(0, 28) if rng.random() < 0.5 else rng.uniform(0, schedule.longest_pause)
        world.after(delay, lambda: self._step(operator, steps))

    def _watch(self, fuse: Fuse) -> None:
        self._burn(fuse, fuse.check())

    def _burn(self, fuse: Fuse, steps: Iterator[None]) -> None:
        try:
            next(steps)
        except StopIteration:
            self.world.after(self.rng.uniform(15, 25), lambda: self._watch(fuse))
            return
        self.world.after(self.rng.uniform(0, 8), lambda: self._burn(fuse, steps))

    def _change_demand(self) -> None:
        workload = self.rng.choice(sorted(self.world.workloads.values(), key=lambda w: w.name))
        workload.demand = self.rng.choice([0, 1, 3, 8, 12])

    def _change_limit(self) -> None:
        low = 0.5 if self.schedule.lowered_limits else 1.0
        now, policies = self.world.now, list(self.spec.policies_at(self.world.now))
        index = self.rng.randrange(len(policies))
        policies[index] = replace(policies[index], limit=int(policies[index].limit * self.rng.uniform(low, 1.6)))
        self.spec.policies.append((now, tuple(policies)))

    def _change_override(self) -> None:
        """A budget is overridden for a while, or not any longer."""
        now, policies = self.world.now, list(self.spec.policies_at(self.world.now))
        index = self.rng.randrange(len(policies))
        lasts = self.rng.choice([60, 1800, 9000])
        override = Override(int(policies[index].limit * self.rng.uniform(0.1, 1)), now // TENTHS + lasts, "more")
        if policies[index].override is not None and self.rng.random() < 0.3:
            policies[index] = replace(policies[index], override=None)
        else:
            policies[index] = replace(policies[index], override=override)
        self.spec.policies.append((now, tuple(policies)))

    def _change_enforcement(self) -> None:
        """A budget begins to bind, or ceases to."""
        now, policies = self.world.now, list(self.spec.policies_at(self.world.now))
        index = self.rng.randrange(len(policies))
        mode = self.rng.choice([mode for mode in Enforcement if mode is not policies[index].enforcement])
        policies[index] = replace(policies[index], enforcement=mode)
        self.spec.policies.append((now, tuple(policies)))

    def _jump(self, operator: Operator) -> None:
        """The clock of an operator's node is set."""
        operator.skew += self.rng.choice([-3600, -600, -60, 60, 600, 3600])

    def _break_glass(self) -> None:
        """A person lets a gated pod run."""
        gated = sorted(uid for uid, pod in self.world.pods.items() if pod.gated and pod.active)
        if gated:
            self.world.break_glass(self.rng.choice(gated), self.rng.choice([60, 900, 3600]))

    def _make_by_hand(self) -> None:
        """A person makes a pod that asks for more than what is priced."""
        self.world.create_pod(self.rng.choice(sorted(self.world.workloads)), dear=True)

    def _change_price(self) -> None:
        """A dearer price is announced before it holds, a cheaper one is not."""
        workload = self.rng.choice(sorted(self.world.workloads.values(), key=lambda w: w.name))
        factor = self.rng.uniform(0.5, 1.8)
        workload.ceiling = max(1, int(workload.ceiling * factor))
        since = self.world.now if factor < 1 else self.world.now + 9000 * TENTHS
        workload.true_rates.append((since, workload.ceiling))


def play(seed: int, schedule: Schedule, faults: Faults = NONE) -> Oracle:
    """Run one schedule; raises Violation."""
    return Run(seed, schedule, faults).play()
