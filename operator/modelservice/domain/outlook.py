"""The form in which it is told what would be done with services that are not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from modelservice.domain.ledger import Policy
from modelservice.domain.modelfacts import ModelFacts
from modelservice.domain.scope import Origin
from modelservice.domain.specs import Role, Service, ServiceName
from modelservice.domain.suitability import Verdict

MONTH_HOURS = 730
LEVELS = ("min", "expected", "max")


@dataclass(frozen=True, slots=True)
class Line:
    """One pool bought in one way: its rank from 1 on, 0 when it is not used; micro-units an hour for one pod."""

    pool: str
    purchase: str
    rank: int
    price: int | None
    currency: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Level:
    """So many replicas, what they cost in a month of 730 hours, and how many budgets pay for now; why not more."""

    name: str
    replicas: int
    monthly: int
    funded: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is planned for one role of a service; `problem` is why nothing is. `notes` are sentences."""

    service: ServiceName
    role: Role
    model: str
    currency: str = ""
    lines: tuple[Line, ...] = ()
    levels: tuple[Level, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()
    payers: tuple[str, ...] = ()

    @property
    def chosen(self) -> Line | None:
        """The option that is taken."""
        return next((line for line in self.lines if line.rank == 1), None)


@dataclass(frozen=True, slots=True)
class Payment:
    """What a budget would pay in a whole period at each level, micro-units, and what an hour is held at most.

    `seconds` is the length of the period, 0 when the window of the budget is over.
    """

    policy: Policy
    seconds: int
    amounts: tuple[int, ...]
    rates: tuple[int, ...]

    def lasts(self, level: int) -> int | None:
        """After how many seconds the limit is spent, None when it lasts for the period."""
        amount = self.amounts[level]
        return None if amount <= self.policy.limit else self.policy.limit * self.seconds // amount


@dataclass(frozen=True, slots=True)
class Outlook:
    """All proposals, and what the budgets would pay."""

    proposals: tuple[Proposal, ...]
    payments: tuple[Payment, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What is known beside the catalogue: facts of models, and expected work in units of the services' metric."""

    services: tuple[Service, ...]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    facts: Mapping[ServiceName, ModelFacts] = field(default_factory=dict)
    loads: Mapping[ServiceName, Fraction] = field(default_factory=dict)
    budget_required: bool = False

    def origin(self, service: Service) -> Origin:
        """What decides which budgets pay."""
        return Origin(service.name.namespace, self.namespaces.get(service.name.namespace, {}), service.labels)
