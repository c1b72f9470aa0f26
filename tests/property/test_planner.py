"""Plans for many services: never more than the book allows, never less than it could, stable once carried out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Book, Refusal
from modelservice.domain.funding import admit
from modelservice.domain.planner import Plan, plan
from modelservice.domain.settlement import Evidence, settle
from modelservice.domain.snapshot import Pod, Snapshot
from modelservice.domain.specs import ServiceName

from tests.unit.domain.specs import HOUR, NOW, USD, pod, policy, pool, running, view

wishes = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 6), max_size=5)
limits = st.integers(0, 20 * USD)
rates = st.none() | st.integers(0, 12 * USD)


def carried_out(wanted: dict[str, int], limit: int, rate: int | None) -> tuple[Snapshot, Plan]:
    """Plan, make the pods, settle the book, and look again."""
    payer = policy(limit=limit, max_rate=rate)
    views = tuple(view(count, CPU, name=name) for name, count in wanted.items())
    snapshot = Snapshot(views, {"cpu": CPU}, (payer,), {}, Book(time=NOW))
    first = plan(snapshot, NOW)
    born: list[Pod] = []
    for own in first.services.values():
        for name, count in own.counts.items():
            born += [pod(f"{name}-{n}", f"ns/{name}") for n in range(count)]
    evidence = Evidence(NOW, {one.uid: one for one in born})
    settled = settle(Book(), NOW, evidence, [payer], first.funding, 10)
    assert {one.uid for one in settled.ungate} == {one.uid for one in born}
    pods = {one.uid: running(one.uid, one.workload) for one in born}
    return Snapshot(views, {"cpu": CPU}, (payer,), pods, settled.book), first


CPU = pool()


@given(wishes, limits, rates)
def test_what_is_planned_is_admitted_in_full_and_no_account_is_overdrawn(
    wanted: dict[str, int], limit: int, rate: int | None
) -> None:
    after, _ = carried_out(wanted, limit, rate)
    assert after.book.insolvent() == ()
    assert rate is None or after.book.rate("ns/team") <= rate


@given(wishes, limits, rates)
def test_nothing_is_refused_that_the_book_would_have_admitted(
    wanted: dict[str, int], limit: int, rate: int | None
) -> None:
    after, made = carried_out(wanted, limit, rate)
    for name, count in wanted.items():
        own = made.services[ServiceName("ns", name)]
        assert own.funded <= count
        if own.funded < count and own.funded:
            assert isinstance(admit(after.book, f"ns/{name}-cpu", ["one more"]), Refusal)


@given(wishes, limits, rates)
def test_a_plan_that_was_carried_out_plans_the_same_again(wanted: dict[str, int], limit: int, rate: int | None) -> None:
    after, first = carried_out(wanted, limit, rate)
    second = plan(after, NOW + 1)
    assert {name: own.counts for name, own in second.services.items()} == {
        name: own.counts for name, own in first.services.items()
    }


@given(wishes, limits, rates)
def test_services_that_want_the_same_get_the_same_but_for_one(
    wanted: dict[str, int], limit: int, rate: int | None
) -> None:
    _, made = carried_out(dict.fromkeys(wanted, 4), limit, rate)
    funded = [own.funded for own in made.services.values()]
    assert not funded or max(funded) - min(funded) <= 1


@given(wishes, limits, st.integers(0, 2 * HOUR))
def test_time_alone_never_makes_a_plan_ask_for_more_than_is_wanted(
    wanted: dict[str, int], limit: int, later: int
) -> None:
    after, _ = carried_out(wanted, limit, None)
    made = plan(after, NOW + later)
    assert all(made.services[ServiceName("ns", name)].funded <= count for name, count in wanted.items())
