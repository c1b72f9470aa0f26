"""What a budget says of itself: the figures of its current period and its conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modelservice.domain.book import Account, Blocked, Book, Enforcement, Placement
from modelservice.domain.carryover import is_final
from modelservice.domain.conditions import Condition
from modelservice.domain.integrity import Freeze
from modelservice.domain.ledger import Policy
from modelservice.domain.limits import Extra
from modelservice.domain.money import HOUR, format_amount
from modelservice.domain.periods import Window
from modelservice.domain.rehearsal import Objection
from modelservice.domain.thresholds import Threshold
from modelservice.domain.times import format_time

BUDGET_REASONS = frozenset(
    {
        "Funded",
        "NotUsedYet",
        "Exhausted",
        "FloorUnfundable",
        "LimitLowered",
        "OverLimit",
        "WouldRefuse",
        "WindowNotOpen",
        "WindowOver",
        "Invalid",
        "LedgerUnavailable",
        "Frozen",
    }
)

SOFT_LIMIT_REASONS = frozenset({"NotPassed", "SoftLimitPassed"})


@dataclass(frozen=True, slots=True)
class Figures:
    """Micro-units of one account at one time; `rate` per hour of all open units.

    What is set aside beyond `spent` is `committed`, or `endurance`, which a new pod can have. `final` unless what is
    carried over to the period may still change; `paid_until` as `funded_until` has it.
    """

    account: Account
    spent: int
    committed: int
    endurance: int
    available: int
    rate: int
    final: bool = True
    paid_until: int | None = None


def figures(book: Book, policy: str, now: int) -> Figures | None:
    """The current period's figures, or those of the last one until it is collected; None before there is any."""
    begun = [account for account in book.accounts_of(policy) if account.start <= now]
    if not begun:
        return None
    account = next((account for account in begun if account.covers(now)), begun[-1])
    spent, committed = book.posted(account, now), max(0, book.committed(account, now))
    endurance = max(0, book.worst(account) - spent - committed)
    available = max(0, account.limit - spent - committed)
    until = funded_until(record for record in book.placements.values() if policy in record.terms.binding)
    final = is_final(book, account)
    return Figures(account, spent, committed, endurance, available, book.rate(policy), final, until)


def funded_until(records: Iterable[Placement]) -> int | None:
    """The first time at which pods of these records that go on are not paid any longer.

    None when there are none, or none for which a budget must have the money.
    """
    ends = (record.hold_through for record in records if record.units and not record.draining)
    return min((end for end in ends if end is not None), default=None)


def told_until(until: int, now: int) -> str:
    """That time as a status tells it: rounded down, so that it is true, and the more the further it is ahead.

    Money that is lent shifts the ends of all holds a little with every write of the book, which is no news.
    """
    ahead = until - now
    step = 60 if ahead < 2 * HOUR else 600 if ahead < 24 * HOUR else HOUR
    return format_time(until - until % step)


def limit_text(account: Account) -> str:
    """The limit with its currency, what of it is extra, and what is carried over."""
    parts = []
    if account.extra is not None:
        override = account.extra.override
        parts.append(f"{format_amount(override.amount)} of it extra until {format_time(override.until)}")
    if account.saved:
        parts.append(f"{format_amount(account.saved)} of it unused before")
    if account.owed:
        parts.append(f"{format_amount(account.owed)} less for what was spent too much before")
    text = f"{format_amount(account.limit)} {account.currency}"
    return f"{text} ({', '.join(parts)})" if parts else text


def override_text(account: Account) -> str:
    """A sentence about the override in force, or about the limit without any."""
    if account.extra is None:
        return f"The override is over: the limit of this period is {limit_text(account)} now."
    override = account.extra.override
    return (
        f"{format_amount(override.amount)} {account.currency} may be spent beyond the limit until "
        f"{format_time(override.until)}: {override.reason}"
    )


