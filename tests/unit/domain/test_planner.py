"""One plan for all services: who gets how many pods, what is refused, and how one placement follows another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain import purse
from modelservice.domain.book import Blocked, Book, Enforcement, Refusal
from modelservice.domain.endurance import recall
from modelservice.domain.funding import admit
from modelservice.domain.ledger import Policy
from modelservice.domain.planner import Plan, plan
from modelservice.domain.scope import Operator, Requirement, Scope, Selector
from modelservice.domain.settlement import Evidence, Settlement, settle
from modelservice.domain.snapshot import BreakGlass, Deployed, Pod, ServiceView, Snapshot
from modelservice.domain.specs import Pool, ServiceName

from tests.unit.domain.specs import HOUR, NOW, USD, gpu_pool, pod, policy, pool, running, view, wish

CHAT = ServiceName("ns", "chat")
CPU = pool()


def snapshot(*views: ServiceView, **more: object) -> Snapshot:
    given = {"pools": {"cpu": CPU}, "policies": (policy(),), "book": Book(time=NOW)}
    return Snapshot(views, **{**given, **more})  # type: ignore[arg-type]


def deployed(name: str, used: Pool = CPU, *, replicas: int, ready: int, created_at: int = NOW - HOUR) -> Deployed:
    return Deployed(
        name, name.rpartition("-")[2], used.name, {"cpu": 1000, "memory": 2**30}, replicas, ready, created_at
    )


def settled(made: Plan, pods: list[Pod], book: Book, now: int = NOW, **more: object) -> Settlement:
    given = {"policies": [policy()], "margin": 10, **more}
    evidence = Evidence(now, {one.uid: one for one in pods})
    return settle(book, now, evidence, given["policies"], made.funding, given["margin"])  # type: ignore[arg-type]


def test_a_service_gets_what_it_wants_when_there_is_money() -> None:
    own = plan(snapshot(view(3, CPU)), NOW).services[CHAT]
    assert own.counts == {"chat-cpu": 3}
    assert own.refused is None


def test_a_refusal_is_the_one_of_the_book_with_need_and_have() -> None:
    own = plan(snapshot(view(4, CPU), policies=(policy(max_rate=2_500_000),)), NOW).services[CHAT]
    assert own.funded == 2
    assert own.refused is not None
    assert own.refused.pods == 2
    assert (own.refused.why.blocked_by, own.refused.why.need, own.refused.why.have) == (Blocked.RATE, USD, 500_000)


def test_services_take_turns_so_that_one_big_wish_starves_nobody() -> None:
    views = [view(10, CPU, name="big"), view(2, CPU, name="small")]
    made = plan(snapshot(*views, policies=(policy(max_rate=4 * USD),)), NOW)
    assert made.services[ServiceName("ns", "big")].funded == 2
    assert made.services[ServiceName("ns", "small")].funded == 2


def test_money_for_all_is_not_found_out_pod_by_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(book: Book, workload: str, *given: Any) -> Book | Refusal:
        calls.append(workload)
        return admit(book, workload, *given)

    monkeypatch.setattr(purse, "admit", counted)
    made = plan(snapshot(view(40, CPU, name="a"), view(20, CPU, name="b")), NOW)
    assert [made.services[ServiceName("ns", name)].funded for name in ("a", "b")] == [40, 20]
    assert sorted(calls) == ["ns/a-cpu", "ns/b-cpu"]


def test_pods_that_exist_come_before_wishes() -> None:
    first = plan(snapshot(view(3, CPU), policies=(policy(max_rate=3 * USD),)), NOW)
    born = [pod(f"p{n}") for n in range(3)]
    book = settled(first, born, Book(), policies=[policy(max_rate=3 * USD)]).book
    views = [view(1, CPU, name="aaa"), view(3, CPU)]
    pods = {f"p{n}": running(f"p{n}") for n in range(3)}
    made = plan(snapshot(*views, policies=(policy(max_rate=3 * USD),), book=book, pods=pods), NOW + 1)
    assert made.services[CHAT].funded == 3
    assert made.services[ServiceName("ns", "aaa")].funded == 0


def test_without_a_budget_everything_is_funded_unless_one_is_required() -> None:
    assert plan(snapshot(view(3, CPU), policies=()), NOW).services[CHAT].funded == 3
    own = plan(snapshot(view(3, CPU), policies=(), budget_required=True), NOW).services[CHAT]
    assert (own.funded, own.unpaid) == (0, True)


def payers(seen: ServiceView, *policies: Policy, required: bool = False) -> tuple[tuple[str, ...], bool, int]:
    own = plan(snapshot(seen, policies=policies, budget_required=required), NOW).services[CHAT]
    return own.payers, own.unpaid, own.funded


def test_terms_have_the_labels_that_reports_group_by_and_no_other() -> None:
    seen = view(1, CPU, labels={"team": "search", "note": "long", "app": "x"})
    made = plan(snapshot(seen, cost_labels=("team", "app", "missing")), NOW)
    assert [funding.terms.labels for funding in made.funding.values() if funding.terms] == [
        (("app", "x"), ("team", "search"))
    ]


def scoped(name: str, **scope: Any) -> Policy:
    return replace(policy(name=name), scope=Scope(**scope))


def test_every_budget_whose_scope_matches_pays_and_no_other() -> None:
    chat = Selector((Requirement("model", Operator.IN, ("chat",)),))
    gold = Selector((Requirement("tier", Operator.EXISTS),))
    labelled = view(1, CPU, labels={"model": "chat"}, namespace_labels={"tier": "gold"})
    policies = (
        scoped("everything"),
        scoped("ns/team", namespaces=frozenset({"ns"})),
        scoped("other/team", namespaces=frozenset({"other"})),
        scoped("chats", services=chat),
        scoped("gold", namespace_selector=gold),
        scoped("serving", roles=frozenset({"Inference"})),
        scoped("training", roles=frozenset({"Training"})),
        scoped("this-pool", pools=frozenset({"cpu"})),
        scoped("that-pool", pools=frozenset({"gpu"})),
    )
    assert payers(labelled, *policies)[0] == ("chats", "everything", "gold", "ns/team", "serving", "this-pool")
    assert payers(view(1, CPU), *policies)[0] == ("everything", "ns/team", "serving", "this-pool")


def test_a_budget_of_another_pool_or_role_is_not_the_one_that_is_required() -> None:
    elsewhere = scoped("gpus", pools=frozenset({"gpu"}))
    assert payers(view(1, CPU), elsewhere) == ((), False, 1)
    assert payers(view(1, CPU), elsewhere, required=True) == ((), True, 0)
    assert payers(view(1, CPU), elsewhere, scoped("all"), required=True) == (("all",), False, 1)


def test_the_longest_horizon_of_the_budgets_that_bind_counts() -> None:
    def horizon(*policies: Policy) -> int:
        (grant,) = plan(snapshot(view(1, CPU), policies=policies), NOW).funding.values()
        assert grant.terms is not None
        return grant.terms.horizon

    short, middle = replace(policy(), horizon=300), replace(policy(name="b"), horizon=900)
    counting = replace(policy(name="c"), horizon=1800, enforcement=Enforcement.SOFT)
    assert horizon(short) == 300
    assert horizon(short, middle, counting) == 900
    assert horizon(counting) == horizon() == HOUR


def test_the_budget_with_the_least_decides_whoever_made_it() -> None:
    rich, poor = policy(limit=100 * USD), replace(policy(name="platform", limit=2 * USD + 500_000), scope=Scope())
    own = plan(snapshot(view(3, CPU), policies=(rich, poor)), NOW).services[CHAT]
    assert own.funded == 2
    assert own.refused is not None
    assert own.refused.why.policy == "platform"


def test_a_suspended_service_gets_nothing() -> None:
    own = plan(snapshot(view(3, CPU, suspended=True, deployed=(deployed("chat-cpu", replicas=3, ready=3),))), NOW)
    assert own.services[CHAT].counts == {"chat-cpu": 0}


def test_old_replicas_stay_until_new_ones_answer_for_them() -> None:
    def counts(ready: int) -> dict[str, int]:
        new = deployed("chat-cpu", replicas=3, ready=ready, created_at=NOW)
        old = deployed("chat-old", replicas=3, ready=3)
        return dict(plan(snapshot(view(3, CPU, deployed=(old, new))), NOW).services[CHAT].counts)

    assert counts(0) == {"chat-cpu": 3, "chat-old": 3}
    assert counts(2) == {"chat-cpu": 3, "chat-old": 1}
    assert counts(3) == {"chat-cpu": 3, "chat-old": 0}


def test_a_rollout_that_no_money_is_left_for_waits_and_keeps_the_old_replicas() -> None:
    limited = (policy(max_rate=2 * USD),)
    old = (deployed("chat-old", replicas=2, ready=2),)
    first = plan(snapshot(view(2, CPU, deployed=old, inference=None), policies=limited), NOW)
    born = [pod("a", "ns/chat-old", selector={"pool": "cpu"}), pod("b", "ns/chat-old", selector={"pool": "cpu"})]
    book = settled(first, born, Book(), policies=limited).book
    pods = {one: running(one, "ns/chat-old") for one in "ab"}
    own = plan(snapshot(view(2, CPU, deployed=old), policies=limited, book=book, pods=pods), NOW).services[CHAT]
    assert own.counts == {"chat-old": 2, "chat-cpu": 0}
    assert own.refused is not None
    assert own.leaving == ("chat-old",)


def test_what_runs_is_kept_while_the_service_cannot_be_rendered() -> None:
    old = (deployed("chat-old", replicas=2, ready=2),)
    own = plan(snapshot(view(2, CPU, deployed=old, inference=None)), NOW).services[CHAT]
    assert own.counts == {"chat-old": 2}
    assert own.leaving == ()


def test_a_service_stays_in_its_pool_when_a_cheaper_one_appears() -> None:
    cheap = pool("aaa", USD)
    seen = snapshot(
        view(1, cheap, CPU, deployed=(deployed("chat-cpu", replicas=1, ready=1),)), pools={"aaa": cheap, "cpu": CPU}
    )
    own = plan(seen, NOW).services[CHAT]
    assert own.option is not None
    assert own.option.pool.name == "cpu"


def test_a_training_pod_is_asked_for_like_a_replica() -> None:
    gpu = gpu_pool()
    seen = snapshot(
        view(0, CPU, inference=None, training=replace(wish(1, gpu), workloads={"gpu": "ns/chat-run-1"})),
        pools={"cpu": CPU, "gpu": gpu},
    )
    own = plan(seen, NOW).services[CHAT]
    assert own.training_funded
    assert own.training is not None
    assert own.training.pool.name == "gpu"
    poor = plan(replace(seen, policies=(policy(limit=USD),)), NOW).services[CHAT]
    assert not poor.training_funded
    assert poor.refused is not None


def expiring(count: int, limit: int, before: int) -> tuple[int, bool]:
    """Replicas funded, and whether the end is foreseen, `before` seconds before the end of the hold of `count` pods."""
    tight, uids = (policy(limit=limit),), [f"p{n}" for n in range(count)]
    first = plan(snapshot(view(count, CPU), policies=tight), NOW)
    book = settled(first, [pod(uid) for uid in uids], Book(), policies=tight).book
    hold = book.placements["ns/chat-cpu"].hold_through
    assert hold is not None
    seen = snapshot(view(count, CPU), policies=tight, book=book, pods={uid: running(uid) for uid in uids})
    own = plan(seen, hold - before).services[CHAT]
    return own.funded, own.expiring is not None


def test_pods_that_cannot_be_paid_for_longer_are_drained_shortly_before_the_end_of_their_hold() -> None:
    assert expiring(1, 1_045_000, before=600) == (1, False)
    assert expiring(1, 1_045_000, before=60) == (0, True)


def test_as_many_pods_are_kept_as_can_be_paid_for_longer() -> None:
    assert expiring(2, 2_085_000, before=60) == (1, True)
    assert expiring(2, 3_300_000, before=600) == (2, False)


def test_a_pod_that_runs_by_break_glass_is_not_scaled_away_for_want_of_money() -> None:
    poor, end = (policy(limit=1),), NOW + 2 * HOUR
    book = recall(settled(plan(snapshot(view(2, CPU)), NOW), [pod("a"), pod("b")], Book()).book)
    held = {"a": running("a", break_glass=BreakGlass(end)), "b": running("b")}
    free = {"x": running("x", break_glass=BreakGlass(end))}

    def funded(pods: dict[str, Pod], stored: Book, now: int, **more: object) -> int:
        given = {"policies": poor, "book": stored, "pods": pods, **more}
        return plan(snapshot(view(2, CPU, deployed=there), **given), now).services[CHAT].funded

    there = (deployed("chat-cpu", replicas=2, ready=2),)
    assert funded(held, book, NOW + HOUR) == 1
    assert funded(held, book, end) == 0
    assert funded(free, Book(time=NOW), NOW) == 1
    assert funded(free, Book(time=NOW), NOW, policies=(), budget_required=True) == 1
    assert funded(free, Book(time=NOW), NOW, pools={}) == 1


def test_equal_snapshots_give_equal_plans_whatever_their_order() -> None:
    views = [view(2, CPU, name=name) for name in ("c", "a", "b")]
    limited = (policy(max_rate=4 * USD),)
    one = plan(snapshot(*views, policies=limited), NOW)
    assert plan(snapshot(*reversed(views), policies=limited), NOW) == one


def test_when_a_pool_is_gone_what_is_paid_for_stays_and_nothing_is_added() -> None:
    born = [pod("a"), pod("b")]
    book = settled(plan(snapshot(view(2, CPU)), NOW), born, Book()).book
    pods = {one: running(one) for one in "ab"}
    there = (deployed("chat-cpu", replicas=5, ready=2),)

    def counts(want: int, *, suspended: bool = False) -> dict[str, int]:
        seen = snapshot(view(want, deployed=there, suspended=suspended), pools={}, book=book, pods=pods)
        return dict(plan(seen, NOW + 1).services[CHAT].counts)

    assert counts(5) == {"chat-cpu": 2}
    assert counts(1) == {"chat-cpu": 1}
    assert counts(2, suspended=True) == {"chat-cpu": 0}


def test_a_budget_made_anew_in_another_currency_pays_for_what_runs_and_for_nothing_new() -> None:
    book = settled(plan(snapshot(view(1, CPU)), NOW), [pod("a")], Book()).book
    there = (deployed("chat-cpu", replicas=1, ready=1),)
    euros = (policy(currency="EUR"),)
    seen = snapshot(view(3, CPU, deployed=there), policies=euros, book=book, pods={"a": running("a")})
    own = plan(seen, NOW + 1).services[CHAT]
    assert own.counts == {"chat-cpu": 1}
    assert own.refused is not None
    assert (own.refused.why.blocked_by, own.refused.why.currency, own.refused.pods) == (Blocked.CURRENCY, "EUR", 2)


def test_of_a_frozen_book_what_runs_stays_known_or_not_and_nothing_is_added() -> None:
    there = (deployed("chat-cpu", replicas=3, ready=2),)
    pods = {"a": running("a"), "b": running("b"), "c": pod("c"), "d": pod("d", gated=False)}

    def funded(count: int, **more: object) -> int:
        made = plan(snapshot(view(count, CPU, deployed=there), **{"pods": pods, "frozen": True, **more}), NOW)
        own = made.services[CHAT]
        assert own.refused is None
        assert made.funding["ns/chat-cpu"].count == own.funded
        return own.funded

    assert funded(3) == 2
    assert funded(1) == 1
    assert funded(3, policies=(policy(limit=1),)) == 2
    assert funded(3, frozen=False) == 3
