"""Which pool a service wakes in: the one where it starts soonest among those that the budgets pay for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from modelservice.domain.book import Blocked, Book
from modelservice.domain.planner import Plan, plan
from modelservice.domain.snapshot import Deployed, ServiceView, Snapshot
from modelservice.domain.specs import Pool, ServiceName
from modelservice.domain.waking import Room, plan_waking, refused_wakes

from tests.unit.domain.specs import HOUR, NOW, USD, policy, pool, view

CHAT = ServiceName("ns", "chat")
SLOW, QUICK, DEAR = (
    pool("slow", 4 * USD, start_seconds=300),
    pool("quick", 8 * USD, start_seconds=60),
    pool("dear", 40 * USD, start_seconds=20),
)
POOLS = (SLOW, QUICK, DEAR)


def woken(*, name: str = "chat", pools: tuple[Pool, ...] = POOLS, **more: Any) -> ServiceView:
    return view(1, *pools, name=name, **{"woken": True, **more})


def planned(
    *views: ServiceView, rate: int, rooms: tuple[Room, ...] = (), refused: Collection[ServiceName] = ()
) -> Plan:
    return plan_waking(seen(*views, rate=rate), rooms, NOW, refused)


def seen(*views: ServiceView, rate: int) -> Snapshot:
    pools = {one.name: one for one in POOLS}
    return Snapshot(views, pools, (policy(max_rate=rate),), {}, Book(time=NOW))


def used(made: Plan, name: ServiceName = CHAT) -> str:
    own = made.services[name]
    assert own.option is not None
    return own.option.pool.name if own.funded else ""


def room(name: str, cpu: int) -> Room:
    return Room({"pool": name, "zone": "a"}, {"cpu": cpu, "memory": 2**34})


def deployed(name: str, *, replicas: int, created_at: int = NOW - HOUR) -> Deployed:
    return Deployed(f"chat-{name}", name, name, {"cpu": 1000, "memory": 2**30}, replicas, 0, created_at)


@pytest.mark.parametrize(
    ("rate", "chosen"),
    [(100 * USD, "dear"), (3 * USD, "quick"), (2 * USD, "quick"), (2 * USD - 1, "slow"), (USD - 1, "")],
)
def test_a_service_wakes_where_it_starts_soonest_among_the_pools_that_are_paid(rate: int, chosen: str) -> None:
    assert used(planned(woken(), rate=rate)) == chosen


@pytest.mark.parametrize(("free", "chosen"), [(1000, "slow"), (999, "dear")])
def test_a_node_that_runs_and_has_room_comes_before_any_that_has_to_start(free: int, chosen: str) -> None:
    assert used(planned(woken(), rate=100 * USD, rooms=(room("slow", free), room("other", 4000)))) == chosen


def test_a_wake_that_is_paid_for_nowhere_waits_for_the_cheapest_pool_and_says_so() -> None:
    snapshot = seen(woken(), rate=USD - 1)
    made = plan_waking(snapshot, (), NOW)
    own = made.services[CHAT]
    assert (own.funded, own.option is not None and own.option.pool.name) == (0, "slow")
    assert own.refused is not None
    assert (own.refused.why.blocked_by, own.refused.why.need) == (Blocked.RATE, USD)
    assert refused_wakes(snapshot, made) == {CHAT}
    assert planned(woken(), rate=USD - 1, refused={CHAT}) == made


def test_several_wakes_share_what_there_is() -> None:
    made = planned(woken(name="a"), woken(name="b"), rate=3 * USD)
    assert sorted(used(made, ServiceName("ns", name)) for name in "ab") == ["quick", "slow"]


def test_the_pool_of_a_replica_that_is_on_its_way_is_kept_and_that_of_a_deployment_at_zero_is_not() -> None:
    rested, coming = deployed("slow", replicas=0, created_at=NOW), deployed("quick", replicas=1)
    assert used(planned(woken(deployed=(rested,)), rate=100 * USD)) == "dear"
    assert used(planned(woken(deployed=(coming, rested)), rate=100 * USD)) == "quick"


def test_a_service_that_nobody_waits_for_starts_in_the_cheapest_pool() -> None:
    assert used(planned(woken(woken=False), rate=100 * USD)) == "slow"
    assert used(plan(seen(view(1, *POOLS), rate=100 * USD), NOW)) == "slow"
