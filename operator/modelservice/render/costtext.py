"""Statements as text: tables of 100 columns, JSON and CSV for programs. All amounts are decimal strings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

from modelservice.domain.budgets import override_row
from modelservice.domain.costs import By, Denial, Entry, Phase, Statement
from modelservice.domain.forecast import Forecast
from modelservice.domain.limits import Extra
from modelservice.domain.money import format_amount
from modelservice.domain.times import format_time
from modelservice.domain.utilization import PoolUse
from modelservice.render.texttable import WIDTH, align

NAME_WIDTH = 48
NOTHING = "No budget has an account here: choose another namespace, policy or period."


def share(part: int, whole: int) -> str:
    """Percent with one decimal, rounded half up; a dash where there is no whole."""
    if whole <= 0:
        return "-"
    tenths = (abs(part) * 2000 + whole) // (2 * whole)
    return f"{'-' if part < 0 and tenths else ''}{tenths // 10}.{tenths % 10}%"


def column(amounts: Sequence[int]) -> list[str]:
    """The amounts with as many decimals as the one that needs the most, so that their points stand below each other."""
    written = [format_amount(amount) for amount in amounts]
    most = max((len(text.partition(".")[2]) for text in written), default=0)
    return [text + "0" * (most - len(text.partition(".")[2])) for text in written]


def shorten(name: str, width: int) -> str:
    """The name, or its two ends when it is longer than `width`."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def say_figures(statement: Statement) -> str:
    """One line: what the budget has come to."""
    parts = [
        f"limit {format_amount(statement.limit)} {statement.currency}",
        f"spent {format_amount(statement.spent)}",
        f"held {format_amount(statement.held)}",
        f"available {format_amount(statement.available)}",
    ]
    if statement.phase is Phase.OPEN:
        parts.append(f"rate {format_amount(statement.rate)} an hour")
    if not statement.binds:
        parts.append(f"enforcement {statement.enforcement}")
    return ", ".join(parts)


def say_extras(statement: Statement) -> list[str]:
    """A sentence for each override of the period: what it added to the limit, when and why."""
    lines = []
    for extra in statement.extras:
        override, end = extra.override, extra.override.until if extra.ended is None else extra.ended
        amount = f"override {format_amount(override.amount)} {statement.currency}"
        lines.append(f"{amount}, {format_time(extra.since)} - {format_time(end)}: {override.reason}")
    return lines


def say_terms(statement: Statement) -> list[str]:
    """A sentence each for a late begin, and for what earlier periods left to this one, unused money and a debt."""
    lines = []
    if statement.since is not None:
        lines.append(
            f"counted since {format_time(statement.since)}, when the budget began: earlier costs are not in it"
        )
    if statement.saved:
        amount = f"{format_amount(statement.saved)} {statement.currency}"
        lines.append(f"carried over: {amount} that earlier periods did not use, part of the limit")
    if statement.owed:
        amount = f"{format_amount(statement.owed)} {statement.currency}"
        lines.append(f"carried over: {amount} that the period before spent too much, taken from the limit")
    return lines


def say_forecast(statement: Statement) -> list[str]:
    """A sentence on what the period will have cost, none where that is not known."""
    foreseen = statement.forecast
    if foreseen is None:
        return []
    likely, most = format_amount(foreseen.p50), f"{format_amount(foreseen.p90)} {statement.currency}"
    until = (
        "" if foreseen.exhausts_at is None else f"; the limit is reached on {format_time(foreseen.exhausts_at)} then"
    )
    return [f"forecast: {likely} by the end (p50), {most} at most (p90){until}; basis {foreseen.basis}"]


def say_per_thousand(entry: Entry) -> str:
    """What 1,000 requests of a service cost, nothing where that is not known."""
    return "" if entry.per_thousand is None else format_amount(entry.per_thousand)


def tables(statements: Sequence[Statement], denials: Iterable[Denial], by: By, uses: Sequence[PoolUse] = ()) -> str:
    """One table for each statement, one of what is refused, and one of the nodes."""
    blocks = [_table(statement, by) for statement in statements] or [NOTHING]
    if refused := list(denials):
        blocks.append(_refusals(refused))
    if uses:
        blocks.append(_nodes(uses))
    return "\n\n".join(blocks) + "\n"


def _table(statement: Statement, by: By) -> str:
    title = f"{shorten(statement.policy, 40)}  {format_time(statement.start)} - {format_time(statement.end)}"
    entries = statement.entries(by)
    rows: list[tuple[str, ...]]
    counted = any(entry.per_thousand is not None for entry in entries)
    width = NAME_WIDTH - 20 if counted else NAME_WIDTH
    names = [*(shorten(entry.name, width) for entry in entries), "TOTAL"]
    spent, held = [*(entry.spent for entry in entries), statement.spent], [*(e.held for e in entries), statement.held]
    shares = [share(amount, statement.spent) for amount in spent]
    rows = [(shorten(by.name.upper(), width), f"SPENT {statement.currency}", "SHARE", f"HELD {statement.currency}")]
    rows += zip(names, column(spent), shares, column(held), strict=True)
    sides = "lrrr"
    if counted:
        each = ["PER 1,000 REQUESTS", *map(say_per_thousand, entries), ""]
        rows = [(*row, cost) for row, cost in zip(rows, each, strict=True)]
        sides += "r"
    told = [*say_terms(statement), *say_extras(statement), *say_forecast(statement)]
    extras = [line for text in told for line in wrap(text, WIDTH - 1)]
    return "\n".join((f"{title}  {statement.phase}", *_wrap(say_figures(statement)), *extras, "", *align(rows, sides)))


