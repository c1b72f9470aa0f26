"""Reconciles one ModelService: its children to the plan, its status to what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelservice.controllers.children import serve, stand_in_for
from modelservice.controllers.gather import Draft
from modelservice.controllers.observation import gateways_of
from modelservice.controllers.report import facts, status
from modelservice.controllers.training import train
from modelservice.controllers.world import World
from modelservice.domain.conditions import SEVERITY, Condition, judge
from modelservice.domain.planner import ServicePlan
from modelservice.domain.specs import ServiceName
from modelservice.kit.apply import ChildApplier, NameConflict
from modelservice.kit.controller import Result
from modelservice.kit.objects import Key, Object, Ref
from modelservice.kit.status import StatusWriter
from modelservice.ports import EventSink, KubeClient

LOOK_AGAIN = 60.0
"""Seconds after which a service is looked at although nothing has changed: figures that grow with time."""
AFTER_CONFLICT = 15.0

WARNINGS = frozenset(
    {
        "BudgetExhausted",
        "Displaced",
        "FloorUnfundable",
        "RateLimited",
        "ThresholdReached",
        "BudgetRequired",
        "CurrencyMismatch",
        "LedgerFull",
        "UnheldPods",
        "Frozen",
        "NoPoolFits",
        "RuntimeNotFound",
        "RuntimeUnsuitable",
        "RuntimeAmbiguous",
        "FormatUnknown",
        "ClaimNotFound",
        "NameConflict",
        *SEVERITY,
        "Failed",
        "MetricsUnavailable",
        "WaitingForMoney",
        "CanaryHeld",
        "RolledBack",
        "RolloutFailed",
    }
)
NEWS = WARNINGS | {
    "MoneyReturning",
    "PoolSelected",
    "Succeeded",
    "Downloading",
    "Serving",
    "ScaledToZero",
    "WokenFromZero",
    "Suspended",
    "RollingOut",
    "Canary",
    "Undone",
}
"""Reasons that are told as an Event when a condition takes them on."""


@dataclass(slots=True)
class ModelServices:
    """Reconciles keys of kind ModelService.

    `fetcher` is the image that downloads models; the gateway is in the operator's `namespace`.
    """

    world: World
    kube: KubeClient
    applier: ChildApplier
    statuses: StatusWriter
    events: EventSink
    fetcher: str
    namespace: str

    async def reconcile(self, key: Key) -> Result | None:
        """Bring one service to the latest plan."""
        ref = Ref(key.namespace, key.name)
        obj = self.world.caches.services.get(ref)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self.world.replan()
            return None
        name = ServiceName(key.namespace, key.name)
        draft, plan = self.world.drafts.get(name), self.world.plan.services.get(name)
        if draft is None or plan is None or draft.service.generation != obj["metadata"]["generation"]:
            self.world.replan()
            return None
        if draft.service.uid != obj["metadata"]["uid"]:
            self.world.replan()
            return None
        conflict = await self._act(draft, plan)
        await self._report(obj, draft, plan, conflict)
        return Result(AFTER_CONFLICT if conflict else LOOK_AGAIN)

    async def _act(self, draft: Draft, plan: ServicePlan) -> str:
        """Children; returns the sentence about a name that is taken, "" if none is."""
        try:
            if not draft.missing_claim:
                await train(draft, plan, self.world, self.kube, self.applier)
            gateways = gateways_of(self.world.caches.slices.values(self.namespace), self.namespace)
            await stand_in_for(draft, plan, gateways, self.world, self.kube, self.applier)
            await serve(draft, plan, self.world, self.kube, self.applier, self.fetcher)
        except NameConflict as conflict:
            return f"{conflict} Delete or rename it, or give the ModelService another name."
        return ""

    async def _report(self, obj: Object, draft: Draft, plan: ServicePlan, conflict: str) -> None:
        judged = judge(facts(draft, plan, self.world, conflict))
        before = {c["type"]: (c["status"], c["reason"]) for c in (obj.get("status") or {}).get("conditions") or ()}
        made: dict[str, Any] = status(obj, draft, plan, self.world, judged)
        stored = await self.statuses.write(obj, made, now=self.world.now())
        self.world.caches.services.observe(stored)
        for condition in judged:
            if before.get(condition.type) != (condition.status, condition.reason):
                self._tell(obj, condition)

    def _tell(self, obj: Object, condition: Condition) -> None:
        """One Event for each cause: conditions that sum up or follow from another are not told."""
        summed_up = condition.type == "Ready" and condition.reason not in ("Serving", "Suspended")
        if summed_up or condition.reason not in NEWS or (condition.reason == "Suspended" and condition.type != "Ready"):
            return
        warning = condition.reason in WARNINGS
        self.events.emit(obj, reason=condition.reason, message=condition.message, warning=warning)
