"""Schedules written by hand for what random ones rarely hit, each with the mutant it kills."""

from collections.abc import Iterator, Mapping
from random import Random

import pytest
from modelservice.domain import ledger, settlement
from modelservice.domain.book import HORIZON_SECONDS, Book
from modelservice.domain.ledger import Policy
from modelservice.domain.periods import Calendar, Period

from tests.property.actors import NONE, Faults, Fuse, Operator, Spec
from tests.property.oracles import Oracle, Violation, charge
from tests.property.world import TENTHS, Quirks, Workload, World

NAME = "team/chat-1"
BEGIN = 1_790_001_000 * TENTHS
OCTOBER = 1_790_812_800 * TENTHS
FOR_ONE = 36_000_000 * (3600 + 180) // 3600
"""A limit that pays one pod through the horizon and lends it nothing."""


class Stage:
    """One workload with gated pods, and one policy; nothing happens by itself but binding, starting and the fuse."""

    def __init__(
        self,
        *,
        begin: int = BEGIN,
        limit: int = 10**12,
        minimum: int = 0,
        billed_from: str = "Running",
        horizon: int = HORIZON_SECONDS,
        faults: Faults = NONE,
        demand: int = 1,
    ) -> None:
        workload = Workload(
            NAME,
            "team/chat",
            "Inference",
            ("team/all",),
            billed_from,
            60,
            0,
            minimum,
            36_000_000,
            [(0, 36_000_000)],
            floor=3,
        )
        quirks = Quirks(unschedulable=0, self_ending=0, forced=0, unseen=0)
        self.world = World(Random(1), begin, {NAME: workload}, quirks)
        self.oracle = Oracle(self.world)
        policy = Policy("team/all", "USD", limit, Period(Calendar.MONTH, "UTC"), horizon=horizon)
        self.spec = Spec([(begin, (policy,))])
        self.operators = [Operator(self.world, self.spec, 60, faults) for _ in range(2)]
        self.work(0)
        self.work(1)
        workload.demand = demand
        self.world.scale(NAME, demand)

    @property
    def workload(self) -> Workload:
        return self.world.workloads[NAME]

    def work(self, operator: int = 0) -> None:
        """Let an operator do a whole pass."""
        finish(self.operators[operator].reconcile())

    def wait(self, seconds: float) -> None:
        """Let time pass, with a fuse that looks every 20 s."""
        end = self.world.now + int(seconds * TENTHS)
        while self.world.now < end:
            for _ in Fuse(self.world).check():
                pass
            self.world.run_until(min(end, self.world.now + 20 * TENTHS))
        self.oracle.check_time()


