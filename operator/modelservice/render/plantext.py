"""What would be done with services that are not there yet, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from modelservice.domain.memory import GIB, Figure
from modelservice.domain.money import format_amount
from modelservice.domain.outlook import LEVELS, MONTH_HOURS, Level, Line, Outlook, Payment, Proposal
from modelservice.domain.periods import Period
from modelservice.domain.specs import Role
from modelservice.domain.suitability import Verdict
from modelservice.render.costtext import column, share, shorten
from modelservice.render.texttable import WIDTH, align_wrapped

NOTHING = "There is no ModelService in these files: name a directory that has one."
DAY, HOUR = 86_400, 3600
NAME_WIDTH = 28


def tables(outlook: Outlook) -> str:
    """A block for each role of each service, and one for the budgets."""
    blocks = [_block(proposal) for proposal in outlook.proposals] or [NOTHING]
    if outlook.payments:
        blocks.append(_budgets(outlook.payments))
    return "\n\n".join(blocks) + "\n"


def _block(proposal: Proposal) -> str:
    lines = [f"{proposal.service}  {proposal.role}", *_paragraph(f"model: {proposal.model}")]
    if proposal.problem:
        lines += _paragraph(f"not placed: {proposal.problem}")
    lines += [line for note in proposal.notes for line in _paragraph(f"note: {note}")]
    if proposal.lines:
        lines += ["", *_options(proposal.lines)]
    if proposal.levels and proposal.role is Role.INFERENCE:
        lines += ["", *_levels(proposal)]
    if proposal.levels and proposal.role is Role.TRAINING:
        lines += ["", *_run(proposal)]
    return "\n".join(lines)


def _paragraph(text: str) -> list[str]:
    return wrap(text, WIDTH - 1, subsequent_indent="  ", break_on_hyphens=False)


def _options(lines: Sequence[Line]) -> list[str]:
    rows = [("RANK", "POOL", "BUY", "AN HOUR", "", "NEEDS", "OF", "")]
    prices = iter(column([line.price for line in lines if line.price is not None]))
    for line in lines:
        price = next(prices) if line.price is not None else "-"
        rank = str(line.rank) if line.rank else "-"
        pool, told = shorten(line.pool, NAME_WIDTH), line.why
        if line.rank and line.verdict.fit == "Tight" and line.verdict.need is not None:
            told += f"; tight, it may need {_gib(line.verdict.need.most)} GiB"
        rows.append((rank, pool, line.purchase or "-", price, line.currency, *_memory(line.verdict), told))
    return align_wrapped(rows, "rllrlrrl")


def _memory(verdict: Verdict) -> tuple[str, str]:
    """What is needed, likely, and of how much, in GiB of one device or of the pod."""
    room = f"{_gib(verdict.room)} GiB" if verdict.room else "-"
    if verdict.need is None:
        return ("unknown" if verdict.unknown else "-", room if verdict.unknown else "-")
    times = f"{verdict.devices} x " if verdict.devices > 1 else ""
    return f"{times}{_gib(verdict.need.likely)}", room


def _gib(amount: int) -> str:
    return f"{amount / GIB:.1f}"


def _levels(proposal: Proposal) -> list[str]:
    rows = [("", "REPLICAS", f"{proposal.currency} A MONTH", "PAID FOR", "")]
    months = column([level.monthly for level in proposal.levels])
    for level, month in zip(proposal.levels, months, strict=True):
        rows.append((level.name, str(level.replicas), month, str(level.funded), level.refusal))
    return align_wrapped(rows, "lrrrl")


def _run(proposal: Proposal) -> list[str]:
    chosen, (level,) = proposal.chosen, proposal.levels
    if chosen is None or chosen.price is None:
        return []
    paid = "its budgets pay for it now" if level.funded else f"it waits: {level.refusal}"
    if level.funded and not proposal.payers:
        paid = "no budget pays for it"
    return _paragraph(
        f"Each hour of the run costs {format_amount(chosen.price)} {proposal.currency}; {paid}.".replace("..", ".")
    )


def _budgets(payments: Sequence[Payment]) -> str:
    rows = [("BUDGET", "LIMIT", "", "A", *(f"AT {name.upper()}" for name in LEVELS), "")]
    for payment in payments:
        policy = payment.policy
        parts = [share(amount, policy.limit) for amount in payment.amounts]
        limit = format_amount(policy.limit)
        name = shorten(policy.name, NAME_WIDTH)
        rows.append((name, limit, policy.currency, _period(payment), *parts, _verdict(payment)))
    return "\n".join(align_wrapped(rows, "lrllrrrl"))


def _period(payment: Payment) -> str:
    period = payment.policy.period
    return period.calendar.value if isinstance(period, Period) else "window"


def _verdict(payment: Payment) -> str:
    """Whether it lasts, and which of its bounds is met first."""
    policy = payment.policy
    if not payment.seconds:
        return "its window is over: it pays for nothing"
    told = []
    late = next((level for level in range(len(LEVELS)) if payment.lasts(level) is not None), None)
    if late is not None:
        told.append(f"at {LEVELS[late]} it is spent after {_duration(payment.lasts(late) or 0)}")
    if policy.max_rate is not None:
        fast = next((level for level in range(len(LEVELS)) if payment.rates[level] > policy.max_rate), None)
        if fast is not None:
            rate, most = format_amount(payment.rates[fast]), format_amount(policy.max_rate)
            told.append(f"at {LEVELS[fast]} {rate} an hour are above maxRatePerHour {most}")
    text = "; ".join(told) or "fits"
    return text if policy.binds else f"{text} ({policy.enforcement.value}: refuses nothing)"


def _duration(seconds: int) -> str:
    if seconds >= DAY:
        return f"{seconds // DAY} d {seconds % DAY // HOUR} h"
    return f"{seconds // HOUR} h {seconds % HOUR // 60} min"


def as_json(outlook: Outlook) -> str:
    """One document: `services` with their ranked options, and `budgets`; memory in bytes, money as decimal strings."""
    document = {
        "monthHours": MONTH_HOURS,
        "services": [_proposal(proposal) for proposal in outlook.proposals],
        "budgets": [_payment(payment) for payment in outlook.payments],
    }
    return json.dumps(document, indent=2) + "\n"


def _proposal(proposal: Proposal) -> dict[str, Any]:
    chosen = proposal.chosen
    return {
        "service": str(proposal.service),
        "role": proposal.role.value,
        "model": proposal.model,
        "problem": proposal.problem,
        "chosen": None if chosen is None else {"pool": chosen.pool, "purchase": chosen.purchase},
        "options": [_line(line) for line in proposal.lines],
        "levels": [_level(level, proposal.currency) for level in proposal.levels],
        "payers": list(proposal.payers),
        "notes": list(proposal.notes),
    }


def _line(line: Line) -> dict[str, Any]:
    verdict = line.verdict
    return {
        "rank": line.rank or None,
        "pool": line.pool,
        "purchase": line.purchase or None,
        "perHour": None if line.price is None else format_amount(line.price),
        "currency": line.currency or None,
        "devices": verdict.devices,
        "memory": _figure(verdict.need),
        "memoryAvailable": verdict.room or None,
        "memoryUnknown": verdict.unknown or None,
        "fit": verdict.fit.value if verdict.fit is not None else None,
        "sequences": verdict.sequences or None,
        "why": line.why,
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"min": figure.least, "likely": figure.likely, "max": figure.most, "source": figure.source.value}


def _level(level: Level, currency: str) -> dict[str, Any]:
    return {
        "level": level.name,
        "replicas": level.replicas,
        "perMonth": format_amount(level.monthly),
        "currency": currency,
        "paidFor": level.funded,
        "refusal": level.refusal or None,
    }


def _payment(payment: Payment) -> dict[str, Any]:
    policy = payment.policy
    return {
        "policy": policy.name,
        "enforcement": policy.enforcement.value,
        "currency": policy.currency,
        "limit": format_amount(policy.limit),
        "period": _period(payment),
        "periodSeconds": payment.seconds,
        "maxRatePerHour": None if policy.max_rate is None else format_amount(policy.max_rate),
        "levels": [
            {
                "level": name,
                "perPeriod": format_amount(payment.amounts[at]),
                "ratePerHour": format_amount(payment.rates[at]),
                "spentAfterSeconds": payment.lasts(at),
            }
            for at, name in enumerate(LEVELS)
        ],
    }
