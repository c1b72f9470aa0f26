"""BudgetLedger: the book. Only the operator writes it; `domain.codec` reads and writes the same shape."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelservice.api.fields import API_VERSION, ATOMIC, Currency, Kube, Shape, Short, rules
from modelservice.api.meta import ObjectMeta

Micros = Annotated[int, Field(ge=0, le=10**18)]
Seconds = Annotated[int, Field(ge=0, le=10**11)]
PolicyName = Annotated[str, Field(min_length=1, max_length=317)]
ServiceName = Annotated[str, Field(min_length=3, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]
LABELS = "Labels of the service then, of those that reports group by (cost.labels)."
ATOMIC_MAP = Kube({"x-kubernetes-map-type": "atomic"})


class Line(Shape):
    """What one service spent with pods that have stopped, in one pool and role."""

    service: Annotated[ServiceName, Field(description="The service, as namespace/name.")]
    role: Annotated[Short, Field(description="What the pods did: Inference or Training.")]
    pool: Annotated[Short, Field(description="The pool they ran in.")]
    labels: Annotated[dict[str, LabelValue], Field(default_factory=dict, max_length=8, description=LABELS), ATOMIC_MAP]
    closed: Annotated[Micros, Field(description="Spent by stopped pods, in micro-units.")]
    adjusted: Annotated[int, Field(ge=-(10**18), le=0, description="Given back by corrections, in micro-units.")] = 0


class Extra(Shape):
    """An override of one period."""

    amount: Annotated[Micros, Field(description="How much it adds to the limit, in micro-units.")]
    since: Annotated[Seconds, Field(description="The first second in which it counts.")]
    until: Annotated[Seconds, Field(description="The first second in which it does not, as it was asked for.")]
    reason: Annotated[str, Field(max_length=256, description="Why, as it was given.")]
    ended: Annotated[Seconds | None, Field(description="When it ended; absent while it counts.")] = None


class Crossing(Shape):
    """What a period remembers of one threshold."""

    name: Annotated[Short, Field(description="The threshold of the policy.")]
    wording: Annotated[Short, Field(description="What it said; under another wording it begins anew.")]
    since: Annotated[Seconds, Field(description="Since when its metric has been above.")]
    reached: Annotated[Seconds | None, Field(description="When its actions began; absent: not yet.")] = None
    undone: Annotated[Seconds | None, Field(description="When they ended; absent: not yet.")] = None


class CarryOver(Shape):
    """What a period leaves to later ones."""

    overspend: Annotated[
        Literal["Carry", "Forget"], Field(description="Carry: the next period pays for what was spent too much.")
    ]
    unused: Annotated[Literal["None", "All"], Field(description="All: a later period gets what was not used.")]


class Account(Shape):
    """One policy's money in one period."""

    policy: Annotated[PolicyName, Field(description="The BudgetPolicy, as namespace/name, or the ClusterBudgetPolicy.")]
    start: Annotated[Seconds, Field(description="The first second of the period, since 1970 in UTC.")]
    end: Annotated[Seconds, Field(description="The first second after it.")]
    currency: Annotated[Currency, Field(description="The currency of all its figures.")]
    limit: Annotated[Micros, Field(description="The limit, in micro-units; posted and held never add up to more.")]
    base: Annotated[
        Micros | None, Field(description="The amount of the policy, in micro-units; absent: the limit itself.")
    ] = None
    extras: Annotated[
        tuple[Extra, ...],
        Field(max_length=20, description="Overrides of the period; the last may count."),
        ATOMIC,
    ] = ()
    owed: Annotated[
        Micros | None, Field(description="What the period before spent too much, in micro-units; the limit is lower.")
    ] = None
    saved: Annotated[
        Micros | None, Field(description="What earlier periods did not use, in micro-units; the limit is higher.")
    ] = None
    since: Annotated[
        Seconds | None, Field(description="Since when it is counted, where the policy came later than the period.")
    ] = None
    carry_over: Annotated[
        CarryOver | None, Field(description="What it leaves to later periods; absent: only what was spent too much.")
    ] = None
    thresholds: Annotated[
        tuple[Crossing, ...], Field(max_length=10, description="Thresholds that were reached or are above."), ATOMIC
    ] = ()
    max_rate: Annotated[Micros | None, Field(description="The most per hour, in micro-units; absent: no bound.")] = None
    enforcement: Annotated[
        Literal["Soft", "DryRun"] | None, Field(description="That the limit refuses nothing; absent: it does.")
    ] = None
    sealed: Annotated[bool | None, Field(description="True once the period is over and every pod in it closed.")] = None
    posted: Annotated[Micros, Field(description="Spent up to the time of the book, in micro-units.")]
    held: Annotated[Micros | None, Field(description="The most that running pods may still cost, in micro-units.")] = (
        None
    )
    endurance: Annotated[
        Micros | None, Field(description="The part of held that a new pod can have; absent: nothing.")
    ] = None
    lines: Annotated[
        tuple[Line, ...], Field(max_length=5000, description="What was spent with pods that have stopped."), ATOMIC
    ] = ()


