"""Who gets the money when it is not enough for all: floors, classes, shares, and pods that give way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain.book import Blocked, Book, Enforcement
from modelservice.domain.curbs import Curb, Curbed
from modelservice.domain.ledger import Policy, set_policies
from modelservice.domain.money import cost
from modelservice.domain.planner import Plan, ServicePlan, plan
from modelservice.domain.priorities import Priority
from modelservice.domain.scope import Scope
from modelservice.domain.settlement import End, Evidence, settle
from modelservice.domain.snapshot import BreakGlass, Deployed, Pod, ServiceView, Snapshot
from modelservice.domain.specs import Role, ServiceName
from modelservice.domain.thresholds import Action, Crossing, Metric, Threshold

from tests.unit.domain.specs import HOUR, NOW, USD, pod, policy, pool, running, view, wish

CPU = pool()
ONE = cost(USD, 0, HOUR + CPU.billing.overrun)
"""What one pod holds when it is admitted; it costs 1 USD an hour."""
DAY = cost(USD, 0, 18 * HOUR)
"""What one pod costs until the end of the day."""
CRITICAL, STANDARD, BATCH = Priority


def wants(name: str, count: int, priority: Priority = STANDARD, minimum: int = 1) -> ServiceView:
    return view(count, CPU, name=name, priority=priority, minimum=minimum)


def planned(views: tuple[ServiceView, ...], *policies: Policy, pods: Mapping[str, Pod] | None = None) -> Plan:
    return plan(seen(views, *policies, pods=pods), NOW)


def seen(views: tuple[ServiceView, ...], *policies: Policy, pods: Mapping[str, Pod] | None = None) -> Snapshot:
    return Snapshot(views, {"cpu": CPU}, policies, pods or {}, Book(time=NOW))


def pods_of(made: Plan) -> dict[str, int]:
    return {name.name: own.funded for name, own in made.services.items()}


def of(made: Plan, name: str) -> ServicePlan:
    return made.services[ServiceName("ns", name)]


def carried_out(snapshot: Snapshot) -> Snapshot:
    """What is there when the plan has been carried out: its pods are in the book and run."""
    made = plan(snapshot, NOW)
    born = {
        f"{name}-{number}": pod(f"{name}-{number}", f"ns/{name}")
        for own in made.services.values()
        for name, count in own.counts.items()
        for number in range(count)
    }
    settled = settle(snapshot.book, NOW, Evidence(NOW, born), snapshot.policies, made.funding, 10)
    return replace(snapshot, book=settled.book, pods={uid: running(uid, one.workload) for uid, one in born.items()})


def after(snapshot: Snapshot, *views: ServiceView, policies: tuple[Policy, ...] = ()) -> Snapshot:
    return replace(snapshot, services=views, policies=policies or snapshot.policies)


def test_the_fewest_replicas_of_all_come_before_more_of_anybody() -> None:
    made = planned((wants("a", 5, CRITICAL), wants("b", 2, minimum=2)), policy(3 * ONE))
    assert pods_of(made) == {"a": 1, "b": 2}


def test_money_that_floors_need_until_the_end_of_the_period_is_closed_to_bursts() -> None:
    views = (wants("a", 3), wants("b", 1))
    assert pods_of(planned(views, policy(2 * DAY + ONE + 9))) == {"a": 2, "b": 1}
    made = planned(views, policy(2 * DAY + ONE - 9))
    assert pods_of(made) == {"a": 1, "b": 1}
    refused = of(made, "a").refused
    assert refused is not None
    assert (refused.why.blocked_by, refused.why.need) == (Blocked.LIMIT, ONE)
    assert refused.why.have < ONE
    assert refused.why.kept > 2 * (DAY - ONE) - 9
    assert of(made, "a").unfunded == ()


def test_a_floor_that_is_not_paid_until_the_end_of_the_period_starts_and_says_what_is_missing() -> None:
    made = planned((wants("a", 1, CRITICAL), wants("b", 2)), policy(DAY + 3 * USD))
    assert pods_of(made) == {"a": 1, "b": 1}
    assert of(made, "a").unfunded == ()
    (lack,) = of(made, "b").unfunded
    assert (lack.policy, lack.currency, lack.until) == ("ns/team", "USD", NOW + 18 * HOUR)
    assert lack.need == pytest.approx(DAY - ONE, abs=1)
    assert lack.have == pytest.approx(3 * USD - ONE, abs=9)


def test_batch_has_no_floor_and_comes_last() -> None:
    made = planned((wants("a", 2, BATCH, 2), wants("b", 2), wants("c", 2, CRITICAL)), policy(2 * DAY + 2 * ONE + 99))
    assert pods_of(made) == {"a": 0, "b": 2, "c": 2}
    assert pods_of(planned((wants("a", 2, BATCH, 2),), policy(2 * ONE))) == {"a": 2}


def test_services_of_one_class_take_turns() -> None:
    made = planned((wants("a", 9, BATCH), wants("b", 9, BATCH)), policy(5 * ONE))
    assert pods_of(made) == {"a": 3, "b": 2}


def test_lower_bursts_are_stopped_for_a_higher_class_which_starts_when_their_money_has_returned() -> None:
    batch, critical = wants("a", 4, BATCH), wants("b", 1, CRITICAL)
    before = after(carried_out(seen((batch,), policy(4 * ONE + 9))), batch, critical)
    made = plan(before, NOW + 60)
    assert pods_of(made) == {"a": 2, "b": 0}
    gone, came = of(made, "a").refused, of(made, "b").refused
    assert gone is not None
    assert came is not None
    assert (gone.pods, gone.yielded, came.pods, came.waiting) == (2, 2, 1, 1)
    stopping = {
        uid: replace(one, deleting=True) if uid in ("a-cpu-2", "a-cpu-3") else one for uid, one in before.pods.items()
    }
    settled = settle(before.book, NOW + 60, Evidence(NOW + 60, stopping), before.policies, made.funding, 10)
    meanwhile = replace(before, book=settled.book, pods=stopping)
    assert pods_of(plan(meanwhile, NOW + 70)) == {"a": 2, "b": 0}
    staying = {uid: one for uid, one in stopping.items() if not one.deleting}
    ends = {uid: End(finished_at=NOW + 75) for uid in stopping.keys() - staying.keys()}
    settled = settle(settled.book, NOW + 80, Evidence(NOW + 80, staying, ends), before.policies, made.funding, 10)
    assert pods_of(plan(replace(before, book=settled.book, pods=staying), NOW + 80)) == {"a": 2, "b": 1}


def test_nobody_is_stopped_for_a_pod_that_could_not_be_paid_anyway() -> None:
    batch, critical = wants("a", 1, BATCH), wants("b", 1, CRITICAL)
    both = (policy(ONE + 9), policy(ONE - 9, name="ns/other"))
    before = after(carried_out(seen((batch,), both[0])), batch, critical, policies=both)
    assert pods_of(plan(before, NOW + 60))["a"] == 1
    lowered = after(before, batch, critical, policies=(policy(ONE // 2),))
    assert pods_of(plan(lowered, NOW + 60)) == {"a": 1, "b": 0}


def test_bursts_are_stopped_for_a_rate_and_not_by_their_own_class() -> None:
    batch = wants("a", 3, BATCH)
    before = carried_out(seen((batch,), policy(max_rate=3 * USD)))
    assert pods_of(plan(after(before, batch, wants("b", 2, CRITICAL)), NOW)) == {"a": 1, "b": 0}
    assert pods_of(plan(after(before, batch, wants("b", 2, BATCH)), NOW)) == {"a": 3, "b": 0}


def test_a_pod_by_break_glass_does_not_give_way() -> None:
    batch = wants("a", 2, BATCH)
    before = carried_out(seen((batch,), policy(max_rate=2 * USD)))
    spared = {uid: replace(one, break_glass=BreakGlass(NOW + HOUR)) for uid, one in before.pods.items()}
    made = plan(after(replace(before, pods=spared), batch, wants("b", 1, CRITICAL)), NOW)
    assert pods_of(made) == {"a": 2, "b": 0}


def test_what_runs_is_paid_for_longer_before_lower_bursts_which_give_way_for_it() -> None:
    views = (wants("a", 2, BATCH), wants("b", 1, CRITICAL, 0))
    before = carried_out(seen(views, policy(3 * ONE + USD // 36)))
    assert pods_of(plan(before, NOW + 1000)) == {"a": 2, "b": 1}
    # What was left at first is lent to b, which is so paid for 100 s longer.
    made = plan(before, NOW + 1905)
    assert pods_of(made) == {"a": 1, "b": 1}
    assert of(made, "b").expiring is None
    assert made.funding["ns/a-cpu"].through == before.book.placements["ns/a-cpu"].hold_through


def test_the_share_of_a_class_is_closed_to_the_bursts_of_others_until_it_is_taken() -> None:
    payer = replace(policy(10 * ONE), shares={BATCH: 400_000})
    views = (wants("a", 9, BATCH), wants("b", 9, CRITICAL, 0))
    assert pods_of(planned(views[1:], payer)) == {"b": 6}
    assert pods_of(planned(views, payer)) == {"a": 4, "b": 6}
    assert pods_of(planned((views[0], wants("b", 9, CRITICAL, 8)), payer)) == {"a": 0, "b": 8}


def test_the_share_of_a_class_is_open_to_all_its_services_and_floors_count_in_it() -> None:
    payer = replace(policy(2 * DAY), shares={CRITICAL: 500_000})
    views = (wants("a", 1, CRITICAL), wants("b", 99, BATCH))
    room = (2 * DAY - DAY) // ONE
    assert pods_of(planned(views, payer)) == {"a": 1, "b": room}
    all_three = (wants("a", 99, CRITICAL, 0), wants("b", 99, CRITICAL, 0), wants("c", 1, BATCH))
    made = planned(all_three, replace(payer, shares={CRITICAL: 1_000_000}))
    assert pods_of(made) == {"a": 17, "b": 17, "c": 0}


def test_each_workload_has_the_rank_of_its_last_pod_in_which_the_book_pays() -> None:
    views = (wants("a", 1, BATCH), wants("b", 1), wants("c", 2), wants("d", 1, CRITICAL))
    made = planned(views, policy(9 * DAY))
    ranks = {name: grant.rank for name, grant in made.funding.items()}
    assert ranks == {"ns/d-cpu": 0, "ns/b-cpu": 1, "ns/c-cpu": 4, "ns/a-cpu": 5}


def reached(action: Action, name: str = "ns/team", **more: Any) -> tuple[Policy, Book]:
    """A budget with a threshold, and a book in which its action has been in force since NOW."""
    most = Threshold("most", Metric.ACTUAL, at=50, clear_below=50, actions=(action,))
    payer = replace(policy(9 * DAY, name=name), thresholds=(most,), **more)
    crossing = Crossing("most", most.wording, NOW, NOW)
    book = set_policies(Book(time=NOW), [payer])
    return payer, replace(book, accounts=tuple(replace(one, crossings=(crossing,)) for one in book.accounts))


def under(action: Action, *views: ServiceView, now: int = NOW, **more: Any) -> Plan:
    payer, book = reached(action, **more)
    return plan(Snapshot(views, {"cpu": CPU}, (payer,), {}, book), now)


def has(replicas: int) -> tuple[Deployed, ...]:
    return (Deployed("a-cpu", "cpu", "cpu", {"cpu": 1000, "memory": 2**30}, replicas, replicas, NOW - HOUR),)


def test_a_threshold_takes_replicas_beyond_what_its_action_leaves_and_says_so() -> None:
    view_ = replace(wants("a", 5, STANDARD, 2), deployed=has(3))
    assert pods_of(under(Action.NOTIFY, view_)) == {"a": 5}
    made = under(Action.STOP_SCALE_UP, view_)
    assert (pods_of(made), of(made, "a").desired) == ({"a": 3}, 5)
    assert of(made, "a").curbed == Curbed(Curb("ns/team", "most", Action.STOP_SCALE_UP, NOW), 2)
    assert of(made, "a").refused is None
    assert pods_of(under(Action.SHRINK_BY_PRIORITY, view_)) == {"a": 5}
    assert pods_of(under(Action.SHRINK_BY_PRIORITY, view_, now=NOW + 600)) == {"a": 2}
    assert pods_of(under(Action.SCALE_TO_ZERO, view_, now=NOW + 600)) == {"a": 0}
    assert pods_of(under(Action.SCALE_TO_ZERO, view_, now=NOW + 600, enforcement=Enforcement.DRY_RUN)) == {"a": 5}
    assert pods_of(under(Action.SCALE_TO_ZERO, view_, now=NOW + 600, scope=Scope(pools=frozenset({"gpu"})))) == {"a": 5}


def test_a_threshold_starts_no_training_lets_a_running_one_go_on_and_spares_pods_by_break_glass() -> None:
    trains = replace(wants("a", 0, BATCH), inference=None, keep=0, training=wish(1, CPU, service="train"))
    payer, book = reached(Action.STOP_SCALE_UP)
    assert of(plan(Snapshot((trains,), {"cpu": CPU}, (payer,), {}, book), NOW), "a").training_funded is False
    before = carried_out(Snapshot((trains,), {"cpu": CPU}, (policy(9 * DAY),), {}, Book(time=NOW)))
    run = pod("run", "ns/train-cpu", role=Role.TRAINING)
    funding = plan(before, NOW).funding
    begun = settle(before.book, NOW, Evidence(NOW, {"run": run}), before.policies, funding, 10).book
    crossed = replace(
        begun, accounts=tuple(replace(one, crossings=book.accounts[0].crossings) for one in begun.accounts)
    )
    going = Snapshot((trains,), {"cpu": CPU}, (payer,), {"run": running("run", "ns/train-cpu")}, crossed)
    assert of(plan(going, NOW), "a").training_funded is True
    batch = replace(wants("a", 2, BATCH), deployed=has(2))
    payer, book = reached(Action.SCALE_TO_ZERO)
    kept = {"p": running("p", "ns/a-cpu", break_glass=BreakGlass(NOW + HOUR))}
    made = plan(Snapshot((batch,), {"cpu": CPU}, (payer,), kept, book), NOW)
    assert pods_of(made) == {"a": 1}
    assert of(made, "a").curbed == Curbed(Curb("ns/team", "most", Action.SCALE_TO_ZERO, NOW), 1)
