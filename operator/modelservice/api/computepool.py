"""ComputePool: a group of equal nodes, what they offer and what they cost. What a platform team writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelservice.api.fields import (
    API_VERSION,
    ATOMIC,
    SET,
    Count,
    Currency,
    Generation,
    LabelValue,
    MoneyText,
    Qualified,
    Quantity,
    Shape,
    Short,
    Subdomain,
    Timestamp,
    amount,
    keyed,
    qualified_keys,
    rules,
)
from modelservice.api.meta import Conditions, ObjectMeta

Feature = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]


class PoolAccelerator(Shape):
    """The accelerator of each node."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.type == 'CPU' ? !has(self.resourceName) : has(self.resourceName)",
                "accelerator.resourceName must be set for GPU and TPU, and must not be set for CPU.",
            ),
            (
                "!has(self.memory) || quantity(self.memory).compareTo(quantity('1Gi')) >= 0",
                (
                    "accelerator.memory must be at least 1Gi: it is the memory of one device that can be used, "
                    "for example 22Gi."
                ),
            ),
            (
                "!has(self.topology) || self.type == 'TPU'",
                "accelerator.topology must be set for TPU only.",
            ),
        )
    )

    type: Annotated[Literal["CPU", "GPU", "TPU"], Field(description="The type; CPU means none.")]
    model: Annotated[
        str | None, Field(min_length=1, max_length=63, description="The model, for example nvidia-l4.")
    ] = None
    resource_name: Annotated[
        Qualified | None, Field(description="The extended resource that pods request, for example nvidia.com/gpu.")
    ] = None
    memory: Annotated[
        Quantity | None,
        Field(
            description="The memory of one device that can be used, for example 22Gi of an L4; modelservice plan tells "
            "by it which models fit."
        ),
    ] = None
    features: Annotated[
        tuple[Feature, ...],
        Field(
            max_length=32,
            description="What its devices can compute with, for example BF16 and FP8, or a CPU's avx512_bf16; empty "
            "means that it is not known.",
        ),
        SET,
    ] = ()
    topology: Annotated[
        str | None,
        Field(
            max_length=15,
            pattern=r"^[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){1,2}$",
            description="How the chips of a TPU slice are laid out, for example 2x4.",
        ),
    ] = None


