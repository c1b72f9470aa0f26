"""The sums that a book remembers: always those of its rows, and never added up anew for each pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from modelservice.domain import book as books
from modelservice.domain.book import Book, Refusal
from modelservice.domain.codec import decode, encode
from modelservice.domain.funding import admit, drain, place, renew
from modelservice.domain.ledger import advance, close, prove
from modelservice.domain.money import cost

from tests.unit.domain.books import FOR_ONE, NOW, TEAM, WORK, admitted, opened, policy, sure, terms

OTHER = "team/other"
PAID_BY_BOTH = terms(payers=(TEAM, OTHER))


def assert_sums_fit(book: Book) -> None:
    """What the book states equals what is added up from its rows alone."""
    assert encode(decode(encode(book))) == encode(book)


def test_what_is_remembered_fits_the_rows_after_every_kind_of_step() -> None:
    book = opened(policy(), policy(name=OTHER), of=PAID_BY_BOTH)
    for name in ("a", "b", "c"):
        book = admitted(book, name)
        assert_sums_fit(book)
    steps: tuple[Callable[[Book], Book | Refusal], ...] = (
        lambda b: advance(b, NOW + 60),
        lambda b: prove(b, "a", NOW + 20, "n1"),
        lambda b: admit(b, WORK, ["d"]),
        lambda b: drain(b, WORK, ["b"]),
        lambda b: place(b, WORK, terms(7200, payers=(TEAM, OTHER))),
        lambda b: advance(b, NOW + 3000),
        lambda b: renew(b, WORK),
        lambda b: admit(b, WORK, ["e"]),
        lambda b: close(b, "a", NOW + 2500),
        lambda b: close(b, "b", NOW + 2500),
    )
    for step in steps:
        for account in book.accounts:
            book.worst(account)
        book = sure(step(book))
        assert_sums_fit(book)


def test_the_sum_of_another_state_of_an_account_is_not_taken_for_it() -> None:
    book = admitted(opened(), "a")
    account = book.accounts[0]
    spent = replace(account, lines=(books.Line("team/chat", "Inference", "cpu", closed=7),))
    assert book.worst(spent) == book.worst(account) + 7


@pytest.mark.parametrize("refused", [False, True], ids=["paid", "refused"])
def test_one_more_pod_is_not_paid_for_by_adding_up_all_others(
    monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    def count(pods: int) -> int:
        calls = 0

        def counted(rate: int, start: int, end: int) -> int:
            nonlocal calls
            calls += 1
            return cost(rate, start, end)

        limit = pods * FOR_ONE - 1 if refused else 10**12
        book = opened(policy(limit), policy(limit, name=OTHER), of=PAID_BY_BOTH)
        monkeypatch.setattr(books, "cost", counted)
        results = []
        for number in range(pods):
            results.append(admit(book, WORK, [f"pod-{number}"]))
            book = results[-1] if isinstance(results[-1], Book) else book
        assert isinstance(results[-1], Refusal) is refused
        return calls

    assert count(200) < 2.5 * count(100)
