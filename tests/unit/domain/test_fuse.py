"""Which pods the fuse deletes, at which time, and with which precondition."""

from dataclasses import replace

import pytest
from modelservice.domain.book import HORIZON_SECONDS, Book, Unit
from modelservice.domain.fuse import judge
from modelservice.domain.guarantee import GAP_SECONDS
from modelservice.domain.snapshot import BreakGlass, Pod
from modelservice.domain.specs import Role, ServiceName

from tests.unit.domain.books import NOW, WORK, opened

HOLD = NOW + 1000


def pod(uid: str = "a", *, gated: bool = False, node: str | None = "node-1", spared_until: int | None = None) -> Pod:
    return Pod(
        uid=uid,
        namespace="team",
        name=f"chat-{uid}",
        version="7",
        service=ServiceName("team", "chat"),
        role=Role.INFERENCE,
        workload=WORK,
        created_at=NOW,
        gated=gated,
        node=node,
        break_glass=None if spared_until is None else BreakGlass(spared_until, "a demo"),
    )


def book(*uids: str, hold: int | None = HOLD) -> Book:
    made = opened()
    units = {uid: Unit(NOW, "node-1") for uid in uids}
    return made.with_placement(replace(made.placements[WORK], hold_through=hold, units=units))


@pytest.mark.parametrize(
    ("pods", "date", "deleted"),
    [
        pytest.param([pod()], HOLD - 1, [], id="paid"),
        pytest.param([pod()], HOLD, ["a"], id="no longer paid"),
        pytest.param([pod(gated=True, node=None)], HOLD - 1, [], id="paid and gated"),
        pytest.param([pod(gated=True, node=None)], HOLD, ["a"], id="no longer paid and gated"),
        pytest.param([pod("x")], NOW, ["x"], id="in no unit"),
        pytest.param([pod("x", node=None)], NOW, ["x"], id="in no unit and on no node yet"),
        pytest.param([pod("x", gated=True, node=None)], HOLD + 10**6, [], id="gated in no unit"),
        pytest.param([replace(pod("x"), terminal=True)], NOW, [], id="ended"),
        pytest.param([replace(pod(), deleting=True)], HOLD, [], id="being deleted"),
        pytest.param([pod(spared_until=HOLD + 1)], HOLD, [], id="spared"),
        pytest.param([pod(spared_until=HOLD)], HOLD, ["a"], id="spared until now"),
        pytest.param([pod("x", spared_until=NOW + 1)], NOW, [], id="in no unit and spared"),
        pytest.param([pod(), pod("b"), pod("x")], HOLD - 1, ["x"], id="only what is not paid"),
    ],
)
def test_deleted_is_what_nobody_pays_for(pods: list[Pod], date: int, deleted: list[str]) -> None:
    assert [one.pod.uid for one in judge(pods, book("a", "b"), date).delete] == deleted


def test_a_pod_that_no_policy_pays_for_has_no_end() -> None:
    assert judge([pod()], book("a", hold=None), HOLD + 10**9).delete == ()


def test_a_draining_record_ends_like_any_other() -> None:
    made = book()
    draining = replace(made.placements[WORK], name=f"{WORK}~1", hold_through=HOLD, units={"a": Unit(NOW)})
    assert len(judge([pod()], made.with_placement(draining), HOLD).delete) == 1


def test_a_pod_that_was_not_bound_is_deleted_only_as_it_was_seen() -> None:
    verdict = judge([pod(), pod("b", gated=True, node=None), pod("x", node=None)], book("a", "b"), HOLD)
    assert [(one.pod.uid, one.unbound) for one in verdict.delete] == [("a", False), ("b", True), ("x", True)]


def test_spared_are_those_that_would_be_deleted() -> None:
    pods = [pod(spared_until=HOLD + 9), pod("b", spared_until=HOLD + 9), pod("x", spared_until=HOLD + 9)]
    assert [one.uid for one in judge(pods, book("a"), HOLD - 1).spared] == ["b", "x"]
    assert [one.uid for one in judge(pods, book("a"), HOLD).spared] == ["a", "b", "x"]


def test_every_deletion_says_why() -> None:
    why = [one.why for one in judge([pod(), pod("x")], book("a"), HOLD + 5).delete]
    assert why == [
        "Pod team/chat-a is 5 s past the time through which it is paid.",
        "Pod team/chat-x runs and the book of budgets does not know it.",
    ]


def test_what_an_old_book_lends_beyond_the_horizon_may_have_been_taken_back() -> None:
    lent, reach = book("a", hold=NOW + 10 * HORIZON_SECONDS), HORIZON_SECONDS - GAP_SECONDS
    for read_at in (NOW + GAP_SECONDS, NOW + 1000):
        paid = judge([pod()], lent, read_at + reach - 1, read_at=read_at)
        over = judge([pod()], lent, read_at + reach, read_at=read_at)
        assert ([one.pod.uid for one in paid.delete], [one.pod.uid for one in over.delete]) == ([], ["a"])
    assert judge([pod()], lent, NOW + 10 * HORIZON_SECONDS - 1).delete == ()


@pytest.mark.parametrize(
    ("age", "deleted"),
    [(1, []), (999, []), (1000, ["a"]), (HORIZON_SECONDS - 1, ["a"]), (HORIZON_SECONDS, ["a", "x"])],
)
def test_an_old_book_proves_its_own_holds_and_nothing_of_other_pods_for_a_horizon(age: int, deleted: list[str]) -> None:
    verdict = judge([pod(), pod("x")], book("a"), NOW + age, read_at=NOW)
    assert [one.pod.uid for one in verdict.delete] == deleted


def test_a_frozen_book_condemns_nobody() -> None:
    pods = [pod(), pod("x"), pod("b", gated=True, node=None)]
    verdict = judge(pods, book("a", "b"), HOLD, frozen=True)
    assert verdict.delete == ()
    assert [one.uid for one in verdict.spared] == ["a", "x", "b"]
    assert judge(pods, book("a", "b"), HOLD - 1, frozen=True).spared == (pods[1],)