class LedgerBilling(Shape):
    """For which time each pod of a placement is paid; times in seconds."""

    from_: Annotated[
        Literal["Running"] | None,
        Field(alias="from", description="That it is paid from the start of its container; absent: from its ungating."),
    ] = None

    stop: Annotated[Seconds, Field(description="From its deletion until it has stopped, at most.")]
    tail: Annotated[Seconds, Field(description="How long its node is paid after it.")]
    minimum: Annotated[Seconds, Field(description="The shortest time that is billed.")]
    late: Annotated[Seconds, Field(description="How late a deletion may come.")]


class LedgerPlacement(Shape):
    """Pods of one service at one place, at one price."""

    name: Annotated[str, Field(min_length=3, max_length=512, description="Its record: namespace/name.")]
    service: Annotated[ServiceName, Field(description="The service, as namespace/name.")]
    role: Annotated[Short, Field(description="What the pods do: Inference or Training.")]
    pool: Annotated[Short, Field(description="The pool they run in.")]
    labels: Annotated[dict[str, LabelValue], Field(default_factory=dict, max_length=8, description=LABELS), ATOMIC_MAP]
    currency: Annotated[Currency, Field(description="The currency of the rates.")]
    rates: Annotated[
        dict[str, Micros],
        Field(max_length=100, description="The price of one pod per hour in micro-units, by the policy that pays."),
        ATOMIC_MAP,
    ]
    advisory: Annotated[
        tuple[PolicyName, ...], Field(max_length=100, description="Those of the policies that refuse nothing."), ATOMIC
    ] = ()
    hold_through: Annotated[
        Seconds | None, Field(description="Until when each pod is paid; absent when no policy could refuse it.")
    ] = None
    horizon: Annotated[Seconds | None, Field(description="How far ahead each pod is paid; absent: 3600 s.")] = None
    billing: Annotated[LedgerBilling, Field(description="For which time each pod is held.")]
    units: Annotated[
        dict[str, Annotated[str, Field(max_length=300, pattern=r"^[0-9]+(@.+)?$")]],
        Field(
            max_length=5000, description="Its pods by UID: the second each is paid from, then @node once it started."
        ),
        ATOMIC_MAP,
    ]


class Book(Shape):
    """The open book: every account and every pod that is paid. One write of it is one transaction."""

    time: Annotated[Seconds, Field(description="The time of the last write by the API server's clock.")] = 0
    accounts: Annotated[
        tuple[Account, ...], Field(max_length=2000, description="Accounts of periods that are not over."), ATOMIC
    ] = ()
    placements: Annotated[
        tuple[LedgerPlacement, ...], Field(max_length=5000, description="The pods that are paid, by placement."), ATOMIC
    ] = ()


class LedgerFreeze(Shape):
    """That the book has lost something. While it stands nothing is started, and nothing stopped for want of money."""

    since: Annotated[Seconds, Field(description="Since when.")]
    because: Annotated[str, Field(max_length=4096, description="What is missing, and what was added for it.")]


class Posted(Shape):
    """What one account had come to."""

    start: Annotated[Seconds, Field(description="The first second of its period.")]
    amount: Annotated[Micros, Field(description="What was posted in it, in micro-units.")]


class HourlyCosts(Shape):
    """What one policy has cost hour by hour, at most in the last 28 days."""

    policy: Annotated[PolicyName, Field(description="The BudgetPolicy, as namespace/name, or the ClusterBudgetPolicy.")]
    since: Annotated[int, Field(ge=0, le=10**8, description="The first hour, counted since 1970 in UTC.")]
    at: Annotated[Seconds, Field(description="Through when costs are counted; the last hour is not over.")]
    costs: Annotated[
        tuple[Micros, ...], Field(max_length=672, description="In micro-units, hour by hour."), ATOMIC
    ] = ()
    posted: Annotated[
        tuple[Posted, ...], Field(max_length=100, description="What its accounts had come to by then."), ATOMIC
    ] = ()


class BudgetLedger(Shape):
    """The book of the operator: money posted and held, per policy and period. Only the operator writes it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.book), has(self.page), has(self.history)].filter(one, one).size() == 1",
                "A BudgetLedger must have exactly one of book (open), page (sealed) and history (hourly costs).",
            )
        )
    )

    api_version: Literal["modelservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["BudgetLedger"] = "BudgetLedger"
    metadata: ObjectMeta
    book: Annotated[Book | None, Field(description="The open book; only in the object named open.")] = None
    freeze: Annotated[
        LedgerFreeze | None,
        Field(description="Only beside a book: that it was lost, put back or changed, and nobody has acknowledged it."),
    ] = None
    page: Annotated[Account | None, Field(description="One account of a period that is over, or a part of it.")] = None
    history: Annotated[
        tuple[HourlyCosts, ...] | None,
        Field(max_length=100, description="Hourly costs, for forecasts; only in the object named history."),
        ATOMIC,
    ] = None
