"""The catalogue of kinds: how each is called, where it lives, and what `kubectl get` shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from modelservice.api.budgetledger import BudgetLedger
from modelservice.api.budgetpolicy import CLUSTER_NAME_RULES, BudgetPolicy, ClusterBudgetPolicy
from modelservice.api.budgetpolicy import NAME_RULES as POLICY_NAME_RULES
from modelservice.api.computepool import NAME_RULES as POOL_NAME_RULES
from modelservice.api.computepool import ComputePool
from modelservice.api.modelruntime import ModelRuntime
from modelservice.api.modelservice import NAME_RULES, ModelService


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; priority 1 shows only with `-o wide`."""

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; `rules` are CEL rules on the whole object as (expression, message)."""

    model: type[BaseModel]
    plural: str
    short: str
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name as it stands in manifests."""
        return self.model.__name__

    @property
    def has_status(self) -> bool:
        """Whether it has a status subresource."""
        return "status" in self.model.model_fields


def of_condition(kind: str, part: str) -> str:
    """The JSON path of a part of one condition."""
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


READY = Column("Ready", of_condition("Ready", "status"))
REASON = Column("Reason", of_condition("Ready", "reason"))
MESSAGE = Column("Message", of_condition("Ready", "message"), priority=1)
AGE = Column("Age", ".metadata.creationTimestamp", "date")
BUDGET = (
    Column("Limit", ".spec.limit"),
    Column("Spent", ".status.spent"),
    Column("Held", ".status.held.committed"),
    Column("Available", ".status.available"),
    Column("Rate/h", ".status.ratePerHour"),
    READY,
    REASON,
    Column("Enforcement", ".spec.enforcement"),
    AGE,
    Column("Currency", ".spec.currency", priority=1),
    Column("SoftLimit", ".spec.softLimit", priority=1),
    Column("Until", ".status.period.end", priority=1),
    Column("Guarantee", ".status.guarantee.level", priority=1),
    MESSAGE,
)

KINDS = (
    Kind(
        ModelService,
        "modelservices",
        "msvc",
        "Namespaced",
        (
            READY,
            REASON,
            Column("Desired", ".status.desiredReplicas", "integer"),
            Column("Funded", ".status.fundedReplicas", "integer"),
            Column("Available", ".status.readyReplicas", "integer"),
            Column("Pool", ".status.resolved.pool"),
            Column("Cost/h", ".status.cost.hourly"),
            AGE,
            Column("Revision", ".status.model.revision", priority=1),
            Column("Download%", ".status.model.download.percent", "integer", priority=1),
            Column("Spent", ".status.cost.spent", priority=1),
            Column("URL", ".status.url", priority=1),
            MESSAGE,
        ),
        NAME_RULES,
    ),
    Kind(
        BudgetPolicy,
        "budgetpolicies",
        "mbp",
        "Namespaced",
        BUDGET,
        POLICY_NAME_RULES,
    ),
    Kind(ClusterBudgetPolicy, "clusterbudgetpolicies", "cmbp", "Cluster", BUDGET, CLUSTER_NAME_RULES),
    Kind(
        ComputePool,
        "computepools",
        "cpool",
        "Cluster",
        (
            Column("Type", ".spec.accelerator.type"),
            Column("Model", ".spec.accelerator.model"),
            Column("Price/h", '.status.resolved.prices[?(@.type=="OnDemand")].perNodeHour'),
            Column("Currency", ".spec.currency"),
            Column("Nodes", ".status.nodes", "integer"),
            READY,
            REASON,
            AGE,
            Column("Spot/h", '.status.resolved.prices[?(@.type=="Spot")].perNodeHour', priority=1),
            MESSAGE,
        ),
        POOL_NAME_RULES,
    ),
    Kind(
        ModelRuntime,
        "modelruntimes",
        "mrt",
        "Cluster",
        (
            Column("Role", ".spec.role"),
            Column("Launcher", ".spec.launcher"),
            Column("Port", ".spec.port", "integer"),
            AGE,
        ),
    ),
    Kind(
        BudgetLedger,
        "budgetledgers",
        "mbl",
        "Namespaced",
        (
            Column("Policy", ".page.policy"),
            Column("Posted", ".page.posted", "integer"),
            Column("Limit", ".page.limit", "integer"),
            AGE,
        ),
    ),
)
