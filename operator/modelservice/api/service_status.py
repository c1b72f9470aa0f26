"""The status of a ModelService: what the operator found and decided, in rounded figures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import (
    Count,
    Currency,
    FormatName,
    Generation,
    Image,
    Label,
    MoneyText,
    Sentence,
    Shape,
    Short,
    Subdomain,
    Timestamp,
    keyed,
)
from modelservice.api.meta import Conditions
from modelservice.api.rollout import CanaryStatus, RevisionStatus


class Resolved(Shape):
    """What was chosen where the spec leaves a choice."""

    runtime: Annotated[Subdomain | None, Field(description="The ModelRuntime that serves.")] = None
    runtime_reason: Annotated[
        Sentence | None, Field(description="Why this ModelRuntime; absent where the spec names it.")
    ] = None
    model_format: Annotated[
        FormatName | None, Field(description="The format of the model by which the ModelRuntime was chosen.")
    ] = None
    image: Annotated[Image | None, Field(description="The image that serves.")] = None
    pool: Annotated[Subdomain | None, Field(description="The ComputePool that is used.")] = None
    purchase: Annotated[
        Literal["OnDemand", "Spot"] | None, Field(description="How the nodes of the pool are bought.")
    ] = None
    revision: Annotated[Label | None, Field(description="The revision that the spec describes there.")] = None


class Artifact(Shape):
    """A model that a training run published."""

    path: Annotated[str, Field(max_length=2048, description="pvc://<claim>/<path> of the published directory.")]
    digest: Annotated[str, Field(max_length=128, description="The digest of its manifest, as <algorithm>:<hex>.")]
    bytes: Annotated[int, Field(ge=0, le=2**53, description="The size of all its files.")] = 0


class DownloadStatus(Shape):
    """How far a download is; of several the one that is nearest to its end."""

    pod: Annotated[Short, Field(description="The pod that downloads.")]
    percent: Annotated[int, Field(ge=0, le=100, description="How much of it is done.")]
    done_bytes: Annotated[int, Field(ge=0, le=2**53, description="Bytes that are there.")]
    total_bytes: Annotated[int, Field(ge=0, le=2**53, description="Bytes of the model.")]
    bytes_per_second: Annotated[int, Field(ge=0, le=2**53, description="The speed of the last seconds.")]
    remaining_seconds: Annotated[
        int | None, Field(ge=0, le=2**31, description="Time left at that speed; absent while nothing comes.")
    ] = None


class ModelStatus(Shape):
    """The model that is served."""

    uri: Annotated[str, Field(max_length=2048, description="Where it lies.")]
    revision: Annotated[
        str,
        Field(
            max_length=128,
            description="What the first replica found there, a commit of the hub or a fingerprint of all files. Every "
            "replica keeps to it until storageUri is another one.",
        ),
    ] = ""
    digest: Annotated[str, Field(max_length=128, description="The digest of its files, as <algorithm>:<hex>.")] = ""
    bytes: Annotated[int, Field(ge=0, le=2**53, description="The size of all its files; 0: not known.")] = 0
    download: Annotated[DownloadStatus | None, Field(description="A download that goes on.")] = None


class TrainingStatus(Shape):
    """The latest training run. A run is one state of the training fields; an attempt is one Job of it."""

    run: Annotated[Short, Field(description="The identity of the run: a hash of the training fields.")]
    attempt: Annotated[Count, Field(description="The number of the latest attempt, from 1; 0 before the first.")] = 0
    failures: Annotated[Count, Field(description="Attempts that failed; they count towards backoffLimit.")] = 0
    interruptions: Annotated[Count, Field(description="Attempts that lost their node or were told to stop.")] = 0
    outcome: Annotated[
        Literal["Succeeded", "Failed"] | None, Field(description="How the run ended; absent while it goes on.")
    ] = None
    message: Annotated[Sentence | None, Field(description="What the latest attempt said when it ended.")] = None
    metrics: Annotated[
        dict[str, Annotated[str, Field(max_length=80)]],
        Field(max_length=32, description="Figures that the run reported, as decimal strings, for example loss."),
    ] = Field(default_factory=dict)
    artifact: Annotated[Artifact | None, Field(description="The model that the run published.")] = None
    start_time: Annotated[Timestamp | None, Field(description="When the process of the first attempt started.")] = None
    completion_time: Annotated[Timestamp | None, Field(description="When the run ended.")] = None


class Cost(Shape):
    """What the service costs, at the ceiling price that is held for it."""

    currency: Annotated[Currency, Field(description="The currency of the pool and of the budgets.")]
    hourly: Annotated[MoneyText, Field(description="Per hour, for the pods that are in the book now.")]
    spent: Annotated[MoneyText, Field(description="Spent in the current period of its budget.")] = "0"
    per_thousand_requests: Annotated[
        MoneyText | None,
        Field(description="What 1,000 requests cost in the last hour, as far as both were known; absent: not known."),
    ] = None
    as_of: Annotated[Timestamp | None, Field(description="The time these figures are for.")] = None


class ScaleToZero(Shape):
    """When a service with minReplicas 0 was parked or woken."""

    parked_at: Annotated[
        Timestamp | None, Field(description="Since when it is parked, without any replica; absent while it is not.")
    ] = None
    woken_at: Annotated[
        Timestamp | None, Field(description="When a request woke it after it was parked; absent while it is parked.")
    ] = None
    wake_requested_at: Annotated[
        Timestamp | None, Field(description="The time in the last wake request that was taken in.")
    ] = None


class FitsNow(Shape):
    """What the budgets pay for now of what is refused in part."""

    replicas: Annotated[Count, Field(description="Replicas that are paid for where they are.")]
    pool: Annotated[
        Subdomain | None, Field(description="The cheapest other pool that could take some of those that are refused.")
    ] = None
    pool_replicas: Annotated[Count | None, Field(description="How many of them.")] = None


class Refusal(Shape):
    """Why the budget does not admit what is wanted."""

    policy: Annotated[
        str, Field(max_length=507, description="The budget that refuses: namespace/name, or a cluster's name.")
    ]
    blocked_by: Annotated[
        Literal["Limit", "Rate"],
        Field(description="Rate: maxRatePerHour would be passed. Limit: the period's money does not reach."),
    ]
    need: Annotated[MoneyText, Field(description="What one more pod needs: per hour for Rate, in all for Limit.")]
    have: Annotated[MoneyText, Field(description="What the budget has left for it, in the same measure.")]
    currency: Annotated[Currency, Field(description="The currency of both.")]
    kept: Annotated[
        MoneyText | None, Field(description="What the budget has beside that and keeps for others; absent: nothing.")
    ] = None
    replicas: Annotated[Count, Field(description="How many pods are refused.")] = 0
    waiting: Annotated[
        Count, Field(description="How many of them start once pods that are being stopped have given their money back.")
    ] = 0
    affordable_at: Annotated[
        Timestamp | None,
        Field(description="When there is enough for one more, if what runs goes on; absent: no such time is known."),
    ] = None
    fits_now: Annotated[FitsNow | None, Field(description="What can be paid for now.")] = None


class Failure(Shape):
    """The latest failure of a pod of the service."""

    pod: Annotated[Short | None, Field(description="The pod.")] = None
    container: Annotated[Short | None, Field(description="The container.")] = None
    reason: Annotated[str, Field(max_length=128, description="What happened, in one word.")]
    message: Annotated[Sentence, Field(description="What happened, in a sentence.")]
    exit_code: Annotated[int | None, Field(ge=-255, le=255, description="The exit code of the process.")] = None
    time: Annotated[Timestamp | None, Field(description="When it happened.")] = None


class ModelServiceStatus(Shape):
    """What is there."""

    observed_generation: Annotated[Generation, Field(description="The generation that this status describes.")] = 0
    conditions: Annotated[Conditions, Field(description="The aspects of the state; Ready sums them up.")] = ()
    replicas: Annotated[Count, Field(description="Replicas that exist.")] = 0
    ready_replicas: Annotated[Count, Field(description="Replicas that answer.")] = 0
    desired_replicas: Annotated[Count, Field(description="Replicas that the load asks for.")] = 0
    funded_replicas: Annotated[Count, Field(description="Replicas that the budgets admit; so many are started.")] = 0
    url: Annotated[str | None, Field(max_length=512, description="Where to send requests inside the cluster.")] = None
    resolved: Annotated[Resolved | None, Field(description="What was chosen.")] = None
    model: Annotated[ModelStatus | None, Field(description="The model that is served.")] = None
    scale_to_zero: Annotated[
        ScaleToZero | None, Field(description="When it was parked or woken; only with minReplicas 0.")
    ] = None
    revisions: Annotated[
        tuple[RevisionStatus, ...],
        Field(max_length=8, description="What its pods are and were made of, the newest first."),
        keyed("revision"),
    ] = ()
    canary: Annotated[CanaryStatus | None, Field(description="The revision that is tried now.")] = None
    training: Annotated[TrainingStatus | None, Field(description="The latest training run.")] = None
    cost: Annotated[Cost | None, Field(description="What it costs.")] = None
    funded_until: Annotated[
        Timestamp | None,
        Field(description="Until when its pods that run are paid, the earliest; absent where no budget must pay."),
    ] = None
    refusal: Annotated[Refusal | None, Field(description="Why not all is admitted; absent when all is.")] = None
    last_failure: Annotated[Failure | None, Field(description="The latest failure of a pod.")] = None
