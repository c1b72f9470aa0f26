"""No budget is overspent on a real cluster, whatever is done to the operator, the nodes and the API server."""

from __future__ import annotations

import pytest

from tests.proof.performance import Performance
from tests.proof.scene import RUNS, SERVICES
from tests.proof.verdict import Verdict


def test_every_stored_book_agrees_with_what_the_kubelets_say(
    performance: Performance, verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    audit, done = verdict.audit, performance.disturbances
    with capsys.disabled():
        print(f"\nproof: seed {performance.seed}, {len(verdict.lives)} pods, {audit.books} books compared")
        print(f"proof: {done.deletions} deletions of the operator ({done.leaders} led), {done.preemptions} preemptions")
        print(f"proof: closed by evidence: {dict(sorted(audit.closed.items()))}")
        for (policy, start), (spent, booked, limit) in verdict.totals().items():
            print(
                f"proof: {policy} from {start}: spent {spent}, booked {booked}, difference {booked - spent}, {limit=}"
            )
        print(f"proof: highest part of a limit: { {name: round(part, 3) for name, part in audit.nearest.items()} }")
    assert not performance.recorder.lost
    assert not [v.at for v in performance.recorder.of("BudgetLedger") if v.object.get("freeze")], "the book was frozen"
    assert not audit.faults, f"{len(audit.faults)} faults, seed {performance.seed}:\n" + "\n".join(audit.faults[:40])


def test_the_record_is_of_a_cluster_under_stress(performance: Performance, verdict: Verdict) -> None:
    done, plan = performance.disturbances, performance.plan
    assert done.deletions == plan.deletions
    assert done.leaders >= 1
    assert done.preemptions >= plan.deletions // 4
    assert {(life.namespace, life.service) for life in verdict.lives.values() if life.begin} == {*SERVICES, *RUNS}
    assert verdict.audit.closed["kubelet"] >= plan.deletions
    assert verdict.audit.closed["node gone"] >= 1


def test_an_outage_of_the_operator_stops_nothing_that_is_paid(performance: Performance, verdict: Verdict) -> None:
    began, ended = performance.outage
    funded = {uid for uid, hold in performance.kept.items() if hold > ended}
    assert funded
    for uid in funded:
        life = verdict.lives[uid]
        if life.asked is not None and life.asked < began:
            continue  # the operator had asked for its end before it was taken away
        assert life.asked is None or life.asked >= ended - 1, f"{life.name} was stopped although it was paid"
    for life in verdict.lives.values():
        if life.asked is not None and began <= life.asked < ended - 1:
            hold = verdict.last_paid(life).hold
            assert hold is not None
            assert life.asked >= hold, f"{life.name} was stopped at {life.asked}, paid through {hold}"


def test_the_fuse_stops_what_is_not_paid_while_there_is_no_operator(performance: Performance, verdict: Verdict) -> None:
    ended = performance.outage[1]
    due = {uid for uid, hold in performance.kept.items() if hold + 120 < ended}
    assert due
    for uid in due:
        life = verdict.lives[uid]
        if life.asked is None:  # it had ended by itself
            assert life.finished is not None
            continue
        paid = verdict.last_paid(life)
        assert paid.hold is not None
        assert paid.hold <= life.asked <= paid.hold + paid.billing["late"]
        assert life.end is not None
        assert life.end <= (paid.latest_stop or 0)
    assert any(verdict.lives[uid].asked for uid in due)


def test_no_period_costs_more_than_what_its_budget_says_it_can_cost_at_most(
    performance: Performance, verdict: Verdict
) -> None:
    promises = list(verdict.promises(performance.recorder))
    assert {promise.budget for promise in promises} == {"platform", "north/team", "south/team"}
    for promise in promises:
        spent = verdict.spent(promise.budget, promise.start, promise.end, promise.until)
        assert spent <= promise.amount, f"{promise} was told, and {spent} was spent"
