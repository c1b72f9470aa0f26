"""An export of the ledger as lines of JSON, and what an import of one would add to the ledger that is there.

::

    {"kind": "ModelServiceLedger", "version": 1, "ledger": "<uid of kube-system>/<namespace>", "time": 1767225600}
    {"page": {..}}
    {"book": {..}}
    {"sha256": "<digest of all lines before this one>"}

``page`` (one line for each) and ``book`` are as in ``codec``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from .book import Account, Book
from .codec import DamagedBookError, decode, decode_page, encode, encode_page
from .integrity import Fact, Shortfall, facts_of, shortfalls
from .money import format_amount
from .pages import Span, beyond, joined
from .times import format_time

KIND = "ModelServiceLedger"
VERSION = 1
FEWEST_LINES = 3


class Unreadable(ValueError):
    """The text is no export that can be used; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What an export says: of which ledger and when, its open book and its pages."""

    ledger: str
    time: int
    book: Book
    pages: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What an import does with one period: a page that it stores, what it adds to an account, or neither."""

    text: str
    page: Account | None = None
    short: Shortfall | None = None


def write(archive: Archive) -> str:
    """The text of an export; equal archives give equal text."""
    head = {"kind": KIND, "version": VERSION, "ledger": archive.ledger, "time": archive.time}
    pages = [{"page": encode_page(archive.book, page)} for page in archive.pages]
    body = "".join(json.dumps(line) + "\n" for line in (head, *pages, {"book": encode(archive.book)}))
    return body + json.dumps({"sha256": _digest(body)}) + "\n"


def read(text: str) -> Archive:
    """What an export says. Raises Unreadable."""
    lines = text.splitlines(keepends=True)
    values = [_line(number, line) for number, line in enumerate(lines, 1)]
    if not values or values[0].get("kind") != KIND:
        raise Unreadable("It is no export of a ledger: make one by `modelservice ledger export`.")
    if values[0].get("version") != VERSION:
        raise Unreadable(f"It has version {values[0].get('version')} and version {VERSION} can be read.")
    if len(values) < FEWEST_LINES or values[-1].get("sha256") != _digest("".join(lines[:-1])):
        raise Unreadable("It was cut off or changed: its digest is not that of its lines.")
    try:
        pages = tuple(decode_page(value["page"]) for value in values[1:-2])
        return Archive(values[0]["ledger"], values[0]["time"], decode(values[-2]["book"]), pages)
    except (DamagedBookError, KeyError) as error:
        raise Unreadable(f"It is damaged: {error}.") from error


def changes(archive: Archive, book: Book, stored: Iterable[Account], now: int) -> tuple[Change, ...]:
    """What an import would do with each period, the book and the pages being as given.

    Nothing is ever lowered. A page that is not there is stored; an account is raised to what the export says of it,
    as of the time of the export.
    """
    pages = joined(stored)
    in_book = {(account.policy, account.start, account.end) for account in book.accounts}
    own = joined(archive.pages)
    told = [replace(fact, rate=0, source="the export") for fact in facts_of(archive.book)]
    told += [_fact(page) for span, page in own.items() if span in in_book]
    short = {_span(one.fact): one for one in shortfalls(told, book, book, pages, now, lost=True)}
    made = [_raise(fact, short.get(_span(fact))) for fact in told]
    made += [_keep(page, pages.get(span)) for span, page in own.items() if span not in in_book]
    return tuple(made)


def _raise(fact: Fact, short: Shortfall | None) -> Change:
    if short is None:
        return Change(f"{_name(fact)}: what is stored is not less, and stays.")
    missing = f"{format_amount(short.missing)} {fact.currency}"
    return Change(f"{_name(fact)}: {format_amount(short.known)} is stored, {missing} is added.", short=short)


def _keep(page: Account, stored: Account | None) -> Change:
    rest = page if stored is None else beyond(page, stored)
    name = _name(_fact(page))
    if not rest.lines:
        return Change(f"{name}: it has a page that says no less, which stays.")
    return Change(f"{name}: a page with {format_amount(rest.closed + rest.adjustments)} is stored.", page=rest)


def _fact(page: Account) -> Fact:
    return Fact(page.policy, page.start, page.end, page.currency, page.closed, 0, page.end, "the export")


def _span(fact: Fact) -> Span:
    return fact.policy, fact.start, fact.end


def _name(fact: Fact) -> str:
    return f"{fact.policy} from {format_time(fact.start)}, {format_amount(fact.spent)} {fact.currency} in the export"


def _line(number: int, line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unreadable(f"Its line {number} is no JSON object: it is no export, or it was cut off.")
    return value


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
