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


def _sum(lines: Iterable[Line]) -> tuple[Line, ...]:
    rows: dict[tuple[str, str, str], Line] = {}
    for line in lines:
        key = (line.service, line.role, line.pool)
        old = rows.get(key, Line(*key))
        rows[key] = Line(*key, old.closed + line.closed, old.adjusted + line.adjusted)
    return tuple(rows[key] for key in sorted(rows))
