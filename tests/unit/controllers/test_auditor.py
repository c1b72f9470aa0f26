"""What an operator that starts is told of the book's past, by statuses and by Prometheus, and until when it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from modelservice.controllers.auditor import ASK_EVERY, Auditor
from modelservice.controllers.world import World
from modelservice.domain.book import Account, Book, Line
from modelservice.domain.integrity import Fact
from modelservice.domain.times import parse_time
from modelservice.kit.errors import Unavailable
from modelservice.ports import KubeClient, Sample

from tests.unit.controllers.test_budget import TEAM, Still
from tests.unit.domain.specs import HOUR, NOW

START, END = NOW - 6 * HOUR, NOW + 18 * HOUR
STATUS = Fact(
    "ns/team", START, END, "USD", 7_500_000, 0, parse_time("2026-01-01T05:00:00Z") or 0, "the status of the budget"
)
LABELS = {"ledger": "u/sys", "policy": "ns/team", "currency": "USD", "period_start": str(START), "period_end": str(END)}
SERIES = Fact("ns/team", START, END, "USD", 9_000_000, 2_000_000, NOW - 5, "a series in Prometheus")


class Clock(Still):
    """Moves by hand."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Series:
    """Answers what the metrics of a book were; with none it does not answer."""

    def __init__(self, **values: float) -> None:
        self.values = values
        self.asked: list[str] = []

    async def query(self, promql: str) -> Sequence[Sample]:
        self.asked.append(promql)
        if not self.values:
            raise Unavailable("no answer")
        labels: Mapping[str, str] = LABELS
        (name,) = [one for one in ("spent", "rate", "timestamp") if f"ledger_{one}" in promql]
        if name == "timestamp":
            labels = {"ledger": "u/sys"}
        return [Sample(labels, self.values[name], NOW), Sample({**labels, "ledger": "x"}, float("nan"), NOW)]


ANSWERS = {"spent": 9.0, "rate": 2.0, "timestamp": NOW - 5.0}


def auditor(metrics: Series | None, **status: Any) -> Auditor:
    world = World(Clock())
    world.caches.policies.observe({**TEAM, "status": {**TEAM["status"], **status}})
    world.caches.namespaces.observe({"metadata": {"name": "kube-system", "uid": "u", "resourceVersion": "1"}})
    return Auditor(world, cast("KubeClient", None), metrics, "sys")


async def test_after_a_start_statuses_and_series_say_what_was_spent_until_when_and_at_which_rate() -> None:
    series = Series(**ANSWERS)
    assert await auditor(series).ask() == (STATUS, SERIES)
    assert all('{ledger="u/sys"}[7d]' in query for query in series.asked)


@pytest.mark.parametrize("broken", [{"spent": "much"}, {"period": {}}, {"asOf": None}])
async def test_a_status_that_says_nothing_is_no_evidence(broken: dict[str, Any]) -> None:
    assert await auditor(None, **broken).ask() == ()


async def test_periods_that_ended_a_week_ago_are_left_alone() -> None:
    made = auditor(None)
    made.world.saw_date(END + 7 * 86_400 - 1)
    assert await made.ask() == (STATUS,)
    made.world.saw_date(END + 7 * 86_400)
    assert await made.ask() == ()


async def test_who_has_been_heard_once_is_not_asked_again_when_a_book_bears_it_out() -> None:
    series = Series(**ANSWERS)
    made = auditor(series)
    first = await made.ask()
    assert await made.ask() == first
    assert len(series.asked) == 3
    made.stored("1", Book())
    assert await made.ask() == ()


async def test_a_prometheus_that_does_not_answer_is_asked_again_after_a_minute() -> None:
    series = Series()
    made = auditor(series)
    clock = cast("Clock", made.world.clock)
    assert await made.ask() == (STATUS,)
    made.stored("1", Book())
    series.values = ANSWERS
    clock.seconds = ASK_EVERY - 1
    assert await made.ask() == ()
    clock.seconds = ASK_EVERY
    assert await made.ask() == (SERIES,)


async def test_a_book_that_is_older_than_the_stored_one_or_gone_is_taken_up_where_it_was() -> None:
    made = auditor(None)
    last = Book(NOW, (Account("ns/team", START, END, "USD", 10, lines=(Line("ns/chat", "Inference", "cpu", 7),)),))
    made.stored("5", last)
    gone = await made.examine("", Book(), (), 3)
    assert (gone.book, gone.seen) == (last, ("The book was deleted.",))
    old = await made.examine("6", Book(NOW - 60), (), 3)
    assert (old.book, old.seen) == (
        last,
        ("The book was put back to 2026-01-01T05:59:00Z, from 2026-01-01T06:00:00Z.",),
    )
    odd = await made.examine("6", Book(), (), 3)
    assert (odd.book, odd.seen) == (last, ("The book was changed and contradicts itself.",))
    same = await made.examine("5", last, (), 3)
    assert (same.book, same.seen, same.facts) == (last, (), ())
    newer = Book(NOW + 60, last.accounts)
    other = await made.examine("7", newer, (), 3)
    assert (other.book, other.seen) == (newer, ())
    assert [fact.spent for fact in other.facts] == [7]
