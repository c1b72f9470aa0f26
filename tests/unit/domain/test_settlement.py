"""One pass over the book: what evidence does to it, which gates may go, which pods must."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from modelservice.domain import funding as funding_module
from modelservice.domain import settlement
from modelservice.domain.book import Blocked, Book, Enforcement, Refusal, Terms
from modelservice.domain.funding import admit
from modelservice.domain.guarantee import Watch
from modelservice.domain.ledger import Policy
from modelservice.domain.money import cost
from modelservice.domain.prices import Billing, BillingStart, Course
from modelservice.domain.settlement import End, Evidence, Funding, Settlement, settle
from modelservice.domain.snapshot import BreakGlass, Pod

from tests.unit.domain.specs import HOUR, NOW, USD, pod, policy, running

WORK = "ns/chat-cpu"
TEAM = policy()


NO_LOAN = Course(known_until=0)


def funding(count: int, *, rates: bool = True, start: BillingStart = BillingStart.RUNNING, **more: object) -> Funding:
    """A grant to which no money is lent beyond the horizon."""
    terms = Terms("ns/chat", "Inference", "cpu", "USD", {"ns/team": USD} if rates else {}, Billing(30, begins=start))
    given = Funding(count, terms, 30, {"cpu": 1000, "memory": 2**30}, {"pool": "cpu"}, USD, NO_LOAN)
    return replace(given, **more)  # type: ignore[arg-type]


def step(
    book: Book, pods: list[Pod], grant: Funding | None, now: int = NOW, team: Policy | None = TEAM, **ends: End
) -> Settlement:
    evidence = Evidence(now, {one.uid: one for one in pods}, ends)
    return settle(book, now, evidence, [team] if team else [], {WORK: grant} if grant else {}, 10)


def units(book: Book) -> set[str]:
    return {uid for placement in book.placements.values() for uid in placement.units}


def held(book: Book) -> int:
    return book.worst(book.accounts[0])


def test_gated_pods_are_admitted_in_the_order_of_their_birth_as_far_as_they_are_funded() -> None:
    born = [pod("late", created_at=NOW), pod("early", created_at=NOW - 5), pod("later", created_at=NOW + 1)]
    made = step(Book(), born, funding(2))
    assert made.changed
    assert {one.uid for one in made.ungate} == {"early", "late"} == units(made.book)


def test_workloads_take_turns_when_money_is_short() -> None:
    other = "ns/ranker-cpu"
    pods = [*(pod(f"a{number}") for number in range(4)), *(pod(f"b{number}", other) for number in range(4))]
    grants = {WORK: funding(4), other: funding(4)}
    made = settle(Book(), NOW, Evidence(NOW, {one.uid: one for one in pods}), [policy(max_rate=5 * USD)], grants, 10)
    assert units(made.book) == {"a0", "a1", "a2", "b0", "b1"}
    assert made.refusals.keys() == {WORK, other}


def test_a_burst_that_there_is_money_for_is_not_admitted_pod_by_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(book: Book, workload: str, uids: Collection[str], asked: Terms | None = None) -> Book | Refusal:
        calls.append(workload)
        return admit(book, workload, uids, asked)

    for module in (funding_module, settlement):
        monkeypatch.setattr(module, "admit", counted)
    made = step(Book(), [pod(f"a{number}") for number in range(40)], funding(30))
    assert len(units(made.book)) == 30
    assert calls == [WORK]


def test_a_pod_that_is_in_the_book_and_still_gated_is_let_go_again_after_a_crash() -> None:
    first = step(Book(), [pod("a")], funding(1))
    again = step(first.book, [pod("a")], funding(1), NOW + 5)
    assert not again.changed
    assert [one.uid for one in again.ungate] == ["a"]


def test_a_refusal_leaves_the_pod_gated_and_says_why() -> None:
    made = step(Book(), [pod("a")], funding(1), team=policy(max_rate=USD - 1))
    assert made.ungate == ()
    assert made.refusals[WORK].blocked_by is Blocked.RATE


def test_pods_are_let_go_without_a_budget_too_and_cost_nobody_anything() -> None:
    made = step(Book(), [pod("a")], funding(1, rates=False), team=None)
    assert [one.uid for one in made.ungate] == ["a"]
    assert made.book.placements[WORK].hold_through is None


def test_a_pod_that_asks_for_more_than_was_priced_or_for_other_nodes_is_never_admitted() -> None:
    greedy, elsewhere = pod("a", requests={"cpu": 1001}), pod("b", selector={"pool": "gpu"})
    made = step(Book(), [greedy, elsewhere], funding(2))
    assert made.ungate == ()
    assert {one.uid for one in made.foreign} == {"a", "b"}


def test_nothing_is_posted_before_a_pod_runs_and_from_its_start_on_then() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    bound = step(book, [running("a", started_at=NOW, node="n1")], funding(1), NOW + 600)
    posted = bound.book.posted(bound.book.accounts[0])
    assert posted == -(-USD * 600 // HOUR)
    waiting = step(book, [running("a", started_at=None, ready_since=None)], funding(1), NOW + 600)
    assert waiting.book.posted(waiting.book.accounts[0]) == 0


def test_a_pool_that_bills_from_the_ungating_counts_from_the_admission() -> None:
    grant = funding(1, start=BillingStart.UNGATE)
    book = step(Book(), [pod("a")], grant).book
    bound = running("a", started_at=None, ready_since=None)
    made = step(book, [bound], grant, NOW + 600)
    assert made.book.posted(made.book.accounts[0]) == -(-USD * 600 // HOUR)


def test_a_unit_ends_on_the_kubelets_word_and_not_on_a_deletion_timestamp() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    book = step(book, [running("a")], funding(1), NOW + 10).book
    leaving = step(book, [running("a", deleting=True)], funding(1), NOW + 20)
    assert units(leaving.book) == {"a"}
    over = step(leaving.book, [running("a", terminal=True, finished_at=NOW + 99)], funding(1), NOW + 200)
    assert units(over.book) == set()
    assert held(over.book) == -(-USD * 100 // HOUR)


def test_absence_alone_ends_nothing_and_with_proof_it_ends_the_unit() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    book = step(book, [running("a")], funding(1), NOW + 10).book
    assert units(step(book, [], funding(1), NOW + 20).book) == {"a"}
    assert units(step(book, [], funding(1), NOW + 20, a=End()).book) == set()


def test_a_pod_that_was_never_bound_gives_all_its_money_back() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    made = step(book, [], funding(1), NOW + 100, a=End(never_bound=True))
    assert held(made.book) == 0


def test_a_pod_that_found_no_node_in_twice_the_start_time_is_deleted_with_preconditions() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    lost = pod("a", gated=False)
    assert step(book, [lost], funding(1), NOW + 60).delete == ()
    (deletion,) = step(book, [lost], funding(1), NOW + 61).delete
    assert (deletion.pod.uid, deletion.unbound) == ("a", True)
    assert "60 s" in deletion.why


def test_pods_are_deleted_shortly_before_the_end_of_a_hold_that_cannot_be_renewed() -> None:
    poor = policy(limit=1_050_000)
    book = step(Book(), [pod("a")], funding(1), team=poor).book
    book = step(book, [running("a")], funding(1), NOW + 10, poor).book
    assert step(book, [running("a")], funding(1), NOW + HOUR - 11, poor).delete == ()
    made = step(book, [running("a")], funding(1), NOW + HOUR - 10, poor)
    assert [(one.pod.uid, one.unbound) for one in made.delete] == [("a", False)]
    assert made.refusals[WORK].blocked_by is Blocked.LIMIT


def test_a_hold_is_renewed_below_half_of_the_horizon_and_not_before() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    book = step(book, [running("a")], funding(1), NOW + 10).book
    assert not step(book, [running("a")], funding(1), NOW + HOUR // 2 - 1).changed
    made = step(book, [running("a")], funding(1), NOW + HOUR // 2 + 1)
    assert made.changed
    assert made.book.placements[WORK].hold_through == NOW + HOUR // 2 + 1 + HOUR


def test_a_workload_that_is_not_in_the_plan_is_paid_on_and_one_without_funds_is_not() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    book = step(book, [running("a")], funding(1), NOW + 10).book
    later = NOW + HOUR // 2 + 1
    assert step(book, [running("a")], None, later).changed
    assert not step(book, [running("a")], funding(0), later).changed


def test_a_pod_found_running_without_a_hold_is_taken_in_and_named() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    made = step(book, [running("a"), running("b")], funding(1), NOW + 10)
    assert [one.uid for one in made.adopted] == ["b"]
    assert units(made.book) == {"a", "b"}
    assert made.book.posted(made.book.accounts[0]) == 2 * -(-USD * 10 // HOUR)


def test_a_restart_does_not_forget_that_a_pool_bills_from_the_start_of_the_container() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    waiting = step(book, [running("a", started_at=None, ready_since=None)], None, NOW + 600)
    assert not waiting.book.placements[WORK].units["a"].proven
    started = step(book, [running("a", started_at=NOW + 300)], None, NOW + 600)
    assert started.book.placements[WORK].units["a"].start == NOW + 300


@pytest.mark.parametrize(("start", "seconds"), [(BillingStart.UNGATE, 100), (BillingStart.RUNNING, 10)])
def test_a_pod_found_running_costs_from_its_birth_where_the_wait_for_its_start_is_billed(
    start: BillingStart, seconds: int
) -> None:
    grant = funding(1, start=start)
    book = step(Book(), [pod("a")], grant).book
    made = step(book, [pod("a"), running("b", created_at=NOW - 90, started_at=NOW)], grant, NOW + 10)
    assert made.book.posted(made.book.accounts[0]) == -(-USD * seconds // HOUR)


def test_only_pods_that_the_plan_still_wants_are_let_go() -> None:
    born = [pod("old", created_at=NOW - 1), pod("new", created_at=NOW)]
    book = step(Book(), born, funding(2)).book
    assert [one.uid for one in step(book, born, funding(1), NOW + 5).ungate] == ["old"]
    assert step(book, [running("old"), born[1]], funding(1), NOW + 5).ungate == ()
    assert len(step(book, born, None, NOW + 5).ungate) == 2


def test_nothing_new_is_not_worth_a_write() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    book = step(book, [running("a")], funding(1), NOW + 10).book
    made = step(book, [running("a")], funding(1), NOW + 20)
    assert not made.changed
    assert (made.ungate, made.delete, made.adopted) == ((), (), ())


def test_a_budget_that_appears_later_pays_for_what_runs() -> None:
    free = step(Book(), [pod("a")], funding(1, rates=False), team=None).book
    free = step(free, [running("a")], funding(1, rates=False), NOW + 10, None).book
    made = step(free, [running("a")], funding(1), NOW + 100)
    assert made.book.placements[WORK].hold_through == NOW + 100 + HOUR
    assert made.book.posted(made.book.accounts[0]) == 0


@pytest.mark.parametrize(
    ("watch", "bounded"),
    [
        pytest.param(Watch(NOW, NOW + 9000), True, id="a fuse has watched all the time"),
        pytest.param(None, False, id="no fuse"),
        pytest.param(Watch(NOW + HOUR + 1, NOW + 9000), False, id="a fuse has watched since the hold ended"),
        pytest.param(Watch(NOW, NOW + HOUR), False, id="the fuse has been silent since the hold ended"),
        pytest.param(Watch(NOW, NOW + 9000, {"a": NOW + 8000}), False, id="a fuse has spared it"),
        pytest.param(Watch(NOW, NOW + 9000, {"b": NOW + 8000}), True, id="a fuse has spared another one"),
    ],
)
def test_a_pod_that_vanished_in_an_outage_is_billed_past_its_hold_only_without_a_fuse(
    watch: Watch | None, *, bounded: bool
) -> None:
    book = step(step(Book(), [pod("a")], funding(1)).book, [running("a")], funding(1)).book
    (placement,) = book.placements.values()
    assert placement.hold_through == NOW + HOUR
    seen = Evidence(NOW + 9000, {}, {"a": End()}, watch=watch)
    after = settle(book, NOW + 9000, seen, [TEAM], {}, 10).book
    assert units(after) == set()
    lived = HOUR + 120 + 30 if bounded else 9001
    start = placement.units["a"].start
    assert after.posted(after.accounts[0]) == cost(USD, start, NOW + lived)


def test_a_pod_that_was_adopted_after_its_hold_is_billed_to_its_end_in_spite_of_a_fuse() -> None:
    book = step(step(Book(), [pod("a")], funding(1)).book, [running("a")], funding(1)).book
    (placement,) = book.placements.values()
    late = replace(placement, hold_through=NOW - 600)
    seen = Evidence(NOW + 100, {}, {"a": End()}, watch=Watch(NOW - 9000, NOW + 100))
    after = settle(book.with_placement(late), NOW + 100, seen, [TEAM], {}, 10).book
    assert after.posted(after.accounts[0]) == cost(USD, placement.units["a"].start, NOW + 101)


def test_a_pod_by_break_glass_is_not_deleted_at_the_end_of_its_hold_nor_for_want_of_a_node() -> None:
    book = step(Book(), [pod("a")], funding(1)).book
    spared = replace(pod("a", gated=False), break_glass=BreakGlass(NOW + 2 * HOUR))
    for now in (NOW + 61, NOW + HOUR):
        kept = step(book, [replace(spared, break_glass=BreakGlass(now + 1))], funding(0), now)
        gone = step(book, [replace(spared, break_glass=BreakGlass(now))], funding(0), now)
        assert (len(kept.delete), len(gone.delete) > 0) == (0, True)


def test_a_budget_that_begins_to_bind_pays_for_as_much_of_what_runs_as_it_has_money_for() -> None:
    uids = ["a", "b", "c"]
    trial, binding = replace(TEAM, enforcement=Enforcement.DRY_RUN), funding(3)
    assert binding.terms is not None
    free = replace(binding, terms=replace(binding.terms, advisory=frozenset({"ns/team"})))
    begun = step(Book(), [pod(uid) for uid in uids], free, team=trial)
    counted = step(begun.book, [running(uid) for uid in uids], free, NOW + 60, trial)
    assert (counted.delete, counted.refusals) == ((), {})

    def bound(limit: int) -> Settlement:
        return step(counted.book, [running(uid) for uid in uids], binding, NOW + 120, policy(limit=limit))

    for limit, kept, seconds in ((100 * USD, 3, HOUR), (2 * USD, 3, 60), (260_000, 2, 60), (242_000, 1, 60)):
        made = bound(limit)
        placement = made.book.placements[WORK]
        assert placement.hold_through is not None
        assert placement.hold_through >= NOW + 120 + seconds
        assert {deletion.pod.uid for deletion in made.delete} == set(uids[kept:])
        assert made.book.insolvent() == ()
    assert len(bound(USD // 10).delete) == len(uids)


def test_of_a_frozen_book_what_runs_is_paid_on_and_nothing_is_started_or_stopped() -> None:
    first = step(Book(), [pod("a"), pod("b")], funding(2)).book
    seen = {one.uid: one for one in (running("a"), pod("b"), pod("c"), running("lost"))}

    def frozen(now: int, team: Policy = TEAM) -> Settlement:
        return settle(first, now, Evidence(now, seen), [team], {WORK: funding(4)}, 10, frozen=True)

    soon = frozen(NOW + 1801)
    assert (soon.ungate, soon.delete) == ((), ())
    assert units(soon.book) == {"a", "b", "lost"}
    assert [one.uid for one in soon.adopted] == ["lost"]
    assert soon.book.placements[WORK].hold_through == NOW + 1801 + HOUR
    poor = frozen(NOW + HOUR + 500, policy(limit=3_550_000))
    assert poor.delete == ()
    assert set(poor.book.placements) == {WORK}
    assert poor.refusals[WORK].blocked_by is Blocked.LIMIT
    assert poor.changed
