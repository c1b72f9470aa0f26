"""What every kind has: metadata as we read it, and conditions as Kubernetes defines them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import Generation, Shape, Timestamp, keyed


class ObjectMeta(Shape):
    """The part of an object's metadata that we read; the API server owns its schema."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Condition(Shape):
    """One aspect of the state, in the form of metav1.Condition."""

    type: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z]*$", description="Which aspect it is.")
    ]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether the aspect holds.")]
    observed_generation: Annotated[
        Generation, Field(description="The metadata.generation of the object that was looked at.")
    ] = 0
    last_transition_time: Annotated[Timestamp, Field(description="When status changed last.")]
    reason: Annotated[
        str,
        Field(
            min_length=1, max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$", description="Why, in one word for programs."
        ),
    ]
    message: Annotated[str, Field(max_length=32_768, description="Why, in a sentence for people that says what to do.")]


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), keyed("type")]
