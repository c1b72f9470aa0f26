"""Which pods a budget pays for: by namespace, by labels of the service, by role and by pool. Users cannot choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Operator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comparison of a label selector; as in Kubernetes, an absent label is not in any values."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it."""
        match self.operator:
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector; without requirements it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet all requirements."""
        return all(requirement.holds(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pod comes from: the namespace with its labels, and the labels of its service."""

    namespace: str
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """The pods that a budget pays for: those to which every part applies; an empty part applies to all."""

    namespaces: frozenset[str] = frozenset()
    namespace_selector: Selector = field(default_factory=Selector)
    services: Selector = field(default_factory=Selector)
    roles: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()

    def reaches(self, origin: Origin) -> bool:
        """Whether it pays for some pod of a service, of whatever role and in whatever pool."""
        return (
            (not self.namespaces or origin.namespace in self.namespaces)
            and self.namespace_selector.matches(origin.namespace_labels)
            and self.services.matches(origin.labels)
        )

    def covers(self, origin: Origin, role: str, pool: str) -> bool:
        """Whether it pays for a pod of that role in that pool."""
        return (
            self.reaches(origin) and (not self.roles or role in self.roles) and (not self.pools or pool in self.pools)
        )
