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
    kept = {(line.service, line.role, line.pool): line for line in page.lines}
    lines = []
    for line in account.lines:
        old = kept.get((line.service, line.role, line.pool))
        closed, adjusted = (
            (line.closed - old.closed, line.adjusted - old.adjusted) if old else (line.closed, line.adjusted)
        )
        if closed > 0:
            lines.append(replace(line, closed=closed, adjusted=max(-closed, min(0, adjusted))))
    return replace(account, lines=tuple(lines))


def _sum(lines: Iterable[Line]) -> tuple[Line, ...]:
    rows: dict[tuple[str, str, str], Line] = {}
    for line in lines:
        key = (line.service, line.role, line.pool)
        old = rows.get(key, Line(*key))
        rows[key] = Line(*key, old.closed + line.closed, old.adjusted + line.adjusted)
    return tuple(rows[key] for key in sorted(rows))