def _refusals(denials: Sequence[Denial]) -> str:
    rows = [("REFUSED", "BUDGET", "PODS", "BY", "NEED", "HAVE", "")]
    for denial in denials:
        need, have = format_amount(denial.need), format_amount(denial.have)
        pods = str(denial.pods)
        service, policy = shorten(denial.service, 26), shorten(denial.policy, 22)
        rows.append((service, policy, pods, denial.blocked_by, need, have, denial.currency))
    told = (f"{shorten(denial.service, 26)}: {text}" for denial in denials if (text := say_help(denial)))
    return "\n".join((*align(rows, "llrlrrl"), *(line for text in told for line in wrap(text, WIDTH - 1))))


def say_help(denial: Denial) -> str:
    """What fits now and when there is enough for one more, as far as it is known."""
    told = [] if denial.fits is None else [f"{denial.fits} fit now"]
    told += [f"{denial.elsewhere} more in pool {denial.pool}"] if denial.pool else []
    told += [] if denial.affordable_at is None else [f"one more from {format_time(denial.affordable_at)} on"]
    return ", ".join(told)


def _nodes(uses: Sequence[PoolUse]) -> str:
    rows = [("NODES NOW", "READY", "COST AN HOUR", "CHARGED", "", "NOT CHARGED")]
    costs, charged = column([use.costs for use in uses]), column([use.charged for use in uses])
    for use, cost, paid in zip(uses, costs, charged, strict=True):
        rows.append((shorten(use.pool, 28), str(use.nodes), cost, paid, use.currency, share(use.uncharged, use.costs)))
    return "\n".join(align(rows, "lrrrlr"))


def _wrap(text: str) -> list[str]:
    lines = [""]
    for part in text.split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(joined) > WIDTH - 1:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] = joined
    return lines


def _help(denial: Denial) -> dict[str, Any]:
    elsewhere = {"pool": denial.pool, "poolReplicas": denial.elsewhere} if denial.pool else {}
    fits = {} if denial.fits is None else {"fitsNow": {"replicas": denial.fits, **elsewhere}}
    return fits if denial.affordable_at is None else {**fits, "affordableAt": format_time(denial.affordable_at)}


def as_json(
    statements: Iterable[Statement], denials: Iterable[Denial], by: By, now: int, uses: Iterable[PoolUse] = ()
) -> str:
    """One document: `asOf`, `statements` with `rows` that add up to `spent` and `held`, `refusals` and `pools`."""
    document = {
        "asOf": format_time(now),
        "statements": [_statement(statement, by) for statement in statements],
        "refusals": [
            {
                "service": denial.service,
                "policy": denial.policy,
                "blockedBy": denial.blocked_by,
                "need": format_amount(denial.need),
                "have": format_amount(denial.have),
                "currency": denial.currency,
                "pods": denial.pods,
                **_help(denial),
            }
            for denial in denials
        ],
        "pools": [
            {
                "pool": use.pool,
                "currency": use.currency,
                "readyNodes": use.nodes,
                "nodesPerHour": format_amount(use.costs),
                "chargedPerHour": format_amount(use.charged),
                "notCharged": share(use.uncharged, use.costs),
            }
            for use in uses
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _statement(statement: Statement, by: By) -> dict[str, object]:
    return {
        "policy": statement.policy,
        "period": {"start": format_time(statement.start), "end": format_time(statement.end)},
        "phase": statement.phase.value,
        "enforcement": statement.enforcement.value,
        "currency": statement.currency,
        "limit": format_amount(statement.limit),
        **({"countedSince": format_time(statement.since)} if statement.since is not None else {}),
        "carried": format_amount(statement.saved - statement.owed),
        "overrides": [_extra(extra) for extra in statement.extras],
        "spent": format_amount(statement.spent),
        "held": format_amount(statement.held),
        "available": format_amount(statement.available),
        "ratePerHour": format_amount(statement.rate),
        "forecast": _forecast(statement.forecast),
        "rows": [
            {by.name: entry.name, "spent": format_amount(entry.spent), "held": format_amount(entry.held)}
            | ({} if entry.per_thousand is None else {"perThousandRequests": say_per_thousand(entry)})
            for entry in statement.entries(by)
        ],
    }


def _forecast(foreseen: Forecast | None) -> dict[str, str] | None:
    if foreseen is None:
        return None
    row = {"p50": format_amount(foreseen.p50), "p90": format_amount(foreseen.p90), "basis": foreseen.basis.value}
    return row if foreseen.exhausts_at is None else row | {"exhaustsAt": format_time(foreseen.exhausts_at)}


def _extra(extra: Extra) -> dict[str, str]:
    row = override_row(extra)
    return row if extra.ended is None else row | {"ended": format_time(extra.ended)}


def as_csv(statements: Iterable[Statement], by: By) -> str:
    """One line for each group of each statement, with a header and without totals, so that a sheet can add them up.

    The forecast is that of the whole budget, in each of its lines.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    kept = ("policy", "period_start", "period_end", "phase", "currency", by.name, "spent", "held")
    writer.writerow((*kept, "per_thousand_requests", "forecast_p50", "forecast_p90"))
    for statement in statements:
        period = (format_time(statement.start), format_time(statement.end))
        foreseen = statement.forecast
        ahead = ("", "") if foreseen is None else (format_amount(foreseen.p50), format_amount(foreseen.p90))
        for entry in statement.entries(by):
            amounts = (format_amount(entry.spent), format_amount(entry.held), say_per_thousand(entry), *ahead)
            writer.writerow(
                (statement.policy, *period, statement.phase.value, statement.currency, entry.name, *amounts)
            )
    return out.getvalue()
