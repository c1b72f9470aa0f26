"""The observer of the proof finds what is wrong: each case is a book that is right, with one thing changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.proof.audit import Audit
from tests.proof.history import Life, price
from tests.proof.scene import POOLS
from tests.proof.statement import Statement, read

T0 = 1_800_000_000
POLICIES = ("platform", "north/team")
BILLING = {"stop": 60, "tail": 0, "minimum": 60, "late": 120}
RATE = POOLS["steady"].rate
ALWAYS = ((0.0, float("inf")),)


@dataclass(frozen=True, slots=True)
class Told:
    """One version of the book with one pod in it, or after it was closed at `bill`."""

    time: int
    start: int | None = None
    proven: bool = False
    bill: int = 0
    limit: int = 10_000_000
    rate: int = RATE
    more: int = 0
    """Added to what is stated as posted."""
    hold: int = T0 + 300

    def statement(self, version: int) -> Statement:
        line = {"service": "north/embed", "role": "Inference", "pool": "steady", "closed": self.bill, "adjusted": 0}
        placement = {
            "name": "north/embed-1",
            "service": "north/embed",
            "role": "Inference",
            "pool": "steady",
            "rates": dict.fromkeys(POLICIES, self.rate),
            "billing": BILLING,
            "holdThrough": self.hold,
            "units": {"u": f"{self.start}@n" if self.proven else f"{self.start}"},
        }
        posted = worst = 0
        if self.start is not None:
            worst = price(self.rate, self.start, self.hold + 180)
            posted = price(self.rate, self.start, self.time) if self.proven else 0
        account: dict[str, Any] = {"start": T0, "end": T0 + 3600, "limit": self.limit, "held": worst - posted}
        account |= {"posted": posted + self.bill + self.more, "lines": [line] if self.bill else []}
        accounts = [{"policy": policy, **account} for policy in POLICIES]
        book = {"time": self.time, "accounts": accounts, "placements": [placement] if self.start is not None else []}
        return read({"metadata": {"resourceVersion": str(version)}, "book": book}, self.time + 0.5)


@dataclass
class Case:
    """A pod that is admitted at T0 + 10, starts at T0 + 20 and ends at T0 + 200."""

    books: list[Told] = field(default_factory=list)
    life: Life = field(default_factory=lambda: Life("u", "north", "embed-1-x", "embed", "Inference", "steady"))
    ungated: int = 3
    watching: tuple[tuple[float, float], ...] = ALWAYS
    until: float = T0 + 300

    def faults(self) -> list[str]:
        audit = Audit({"u": self.life}, self.watching)
        statements = [told.statement(2 * number) for number, told in enumerate(self.books)]
        audit.run(statements, {"u": self.ungated}, self.until)
        return audit.faults


@pytest.fixture
def case() -> Case:
    made = Case()
    made.life.ungated, made.life.bound, made.life.node = T0 + 10.5, T0 + 11.0, "n"
    made.life.started, made.life.finished, made.life.vanished = T0 + 20, T0 + 200, T0 + 201.0
    bill = price(RATE, T0 + 20, T0 + 201)
    made.books = [
        Told(T0),
        Told(T0 + 10, start=T0 + 10),
        Told(T0 + 25, start=T0 + 20, proven=True),
        Told(T0 + 203, bill=bill),
    ]
    return made


def test_a_book_that_is_right_has_no_fault(case: Case) -> None:
    assert case.faults() == []


@pytest.mark.parametrize("off", [-1, 1])
def test_a_bill_that_is_one_micro_unit_off_is_found(case: Case, off: int) -> None:
    case.books[-1] = replace(case.books[-1], bill=case.books[-1].bill + off)
    assert any("nothing explains" in fault for fault in case.faults())


def test_a_bill_beyond_the_end_is_found_where_the_end_was_seen_and_allowed_where_nobody_looked(case: Case) -> None:
    case.books[-1] = replace(case.books[-1], bill=price(RATE, T0 + 20, T0 + 204))
    assert any("nothing explains" in fault for fault in case.faults())
    case.watching = ((0.0, T0 + 100.0), (T0 + 202.0, float("inf")))
    assert case.faults() == []


def test_a_pod_that_went_with_its_node_is_billed_until_it_was_missed_and_no_longer(case: Case) -> None:
    case.life.finished, case.life.lost = None, T0 + 190.0
    for end, right in ((T0 + 180, False), (T0 + 200, True), (T0 + 204, True), (T0 + 260, False)):
        case.books[-1] = replace(case.books[-1], bill=price(RATE, T0 + 20, end))
        assert (case.faults() == []) is right, end


def test_a_minimum_that_was_not_billed_is_found(case: Case) -> None:
    case.life.finished = T0 + 30
    case.books[-1] = replace(case.books[-1], bill=price(RATE, T0 + 20, T0 + 31))
    assert any("nothing explains" in fault for fault in case.faults())
    case.books[-1] = replace(case.books[-1], bill=price(RATE, T0 + 20, T0 + 81))
    assert case.faults() == []


def test_a_start_that_is_not_what_the_kubelet_said_is_found(case: Case) -> None:
    case.books[2] = replace(case.books[2], start=T0 + 21)
    assert any("began at" in fault for fault in case.faults())


def test_a_price_below_the_ceiling_is_found(case: Case) -> None:
    case.books[1:] = [replace(told, rate=RATE - 1) for told in case.books[1:]]
    assert any("not at" in fault for fault in case.faults())


def test_a_gate_that_was_removed_before_the_book_was_stored_is_found(case: Case) -> None:
    case.ungated = 1
    assert any("before its UID was in a stored book" in fault for fault in case.faults())


def test_a_pod_that_lives_longer_than_it_is_paid_is_found(case: Case) -> None:
    case.life.finished = case.life.vanished = None
    case.until = T0 + 600
    del case.books[-1]
    faults = case.faults()
    assert any("posted and held are" in fault for fault in faults)
    assert any("is held for it" in fault for fault in faults)


def test_a_pod_that_is_dropped_while_it_runs_is_found(case: Case) -> None:
    case.life.finished = case.life.vanished = None
    assert any("nothing explains" in fault for fault in case.faults())


def test_spending_above_the_limit_is_found_whatever_the_book_says(case: Case) -> None:
    case.books = [replace(told, limit=50_000) for told in case.books]
    faults = case.faults()
    assert any("has really spent" in fault and "of 50000" in fault for fault in faults)
    assert any("holds" in fault and "of a limit of 50000" in fault for fault in faults)


def test_a_limit_that_is_lowered_below_what_is_held_is_no_fault_unless_more_is_held_then(case: Case) -> None:
    case.books[2] = replace(case.books[2], limit=60_000)
    case.books[3] = replace(case.books[3], limit=60_000)
    assert case.faults() == []
    case.books[2] = replace(case.books[2], hold=T0 + 500)
    assert any("of a limit of 60000" in fault for fault in case.faults())


def test_figures_that_do_not_follow_from_the_rows_are_found(case: Case) -> None:
    case.books[2] = replace(case.books[2], more=5)
    assert any("its rows give" in fault for fault in case.faults())


def test_posted_that_falls_is_found(case: Case) -> None:
    case.books[-1] = replace(case.books[-1], bill=1)
    assert any("posted" in fault and "before" in fault for fault in case.faults())


def test_a_pod_that_appears_running_is_found(case: Case) -> None:
    del case.books[1]
    assert any("found running without a hold" in fault for fault in case.faults())
