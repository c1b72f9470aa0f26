"""Prices that move by a table: what is held is never less than the price, and every book is solvent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from modelservice.domain.book import HORIZON_SECONDS, Book
from modelservice.domain.placement import Option, price
from modelservice.domain.prices import Billing
from modelservice.domain.pricetable import COLUMNS, Table, parse_table
from modelservice.domain.settlement import End, Evidence, Funding, settle
from modelservice.domain.tariff import quote
from modelservice.domain.times import format_time

from tests.unit.domain.books import NOW, TEAM, WORK, policy, terms
from tests.unit.domain.specs import pod, pool, running

BILLINGS = st.builds(Billing, st.sampled_from([0, 60, 900]), st.sampled_from([0, 600]), st.sampled_from([0, 60, 1800]))
LATEST = 290
"""A plan is at most so old when it is carried out, and the next one follows within as many seconds."""


@dataclass(frozen=True)
class Prices:
    """Steps of (time, price), each until the next one."""

    on_demand: tuple[tuple[int, int], ...]
    spot: tuple[tuple[int, int], ...]

    def table(self) -> Table:
        """As people write them."""
        rows = [",".join(COLUMNS)]
        for option, steps in (("OnDemand", self.on_demand), ("Spot", self.spot)):
            for (begin, micros), following in zip(steps, [*(time for time, _ in steps[1:]), None], strict=True):
                until = "" if following is None else format_time(following)
                rows.append(f"cpu,{option},{micros // 10**6}.{micros % 10**6:06},USD,{format_time(begin)},{until},list")
        return parse_table("\n".join(rows))

    def dearest(self, start: int, end: int) -> int:
        """The highest price in force in a stretch."""
        found = [0]
        for steps in (self.on_demand, self.spot):
            ends = [*(time for time, _ in steps[1:]), end + 1]
            found += [price for (time, price), over in zip(steps, ends, strict=True) if time < end and over > start]
        return max(found)


@st.composite
def prices(draw: st.DrawFn) -> Prices:
    def steps() -> tuple[tuple[int, int], ...]:
        gaps = draw(st.lists(st.integers(1, 9000), max_size=4))
        times = [NOW - 86_400, *(NOW + sum(gaps[: index + 1]) for index in range(len(gaps)))]
        return tuple((time, draw(st.integers(1, 9) | st.integers(10**5, 10**8))) for time in times)

    return Prices(steps(), steps())


STEPS = st.tuples(
    st.integers(100, LATEST) | st.integers(1, LATEST) | st.integers(1, 9000), st.integers(0, LATEST), st.integers(0, 9)
)


@given(prices(), BILLINGS, st.lists(STEPS, min_size=12, max_size=60), st.integers(1, 4), st.integers(20, 900))
@example(
    # A plan that is carried out after the price it was made with has fallen, in a book that a newer plan has written.
    Prices(((NOW - 86_400, 18_749_999), (NOW + 5752, 1)), ((NOW - 86_400, 1),)),
    Billing(0, 0, 1800),
    [(257, 0, 1), (5505, 0, 1), (1, 25, 1)],
    1,
    53,
)
def test_what_is_held_is_never_below_a_price_that_comes_into_force_before_it_is_over(
    moves: Prices, billing: Billing, steps: list[tuple[int, int, int]], count: int, percent: int
) -> None:
    table, budget = moves.table(), policy(moves.dearest(NOW, NOW + 86_400) * percent // 100)
    assert not table.faults
    book, time, live, births, leaving, stopped = Book(), NOW, dict[str, int](), 0, set[str](), dict[str, int]()
    for pause, age, draw in [(0, 0, 1), *steps]:
        time += pause
        ends = dict[str, End]()
        for one in book.placements.values():
            if one.hold_through is not None and time >= one.hold_through:
                ends |= {uid: End(one.hold_through) for uid in one.units if uid in live}
        live = {uid: begun for uid, begun in live.items() if uid not in ends}
        for one in book.placements.values():
            ends |= {uid: End(min(time, stopped[uid] + billing.stop)) for uid in one.units if uid not in (*live, *ends)}
        leaving |= set(sorted(live.keys() - leaving)[: draw == 0])
        grant = _grant(table, max(NOW, time - age), billing, count)
        while len(live.keys() - leaving) < count:
            live[f"pod-{births}"], births = time, births + 1
        placed = {uid for one in book.placements.values() for uid in one.units}
        pods = {
            uid: replace(
                running(uid, WORK, begun) if uid in placed else pod(uid, WORK, created_at=begun),
                requests={},
                deleting=uid in leaving,
            )
            for uid, begun in live.items()
        }
        settled = settle(book, time, Evidence(time, pods, ends), [budget], {WORK: grant}, 10)
        book = settled.book
        for gone in settled.delete:
            live.pop(gone.pod.uid, None)
            stopped[gone.pod.uid] = time
        for one in book.placements.values():
            if one.units and one.hold_through is not None:
                assert one.terms.rates[TEAM] >= moves.dearest(time, max(one.end_max(time), time + 1)), one
        assert book.insolvent() == ()


def _grant(table: Table, looked: int, billing: Billing, count: int) -> Funding:
    """What a plan that was made at that time grants: the pods are those of a whole node."""
    tariff = quote(table, "cpu", "USD", looked, HORIZON_SECONDS + billing.overrun)
    option = price(replace(pool(), tariff=tariff, allocatable={"cpu": 1}), {"cpu": 1})
    assert isinstance(option, Option)
    wanted = terms(option.ceiling, billing=billing)
    return Funding(count, wanted, selector={}, ceiling=option.ceiling, course=option.course)


def test_the_prices_of_this_test_are_read_as_they_are_meant() -> None:
    moves = Prices(((NOW - 10, 5), (NOW + 10, 7)), ((NOW - 10, 6),))
    assert [moves.dearest(NOW, NOW + 1), moves.dearest(NOW, NOW + 10), moves.dearest(NOW, NOW + 11)] == [6, 6, 7]
    rows = moves.table().rows["cpu"]
    assert all(one.end == other.start for one, other in pairwise(row for row in rows if row.option == "OnDemand"))