def override_row(extra: Extra) -> dict[str, str]:
    """An override as the status and the cost report show it."""
    return {
        "extraAmount": format_amount(extra.override.amount),
        "since": format_time(extra.since),
        "until": format_time(extra.override.until),
        "reason": extra.override.reason,
    }


def action_rows(policy: Policy, account: Account) -> list[dict[str, Any]]:
    """The thresholds that were reached in the period, as the status shows them."""
    actions = {threshold.name: threshold.actions for threshold in policy.thresholds}
    rows: list[dict[str, Any]] = []
    for crossing in account.crossings:
        if crossing.reached is None or crossing.name not in actions:
            continue
        acts = "WouldApply" if policy.enforcement is Enforcement.DRY_RUN else "Applied"
        row = {
            "threshold": crossing.name,
            "actions": [action.value for action in actions[crossing.name]],
            "effect": acts if crossing.undone is None else "Undone",
            "since": format_time(crossing.reached),
        }
        rows.append(row if crossing.undone is None else row | {"undone": format_time(crossing.undone)})
    return rows


def threshold_text(threshold: Threshold, account: Account, effect: str) -> str:
    """A sentence about a threshold whose actions have that effect now."""
    measured = f"{threshold.metric} spending of {account.policy}"
    actions = " and ".join(action.value for action in threshold.actions)
    if effect == "Undone":
        return f"{measured} is below {threshold.clear_below} % of {limit_text(account)} again: {actions} is undone."
    follow = f"{actions} is in force" if effect == "Applied" else f"{actions} would be in force without DryRun"
    return (
        f"{measured} is at {threshold.at} % of {limit_text(account)} or more: threshold {threshold.name} is reached "
        f"and {follow}, once in the period that ends at {format_time(account.end)}."
    )


def judge_budget(
    policy: Policy | None,
    seen: Figures | None,
    now: int,
    *,
    refused: bool,
    problem: str,
    freeze: Freeze | None = None,
    unfunded: int = 0,
    objections: Sequence[Objection] = (),
) -> Condition:
    """Ready of a BudgetPolicy; `policy` is None when its spec cannot be honoured, `problem` then says why.

    `unfunded` is what it lacks to keep all floors until the end of its period, micro-units.
    """

    def ready(status: str, reason: str, message: str) -> Condition:
        return Condition("Ready", "True" if status == "True" else "False", reason, message)

    if policy is None:
        return ready("False", "Invalid", problem)
    if problem:
        return ready("False", "LedgerUnavailable", f"The book of budgets cannot be used: {problem}")
    if freeze is not None:
        return ready("False", "Frozen", freeze.text)
    if isinstance(policy.period, Window) and (outside := _outside(policy.period, now)) is not None:
        return ready("False", *outside)
    if seen is not None and policy.currency != seen.account.currency:
        booked = seen.account.currency
        text = (
            f"The money of this period is booked in {booked} under this name and the policy is in {policy.currency}: "
            f"make a policy with another name, or use {booked}. Nothing is started or counted until then."
        )
        return ready("False", "Invalid", text)
    if policy.binds:
        status, reason, text = _judge_limit(policy, seen, unfunded, refused=refused)
    else:
        status, reason, text = _judge_advice(policy, seen, objections)
    if seen is not None and seen.account.since is not None:
        text = f"{text} What ran before {format_time(seen.account.since)}, when the budget began, is not counted."
    return ready(status, reason, text)


