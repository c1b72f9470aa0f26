"""Reports on one budget, of a namespace or of the cluster: what is spent, held and left in its period."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from modelservice.api.budgetpolicy import BudgetPolicy, ClusterBudgetPolicy
from modelservice.api.convert import policy_of
from modelservice.controllers.report import REFRESH_SECONDS, moved
from modelservice.controllers.safeguards import Safeguards
from modelservice.controllers.world import World
from modelservice.domain.book import Blocked
from modelservice.domain.budgets import (
    Figures,
    action_rows,
    figures,
    judge_budget,
    judge_soft_limit,
    objection_text,
    override_row,
    override_text,
    threshold_text,
    told_until,
)
from modelservice.domain.conditions import Condition
from modelservice.domain.coverage import cover, unpriced_pods
from modelservice.domain.forecast import Forecast, forecast
from modelservice.domain.guarantee import judge_guarantee, weak_pods, worst_case
from modelservice.domain.ledger import Policy
from modelservice.domain.money import format_amount
from modelservice.domain.rehearsal import Objection
from modelservice.domain.thresholds import Action
from modelservice.domain.times import format_time
from modelservice.kit.cache import Cache
from modelservice.kit.controller import Result
from modelservice.kit.objects import Key, Object, Ref
from modelservice.kit.status import StatusWriter
from modelservice.ports import EventSink

UNTIL_READ = 1.0
"""Seconds until a policy is looked at again after a start, before the book has been read."""
FIGURES = (
    "period",
    "limit",
    "override",
    "adjustments",
    "spent",
    "held",
    "available",
    "ratePerHour",
    "fundedUntil",
    "forecast",
    "asOf",
)
"""What of the status comes from the book; it stays while the book cannot be read and when a window is over."""

MOST_OBJECTIONS = 100
MOST_POOLS = 100


@dataclass(slots=True)
class Budgets:
    """Reconciles keys of one kind of budget: those in `cache`, which are read as `model`."""

    world: World
    statuses: StatusWriter
    events: EventSink
    safeguards: Safeguards
    cache: Cache[Object]
    model: type[BudgetPolicy | ClusterBudgetPolicy]

    async def reconcile(self, key: Key) -> Result | None:
        """Write the status of one policy when it says something new."""
        obj = self.cache.get(Ref(key.namespace, key.name))
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        policy, problem = self._policy(obj)
        now, book = self.world.now(), self.world.book
        if book is None and not self.world.book_problem:
            return Result(UNTIL_READ)
        seen = figures(book, policy.name, now) if policy is not None and book is not None else None
        foreseen = self._forecast(policy, now)
        problem = problem or self.world.book_problem
        objections = self.world.objections.get(policy.name, ()) if policy is not None else ()
        condition = judge_budget(
            policy,
            seen,
            now,
            refused=self._refuses(policy),
            problem=problem,
            freeze=self.world.freeze,
            unfunded=self._unfunded(policy),
            objections=objections,
        )
        soft = judge_soft_limit(policy, seen) if policy is not None else None
        conditions = [condition] if soft is None else [condition, soft]
        generation = obj["metadata"]["generation"]
        made: dict[str, Any] = {
            "observedGeneration": generation,
            "conditions": [one.row(generation) for one in conditions],
            **self._figures(obj, seen, foreseen, now, kept=book is None or condition.reason == "WindowOver"),
            "guarantee": self._guarantee(policy, condition, seen, now),
            **self._coverage(policy),
            **_actions(policy, seen),
        }
        told = {one["service"]: one for one in (obj.get("status") or {}).get("wouldRefuse") or ()}
        rows = [_objection(one, told.get(str(one.service)), now) for one in objections[:MOST_OBJECTIONS]]
        if rows:
            made["wouldRefuse"] = rows
        before = {one["type"]: one["reason"] for one in (obj.get("status") or {}).get("conditions") or ()}
        overridden = (obj.get("status") or {}).get("override")
        acted = (obj.get("status") or {}).get("appliedActions") or ()
        stored = await self.statuses.write(obj, made, now=now)
        self.cache.observe(stored)
        if seen is not None and _asked(overridden) != _asked(made.get("override")):
            reason = "BudgetOverrideEnded" if seen.account.extra is None else "BudgetOverrideStarted"
            self.events.emit(obj, reason=reason, message=override_text(seen.account), warning=True)
        self._tell_of_thresholds(obj, policy, seen, acted)
        for one in conditions:
            if one.reason not in (before.get(one.type), "WouldRefuse") and one.status == "False":
                self.events.emit(obj, reason=f"Budget{one.reason}", message=one.message, warning=True)
        for objection, row in zip(objections, rows, strict=False):
            if row["since"] != (told.get(row["service"]) or {}).get("since"):
                text = objection_text(objection)
                self.events.emit(obj, reason="BudgetWouldRefuse", message=text, warning=True)
        return Result(REFRESH_SECONDS)

    def _tell_of_thresholds(
        self, obj: Object, policy: Policy | None, seen: Figures | None, before: Iterable[Object]
    ) -> None:
        """An Event for each threshold with Notify that was reached or undone since the last write of the status."""
        if policy is None or seen is None:
            return
        known = {(row["threshold"], row["since"], row["effect"]) for row in before}
        thresholds = {threshold.name: threshold for threshold in policy.thresholds}
        for row in action_rows(policy, seen.account):
            threshold = thresholds[row["threshold"]]
            if Action.NOTIFY in threshold.actions and (threshold.name, row["since"], row["effect"]) not in known:
                undone = row["effect"] == "Undone"
                reason = "BudgetThresholdUndone" if undone else "BudgetThresholdReached"
                text = threshold_text(threshold, seen.account, row["effect"])
                self.events.emit(obj, reason=reason, message=text, warning=not undone)

    def _policy(self, obj: Object) -> tuple[Policy | None, str]:
        try:
            return policy_of(self.model.model_validate(obj)), ""
        except (ValidationError, ValueError) as error:
            return None, f"{error}. It pays for nothing: make another policy and delete this one."

    def _refuses(self, policy: Policy | None) -> bool:
        """Whether the plan or the book lacks money of this policy for something."""
        if policy is None:
            return False
        reasons = [plan.refused.why for plan in self.world.plan.services.values() if plan.refused is not None]
        reasons += [plan.expiring for plan in self.world.plan.services.values() if plan.expiring is not None]
        return any(why.policy == policy.name and why.blocked_by is Blocked.LIMIT for why in reasons)

    def _unfunded(self, policy: Policy | None) -> int:
        """What the policy lacks to keep all floors until the end of its period."""
        lacks = [lack for plan in self.world.plan.services.values() for lack in plan.unfunded]
        return sum(lack.need - lack.have for lack in lacks if policy is not None and lack.policy == policy.name)

    def _guarantee(
        self, policy: Policy | None, ready: Condition, seen: Figures | None, now: int
    ) -> dict[str, str | dict[str, str]]:
        """How far one may rely on a budget, given the pods in the namespaces that it reaches."""
        weaknesses = list(self.safeguards.lacking)
        if ready.reason in ("Invalid", "LedgerUnavailable", "Frozen", "LimitLowered"):
            weaknesses.append(ready.message)
        if policy is not None and not policy.binds:
            weaknesses.append(f"Enforcement is {policy.enforcement}: nothing is refused.")
        if policy is not None and self.world.book is not None:
            weaknesses += unpriced_pods(policy, self.world.pools, self.world.book)
        within = policy.scope.namespaces if policy is not None else frozenset()
        pods = [pod for pod in self.world.spared() if not within or pod.namespace in within]
        unheld = [pod for pod in self.world.unheld.values() if not within or pod.namespace in within]
        weaknesses += weak_pods(pods, unheld, now)
        made = judge_guarantee(self.safeguards.watch, now, weaknesses)
        told: dict[str, str | dict[str, str]] = {"level": made.level.value, "becauseOf": made.because_of}
        book = self.world.book
        if book is not None and seen is not None and (most := worst_case(book, seen.account)) is not None:
            told["worstCasePeriodTotal"] = {"amount": format_amount(most.amount), "becauseOf": most.because_of}
        return told

    def _coverage(self, policy: Policy | None) -> dict[str, Any]:
        """Of how many pools in the scope the price is known."""
        if policy is None:
            return {}
        seen = cover(policy, self.world.pools)
        priced = seen.pools - len(seen.unpriced)
        return {"priceCoverage": {"pools": seen.pools, "priced": priced, "unpriced": list(seen.unpriced[:MOST_POOLS])}}

    def _forecast(self, policy: Policy | None, now: int) -> Forecast | None:
        if policy is None or self.world.book is None:
            return None
        return forecast(
            self.world.book,
            policy.name,
            now,
            self.world.peaks.get(policy.name, 0),
            self.world.history.get(policy.name),
        )

    def _figures(
        self, obj: Object, seen: Figures | None, foreseen: Forecast | None, now: int, *, kept: bool
    ) -> dict[str, Any]:
        """The figures; those of the last write while they have hardly moved, and when the book does not say any."""
        before = obj.get("status") or {}
        if seen is None:
            return {name: before[name] for name in FIGURES if name in before} if kept else {}
        account = seen.account
        fresh = {
            "period": {
                "name": f"{obj['metadata']['name']}.{account.start}",
                "start": format_time(account.start),
                "end": format_time(account.end),
                **({"countedSince": format_time(account.since)} if account.since is not None else {}),
            },
            "limit": format_amount(account.limit),
            **({"override": override_row(account.extra)} if account.extra is not None else {}),
            "adjustments": {
                "carried": format_amount(account.carried),
                "carriedIs": "Final" if seen.final else "Provisional",
                "corrected": format_amount(account.adjustments),
            },
            "spent": format_amount(seen.spent),
            "held": {"committed": format_amount(seen.committed), "endurance": format_amount(seen.endurance)},
            "available": format_amount(seen.available),
            "ratePerHour": format_amount(seen.rate),
            "asOf": format_time(now),
        }
        if seen.paid_until is not None:
            fresh["fundedUntil"] = told_until(seen.paid_until, now)
        if foreseen is not None:
            fresh["forecast"] = _foreseen(foreseen)
        steady = ("period", "limit", "override", "adjustments", "ratePerHour", "fundedUntil")
        same = all(before.get(name) == fresh.get(name) for name in steady)
        if same and not self._news(before, seen, now) and not _told_otherwise(before, foreseen, now):
            return {name: before[name] for name in FIGURES if name in before}
        return fresh

    @staticmethod
    def _news(before: Object, seen: Figures, now: int) -> bool:
        """Whether spent has moved enough to be written again, or money was set aside or freed otherwise."""
        known = {name: before.get(name) for name in ("spent", "available")}
        if moved(known["spent"], seen.spent, before.get("asOf"), now):
            return True
        return known["available"] != format_amount(seen.available) and moved(
            known["available"], seen.available, None, now
        )


def _actions(policy: Policy | None, seen: Figures | None) -> dict[str, Any]:
    rows = action_rows(policy, seen.account) if policy is not None and seen is not None else []
    return {"appliedActions": rows} if rows else {}


def _foreseen(foreseen: Forecast) -> dict[str, str]:
    made = {"p50": format_amount(foreseen.p50), "p90": format_amount(foreseen.p90), "basis": foreseen.basis.value}
    if foreseen.exhausts_at is not None:
        made["exhaustsAt"] = format_time(foreseen.exhausts_at)
    return made


def _told_otherwise(before: Object, foreseen: Forecast | None, now: int) -> bool:
    """Whether the forecast has come, gone, or become another one than the status says."""
    told = before.get("forecast")
    if told is None or foreseen is None:
        return (told is None) != (foreseen is None)
    if ("exhaustsAt" in told) != (foreseen.exhausts_at is not None) or told["basis"] != foreseen.basis:
        return True
    figures = ((told["p50"], foreseen.p50), (told["p90"], foreseen.p90))
    return any(moved(old, new, before.get("asOf"), now) for old, new in figures)


def _asked(override: Object | None) -> tuple[str, ...] | None:
    """What a person has asked for; that it counts in another period since then is no news."""
    return tuple(override[name] for name in ("extraAmount", "until", "reason")) if override else None


def _objection(objection: Objection, told: Object | None, now: int) -> dict[str, Any]:
    """The row of the status; with the need, the rest and the time of its beginning while it is about as many pods."""
    why = objection.refused.why
    row = {
        "service": str(objection.service),
        "blockedBy": why.blocked_by.value,
        "replicas": objection.refused.pods,
        "need": format_amount(why.need),
        "have": format_amount(why.have),
        "fits": objection.fits,
        **({} if objection.affordable_at is None else {"affordableAt": format_time(objection.affordable_at)}),
        "since": format_time(now),
    }
    if told is None or any(told[name] != row[name] for name in ("service", "blockedBy", "replicas")):
        return row
    return {**row, **{name: told[name] for name in ("need", "have", "since")}}
