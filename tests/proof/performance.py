"""The proof as it runs: a cluster under load, what is done to it, and the record that the tests judge."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from cluster import Cluster, condition

from tests.proof.disturbances import LEASE, Disturbances
from tests.proof.history import price
from tests.proof.recorder import Recorder
from tests.proof.scene import (
    HORIZON,
    LOAD,
    NORTH,
    POOLS,
    RUNS,
    SERVICES,
    budgets,
    listed,
    load,
    namespaces,
    pools,
    runtimes,
    work,
)
from tests.proof.statement import Account, Statement, read

Object = dict[str, Any]
LENGTH, SEED = "MODELSERVICE_PROOF", "MODELSERVICE_PROOF_SEED"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part takes, in seconds."""

    deletions: int = 20
    every: float = 45
    outage: float = 600
    train: int = 420
    load_every: float = 20
    boundary: tuple[float, float] = (120, 900)
    """A period of two budgets ends so long after the beginning, if there is a time zone for it, and none later."""


SHORT = Plan(deletions=4, every=30, outage=360, train=120, boundary=(60, 130))
"""For working on the proof itself: MODELSERVICE_PROOF=short."""


@dataclass(slots=True)
class Performance:
    """One run; `outage` is from when until when no operator was there."""

    cluster: Cluster
    plan: Plan
    seed: int
    recorder: Recorder
    disturbances: Disturbances
    outage: tuple[float, float] = (0.0, 0.0)
    kept: dict[str, float] = field(default_factory=dict)
    """Pods that ran when the outage began, and until when each was paid then."""

    @classmethod
    def prepare(cls, cluster: Cluster) -> Performance:
        """A performance with the length and the seed that the environment asks for, else a new seed."""
        plan = SHORT if os.environ.get(LENGTH) == "short" else Plan()
        seed = int(os.environ.get(SEED) or Random().randrange(1_000_000))
        recorder = Recorder(cluster.kubeconfig)
        return cls(cluster, plan, seed, recorder, Disturbances(cluster, Random(seed)))

    def say(self, text: str) -> None:
        print(f"proof: {time.strftime('%H:%M:%S')} {text}", flush=True)

    def run(self) -> None:
        """Everything, from the first service to the end of the last pod."""
        self.say(f"seed {self.seed} ({SEED}={self.seed} repeats its random choices)")
        self.recorder.start()
        self.set_the_scene()
        self.disturb()
        self.take_the_operator_away()
        self.wind_up()
        self.recorder.stop()

    def set_the_scene(self) -> None:
        self._apply(namespaces())
        for name in (*{namespace for namespace, _ in SERVICES}, LOAD):
            self.cluster.kubectl("-n", name, "wait", "--for=create", "--timeout=30s", "serviceaccount/default")
        self._apply(pools() + runtimes() + budgets(time.time(), self.plan.boundary))
        self._apply([*work(self.plan.train), load(self.seed, self.plan.load_every)])
        self.cluster.wait("the first pod to serve", self._serves, timeout=180)

    def disturb(self) -> None:
        """Lose pods of the operator and nodes, and once the API server, at regular and at random moments."""
        random, plan = self.disturbances.random, self.plan
        began = time.monotonic()
        for number in range(plan.deletions):
            due = began + number * plan.every
            self._until(due + random.uniform(0, plan.every / 3))
            if number % 2:
                self.disturbances.preempt()
            self._until(due + plan.every / 2)
            self.disturbances.delete_operator()
            if number == plan.deletions // 2:
                self.say("the API server stands still for 20 s")
                self.disturbances.pause_api_server(20)
            done = f"{self.disturbances.deletions} deletions, {self.disturbances.preemptions} preemptions"
            self.say(f"{done}; {self._money()}")
        self._until(began + plan.deletions * plan.every)
        self.disturbances.finish()

    def take_the_operator_away(self) -> None:
        """Leave the north little money, so that its pods run out of it while no operator is there."""
        self.cluster.wait("a leader", self._led, timeout=120)
        self._ration()
        self.disturbances.stop_operator()
        book = self._book()
        paid = {uid: unit.hold for uid, unit in book.units.items() if unit.hold is not None}
        self.outage = (time.time(), 0.0)
        self.kept = {uid: float(hold) for uid, hold in paid.items() if book.units[uid].node}
        self.say(f"no operator for {self.plan.outage:.0f} s; {self._money()}")
        self._until(time.monotonic() + self.plan.outage)
        self.outage = (self.outage[0], time.time())
        self.disturbances.start_operator()
        self.say(f"the operator is back; {self._money()}")

    def wind_up(self) -> None:
        """Let the runs end with money enough, stop everything, and wait until the book is closed."""
        self._limit(60_000_000, "clusterbudgetpolicy", "platform")
        self._limit(40_000_000, "budgetpolicy", "team", "-n", NORTH)
        for namespace, name in RUNS:
            self.cluster.wait(f"the training run {name} to end", partial(self._trained, name, namespace), timeout=900)
        suspend = '{"spec": {"suspend": true}}'
        for namespace, name in (*SERVICES, *RUNS):
            self.cluster.kubectl("-n", namespace, "patch", "modelservice", name, "--type=merge", "-p", suspend)
        self.cluster.wait("the book to have no unit", self._closed, timeout=300)

    def _ration(self) -> None:
        """Leave the north what its floor needs and what is held through the horizon, for a pod of chat at least."""
        book, budget = self._book(), f"{NORTH}/team"
        present = next(account for account in self._current(book) if account.key[0] == budget)
        committed = sum(unit.cost(budget, book.time, unit.last(book.time, HORIZON)) for unit in book.units.values())
        floor = price(POOLS["steady"].rate, book.time, present.end)
        self._limit(present.posted + floor + max(committed + 50_000, 550_000), "budgetpolicy", "team", "-n", NORTH)

        def short() -> bool:
            units = [unit for unit in self._book().units.values() if unit.line[0] == f"{NORTH}/chat" and unit.node]
            return bool(units) and all((unit.hold or 0) < time.time() + self.plan.outage - 150 for unit in units)

        self.cluster.wait("pods of chat that are paid for a short time", short, timeout=240)

    def _limit(self, micros: int, *budget: str) -> None:
        patch = f'{{"spec": {{"limit": "{micros / 1_000_000:.2f}"}}}}'
        self.cluster.kubectl("patch", *budget, "--type=merge", "-p", patch)

    def _apply(self, objects: Sequence[Object]) -> None:
        self.cluster.kubectl("apply", "-f", "-", stdin=listed(objects))

    def _until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def _serves(self) -> bool:
        return any((obj.get("status") or {}).get("readyReplicas") for obj in self.cluster.list("modelservices"))

    def _trained(self, name: str, namespace: str) -> bool:
        seen = condition(self.cluster.get("modelservice", name, namespace), "TrainingSucceeded")
        assert not (seen["status"] == "False" and seen["reason"] == "Failed"), seen["message"]
        return bool(seen["status"] == "True")

    def _closed(self) -> bool:
        return not self._book().units

    def _led(self) -> bool:
        lease = self.cluster.get("lease", LEASE, "modelservice-system") or {}
        return (lease.get("spec") or {}).get("holderIdentity") in self.disturbances.operators()

    def _book(self) -> Statement:
        ledger = self.cluster.get("budgetledger", "open", "modelservice-system")
        assert ledger is not None
        return read(ledger, time.time())

    def _current(self, book: Statement) -> list[Account]:
        """The accounts of the present periods."""
        now = time.time()
        return [account for account in book.accounts.values() if account.key[1] <= now < account.end]

    def _money(self) -> str:
        book = self._book()
        parts = (
            f"{a.key[0]} {a.posted / 1e6:.3f}+{a.held / 1e6:.3f} of {a.limit / 1e6:.2f}" for a in self._current(book)
        )
        return f"{len(book.units)} units, {', '.join(parts)}"
