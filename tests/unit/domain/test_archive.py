"""An export survives its text and nothing else does; an import adds what is missing and lowers nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.archive import Archive, Unreadable, changes, read, write
from modelservice.domain.book import Account, Book, Line, Unit
from modelservice.domain.integrity import RECOVERED, raised

from tests.unit.domain.books import NOW, TEAM, WORK, opened

LINE = Line("team/chat", "Inference", "cpu", 5_000_000, -1_000_000)
PAGE = Account(TEAM, 0, 100, "USD", 10**9, sealed=True, lines=(LINE,))


def book(*, closed: int = 7_000_000) -> Book:
    """One pod that costs a micro-unit per second runs since 1,000 s."""
    made = opened()
    lines = (replace(LINE, closed=closed, adjusted=0),) if closed else ()
    made = replace(made, accounts=(replace(made.accounts[0], lines=lines), *made.accounts[1:]))
    return made.with_placement(replace(made.placements[WORK], units={"a": Unit(NOW - 1000, "node-1")}))


ARCHIVE = Archive("uid/modelservice-system", NOW, book(), (PAGE,))


def test_an_export_survives_its_text() -> None:
    text = write(ARCHIVE)
    made = read(text)
    assert made == replace(ARCHIVE, book=made.book)
    assert (made.book.time, made.book.accounts) == (NOW, book().accounts)
    assert made.book.placements[WORK].units == book().placements[WORK].units
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "It is no export of a ledger"),
        ("{}\n", "It is no export of a ledger"),
        ("apiVersion: v1\n", "Its line 1 is no JSON object"),
        ("[1]\n", "Its line 1 is no JSON object"),
        (write(ARCHIVE).replace('"version": 1', '"version": 2'), "It has version 2 and version 1 can be read"),
        (write(ARCHIVE).replace("5000000", "4000000"), "It was cut off or changed"),
        ("".join(write(ARCHIVE).splitlines(keepends=True)[:-1]), "It was cut off or changed"),
        ("".join(write(ARCHIVE).splitlines(keepends=True)[:1]), "It was cut off or changed"),
        (write(ARCHIVE)[:-30], "Its line 4 is no JSON object"),
        (write(replace(ARCHIVE, pages=(replace(PAGE, sealed=False),))), "It is damaged: the page of team/monthly"),
    ],
)
def test_what_is_no_whole_export_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read(text)


def test_an_import_of_what_is_there_changes_nothing_and_says_so() -> None:
    made = changes(ARCHIVE, book(), [PAGE], NOW + 500)
    assert [(one.page, one.short) for one in made] == [(None, None)] * 2
    assert made[0].text == (
        "team/monthly from 2026-07-01T00:00:00Z, 7.001 USD in the export: what is stored is not less, and stays."
    )
    assert made[1].text == (
        "team/monthly from 1970-01-01T00:00:00Z, 5.00 USD in the export: it has a page that says no less, which stays."
    )


def test_an_import_into_an_empty_ledger_brings_every_page_and_all_that_was_spent() -> None:
    account, page = changes(ARCHIVE, Book(), [], NOW + 500)
    assert account.text.endswith("0.00 is stored, 7.001 USD is added.")
    assert (page.page, page.text.partition(": ")[2]) == (PAGE, "a page with 4.00 is stored.")
    assert account.short is not None
    (made,) = raised(Book(NOW + 500), [account.short]).accounts
    assert made.lines == (Line(*RECOVERED, 7_001_000),)


def test_an_import_raises_what_is_less_as_of_the_time_of_the_export_and_lowers_nothing() -> None:
    """What pods have cost since then comes on top."""
    later = replace(book(closed=6_000_000), time=NOW + 500)
    account, page = changes(ARCHIVE, later, [replace(PAGE, lines=(replace(LINE, closed=5_500_000),))], NOW + 500)
    assert account.short is not None
    assert account.short.missing == 1_000_000
    assert page.page is None
    assert [one.short for one in changes(ARCHIVE, book(closed=8_000_000), [PAGE], NOW)] == [None, None]
    (little, _) = changes(ARCHIVE, book(closed=6_999_999), [PAGE], NOW)
    assert little.short is not None
    assert little.short.missing == 1
    (_, less) = changes(ARCHIVE, book(), [replace(PAGE, lines=(replace(LINE, closed=4_000_000),))], NOW)
    assert less.page is not None
    assert less.page.lines == (replace(LINE, closed=1_000_000, adjusted=0),)


def test_a_period_that_is_a_page_in_the_export_and_open_in_the_book_is_raised_there() -> None:
    open_again = replace(PAGE, sealed=False, lines=(replace(LINE, closed=3_000_000, adjusted=0),))
    stored = replace(book(), accounts=(open_again, *book().accounts))
    account, page = changes(ARCHIVE, stored, [], NOW)
    assert account.short is None
    assert page.page is None
    assert page.short is not None
    assert page.short.missing == 2_000_000
    assert raised(stored, [page.short]).accounts[0].closed == 5_000_000