def _judge_limit(policy: Policy, seen: Figures | None, unfunded: int, *, refused: bool) -> tuple[str, str, str]:
    """Status, reason and sentence of a budget that refuses what it has no money for."""
    if seen is None:
        return "True", "NotUsedYet", "Nothing has been held for this budget yet."
    limit, currency = limit_text(seen.account), seen.account.currency
    if seen.spent + seen.committed > seen.account.limit:
        over = format_amount(seen.spent + seen.committed - seen.account.limit)
        text = (
            f"{over} {currency} more is spent and held than the limit of {limit} allows, since the limit was lowered, "
            "an override ended, the period before cost more or a pod ran without a hold: "
            "nothing is started or renewed until that is over."
        )
        return "False", "LimitLowered", text
    left = format_amount(seen.available)
    if refused:
        text = (
            f"{left} {currency} of {limit} is left, too little for a pod that is wanted or for "
            f"{policy.horizon} s more of one that runs."
        )
        return "False", "Exhausted", text
    if unfunded:
        text = (
            f"{left} {currency} of {limit} is left, {format_amount(unfunded)} {currency} too little to keep the fewest "
            f"replicas of all services until {format_time(seen.account.end)}: raise limit, or lower minReplicas."
        )
        return "False", "FloorUnfundable", text
    return "True", "Funded", f"{left} {currency} of {limit} can still be held."


def judge_soft_limit(policy: Policy, seen: Figures | None) -> Condition | None:
    """WithinSoftLimit of a budget that has a soft limit; it is False for the rest of a period once more is spent."""
    if policy.soft_limit is None:
        return None
    limit = f"{format_amount(policy.soft_limit)} {policy.currency}"
    if seen is None or seen.spent <= policy.soft_limit:
        text = f"No more than the soft limit of {limit} is spent in this period."
        return Condition("WithinSoftLimit", "True", "NotPassed", text)
    end = format_time(seen.account.end)
    text = f"More than the soft limit of {limit} is spent in the period that ends at {end}. Nothing is refused for it."
    return Condition("WithinSoftLimit", "False", "SoftLimitPassed", text)


def _judge_advice(policy: Policy, seen: Figures | None, objections: Sequence[Objection]) -> tuple[str, str, str]:
    """Status, reason and sentence of a budget that refuses nothing."""
    if objections:
        pods = sum(one.refused.pods for one in objections)
        text = f"With enforcement Hard {pods} of the pods that are wanted would be refused: see status.wouldRefuse."
        return "False", "WouldRefuse", text
    mode = f"enforcement is {policy.enforcement}, so nothing is refused."
    if seen is None:
        return "True", "NotUsedYet", f"Nothing has been counted yet; {mode}"
    limit, currency = limit_text(seen.account), seen.account.currency
    left = seen.account.limit - seen.spent
    if left < 0:
        text = f"{format_amount(-left)} {currency} more than the limit of {limit} is spent; {mode}"
        return "False", "OverLimit", text
    return "True", "Funded", f"{format_amount(left)} {currency} of {limit} is not spent yet; {mode}"


def objection_text(objection: Objection) -> str:
    """A sentence about one objection."""
    why, pods = objection.refused.why, objection.refused.pods
    need, have = f"{format_amount(why.need)} {why.currency}", f"{format_amount(why.have)} {why.currency}"
    what = f"With enforcement Hard {pods} pods of {objection.service} would be refused"
    helps = f" {objection.fits} would be paid for now"
    helps += "." if objection.affordable_at is None else f", one more from {format_time(objection.affordable_at)} on."
    match why.blocked_by:
        case Blocked.RATE:
            return f"{what}: one more costs {need} an hour and {have} an hour is left below maxRatePerHour.{helps}"
        case Blocked.LIMIT:
            return f"{what}: one more needs {need} to be held and {have} is left in its period.{helps}"
        case Blocked.CURRENCY:
            return f"{what}: the budget is in {why.currency} and the pool is priced in another currency."
        case Blocked.LEDGER_FULL:
            return f"{what}: the book is full."


def _outside(window: Window, now: int) -> tuple[str, str] | None:
    """Reason and sentence when the window is not open now."""
    if now < window.start:
        begin = format_time(window.start)
        return "WindowNotOpen", f"The window begins at {begin}: until then this budget pays for nothing."
    if now >= window.end:
        end = format_time(window.end)
        return "WindowOver", f"The window ended at {end}: this budget pays for nothing any more. Make a new one."
    return None
