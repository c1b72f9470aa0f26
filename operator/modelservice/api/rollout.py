"""How a service changes revisions: what a user writes, and what the operator remembers of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelservice.api.fields import Image, Label, Sentence, Shape, Subdomain, Timestamp, rules

Percent = Annotated[int, Field(ge=0, le=100)]


class CanarySpec(Shape):
    """A share of the requests for the new revision that grows in steps while it answers well."""

    step_percent: Annotated[
        int, Field(ge=1, le=100, description="How much of the requests each step adds; 100 gives it all at once.")
    ] = 10
    step_period_seconds: Annotated[
        int, Field(ge=10, le=86_400, description="How long a step lasts at least, with enough requests to judge it.")
    ] = 300


class RolloutSpec(Shape):
    """How a change of what the pods are made of (model, image, runtime, resources) reaches the users."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.canary) || self.strategy == 'Overlap'",
                "inference.rollout.strategy must be Overlap with a canary: the old replicas serve on beside it.",
            )
        )
    )

    strategy: Annotated[
        Literal["Overlap", "Wait", "Recreate"],
        Field(
            description="Overlap: new replicas start beside the old ones and take over one by one. Wait: only once all "
            "can be paid beside the old ones. Recreate: the old ones are stopped first."
        ),
    ] = "Overlap"
    canary: Annotated[
        CanarySpec | None,
        Field(description="Try the new revision on a share of the requests first; it needs the gateway."),
    ] = None


class CanaryStatus(Shape):
    """The revision that is tried."""

    revision: Annotated[Label, Field(description="The revision; its pods carry it as modelservice.dev/revision.")]
    placement: Annotated[Label | None, Field(description="The placement of its replicas, once one is chosen.")] = None
    percent: Annotated[Percent, Field(description="Its share of the requests that come through the gateway.")] = 0
    target_percent: Annotated[
        Percent, Field(description="The share that it gets as soon as enough replicas of it are ready.")
    ] = 0
    since: Annotated[Timestamp, Field(description="Since when it has its share.")]
    dark_since: Annotated[
        Timestamp | None, Field(description="Since when no replica of it is ready although it has a share.")
    ] = None
    message: Annotated[Sentence | None, Field(description="Why it does not go on; absent while it does.")] = None


class RevisionStatus(Shape):
    """One state of what the pods are made of."""

    revision: Annotated[Label, Field(description="Its identity: a hash of what its pods are made of.")]
    stage: Annotated[
        Literal["Starting", "Canary", "Serving", "RolledBack", "Undone", "Retired"],
        Field(description="What has become of it. Retired: it has served, and can be returned to."),
    ]
    uri: Annotated[str, Field(max_length=2048, description="Where its model lies.")] = ""
    image: Annotated[Image | None, Field(description="The image of its pods.")] = None
    runtime: Annotated[Subdomain | None, Field(description="The ModelRuntime of its pods.")] = None
    created_time: Annotated[Timestamp | None, Field(description="When it was first asked for.")] = None
    served_time: Annotated[Timestamp | None, Field(description="When it last took over; absent: never.")] = None
    message: Annotated[Sentence | None, Field(description="Why it was taken back.")] = None