def finish(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def until_stored(steps: Iterator[None], world: World) -> None:
    """Step a pass until it has stored the book; the gates are still there."""
    version = world.version
    while world.version == version:
        next(steps)


def pass_two_hours_late(faults: Faults) -> Stage:
    stage = Stage(billed_from="Ungate", faults=faults, limit=FOR_ONE)
    steps = stage.operators[0].reconcile()
    next(steps)
    next(steps)
    stage.wait(7200)
    finish(steps)
    stage.world.run_until(stage.world.now + 60 * TENTHS)
    stage.oracle.check_time()
    stage.wait(600)
    return stage


def test_a_write_that_comes_two_hours_after_its_read_is_given_up() -> None:
    stage = pass_two_hours_late(Faults())
    assert all(pod.gated for pod in stage.world.pods.values())
    assert len(stage.world.pods) == 1


def test_without_a_write_deadline_a_late_write_starts_a_pod_whose_hold_is_over() -> None:
    with pytest.raises(Violation, match="I2"):
        pass_two_hours_late(Faults(no_write_deadline=True))


def give_up_a_pod_that_another_operator_is_about_to_ungate(faults: Faults) -> Stage:
    stage = Stage(faults=faults)
    slow = stage.operators[0].reconcile()
    until_stored(slow, stage.world)
    stage.workload.demand = 0
    stage.work(1)
    finish(slow)
    stage.wait(600)
    return stage


def test_a_gated_pod_is_deleted_before_its_money_is_released() -> None:
    stage = give_up_a_pod_that_another_operator_is_about_to_ungate(Faults())
    pod, *_ = stage.world.pods.values()
    assert pod.gated
    assert not pod.exists


def test_to_release_a_gated_pod_that_exists_is_seen() -> None:
    with pytest.raises(Violation, match="I4"):
        give_up_a_pod_that_another_operator_is_about_to_ungate(Faults(release_while_gated=True))


def run_a_pod_shorter_than_the_minimum_over_the_end_of_a_month() -> None:
    stage = Stage(begin=OCTOBER - 500 * TENTHS, minimum=600)
    stage.work()
    (pod,) = stage.world.pods.values()
    while pod.started is None:
        stage.world.run_until(stage.world.now + 1)
    pod.started = pod.started // TENTHS * TENTHS + 9
    stage.world.run_until(pod.started + 20)
    assert stage.world.now < OCTOBER < pod.started + 600 * TENTHS
    stage.workload.demand = 0
    for _ in range(10):
        stage.work()
        stage.wait(60)
    stage.wait(900)
    stage.oracle.check_totals(stage.world.pages)


def test_the_minimum_counts_from_the_end_of_the_second_in_which_a_pod_started() -> None:
    run_a_pod_shorter_than_the_minimum_over_the_end_of_a_month()


def test_a_minimum_added_to_a_floored_start_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def close_short(book: Book, record: str, ends: Mapping[str, int]) -> Book:
        placement = book.placements[record]
        units, billing = placement.units, placement.terms.billing
        ended = [(units[uid], max(end, units[uid].start + billing.minimum) + billing.tail) for uid, end in ends.items()]
        return ledger.bill(book, placement.terms, ended).without_units(record, ends)

    monkeypatch.setattr(settlement, "close_all", close_short)
    with pytest.raises(Violation, match=r"I2|I6"):
        run_a_pod_shorter_than_the_minimum_over_the_end_of_a_month()


def test_two_operators_cannot_spend_the_last_money_twice() -> None:
    stage = Stage(limit=FOR_ONE + FOR_ONE // 2, demand=2)
    first, second = (operator.reconcile() for operator in stage.operators)
    for steps in (first, second, first, second):
        next(steps)
    finish(first)
    finish(second)
    stage.wait(300)
    assert sorted(pod.gated for pod in stage.world.pods.values()) == [False, True]


def test_an_operator_that_is_away_for_less_than_the_horizon_stops_nothing_that_is_paid() -> None:
    stage = Stage()
    stage.work()
    stage.wait(3500)
    (pod,) = stage.world.pods.values()
    assert pod.deleting is None
    stage.work()
    stage.wait(3500)
    assert pod.ended is None


def test_an_outage_of_ten_minutes_stops_nothing_that_is_funded_whatever_the_horizon() -> None:
    stage = Stage(horizon=300, limit=200_000_000, demand=3)
    stage.work()
    stage.wait(20)
    stage.work()
    for _ in range(3):
        stage.wait(600)
        assert [pod.deleting for pod in stage.world.pods.values()] == [None] * 3
        stage.work()


def test_a_pod_whose_operator_stays_away_is_stopped_by_the_fuse_inside_its_hold() -> None:
    stage = Stage(limit=FOR_ONE)
    stage.work()
    stage.wait(4000)
    pod, *_ = stage.world.pods.values()
    assert pod.ended is not None


def test_a_pod_that_a_person_spares_while_nobody_keeps_the_book_lengthens_the_bill_of_no_other() -> None:
    stage = Stage(limit=2 * FOR_ONE, demand=2)
    stage.work()
    stage.wait(300)
    stage.work()
    gone, spared = stage.world.pods.values()
    for operator in stage.operators:
        operator.crash()
    spared.spared_until, spared.version = stage.world.date + 4 * 3600, spared.version + 1
    stage.world.delete_pod(gone.uid, force=True)
    held = stage.oracle.book.end_max(stage.oracle.book.units[gone.uid])
    stage.wait(2 * 3600)
    for _ in range(3):
        stage.work()
        stage.wait(60)
    (account,) = stage.oracle.book.accounts.values()
    assert gone.uid not in stage.oracle.book.units
    assert spared.uid in stage.oracle.book.units
    assert gone.started is not None
    (line,) = account["lines"]
    assert line["closed"] + line["adjusted"] == charge(36_000_000, gone.started // TENTHS, held)


@pytest.mark.parametrize("billed_from", ["Ungate", "Running"])
def test_a_pod_that_a_person_let_go_is_taken_in_from_the_start_of_its_billing_on(billed_from: str) -> None:
    stage = Stage(billed_from=billed_from, minimum=600)
    stage.wait(100)
    (pod,) = stage.world.pods.values()
    stage.world.break_glass(pod.uid, 3600)
    stage.wait(300)
    stage.work()
    assert pod.uid in stage.oracle.book.units
    stage.workload.demand = 0
    stage.work()
    for _ in range(10):
        stage.wait(120)
        stage.work()
    assert not stage.oracle.book.units
    stage.oracle.check_totals(stage.world.pages)


def test_a_restart_does_not_forget_from_when_a_pool_is_billed() -> None:
    stage = Stage(billed_from="Running", minimum=600)
    stage.work()
    (pod,) = stage.world.pods.values()
    while pod.bound is None:
        stage.wait(1)
    stage.operators[0].crash()
    stage.work()
    assert "@" not in stage.oracle.book.units[pod.uid]["units"][pod.uid]
    while pod.started is None:
        stage.wait(1)
    stage.work()
    assert stage.oracle.book.units[pod.uid]["units"][pod.uid].startswith(f"{pod.started // TENTHS}@")