class PoolNode(Shape):
    """What one node offers to pods (its allocatable resources)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "quantity(self.cpu).isGreaterThan(quantity('0')) && quantity(self.memory).isGreaterThan(quantity('0'))",
                "node.cpu and node.memory must be above 0: prices are shares of them.",
            )
        )
    )

    devices: Annotated[int, Field(ge=0, le=1024, description="How many accelerators; 0 for CPU.")] = 0
    cpu: Annotated[Quantity, Field(description="Processors, for example 7 or 7500m.")]
    memory: Annotated[Quantity, Field(description="Memory, for example 28Gi.")]


class Toleration(Shape):
    """A taint of the nodes that pods of this pool tolerate."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.operator != 'Exists' || !has(self.value)",
                "A toleration with operator Exists must not have a value.",
            )
        )
    )

    key: Annotated[Qualified, Field(description="The key of the taint.")]
    operator: Annotated[
        Literal["Equal", "Exists"], Field(description="Equal compares the value; Exists takes any.")
    ] = "Equal"
    value: Annotated[LabelValue | None, Field(description="The value of the taint.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="The effect of the taint; absent means every effect."),
    ] = None


class PurchaseOption(Shape):
    """One way in which the nodes are bought."""

    type: Annotated[Literal["OnDemand", "Spot"], Field(description="How.")]
    per_node_hour: Annotated[
        str,
        Field(min_length=1, max_length=19, description="The price of one node for one hour, as a decimal string."),
        amount("perNodeHour"),
    ]


class TableRef(Shape):
    """A ConfigMap in the namespace of the operator."""

    name: Annotated[Subdomain, Field(description="The name of the ConfigMap.")]


class PriceTable(Shape):
    """Where the prices stand instead of in the pool."""

    config_map_ref: Annotated[
        TableRef,
        Field(description="The ConfigMap, in the namespace of the operator; its key prices.csv holds the rows."),
    ]


class Billing(Shape):
    """For which time a pod is paid, so that the budget covers what the bill will say."""

    from_: Annotated[
        Literal["Ungate", "Running"],
        Field(
            alias="from",
            description="Ungate: from admission, for nodes that start for the pod. Running: from its start.",
        ),
    ] = "Running"
    stop_seconds: Annotated[
        int,
        Field(ge=0, le=7200, description="The longest time from the deletion of a pod until it has stopped."),
    ] = 120
    tail_seconds: Annotated[
        int, Field(ge=0, le=7200, description="How long an idle node is still paid after its pod.")
    ] = 0
    minimum_seconds: Annotated[int, Field(ge=0, le=7200, description="The shortest time that is billed.")] = 0
    margin_percent: Annotated[
        int, Field(ge=0, le=1000, description="Added to the price when money is held, for prices that may rise.")
    ] = 0


class ComputePoolSpec(Shape):
    """What the nodes are."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.accelerator.type == 'CPU' || self.node.devices > 0",
                "node.devices must be above 0 for a pool of GPUs or TPUs.",
            ),
            (
                "has(self.purchaseOptions) != has(self.priceTable)",
                "Prices must be either in purchaseOptions or in a priceTable.",
            ),
        )
    )

    currency: Annotated[Currency, Field(description="The ISO 4217 code of the prices.")]
    accelerator: Annotated[PoolAccelerator, Field(description="The accelerator of each node.")]
    node: Annotated[PoolNode, Field(description="What one node offers.")]
    node_selector: Annotated[
        dict[Qualified, LabelValue],
        Field(min_length=1, max_length=8, description="Labels that tell its nodes apart."),
        qualified_keys("nodeSelector"),
    ]
    tolerations: Annotated[
        tuple[Toleration, ...], Field(max_length=8, description="Taints of its nodes that our pods tolerate."), ATOMIC
    ] = ()
    purchase_options: Annotated[
        tuple[PurchaseOption, ...],
        Field(min_length=1, max_length=2, description="How its nodes are bought, and for how much."),
        keyed("type"),
    ] = ()
    price_table: Annotated[
        PriceTable | None, Field(description="Instead of purchaseOptions: a table with prices that change over time.")
    ] = None
    billing: Annotated[Billing, Field(description="For which time a pod is paid.")] = Billing()
    start_seconds: Annotated[
        int, Field(ge=0, le=86_400, description="How long a new pod usually needs until it is ready.")
    ] = 60


class ResolvedPrice(Shape):
    """The price of one purchase option that is in force."""

    type: Annotated[Literal["OnDemand", "Spot"], Field(description="How the nodes are bought.")]
    per_node_hour: Annotated[MoneyText, Field(description="The price of one node for one hour.")]
    source: Annotated[Short, Field(description="Where it is from: spec, or the source that its row names.")]
    row: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="Its row in the price table; the header is row 1.")
    ] = None
    valid_from: Annotated[Timestamp | None, Field(description="Since when it is in force.")] = None
    valid_to: Annotated[Timestamp | None, Field(description="When its row ends.")] = None


class ResolvedPool(Shape):
    """What follows from the spec and the price table."""

    prices: Annotated[
        tuple[ResolvedPrice, ...], Field(max_length=2, description="The prices in force."), keyed("type")
    ] = ()
    ceiling_per_node_hour: Annotated[
        MoneyText | None, Field(description="What is held for a whole node per hour: the dearest price and the margin.")
    ] = None


class ComputePoolStatus(Shape):
    """What was found in the cluster."""

    observed_generation: Annotated[Generation, Field(description="The generation that this status describes.")] = 0
    conditions: Annotated[Conditions, Field(description="The aspects of the state; Ready sums them up.")] = ()
    nodes: Annotated[Count, Field(description="Ready nodes that carry the labels of nodeSelector.")] = 0
    resolved: Annotated[ResolvedPool | None, Field(description="What follows from the spec and the price table.")] = (
        None
    )


NAME_RULES = (
    (
        "self.metadata.name.size() <= 63",
        "metadata.name must not be longer than 63 characters: pods carry it in the label modelservice.dev/pool.",
    ),
)


class ComputePool(Shape):
    """A group of equal nodes: what they offer, how they are found, what an hour of one costs."""

    api_version: Literal["modelservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ComputePool"] = "ComputePool"
    metadata: ObjectMeta
    spec: Annotated[ComputePoolSpec, Field(description="What the nodes are.")]
    status: Annotated[ComputePoolStatus, Field(description="What was found.")] = ComputePoolStatus()
