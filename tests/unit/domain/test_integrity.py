"""What proves that a book has lost something, what is added to it then, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.book import Account, Book, Line, Unit
from modelservice.domain.integrity import (
    LONGEST,
    RECOVERED,
    Fact,
    Freeze,
    Shortfall,
    described,
    facts_of,
    frozen,
    raised,
    read_freeze,
    shortfalls,
    write_freeze,
)

from tests.unit.domain.books import MONTH_END, NOW, TEAM, WORK, opened, posted

START = opened().accounts[0].start
LINE = Line("team/chat", "Inference", "cpu", 5_000, -100)


def fact(spent: int, *, rate: int = 0, at: int = NOW, start: int = START, end: int = MONTH_END) -> Fact:
    return Fact(TEAM, start, end, "USD", spent, rate, at, "somebody")


def book(*units: str, closed: bool = True, since: int = NOW - 1000, at: int = NOW) -> Book:
    """One micro-unit per second and unit; 5,000 closed, of which 100 were given back."""
    made = opened(at=at)
    if closed:
        made = replace(made, accounts=(replace(made.accounts[0], lines=(LINE,)), *made.accounts[1:]))
    return made.with_placement(replace(made.placements[WORK], units={uid: Unit(since, "node-1") for uid in units}))


def short(facts: list[Fact], read: Book, settled: Book | None = None, *pages: Account, now: int = NOW) -> list[int]:
    """What is missing of each fact that is not borne out."""
    by_span = {(page.policy, page.start, page.end): page for page in pages}
    return [one.missing for one in shortfalls(facts, read, settled or read, by_span, now)]


def test_a_book_bears_out_what_it_said_before_corrections() -> None:
    stored = book("a")
    (said,) = [one for one in facts_of(stored) if one.start == START]
    assert (said.spent, said.rate, said.at, said.currency) == (6_000, 3600, NOW, "USD")
    assert short([said], stored) == []
    assert short([said], book("a", at=NOW + 500)) == []
    ahead = replace(stored.accounts[-1], start=MONTH_END, end=MONTH_END + 9)
    tails = [replace(ahead, lines=(LINE,)), replace(ahead, policy="team/else", lines=())]
    told = facts_of(replace(stored, accounts=tuple(sorted((stored.accounts[0], *tails), key=lambda one: one.key))))
    assert [(one.policy, one.start, one.spent) for one in told] == [(TEAM, START, 6_000), (TEAM, MONTH_END, 5_000)]


def test_what_was_closed_and_is_gone_is_missing_to_the_last_micro_unit() -> None:
    assert short([fact(6_000)], book("a", closed=False)) == [5_000]


def test_a_correction_in_the_book_is_no_loss_and_is_not_taken_from_a_loss() -> None:
    assert short([fact(5_000)], book()) == []
    assert short([fact(5_001)], book()) == [101]


def test_the_book_is_held_against_a_fact_as_of_the_time_of_the_fact() -> None:
    """Else what was spent since then would hide what is missing."""
    assert short([fact(6_000, at=NOW)], book("a", closed=False, at=NOW + 90_000), now=NOW + 90_000) == [5_000]


def test_pods_that_were_found_running_have_cost_what_they_cost() -> None:
    assert short([fact(6_000)], Book(NOW), book("a")) == [5_000]


def test_a_pod_that_the_book_knows_counts_from_where_the_book_has_it() -> None:
    """A settlement may have billed it until now, at a price that has changed."""
    assert short([fact(6_000)], book("a"), book("a", since=NOW)) == []


def test_pods_of_another_budget_and_unproven_ones_have_cost_it_nothing() -> None:
    other = book("a")
    record = other.placements[WORK]
    unproven = other.with_placement(replace(record, units={"a": Unit(NOW - 1000)}))
    foreign = other.with_placement(replace(record, terms=replace(record.terms, rates={"team/else": 3600})))
    assert short([fact(6_000)], unproven) == [1_100]
    assert short([fact(6_000)], foreign) == [1_100]


def test_what_ran_and_is_nowhere_may_have_run_until_now_but_not_beyond_the_period() -> None:
    lost = fact(6_000, rate=3 * 3600)
    assert short([lost], Book(NOW), book("a"), now=NOW + 100) == [5_000 + 2 * 100]
    assert short([lost], Book(NOW), book("a"), now=MONTH_END + 100) == [5_000 + 2 * (MONTH_END - NOW)]
    assert short([fact(6_000, rate=1800)], Book(NOW), book("a"), now=NOW + 100) == [5_000]
    ahead = fact(10, rate=3600, start=NOW + 1000)
    (soon,) = shortfalls([ahead], Book(NOW), Book(NOW), {}, NOW + 500, lost=True)
    (later,) = shortfalls([ahead], Book(NOW), Book(NOW), {}, NOW + 1500, lost=True)
    assert (soon.missing, later.missing) == (10, 10 + 500)


def test_clocks_of_api_servers_and_floats_of_prometheus_prove_nothing() -> None:
    assert short([fact(5_000 + 60, rate=3600)], book()) == []
    assert short([fact(5_000 + 61, rate=3600)], book()) != []
    (all_of_it,) = shortfalls([fact(5_001, rate=3600)], book(), book(), {}, NOW, lost=True)
    assert all_of_it.missing == 101
    large = replace(book(), accounts=(replace(book().accounts[0], lines=(replace(LINE, closed=10**12),)),))
    assert short([fact(10**12 + 10**6)], large) == []
    assert short([fact(10**12 + 10**6 + 2)], large) != []


def test_another_currency_is_not_compared() -> None:
    assert short([replace(fact(9_000), currency="EUR")], book()) == []


def test_a_sealed_period_is_held_against_its_page_and_pods_that_go_on_add_nothing_to_it() -> None:
    past = Account(TEAM, START - 1000, START, "USD", 10**9, sealed=True, lines=(LINE,))
    gone = fact(5_000, start=START - 1000, end=START)
    running = book("a", closed=False, since=START - 1000)
    assert short([gone], running, None, past) == []
    assert short([replace(gone, spent=5_700)], running, None, past) == [800]
    assert short([gone], running, None, replace(past, end=START + 1)) == [4_000]
    (account,) = [
        one
        for one in raised(
            running,
            shortfalls([replace(gone, spent=5_700)], running, running, {(TEAM, START - 1000, START): past}, NOW),
        ).accounts
        if one.start == START - 1000
    ]
    assert account.sealed
    assert account.lines == (Line(*RECOVERED, 800), LINE)


def test_an_account_that_is_still_in_the_book_counts_and_not_an_earlier_page_of_it() -> None:
    account = book().accounts[0]
    assert short([fact(5_000)], book(), None, replace(account, sealed=True, lines=())) == []


def test_the_period_of_a_fact_that_has_no_account_gets_one_and_one_that_overlaps_is_raised() -> None:
    made = raised(Book(NOW), shortfalls([fact(700)], Book(NOW), Book(NOW), {}, NOW))
    (account,) = made.accounts
    assert (account.start, account.end, account.limit, made.posted(account)) == (START, MONTH_END, 700, 700)
    day = fact(6_000, start=NOW - 100, end=NOW + 100)
    assert posted(raised(book(), shortfalls([day], book(), book(), {}, NOW))) == 4_900 + 1_100


def test_the_most_that_is_asked_for_a_period_is_added_once_and_beside_what_was_added_before() -> None:
    first = raised(book(), shortfalls([fact(5_500), fact(5_900), fact(5_700)], book(), book(), {}, NOW))
    assert first.accounts[0].lines == (Line(*RECOVERED, 1_000), LINE)
    assert short([fact(5_900)], first) == []
    again = raised(first, shortfalls([fact(6_400)], first, first, {}, NOW))
    assert again.accounts[0].lines[0].closed == 1_000 + 500


def test_the_sentences_name_the_first_three_losses_with_their_figures() -> None:
    account = book().accounts[0]
    losses = [Shortfall(fact(5_000_000 + n), account, 4_900, 1) for n in range(5)]
    said = described(losses)
    assert said[0] == (
        "In the period of team/monthly from 2026-07-01T00:00:00Z 5.00 USD had been spent by 2026-07-10T12:00:00Z, as "
        "somebody shows; the book said 0.0049."
    )
    assert len(said) == 4
    assert said[-1] == "The same holds for 2 more."
    assert len(described(losses[:3])) == 3


def test_a_freeze_keeps_its_beginning_and_takes_each_sentence_once() -> None:
    assert frozen(None, (), 5) is None
    first = frozen(None, ("It was lost.",), 5)
    assert first == Freeze(5, "It was lost.")
    assert frozen(first, (), 9) == first
    assert frozen(first, ("It was lost.", "More."), 9) == Freeze(5, "It was lost. More.")
    cut = frozen(first, ("x" * LONGEST,), 9)
    assert cut is not None
    assert len(cut.because) == LONGEST
    assert cut.because.endswith("...")


@pytest.mark.parametrize("freeze", [None, Freeze(5, "It was lost.")])
def test_a_freeze_is_read_as_it_was_written(freeze: Freeze | None) -> None:
    assert read_freeze(write_freeze(freeze).get("freeze")) == freeze
