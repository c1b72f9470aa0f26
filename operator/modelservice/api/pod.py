"""The small typed set of pod fields that a user may write, in the spelling of Kubernetes."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from modelservice.api.fields import (
    ATOMIC,
    DataKey,
    Label,
    Qualified,
    Quantity,
    Shape,
    Subdomain,
    Word,
    keyed,
    qualified_keys,
    rule,
    rules,
)

Words = Annotated[tuple[Word, ...], Field(max_length=128), ATOMIC]


class KeyRef(Shape):
    """One key of a Secret or ConfigMap in the namespace of the ModelService."""

    name: Annotated[Subdomain, Field(description="The name of the object.")]
    key: Annotated[DataKey, Field(description="The key in its data.")]


class EnvSource(Shape):
    """Where the value of a variable comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.secretKeyRef) != has(self.configMapKeyRef)",
                "valueFrom must have exactly one of secretKeyRef and configMapKeyRef.",
            )
        )
    )

    secret_key_ref: Annotated[KeyRef | None, Field(description="Take it from a Secret.")] = None
    config_map_key_ref: Annotated[KeyRef | None, Field(description="Take it from a ConfigMap.")] = None


class EnvVar(Shape):
    """One environment variable of the container."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.value) && has(self.valueFrom))",
                "An environment variable must not have both value and valueFrom.",
            )
        )
    )

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            description="The name of the variable; those that ModelService sets itself win over it.",
        ),
    ]
    value: Annotated[
        Word | None, Field(description="The value; $(NAME) stands for another variable of the container.")
    ] = None
    value_from: Annotated[EnvSource | None, Field(description="A source of the value instead of the value.")] = None


Env = Annotated[tuple[EnvVar, ...], Field(max_length=64), keyed("name")]

QuantityMap = Annotated[dict[Qualified, Quantity], Field(max_length=16), qualified_keys("requests and limits")]


class Resources(Shape):
    """What one pod asks of a node. Its price is its largest share of the node, taken from the requests."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "'cpu' in self.requests && 'memory' in self.requests",
                "requests must name cpu and memory: the price of a pod is its share of a node.",
            ),
            (
                (
                    "['cpu', 'memory'].all(name, !(name in self.requests) || "
                    "quantity(self.requests[name]).isGreaterThan(quantity('0')))"
                ),
                "requests of cpu and memory must be above 0: the price of a pod is its share of a node.",
            ),
            (
                (
                    "!has(self.limits) || self.requests.all(name, !(name in self.limits) || "
                    "quantity(self.requests[name]).compareTo(quantity(self.limits[name])) <= 0)"
                ),
                "A request must not be above the limit of the same resource.",
            ),
        )
    )

    requests: Annotated[QuantityMap, Field(description="What is reserved, by resource name, for example cpu: 500m.")]
    limits: Annotated[QuantityMap, Field(description="The most that may be used, by resource name.")] = Field(
        default_factory=dict
    )


class ClaimVolume(Shape):
    """A persistent volume claim of the namespace."""

    claim_name: Annotated[Subdomain, Field(description="The name of the claim.")]


class ConfigMapVolume(Shape):
    """A ConfigMap of the namespace, each key a file."""

    name: Annotated[Subdomain, Field(description="The name of the ConfigMap.")]


class SecretVolume(Shape):
    """A Secret of the namespace, each key a file."""

    secret_name: Annotated[Subdomain, Field(description="The name of the Secret.")]


class EmptyDirVolume(Shape):
    """A directory that lives as long as the pod."""

    size_limit: Annotated[Quantity | None, Field(description="The most it may hold; the pod is evicted above it.")] = (
        None
    )


class Volume(Shape):
    """A volume and where the container sees it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), has(self.emptyDir)]"
                    ".filter(set, set).size() == 1"
                ),
                "A volume must have exactly one of persistentVolumeClaim, configMap, secret and emptyDir.",
            )
        )
    )

    name: Annotated[
        Label,
        Field(description="A name that is unique among the volumes."),
        rule(
            "!self.startsWith('modelservice-')", "Names of volumes must not start with modelservice-: those are ours."
        ),
    ]
    mount_path: Annotated[
        str,
        Field(
            min_length=2,
            max_length=1024,
            pattern=r"^/[^:]*$",
            description="The absolute path in the container.",
        ),
        rule(
            "!(self + '/').startsWith('/mnt/models/') && !(self + '/').startsWith('/workspace/')",
            "mountPath must not be below /mnt/models or /workspace: ModelService mounts weights and files there.",
        ),
    ]
    persistent_volume_claim: Annotated[ClaimVolume | None, Field(description="Mount a claim.")] = None
    config_map: Annotated[ConfigMapVolume | None, Field(description="Mount a ConfigMap, read-only.")] = None
    secret: Annotated[SecretVolume | None, Field(description="Mount a Secret, read-only.")] = None
    empty_dir: Annotated[EmptyDirVolume | None, Field(description="Mount an empty directory.")] = None


Volumes = Annotated[
    tuple[Volume, ...],
    Field(max_length=16),
    keyed("name"),
    rule(
        "self.all(one, self.exists_one(other, other.mountPath == one.mountPath))",
        "Two volumes must not have the same mountPath.",
    ),
]
