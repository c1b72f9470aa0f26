"""The book as a state machine: hypothesis chooses who does the next step, who dies, and what users change."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.property.simulation import STRESS, Run

BY_HAND = replace(STRESS, length=0, tick=30)
OPERATORS = st.integers(0, 1)


class BookMachine(RuleBasedStateMachine):
    """Two operators, a fuse and a world; every step of an operator is one rule."""

    run: Run
    passes: list[Iterator[None] | None]

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.run = Run(seed, BY_HAND)
        self.run.light_fuse()
        self.passes = [None, None]

    @rule(which=OPERATORS, steps=st.integers(1, 4))
    def step(self, which: int, steps: int) -> None:
        """An operator does its next calls of the API."""
        for _ in range(steps):
            current = self.passes[which] or self.run.operators[which].reconcile()
            self.passes[which] = current
            if next(current, self) is self:
                self.passes[which] = None

    @rule(which=OPERATORS)
    def complete(self, which: int) -> None:
        """An operator begins or goes on with a pass and ends it."""
        for _ in self.passes[which] or self.run.operators[which].reconcile():
            self.wait(0.2)
        self.passes[which] = None

    @rule(which=OPERATORS)
    def crash(self, which: int) -> None:
        """An operator loses everything it had in memory."""
        self.passes[which] = None
        self.run.operators[which].crash()

    @rule(seconds=st.sampled_from([0.1, 1, 5, 29, 60, 600, 1500, 2400]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.run.world.run_until(self.run.world.now + int(seconds * 10))

    @rule(which=OPERATORS, seconds=st.sampled_from([-3600, -60, 60, 3600]))
    def set_the_clock(self, which: int, seconds: int) -> None:
        """The clock of an operator's node jumps."""
        self.run.operators[which].skew += seconds

    @rule(index=st.integers(0, 20))
    def break_glass(self, index: int) -> None:
        """A person lets a gated pod run."""
        gated = sorted(uid for uid, pod in self.run.world.pods.items() if pod.gated and pod.active)
        if gated:
            self.run.world.break_glass(gated[index % len(gated)], 900)

    @rule(index=st.integers(0, 2), demand=st.integers(0, 6))
    def want(self, index: int, demand: int) -> None:
        """A service is scaled."""
        workloads = sorted(self.run.world.workloads)
        self.run.world.workloads[workloads[index % len(workloads)]].demand = demand

    @rule(index=st.integers(0, 1), percent=st.integers(50, 160))
    def change_limit(self, index: int, percent: int) -> None:
        """A team changes its budget."""
        now = self.run.world.now
        policies = list(self.run.spec.policies_at(now))
        policies[index] = replace(policies[index], limit=policies[index].limit * percent // 100)
        self.run.spec.policies.append((now, tuple(policies)))

    @rule(index=st.integers(0, 20), force=st.booleans())
    def delete_a_pod(self, index: int, *, force: bool) -> None:
        """A person deletes a pod."""
        alive = sorted(uid for uid, pod in self.run.world.pods.items() if pod.exists)
        if alive:
            self.run.world.delete_pod(alive[index % len(alive)], force=force)

    @invariant()
    def the_book_holds(self) -> None:
        """Solvency is checked at every store; coverage and true spend here."""
        if hasattr(self, "run"):
            self.run.oracle.check_time()

    def teardown(self) -> None:
        if hasattr(self, "run"):
            for operator in self.run.operators:
                self.run.run_pass(operator)
            self.run.settle()


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(stateful_step_count=40)
