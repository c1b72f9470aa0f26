"""The pages of sealed periods together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .book import Account, Line

Span = tuple[str, int, int]
"""A policy, and the start and end of one of its periods."""


def joined(pages: Iterable[Account]) -> dict[Span, Account]:
    """The pages by period; several of one period hold different parts of its cost and are added up."""
    made: dict[Span, Account] = {}
    for page in pages:
        span = (page.policy, page.start, page.end)
        made[span] = replace(made[span], lines=_sum((*made[span].lines, *page.lines))) if span in made else page
    return made


def beyond(account: Account, page: Account) -> Account:
    """The account without what a page of the same period has of it already."""
    kept = {_row(line): line for line in page.lines}
    lines = []
    for line in account.lines:
        old = kept.get(_row(line))
        closed, adjusted = (
            (line.closed - old.closed, line.adjusted - old.adjusted) if old else (line.closed, line.adjusted)
        )
        if closed > 0:
            lines.append(replace(line, closed=closed, adjusted=max(-closed, min(0, adjusted))))
    return replace(account, lines=tuple(lines))


def _sum(lines: Iterable[Line]) -> tuple[Line, ...]:
    rows: dict[Line, Line] = {}
    for line in lines:
        old = rows.get(_row(line), _row(line))
        rows[_row(line)] = replace(line, closed=old.closed + line.closed, adjusted=old.adjusted + line.adjusted)
    return tuple(sorted(rows.values(), key=lambda line: (line.service, line.role, line.pool)))


def _row(line: Line) -> Line:
    """What the line is for, without its amounts."""
    return replace(line, closed=0, adjusted=0)
