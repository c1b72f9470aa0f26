"""Budgets: how much money may be spent in a period, in a namespace or in the whole cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import (
    API_VERSION,
    ATOMIC,
    INSTANT,
    ONE_LINE,
    Count,
    Currency,
    Generation,
    MoneyText,
    Sentence,
    Shape,
    Short,
    Timestamp,
    amount,
    keyed,
    rule,
)
from modelservice.api.meta import Conditions, ObjectMeta
from modelservice.api.scope import ClusterScope, Scope
from modelservice.api.thresholds import THRESHOLD_RULE, AppliedAction, Threshold


class Window(Shape):
    """A stretch of time that does not recur."""

    from_: Annotated[Timestamp, Field(alias="from", description="Its first moment, for example 2026-07-01T00:00:00Z.")]
    to: Annotated[Timestamp, Field(description="The first moment after it; from then on nothing is paid for.")]


class Period(Shape):
    """The stretch of time that a limit is for."""

    calendar: Annotated[
        Literal["Hour", "Day", "Week", "Month", "Quarter", "Year"] | None,
        Field(description="A unit of the calendar, which recurs; each has the limit of its own."),
    ] = None
    time_zone: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            pattern=r"^[A-Za-z0-9_+/-]+$",
            description="Whose midnight: a name of the IANA time zone database, for example Europe/Zurich or UTC.",
        ),
    ] = None
    start_day: Annotated[
        int | None,
        Field(
            ge=1,
            le=31,
            description="Its first day: of the week (1 is Monday) or of the month (31: its last day); absent means 1.",
        ),
    ] = None
    start_month: Annotated[
        int | None,
        Field(ge=1, le=12, description="The month in which a Year or one of the Quarters begins; absent means 1."),
    ] = None
    window: Annotated[
        Window | None,
        Field(description="Instead of calendar: one stretch of time, outside of which this budget pays for nothing."),
        rule("self.from < self.to", "window.to must be later than window.from."),
    ] = None


PERIOD_RULES = (
    rule("has(self.calendar) != has(self.window)", "period must have either calendar or window."),
    rule(
        "has(self.calendar) == has(self.timeZone)",
        "period.timeZone must be set with calendar, for example Europe/Zurich or UTC, and must not be set with window.",
    ),
    rule(
        "!has(self.startDay) || (has(self.calendar) && self.calendar in ['Week', 'Month', 'Quarter', 'Year'])",
        "period.startDay must only be set with the calendar Week, Month, Quarter or Year.",
    ),
    rule(
        "!has(self.startDay) || !has(self.calendar) || self.calendar != 'Week' || self.startDay <= 7",
        "period.startDay of a Week must be 1 (Monday) to 7 (Sunday).",
    ),
    rule(
        "!has(self.startMonth) || (has(self.calendar) && self.calendar in ['Quarter', 'Year'])",
        "period.startMonth must only be set with the calendar Quarter or Year.",
    ),
)


class Admission(Shape):
    """What is asked of the money before a pod may start."""

    horizon_seconds: Annotated[
        int,
        Field(
            ge=300,
            le=3600,
            description="How far ahead each pod is paid; an outage of the operator of half that time stops nothing.",
        ),
    ] = 3600


class Override(Shape):
    """More money for a while, without another policy: for an incident, or a run that must not wait."""

    until: Annotated[
        str,
        Field(
            max_length=40,
            description="The first moment at which it counts no more, with its zone; it ends by itself then.",
        ),
        rule(
            f"self.matches('{INSTANT}') && timestamp(self) > timestamp('1970-01-01T00:00:00Z')",
            "override.until must be a time with its zone, for example 2026-07-01T18:00:00Z.",
        ),
    ]
    extra_amount: Annotated[
        str,
        Field(min_length=1, max_length=19, description="So much is added to the limit, as a decimal string."),
        amount("override.extraAmount"),
    ]
    reason: Annotated[
        str,
        Field(max_length=256, description="Why; it is kept in the page of the period."),
        rule(
            f"self.matches('{ONE_LINE}')", "override.reason must say why, in one line: the page of the period keeps it."
        ),
    ]


class CarryOver(Shape):
    """What a period leaves to later ones."""

    overspend: Annotated[
        Literal["Carry", "Forget"],
        Field(description="Carry: what was spent beyond the limit is taken from that of the next period."),
    ] = "Carry"
    unused: Annotated[
        Literal["None", "All"],
        Field(description="All: what was not spent is added to a later limit once the period is final."),
    ] = "None"


class ClassShare(Shape):
    """What one class of services is sure to have of a budget."""

    priority: Annotated[Literal["Critical", "Standard", "Batch"], Field(description="The class: spec.priority.")]
    min_share: Annotated[
        str,
        Field(
            min_length=1,
            max_length=6,
            description="So much of the limit is closed to pods of other classes beyond their minReplicas, as a part "
            'of 1, for example "0.25".',
        ),
        rule(
            "self.matches('^(0|1|0[.][0-9]{1,4}|1[.]0{1,4})$') && double(self) > 0.0",
            'minShare must be a part of 1 above 0 with at most 4 decimals, in quotes, for example "0.25".',
        ),
    ]


class BudgetSpec(Shape):
    """What is decided: the parts that both kinds share."""

    currency: Annotated[
        Currency,
        Field(description="The ISO 4217 code of the money; pools of another currency are refused."),
        rule("self == oldSelf", "currency must not change: make a policy with another name."),
    ]
    limit: Annotated[
        str,
        Field(min_length=1, max_length=19, description="The most that may be spent in a period, as a decimal string."),
        amount("limit"),
    ]
    soft_limit: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=19,
            description="A lower amount; when more is spent the policy says so, and nothing is refused for it.",
        ),
        amount("softLimit"),
    ] = None
    enforcement: Annotated[
        Literal["Hard", "Soft", "DryRun"],
        Field(
            description="Hard refuses what the limit cannot bear; Soft counts; DryRun also says what Hard would refuse."
        ),
    ] = "Hard"
    max_rate_per_hour: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=19,
            description="The most that all running pods may cost per hour, as a decimal string; absent means no bound.",
        ),
        amount("maxRatePerHour"),
    ] = None
    admission: Annotated[Admission | None, Field(description="What is asked of the money before a pod may start.")] = (
        None
    )
    override: Annotated[
        Override | None, Field(description="More money until a time; absent means the limit as it is.")
    ] = None
    carry_over: Annotated[
        CarryOver | None, Field(description="What a period leaves to later ones; absent means its defaults.")
    ] = None
    classes: Annotated[
        tuple[ClassShare, ...],
        Field(max_length=3, description="What classes of services are sure to have; absent: the highest comes first."),
        keyed("priority"),
        rule(
            "self.map(one, double(one.minShare)).sum() <= 1.0",
            "The minShare of all classes must not be more than 1 together.",
        ),
    ] = ()
    thresholds: Annotated[
        tuple[Annotated[Threshold, THRESHOLD_RULE], ...],
        Field(max_length=10, description="What happens on the way to the limit; with DryRun it is only said."),
        keyed("name"),
    ] = ()
    period: Annotated[
        Period,
        Field(description="What the limit is for."),
        *PERIOD_RULES,
        rule(
            "self == oldSelf",
            "period must not change, since what was spent belongs to it: make a policy with another name.",
        ),
    ]


SOFT_LIMIT_RULE = rule(
    "!has(self.softLimit) || double(self.softLimit) < double(self.limit)", "softLimit must be lower than limit."
)


CARRY_OVER_RULE = rule(
    "!has(self.carryOver) || !has(self.period.window)",
    "carryOver must not be set with period.window: no period follows a window.",
)


class BudgetPolicySpec(BudgetSpec):
    """What a team lead decides."""

    scope: Annotated[
        Scope | None, Field(description="Which pods of the namespace are paid for; absent means all of them.")
    ] = None


class ClusterBudgetPolicySpec(BudgetSpec):
    """What a platform team decides."""

    scope: Annotated[ClusterScope | None, Field(description="Which pods are paid for; absent means all of them.")] = (
        None
    )


class PeriodStatus(Shape):
    """The current period."""

    name: Annotated[str, Field(max_length=128, description="The identity of the period.")]
    start: Annotated[Timestamp, Field(description="Its first moment.")]
    end: Annotated[Timestamp, Field(description="The first moment after it.")]
    counted_since: Annotated[
        Timestamp | None,
        Field(description="Since when costs are counted, where the policy came later than the period; absent: all."),
    ] = None


class ForecastStatus(Shape):
    """What the period will have cost at its end, as far as it can be told."""

    p50: Annotated[MoneyText, Field(description="As likely too high as too low.")]
    p90: Annotated[MoneyText, Field(description="A cautious figure, seldom passed.")]
    exhausts_at: Annotated[
        Timestamp | None,
        Field(description="When spending that leads to p90 reaches the limit; absent when it does not in the period."),
    ] = None
    basis: Annotated[
        Literal["CurrentRate", "History"],
        Field(
            description="CurrentRate: p50 goes on at the present rate, p90 with maxReplicas of every service. "
            "History: both follow from the hourly costs of ten days or more."
        ),
    ]


class WorstCaseStatus(Shape):
    """The most that a period can cost in all."""

    amount: Annotated[MoneyText, Field(description="As far as the level says, whatever is asked for until its end.")]
    because_of: Annotated[Sentence, Field(description="Why so much, in a sentence.")]


class GuaranteeStatus(Shape):
    """How far one may rely on the limit."""

    level: Annotated[
        Literal["Guaranteed", "BestEffort"],
        Field(description="Guaranteed: no more than the limit can be spent. BestEffort: something weakens that."),
    ]
    because_of: Annotated[Sentence, Field(description="What the level follows from, in sentences.")]
    worst_case_period_total: Annotated[
        WorstCaseStatus | None,
        Field(description="The most that the period can cost while limit stays; absent where nothing is refused."),
    ] = None


class OverrideStatus(Shape):
    """The override that is in force in the book."""

    extra_amount: Annotated[MoneyText, Field(description="So much of limit is extra.")]
    since: Annotated[Timestamp, Field(description="Since when it counts in this period.")]
    until: Annotated[Timestamp, Field(description="When it ends.")]
    reason: Annotated[str, Field(max_length=256, description="Why, as it was given.")]


class AdjustmentsStatus(Shape):
    """What changes the figures of the period besides its limit and its pods."""

    carried: Annotated[
        MoneyText,
        Field(description="So much of limit is what earlier periods did not use; negative: what they spent too much."),
    ]
    carried_is: Annotated[
        Literal["Provisional", "Final"],
        Field(description="Provisional: late costs of the period before may still change what is carried."),
    ]
    corrected: Annotated[
        MoneyText, Field(description="Taken back of spent, where a pod is proven to have ended earlier; never above 0.")
    ]


class WouldRefuse(Shape):
    """Pods of one service that enforcement Hard would refuse, with the figures of when that began."""

    service: Annotated[str, Field(min_length=3, max_length=317, description="The service, as namespace/name.")]
    blocked_by: Annotated[
        Literal["Rate", "Limit", "Currency", "LedgerFull"], Field(description="What would stand against them.")
    ]
    replicas: Annotated[Count, Field(description="How many pods.")]
    need: Annotated[MoneyText, Field(description="What one more needs, per hour for Rate.")]
    have: Annotated[MoneyText, Field(description="What was left for it, per hour for Rate.")]
    fits: Annotated[Count, Field(description="How many others Hard would pay for now.")] = 0
    affordable_at: Annotated[
        Timestamp | None,
        Field(description="From when on there would be enough for one more of them; absent: no such time is known."),
    ] = None
    since: Annotated[Timestamp, Field(description="When it began.")]


class PriceCoverage(Shape):
    """Of how many pools in the scope the price is known."""

    pools: Annotated[Count, Field(description="ComputePools that the scope covers.")]
    priced: Annotated[Count, Field(description="Those of them with a known price.")]
    unpriced: Annotated[
        tuple[Short, ...],
        Field(max_length=100, description="The others, in which nothing new starts: see their condition Priced."),
        ATOMIC,
    ] = ()


class HeldStatus(Shape):
    """What is set aside for pods beyond what is spent."""

    committed: Annotated[MoneyText, Field(description="Through the horizon; it is not taken back.")]
    endurance: Annotated[
        MoneyText, Field(description="Lent beyond that while nobody else wants it: a new pod can have it.")
    ]


class BudgetPolicyStatus(Shape):
    """What the book says, rounded and at most once a minute."""

    observed_generation: Annotated[Generation, Field(description="The generation that this status describes.")] = 0
    conditions: Annotated[Conditions, Field(description="The aspects of the state; Ready sums them up.")] = ()
    period: Annotated[PeriodStatus | None, Field(description="The current period.")] = None
    limit: Annotated[
        MoneyText | None,
        Field(description="The limit that is stored in the book, what is carried and an override in force included."),
    ] = None
    override: Annotated[OverrideStatus | None, Field(description="The override that is in force.")] = None
    adjustments: Annotated[
        AdjustmentsStatus | None, Field(description="What is carried over from earlier periods, and corrections.")
    ] = None
    spent: Annotated[MoneyText | None, Field(description="Spent in this period up to asOf.")] = None
    held: Annotated[HeldStatus | None, Field(description="Set aside for pods that run or may start, beyond spent.")] = (
        None
    )
    available: Annotated[
        MoneyText | None, Field(description="What new pods can have: neither spent nor committed.")
    ] = None
    rate_per_hour: Annotated[MoneyText | None, Field(description="What the admitted pods cost per hour.")] = None
    funded_until: Annotated[
        Timestamp | None,
        Field(description="Until when the pods that run are paid, the earliest; absent while no pod runs."),
    ] = None
    forecast: Annotated[ForecastStatus | None, Field(description="What the period will have cost at its end.")] = None
    guarantee: Annotated[GuaranteeStatus | None, Field(description="How far one may rely on the limit.")] = None
    as_of: Annotated[Timestamp | None, Field(description="The time these figures are for.")] = None
    price_coverage: Annotated[
        PriceCoverage | None, Field(description="Of how many pools in the scope the price is known.")
    ] = None
    applied_actions: Annotated[
        tuple[AppliedAction, ...],
        Field(max_length=10, description="The thresholds that were reached in this period."),
        keyed("threshold"),
    ] = ()
    would_refuse: Annotated[
        tuple[WouldRefuse, ...],
        Field(max_length=100, description="DryRun only: what Hard would refuse now, service by service."),
        keyed("service"),
    ] = ()


NAME_RULES = (
    (
        "self.metadata.name.size() <= 63",
        "metadata.name must not be longer than 63 characters: the pages of its closed periods are named after it.",
    ),
)


class BudgetPolicy(Shape):
    """Limits what ModelServices of its namespace may spend in a period; the money is held before a pod may run."""

    api_version: Literal["modelservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["BudgetPolicy"] = "BudgetPolicy"
    metadata: ObjectMeta
    spec: Annotated[BudgetPolicySpec, Field(description="What is decided."), SOFT_LIMIT_RULE, CARRY_OVER_RULE]
    status: Annotated[BudgetPolicyStatus, Field(description="What the book says.")] = BudgetPolicyStatus()


CLUSTER_NAME_RULES = (
    (
        "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
        "metadata.name must have at most 63 characters and no dot: the pages of its closed periods are named after it.",
    ),
)


class ClusterBudgetPolicy(Shape):
    """Limits what ModelServices of any namespaces may spend in a period, beside the budgets of the namespaces."""

    api_version: Literal["modelservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ClusterBudgetPolicy"] = "ClusterBudgetPolicy"
    metadata: ObjectMeta
    spec: Annotated[ClusterBudgetPolicySpec, Field(description="What is decided."), SOFT_LIMIT_RULE, CARRY_OVER_RULE]
    status: Annotated[BudgetPolicyStatus, Field(description="What the book says.")] = BudgetPolicyStatus()
