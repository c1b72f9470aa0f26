"""Money that is carried over is never spent twice: all periods together stay within the sum of their limits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Account, Book
from modelservice.domain.funding import admit
from modelservice.domain.ledger import advance, close, collect, prove, seal, set_policies
from modelservice.domain.limits import CarryOver, Unused
from modelservice.domain.periods import Calendar

from tests.unit.domain.books import NOW, WORK, opened, policy

HOUR = 3600
START = NOW - NOW % HOUR
PODS = st.lists(st.tuples(st.integers(0, HOUR - 1), st.integers(1, 4 * HOUR)), max_size=4)
"""When in an hour a pod is wanted, and how long it lives, in seconds."""


def pages_and_accounts(pages: dict[tuple[str, int], Account], book: Book) -> list[Account]:
    return list({**pages, **{account.key: account for account in book.accounts}}.values())


@given(st.integers(1, 20_000), st.lists(PODS, min_size=1, max_size=12), st.sampled_from(Unused))
def test_whatever_runs_all_hours_together_cost_no_more_than_their_limits(
    limit: int, hours: list[list[tuple[int, int]]], unused: Unused
) -> None:
    hourly = replace(policy(limit, calendar=Calendar.HOUR), carry_over=CarryOver(unused=unused))
    book = opened(hourly, at=START)
    pages: dict[tuple[str, int], Account] = {}
    alive: dict[str, int] = {}
    moments = sorted((START + HOUR * hour + after, lasts) for hour, pods in enumerate(hours) for after, lasts in pods)
    for number, (moment, lasts) in enumerate([*moments, (START + HOUR * (len(hours) + 6), 1)]):
        book = set_policies(advance(book, moment), [hourly])
        for uid in [uid for uid, end in alive.items() if end <= moment]:
            book = close(book, uid, alive.pop(uid))
        book = seal(book)
        pages.update({account.key: account for account in book.accounts if account.sealed})
        admitted = admit(collect(book, pages), WORK, [f"pod-{number}"])
        if isinstance(admitted, Book):
            book = prove(admitted, f"pod-{number}", moment, "n")
            through = book.placements[WORK].hold_through or moment
            alive[f"pod-{number}"] = min(moment + lasts, through)
        else:
            book = collect(book, pages)
        rows = pages_and_accounts(pages, book)
        begun = [account for account in rows if account.start <= book.time]
        assert sum(book.worst(account) for account in rows) <= limit * len(rows)
        assert sum(book.posted(account) for account in begun) <= limit * len(begun)
        assert all(account.owed == 0 for account in rows)
        assert unused is Unused.ALL or all(account.limit == limit for account in rows)
