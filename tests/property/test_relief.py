"""The time that a refusal names is kept: what runs goes on, and by then one more pod is paid for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Book, Line
from modelservice.domain.ledger import Policy, advance, set_policies
from modelservice.domain.limits import CarryOver, Overspend, Unused
from modelservice.domain.periods import Calendar, Period
from modelservice.domain.planner import Plan, plan
from modelservice.domain.relief import relieve
from modelservice.domain.settlement import Evidence, settle
from modelservice.domain.snapshot import Pod, Snapshot
from modelservice.domain.specs import ServiceName

from tests.unit.domain.specs import NOW, policy, pool, running, view

CHAT = ServiceName("ns", "chat")
CPU = pool()
STEP = 600
"""Seconds between two passes of the operator."""
CARRY_OVERS = [CarryOver(overspend, unused) for overspend in Overspend for unused in Unused]


def hourly(limit: int, carry: CarryOver, *, horizon: int) -> Policy:
    return replace(policy(limit), period=Period(Calendar.HOUR, "UTC"), carry_over=carry, horizon=horizon)


def scene(asked: Policy, book: Book, pods: dict[str, Pod], count: int) -> Snapshot:
    return Snapshot((view(count, CPU),), {"cpu": CPU}, (asked,), pods, book)


def carried_out(made: Plan, asked: Policy, book: Book, pods: dict[str, Pod], now: int) -> tuple[Book, dict[str, Pod]]:
    """The book and the pods after a pass: as many run as are funded, each from its admission on."""
    wanted = made.services[CHAT].funded
    alive = dict(sorted(pods.items())[:wanted])
    ended = {uid: replace(pod, terminal=True, finished_at=now - 1) for uid, pod in pods.items() if uid not in alive}
    fresh = {uid: running(uid, gated=True, node=None, started_at=None) for uid in (f"{now}-{n}" for n in range(wanted))}
    born = dict(list(fresh.items())[: wanted - len(alive)])
    evidence = Evidence(now, {**alive, **ended, **born})
    done = settle(book, now, evidence, [asked], made.funding, 60)
    started = {pod.uid: running(pod.uid, started_at=now) for pod in done.ungate}
    return done.book, {**alive, **started}


@given(
    st.integers(1_050_000, 4_000_000),
    st.integers(60, 100),
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from(CARRY_OVERS),
    st.sampled_from([600, 1200, 3600]),
)
def test_what_a_refusal_says_comes_true(
    limit: int, percent: int, count: int, passed: int, carry: CarryOver, horizon: int
) -> None:
    asked, now = hourly(limit, carry, horizon=horizon), NOW + passed * STEP
    book = set_policies(advance(Book(), NOW), [asked])
    line = Line("ns/chat", "Inference", "cpu", limit * percent // 100)
    book = replace(book, accounts=(replace(book.accounts[0], lines=(line,)), *book.accounts[1:]))
    first = plan(scene(asked, book, {}, count), now)
    book, pods = carried_out(first, asked, book, {}, now)
    seen = scene(asked, book, pods, count)
    found = relieve(seen, plan(seen, now), now).get(CHAT)
    if found is None or found.affordable_at is None:
        return
    assert found.affordable_at > now
    for moment in (*range(now + STEP, found.affordable_at, STEP), found.affordable_at):
        book, pods = carried_out(plan(scene(asked, book, pods, count), moment), asked, book, pods, moment)
        if plan(scene(asked, book, pods, count), moment).services[CHAT].funded > found.replicas:
            return
    raise AssertionError(f"nothing more was paid for by {found.affordable_at}")
