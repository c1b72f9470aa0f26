"""Endurance: what is lent, to whom, how far; that it is taken back when it is needed, and when it is worth a write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Blocked, Book, Terms
from modelservice.domain.endurance import Loan, lend, recall
from modelservice.domain.funding import admit, place
from modelservice.domain.ledger import Policy, advance, set_policies
from modelservice.domain.money import HOUR
from modelservice.domain.periods import Calendar, Period, Window
from modelservice.domain.prices import Billing, Course
from modelservice.domain.settlement import Evidence, Funding, Settlement, settle
from modelservice.domain.snapshot import Pod

from tests.unit.domain.books import FOR_ONE, LATE, MONTH_END, NOW, SECOND, STOP, TEAM, policy, sure, terms
from tests.unit.domain.specs import pod, running

OVERRUN = LATE + STOP


def filled(policies: list[Policy], pods: Mapping[str, int], terms_of: Mapping[str, Terms] | None = None) -> Book:
    """A book in which each workload has so many pods, paid through the horizon."""
    book = set_policies(advance(Book(), NOW), policies)
    for name, count in pods.items():
        book = sure(place(book, name, (terms_of or {}).get(name, terms())))
        book = sure(admit(book, name, [f"{name}-{n}" for n in range(count)]))
    return book


def holds(book: Book) -> dict[str, int]:
    """Seconds from now until the end of each hold."""
    held = {name: p.hold_through for name, p in book.placements.items() if p.units}
    return {name: hold - NOW for name, hold in held.items() if hold is not None}


def lent(book: Book, **loans: Loan) -> dict[str, int]:
    """Seconds from now until the end of each hold after lending to all workloads."""
    after = lend(book, [loans.get(name.partition("/")[2], Loan(name)) for name in book.placements])
    assert not after.insolvent()
    return holds(after)


def test_money_is_lent_through_the_end_of_the_period_and_no_further() -> None:
    book = filled([policy()], {"team/a": 2})
    assert lent(book) == {"team/a": MONTH_END - OVERRUN - NOW}


def test_near_the_end_of_a_period_the_next_one_lends_too_and_only_that() -> None:
    hourly = policy(calendar=Calendar.HOUR)
    assert lent(filled([hourly], {"team/a": 2})) == {"team/a": 2 * HOUR - OVERRUN}


def test_a_window_lends_no_time_after_its_end() -> None:
    window = replace(policy(), period=Window(NOW - 1, NOW + 3 * HOUR))
    assert lent(filled([window], {"team/a": 1})) == {"team/a": 3 * HOUR - OVERRUN}


def test_what_is_free_is_lent_to_the_last_second_that_it_pays() -> None:
    book = filled([policy(2 * FOR_ONE + 201)], {"team/a": 2})
    assert lent(book) == {"team/a": HOUR + 100}


def test_workloads_of_one_rank_get_the_same_end_whatever_they_cost() -> None:
    dear = {"team/a": terms(3 * SECOND)}
    book = filled([policy(4 * FOR_ONE + 1000)], {"team/a": 1, "team/b": 1}, dear)
    assert lent(book) == {"team/a": HOUR + 250, "team/b": HOUR + 250}


def test_a_lower_rank_comes_first() -> None:
    book = filled([policy(2 * FOR_ONE + 1000)], {"team/a": 1, "team/b": 1})
    assert lent(book, a=Loan("team/a", rank=1)) == {"team/a": HOUR, "team/b": HOUR + 1000}


def test_who_may_get_no_more_leaves_it_to_the_others() -> None:
    book = filled([policy(2 * FOR_ONE + 1000)], {"team/a": 1, "team/b": 1})
    bounded = Loan("team/a", until=NOW + FOR_ONE + 100)
    assert lent(book, a=bounded) == {"team/a": HOUR + 100, "team/b": HOUR + 900}


def test_an_account_that_is_empty_stops_only_those_that_it_pays_for() -> None:
    policies = [policy(2 * FOR_ONE + 100, name="team/small"), policy(3 * FOR_ONE + 10**6, name="team/large")]
    both = terms(payers=("team/small", "team/large"))
    book = filled(
        policies,
        {"team/a": 1, "team/b": 1, "team/c": 1},
        {
            "team/a": both,
            "team/b": both,
            "team/c": terms(payers=("team/large",)),
        },
    )
    assert lent(book) == {"team/a": HOUR + 50, "team/b": HOUR + 50, "team/c": HOUR + 10**6 - 100}


def test_nothing_is_lent_for_which_no_policy_holds_money_nor_without_an_account() -> None:
    counted = {"team/a": terms(advisory=(TEAM,)), "team/b": terms(payers=())}
    assert lent(filled([policy()], {"team/a": 1, "team/b": 1}, counted)) == {}
    book = filled([policy()], {"team/a": 1})
    assert lent(replace(book, time=MONTH_END + 1)) == {"team/a": HOUR}


def test_what_is_within_the_horizon_is_not_taken_back() -> None:
    book = lend(filled([policy()], {"team/a": 1}), [Loan("team/a")])
    assert holds(recall(book)) == {"team/a": HOUR}
    assert holds(recall(replace(book, time=NOW + 100))) == {"team/a": HOUR + 100}
    assert recall(filled([policy()], {"team/a": 1})) == filled([policy()], {"team/a": 1})


@given(
    st.lists(st.integers(0, 3 * 10**6), min_size=2, max_size=2),
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 10**7), st.integers(0, 2), st.integers(1, 3)), max_size=5),
    st.sampled_from(Calendar),
    st.integers(0, 7200),
)
def test_whatever_is_lent_no_account_lends_twice_and_only_a_second_of_each_pod_is_left(
    extra: list[int], works: list[tuple[int, int, int, int]], calendar: Calendar, later: int
) -> None:
    names, billing = ("team/x", "team/y"), Billing(STOP, late=LATE)
    period = Period(calendar, "UTC")
    ample = [replace(policy(10**15, name=name), period=period) for name in names]
    payers = {1: names[:1], 2: names[1:], 3: names}
    book = filled(
        ample,
        {f"team/w{n}": count for n, (count, *_) in enumerate(works)},
        {f"team/w{n}": terms(rate, payers=payers[who], billing=billing) for n, (_, rate, _, who) in enumerate(works)},
    )
    book = replace(book, time=NOW + later)
    limits = {name: max(book.worst(a) for a in book.accounts_of(name)) for name in names}
    tight = [replace(one, limit=limits[one.name] + more) for one, more in zip(ample, extra, strict=True)]
    book = set_policies(book, tight)
    loans = [Loan(f"team/w{n}", rank) for n, (_, _, rank, _) in enumerate(works)]
    after = lend(book, loans)
    assert not after.insolvent()
    a_second = sum(count * (rate // HOUR + 2) for count, rate, *_ in works)
    for loan in loans:
        before, placement = book.placements[loan.workload], after.placements[loan.workload]
        assert before.hold_through is not None
        assert placement.hold_through is not None
        assert placement.hold_through >= before.hold_through
        chains = [list(after.accounts_of(policy))[:2] for policy in placement.terms.binding]
        ended = any(placement.end_max(after.time) >= chain[-1].end for chain in chains)
        assert ended or min(after.free(account) for chain in chains for account in chain) <= a_second


def test_what_a_loan_has_to_leave_stays_whoever_has_got_money_before() -> None:
    book = filled([policy(2 * FOR_ONE + 1000)], {"team/a": 1, "team/b": 1})
    start = book.accounts[0].key
    leaving = Loan("team/a", rank=1, leave={start: 700})
    assert lent(book, a=leaving) == {"team/a": HOUR, "team/b": HOUR + 1000}
    bounded = Loan("team/b", until=NOW + FOR_ONE + 400)
    assert lent(book, a=leaving, b=bounded) == {"team/a": HOUR + 300, "team/b": HOUR + 400}
    assert lent(book, a=replace(leaving, leave={start: 1001})) == {"team/a": HOUR, "team/b": HOUR + 1000}


# In a step over the book.


WORK, OTHER = "ns/chat-cpu", "ns/embed-cpu"
START = FOR_ONE + 5000
"""A limit that pays one pod through its horizon, and 5000 s of one more on top."""
AMPLE = 10**9


def grant(count: int, **more: object) -> Funding:
    given = Funding(count, terms(), 30, {"cpu": 1000, "memory": 2**30}, {"pool": "cpu"}, SECOND)
    return replace(given, **more)  # type: ignore[arg-type]


def known(until: int | None) -> Course:
    """Prices that stand until then."""
    return Course(known_until=until)


def step(book: Book, pods: list[Pod], grants: dict[str, Funding], at: int = 0, limit: int = START) -> Settlement:
    seen = Evidence(NOW + at, {one.uid: one for one in pods})
    return settle(book, NOW + at, seen, [policy(limit)], grants, 10)


def begun(limit: int = START, **more: object) -> Book:
    """A book in which one pod runs and has all the money."""
    one = grant(1, **more)
    book = step(Book(), [pod("a", created_at=NOW)], {WORK: one}, limit=limit).book
    return step(book, [running("a", started_at=NOW)], {WORK: one}, limit=limit).book


def test_a_pod_that_runs_gets_all_that_is_free() -> None:
    assert holds(begun()) == {WORK: HOUR + 5000}


def test_a_new_pod_takes_back_what_is_lent_and_is_refused_only_for_what_is_committed() -> None:
    pods = [running("a", started_at=NOW), pod("b", OTHER, created_at=NOW)]
    made = step(begun(), pods, {WORK: grant(1), OTHER: grant(1)}, 60)
    assert [one.uid for one in made.ungate] == ["b"]
    assert holds(made.book) == {WORK: 60 + HOUR + 580, OTHER: 60 + HOUR + 580}
    poor = step(begun(START - 1300), pods, {WORK: grant(1), OTHER: grant(1)}, 60, START - 1300)
    refusal = poor.refusals[OTHER]
    assert (refusal.blocked_by, refusal.need, refusal.have) == (Blocked.LIMIT, FOR_ONE, FOR_ONE - 80 - 60)
    assert not poor.changed
    assert holds(poor.book) == {WORK: HOUR + 3700}


def test_while_nothing_happens_no_book_is_written_and_the_pods_stay_paid() -> None:
    book = begun()
    for at in (60, 3000, HOUR // 2 + 5000):
        made = step(book, [running("a", started_at=NOW)], {WORK: grant(1)}, at)
        assert (made.changed, made.delete, holds(made.book)) == (False, (), holds(book))


def test_an_outage_of_ten_minutes_stops_nothing_with_the_shortest_horizon() -> None:
    short = replace(terms(), horizon=300)
    book = begun(terms=short)
    assert holds(book)[WORK] > 600 + 300
    assert step(book, [running("a", started_at=NOW)], {WORK: grant(1, terms=short)}, 600).delete == ()


def test_more_money_is_lent_in_the_write_that_stores_the_limit() -> None:
    made = step(begun(), [running("a", started_at=NOW)], {WORK: grant(1)}, 60, START + 777)
    assert (made.changed, holds(made.book)) == (True, {WORK: HOUR + 5777})


def test_a_lowered_limit_takes_back_what_is_lent_and_leaves_the_horizon() -> None:
    made = step(begun(), [running("a", started_at=NOW)], {WORK: grant(1)}, 60, 1000)
    assert holds(made.book) == {WORK: HOUR + 60}


@pytest.mark.parametrize(("longer", "written"), [(60, False), (61, True)])
def test_lending_alone_is_worth_a_write_when_it_gains_more_than_a_minute(longer: int, *, written: bool) -> None:
    book = begun(AMPLE, course=known(NOW + 5 * HOUR))
    assert holds(book) == {WORK: 5 * HOUR - OVERRUN}
    later = {WORK: grant(1, course=known(NOW + 5 * HOUR + longer))}
    made = step(book, [running("a", started_at=NOW)], later, 60, AMPLE)
    assert made.changed is written
    assert holds(made.book) == {WORK: 5 * HOUR - OVERRUN + (longer if written else 0)}


def test_lending_that_ends_soon_is_not_worth_a_write() -> None:
    book = begun(AMPLE, course=known(NOW + HOUR))
    made = step(book, [running("a", started_at=NOW)], {WORK: grant(1, course=known(NOW + 2 * HOUR))}, 60, AMPLE)
    assert (made.changed, holds(made.book)) == (False, {WORK: HOUR})


def test_what_is_lent_never_pays_for_time_in_which_a_dearer_price_has_begun() -> None:
    course = Course(((0, SECOND), (NOW + 3 * HOUR, SECOND + 1)))
    made = step(begun(AMPLE), [running("a", started_at=NOW)], {WORK: grant(1, course=course)}, 60, AMPLE)
    assert (made.changed, holds(made.book)) == (True, {WORK: 3 * HOUR - OVERRUN})
    again = step(made.book, [running("a", started_at=NOW)], {WORK: grant(1, course=course)}, 120, AMPLE)
    assert not again.changed


@pytest.mark.parametrize("known_until", [None, NOW + 9 * HOUR])
def test_a_restart_without_a_plan_keeps_what_is_lent(known_until: int | None) -> None:
    book = begun(AMPLE, course=known(known_until))
    made = step(book, [running("a", started_at=NOW), running("b", started_at=NOW)], {}, 60, AMPLE)
    assert made.changed
    assert holds(made.book) == holds(book)


def test_pods_that_leave_give_back_what_is_lent_to_them() -> None:
    leaving = [running("a", started_at=NOW, deleting=True)]
    made = step(begun(), leaving, {WORK: grant(1)}, 60)
    assert {p.hold_through for p in made.book.placements.values() if p.units} == {NOW + 60 + HOUR}


def test_ranks_of_the_plan_decide_who_gets_what_is_left() -> None:
    both = [pod("a", created_at=NOW), pod("b", OTHER, created_at=NOW)]
    ranked = {WORK: grant(1, rank=1), OTHER: grant(1)}
    made = step(Book(), both, ranked, limit=2 * FOR_ONE + 500)
    assert holds(made.book) == {WORK: HOUR, OTHER: HOUR + 500}
