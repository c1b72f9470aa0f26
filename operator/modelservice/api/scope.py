"""The scope of a budget: which pods it pays for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import ATOMIC, SET, Label, LabelValue, Qualified, Shape, Subdomain, qualified_keys, rule


class Requirement(Shape):
    """One comparison of a label."""

    key: Annotated[Qualified, Field(description="The name of the label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Field(description="In and NotIn compare with values; a label that is absent is not in them."),
    ]
    values: Annotated[
        tuple[LabelValue, ...], Field(max_length=32, description="The values of In and NotIn."), ATOMIC
    ] = ()


class Selector(Shape):
    """A selector of labels: everything in it must hold; an empty one selects everything."""

    match_labels: Annotated[
        dict[str, LabelValue],
        Field(max_length=16, description="Labels that must have exactly these values."),
        qualified_keys("matchLabels"),
    ] = Field(default_factory=dict)
    match_expressions: Annotated[
        tuple[
            Annotated[
                Requirement,
                rule(
                    "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                    "values must be given with In and NotIn, and must not be given with Exists and DoesNotExist.",
                ),
            ],
            ...,
        ],
        Field(max_length=16, description="Comparisons of labels."),
        ATOMIC,
    ] = ()


class Scope(Shape):
    """Which pods are paid for; every part that is given must apply."""

    services: Annotated[
        Selector | None,
        Field(description="Labels of the ModelServices; mind that who edits a ModelService edits its labels."),
    ] = None
    roles: Annotated[
        tuple[Literal["Inference", "Training"], ...],
        Field(max_length=2, description="What the pods do; absent means everything."),
        SET,
    ] = ()
    pools: Annotated[
        tuple[Subdomain, ...], Field(max_length=64, description="The ComputePools they run in; absent means all."), SET
    ] = ()


class ClusterScope(Scope):
    """Which pods are paid for, in all namespaces."""

    namespaces: Annotated[
        tuple[Label, ...], Field(max_length=256, description="Names of namespaces; absent means all."), SET
    ] = ()
    namespace_selector: Annotated[Selector | None, Field(description="Labels of the namespaces.")] = None
