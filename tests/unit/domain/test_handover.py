"""How many replicas each Deployment gets while one takes over from others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.handover import shares, together
from modelservice.domain.ledger import Policy
from modelservice.domain.planner import plan
from modelservice.domain.rollout import Strategy
from modelservice.domain.settlement import Evidence, settle
from modelservice.domain.snapshot import Deployed, ServiceView, Snapshot, Turn
from modelservice.domain.specs import ServiceName

from tests.unit.domain.specs import HOUR, NOW, USD, pod, policy, pool, running, view, wish

CPU = pool()
CHAT = ServiceName("ns", "chat")
OVERLAP, WAIT, RECREATE = Strategy


def deployed(revision: str, replicas: int, ready: int, *, age: int = HOUR) -> Deployed:
    name = "chat-cpu" if revision == "new" else f"chat-{revision}"
    return Deployed(name, name, "cpu", {"cpu": 1000, "memory": 2**30}, replicas, ready, NOW - age, revision)


def seen(*there: Deployed, want: int = 4, strategy: Strategy = OVERLAP, failing: bool = False) -> ServiceView:
    return view(want, CPU, deployed=there, turn=Turn(strategy, "old", failing))


def shared(service: ServiceView) -> dict[str, int]:
    return shares(service, "chat-cpu", None, 4)


@pytest.mark.parametrize(
    ("strategy", "old", "new", "expected"),
    [
        (OVERLAP, (4, 4), (0, 0), (4, 4)),
        (OVERLAP, (4, 4), (4, 1), (3, 4)),
        (OVERLAP, (3, 3), (4, 4), (0, 4)),
        (WAIT, (4, 4), (0, 0), (4, 4)),
        (WAIT, (4, 4), (4, 3), (1, 4)),
        (RECREATE, (4, 4), (0, 0), (0, 0)),
        (RECREATE, (0, 0), (0, 0), (0, 4)),
    ],
)
def test_old_replicas_go_as_the_strategy_says(
    strategy: Strategy, old: tuple[int, int], new: tuple[int, int], expected: tuple[int, int]
) -> None:
    given = shared(seen(deployed("old", *old), deployed("new", *new, age=9), strategy=strategy))
    assert (given["chat-old"], given["chat-cpu"]) == expected


def test_what_has_served_outlives_a_newer_one_that_never_did() -> None:
    there = (deployed("old", 4, 4), deployed("broken", 4, 0, age=60), deployed("new", 4, 0, age=1))
    assert shared(seen(*there)) == {"chat-old": 4, "chat-broken": 0, "chat-cpu": 4}


def test_where_the_next_revision_fails_one_replica_of_it_goes_on_trying_and_the_old_one_is_restored() -> None:
    there = (deployed("old", 2, 2), deployed("new", 4, 2, age=9))
    assert shared(seen(*there, failing=True)) == {"chat-old": 2, "chat-cpu": 1}
    there = (deployed("old", 2, 2), deployed("new", 4, 0, age=9))
    assert shared(seen(*there, failing=True)) == {"chat-old": 4, "chat-cpu": 1}


def test_where_nothing_answers_the_failing_revision_is_wanted_in_full() -> None:
    there = (deployed("old", 0, 0), deployed("new", 4, 0, age=9))
    assert shared(seen(*there, failing=True)) == {"chat-old": 4, "chat-cpu": 4}


def settled(service: ServiceView, names: list[str], payers: tuple[Policy, ...]) -> Snapshot:
    """The snapshot once the pods of the old Deployment are in the book and run."""
    first = plan(Snapshot((replace(service, inference=None),), {"cpu": CPU}, payers), NOW)
    born = [pod(name, "ns/chat-old", selector={"pool": "cpu"}) for name in names]
    book = settle(Snapshot().book, NOW, Evidence(NOW, {one.uid: one for one in born}), payers, first.funding, 10).book
    return Snapshot((service,), {"cpu": CPU}, payers, {name: running(name, "ns/chat-old") for name in names}, book)


@pytest.mark.parametrize(("strategy", "rate", "new"), [(OVERLAP, 5, 1), (WAIT, 5, 0), (WAIT, 8, 4)])
def test_wait_starts_nothing_before_all_is_paid_for_and_says_what_is_missing(
    strategy: Strategy, rate: int, new: int
) -> None:
    service = seen(deployed("old", 4, 4), strategy=strategy)
    service = replace(service, keep=4)
    own = plan(settled(service, list("abcd"), (policy(max_rate=rate * USD),)), NOW).services[CHAT]
    assert own.counts == {"chat-old": 4, "chat-cpu": new}
    assert (own.refused is None) == (new == 4)
    assert together(service, "chat-cpu") == (strategy is WAIT)


def test_a_canary_comes_on_top_and_takes_no_replica_from_what_serves() -> None:
    trial = Turn(OVERLAP, "old", beside=wish(1, CPU))
    main = replace(wish(4, CPU), workloads={"cpu": "ns/chat-old"})
    service = view(4, CPU, deployed=(deployed("old", 4, 4), deployed("new", 1, 1)), turn=trial, inference=main)
    own = plan(Snapshot((service,), {"cpu": CPU}, (policy(),)), NOW).services[CHAT]
    assert own.counts == {"chat-old": 4, "chat-cpu": 1}
    assert own.leaving == ()
    assert own.beside is not None
    assert plan(Snapshot((replace(service, suspended=True),), {"cpu": CPU}, (policy(),)), NOW).services[
        CHAT
    ].counts == {"chat-old": 0, "chat-cpu": 0}
