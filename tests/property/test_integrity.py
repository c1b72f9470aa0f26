"""Any two moments of a history of the book: an unbroken one bears its past out, and a broken one is raised to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Account, Book
from modelservice.domain.codec import decode, decode_page, encode
from modelservice.domain.integrity import SLACK_SECONDS, facts_of, raised, shortfalls
from modelservice.domain.money import MICROS, cost
from modelservice.domain.pages import Span, joined

from tests.property.simulation import CONTENTION, STRESS, Run
from tests.property.world import World

HISTORIES = 4


@dataclass(frozen=True)
class Moment:
    """The book right after a write, the pages, and the pods that are bound then and have not ended."""

    book: Book
    pages: dict[Span, Account]
    running: frozenset[str]


@cache
def history(seed: int) -> tuple[Moment, ...]:
    """Every stored version of one simulated schedule."""
    run = Run(seed, CONTENTION if seed % 3 == 0 else STRESS)
    moments: list[Moment] = []

    def remember(world: World) -> None:
        running = frozenset(uid for uid, pod in world.pods.items() if pod.exists and pod.node and pod.ended is None)
        moments.append(Moment(decode(world.stored), joined(map(decode_page, world.pages.values())), running))

    run.world.on_store.append(remember)
    run.play()
    assert len(moments) > 3
    return tuple(moments)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Moment, Moment]:
    """An earlier and a later moment of one history."""
    moments = history(draw(st.integers(0, HISTORIES - 1)))
    first = draw(st.integers(0, len(moments) - 2))
    return moments[first], moments[draw(st.integers(first + 1, len(moments) - 1))]


def adopting(book: Book, other: Moment) -> Book:
    """The book at the other one's time as a settlement makes it: accounts open, and each pod that runs then found."""
    known = {uid for placement in book.placements.values() for uid in placement.units}
    found = {
        f"{placement.name}/{uid}": replace(placement, name=f"{placement.name}/{uid}", units={uid: unit})
        for placement in other.book.placements.values()
        for uid, unit in placement.units.items()
        if uid in other.running and uid not in known
    }
    empty = {account.key: replace(account, lines=()) for account in other.book.accounts}
    accounts = empty | {account.key: account for account in book.accounts}
    placements = {**book.placements, **found}
    return Book(other.book.time, tuple(accounts[key] for key in sorted(accounts)), placements)


@given(pairs())
def test_an_unbroken_history_bears_every_earlier_moment_out(pair: tuple[Moment, Moment]) -> None:
    old, new = pair
    assert shortfalls(facts_of(old.book), new.book, new.book, new.pages, new.book.time) == ()


@pytest.mark.parametrize("lost", [False, True])
@given(pair=pairs())
def test_an_older_or_lost_book_is_raised_to_no_less_than_the_truth_once(
    pair: tuple[Moment, Moment], *, lost: bool
) -> None:
    old, new = pair
    read, facts, now = Book() if lost else old.book, facts_of(new.book), new.book.time
    short = shortfalls(facts, read, adopting(read, new), new.pages, now, lost=lost)
    made = adopting(raised(read, short), new)
    for account in new.book.accounts:
        (own,) = [each for each in made.accounts if each.key == account.key]
        fact = next((each for each in facts if (each.policy, each.start) == account.key), None)
        slack = cost(fact.rate, 0, SLACK_SECONDS) + fact.spent // MICROS if fact is not None and not lost else 0
        assert made.posted(own) + slack >= new.book.posted(account)
    assert shortfalls(facts, raised(read, short), made, new.pages, now) == ()
    assert decode(encode(made)).accounts == made.accounts
