"""What one pass of the planner looks at: the services, what runs for them, the budgets and the book.

Times in epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelservice.domain.book import Book
from modelservice.domain.ledger import Policy
from modelservice.domain.placement import Selection
from modelservice.domain.priorities import Priority
from modelservice.domain.rollout import Strategy
from modelservice.domain.scope import Origin
from modelservice.domain.specs import Pool, Role, ServiceName


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """What a person decided about a pod: it runs until that time, whether it is paid for or not, for that reason."""

    until: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of ours.

    `requests` are those of all its containers in integers of `quantities`, `selector` is its node selector.
    `workload` is namespace/name of its Deployment or Job. `node` is None until it is bound. `started_at` is the start
    of its first container, `ready_since` when it became ready, `finished_at` the end that its kubelet reported; each
    None before.
    """

    uid: str
    namespace: str
    name: str
    version: str
    service: ServiceName
    role: Role
    workload: str
    created_at: int
    gated: bool
    node: str | None = None
    started_at: int | None = None
    ready_since: int | None = None
    terminal: bool = False
    finished_at: int | None = None
    deleting: bool = False
    requests: Mapping[str, int] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    break_glass: BreakGlass | None = None

    @property
    def live(self) -> bool:
        """Whether it is there to stay: not ended and not being deleted."""
        return not self.terminal and not self.deleting

    def spared(self, time: int) -> bool:
        """Whether a person has decided that it is not stopped at that time, whatever the book says."""
        return self.break_glass is not None and time < self.break_glass.until


@dataclass(frozen=True, slots=True)
class Deployed:
    """A Deployment of a service: its placement, its pool, and what one pod requests in integers of `quantities`.

    `ready` counts the replicas that have been ready for long enough to stand for others.
    """

    name: str
    placement: str
    pool: str
    requests: Mapping[str, int]
    replicas: int
    ready: int
    created_at: int
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """Pods of one kind that a service wants: the judged pools, and the workload's name for each pool that fits."""

    selection: Selection
    workloads: Mapping[str, str]
    count: int


@dataclass(frozen=True, slots=True)
class Turn:
    """How one revision takes over from another.

    `serving` is the one that has proved itself, `failing` says that pods of the next one fail, and `beside` are
    replicas of the next one that come on top of all others.
    """

    strategy: Strategy = Strategy.OVERLAP
    serving: str = ""
    failing: bool = False
    beside: Wish | None = None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service with what it wants and has; `minimum` of its replicas are its floor, if its class has one.

    `inference` is None while it cannot be rendered: what runs is kept then. `most` is how many replicas it may have.
    `woken` when it was parked at zero and somebody has asked for it since.
    """

    name: ServiceName
    suspended: bool
    inference: Wish | None = None
    keep: int = 0
    training: Wish | None = None
    deployed: tuple[Deployed, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.STANDARD
    minimum: int = 0
    most: int = 0
    woken: bool = False

    @property
    def waking(self) -> bool:
        """Whether it is to start its first replicas since it was woken: none of its Deployments has any."""
        return self.woken and not any(one.replicas or one.ready for one in self.deployed)

    turn: Turn = field(default_factory=Turn)

    @property
    def origin(self) -> Origin:
        """What decides which budgets pay."""
        return Origin(self.name.namespace, self.namespace_labels, self.labels)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a plan depends on.

    While the book is `frozen` nothing new is granted, and what is bound stays, whether the book knows it or not.
    """

    services: tuple[ServiceView, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    pods: Mapping[str, Pod] = field(default_factory=dict)
    book: Book = field(default_factory=Book)
    budget_required: bool = False
    frozen: bool = False
    cost_labels: tuple[str, ...] = ()

    def payers(self, view: ServiceView, role: Role, pool: str) -> tuple[Policy, ...]:
        """The budgets that pay for pods of a service: scope decides, nobody chooses."""
        return tuple(policy for policy in self.policies if policy.scope.covers(view.origin, role.value, pool))

    def reaching(self, view: ServiceView) -> tuple[Policy, ...]:
        """The budgets that pay for some pod of a service."""
        return tuple(policy for policy in self.policies if policy.scope.reaches(view.origin))
