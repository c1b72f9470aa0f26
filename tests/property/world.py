"""A small simulated cluster with its own truth about what every pod costs.

The world's clock counts tenths of seconds; the API shows whole seconds, as the real one does. The book
is a JSON value under optimistic concurrency, which readers get decoded, and the watch is what the Lease of the fuse
tells of. Nothing else is known of the ledger. True costs are kept in micro-units x ``SCALE``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from modelservice.domain.book import Book
from modelservice.domain.codec import decode
from modelservice.domain.guarantee import Watch

TENTHS = 10
SCALE = 3600 * TENTHS
"""True cost of one tenth of a second at rate r is r / SCALE micro-units."""


class Conflict(Exception):
    """The resourceVersion of a write is not the stored one."""


@dataclass
class Workload:
    """Pods of one kind: how their pool bills and stops them, who pays, how many users want and how many are asked for.

    `floor` of those that users want come before what others want beyond their floors.

    `name` is that of a ReplicaSet in the namespace, which keeps `replicas` pods alive. Its pool has the same name.
    """

    name: str
    service: str
    role: str
    policies: tuple[str, ...]
    billed_from: str
    stop: int
    tail: int
    minimum: int
    ceiling: int
    true_rates: list[tuple[int, int]]
    demand: int = 0
    floor: int = 0
    boot: int = 300
    replicas: int = 0

    @property
    def pool(self) -> str:
        """The pool that its pods run in."""
        return self.name.rpartition("/")[2]

    def true_rate(self, now: int) -> int:
        """Price in force at a time in tenths."""
        return [rate for since, rate in self.true_rates if since <= now][-1]


@dataclass
class Pod:
    """One pod; times in tenths, None until they happen."""

    uid: str
    workload: Workload
    node: str
    created: int
    version: int = 1
    gated: bool = True
    ungated: int | None = None
    bound: int | None = None
    started: int | None = None
    ended: int | None = None
    deleting: int | None = None
    exists: bool = True
    forced: bool = False
    stuck: bool = False
    dear: bool = False
    spared_until: int | None = None
    view: View | None = None

    def seen(self) -> View:
        """What a list shows of it, made once for each version."""
        if self.view is None or self.view.version != self.version:
            self.view = _view(self)
        return self.view

    @property
    def active(self) -> bool:
        """Whether its ReplicaSet counts it."""
        return self.exists and self.ended is None and self.deleting is None

    @property
    def billed_since(self) -> int | None:
        """Start of its true billing."""
        if self.bound is None:
            return None
        return self.ungated if self.workload.billed_from == "Ungate" else self.started

    def billed_until(self) -> int | None:
        """End of its true billing, None while it lives."""
        since = self.billed_since
        if since is None or self.ended is None:
            return None
        return max(self.ended, since + self.workload.minimum * TENTHS) + self.workload.tail * TENTHS

    def true_cost(self, start: int, end: int) -> int:
        """Scaled cost within a range of tenths, up to its end when it has one."""
        since, until = self.billed_since, self.billed_until()
        if since is None:
            return 0
        start, end = max(start, since), end if until is None else min(end, until)
        steps = self.workload.true_rates
        total = 0
        for (begin, rate), following in zip(steps, [s for s, _ in steps[1:]] + [end], strict=True):
            total += rate * max(0, min(end, max(following, begin)) - max(start, begin))
        return total


@dataclass(frozen=True)
class View:
    """What a list shows of a pod; whole seconds."""

    uid: str
    workload: str
    version: int
    gated: bool
    node: str | None
    ungated: int | None
    bound: int | None
    started: int | None
    finished: int | None
    deleting: bool
    created: int
    dear: bool
    spared_until: int | None


@dataclass
class Quirks:
    """Rates of what can go wrong, per pod; `unseen` is that of a deletion of which a watch shows nothing."""

    unschedulable: float = 0.05
    self_ending: float = 0.25
    forced: float = 0.3
    unseen: float = 0.05


@dataclass
class World:
    """The API server, its nodes and the truth."""

    rng: Random
    now: int
    workloads: dict[str, Workload]
    quirks: Quirks = field(default_factory=Quirks)
    on_store: list[Callable[[World], None]] = field(default_factory=list)
    on_gone: list[Callable[[View], None]] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)
    pages: dict[tuple[str, int], Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    read: Book = field(default_factory=Book)
    version: int = 0
    heartbeats: dict[str, int] = field(default_factory=dict)
    watch: Watch | None = None
    ungated_log: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()
        self._uids = count()
        for node in ("node-1", "node-2"):
            self.heartbeats[node] = self.now
            self._schedule_heartbeat(node)

    def at(self, when: int, action: Callable[[], object]) -> None:
        """Run an action at a time."""
        heapq.heappush(self._events, (max(when, self.now), next(self._order), action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Run an action later."""
        self.at(self.now + int(seconds * TENTHS), action)

    def run_until(self, when: int) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= when:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = max(self.now, when)

    @property
    def date(self) -> int:
        """The Date header."""
        return self.now // TENTHS

    # The API.

    def get_book(self) -> tuple[Book, int, int]:
        """The stored book as it is read, resourceVersion, Date."""
        return self.read, self.version, self.date

    def put_book(self, value: dict[str, Any], version: int) -> int:
        """Store the book and return the Date."""
        if version != self.version:
            raise Conflict
        self.stored, self.read = value, decode(value)
        self.version += 1
        for observe in self.on_store:
            observe(self)
        return self.date

    def list_pods(self) -> tuple[dict[str, View], int]:
        """All pods that exist, and the Date."""
        return {pod.uid: pod.seen() for pod in self.pods.values() if pod.exists}, self.date

    def create_pod(self, workload: str, *, dear: bool = False) -> str:
        """A pod is born gated; a dear one asks for more than its Deployment, since a person made it."""
        uid = f"pod-{next(self._uids)}"
        node = self.rng.choice(sorted(self.heartbeats))
        self.pods[uid] = Pod(uid, self.workloads[workload], node, self.now, dear=dear)
        return uid

    def scale(self, workload: str, replicas: int) -> None:
        """Set how many pods the ReplicaSet keeps."""
        self.workloads[workload].replicas = replicas
        self._fill(self.workloads[workload])

    def _fill(self, workload: Workload) -> None:
        """Create what is missing; delete the surplus, what does not run yet first."""
        own = [pod for pod in self.pods.values() if pod.workload is workload and pod.active]
        own.sort(key=lambda pod: (pod.bound is not None, pod.started is not None, -pod.created))
        for _ in range(workload.replicas - len(own)):
            self.create_pod(workload.name)
        for pod in own[: max(0, len(own) - workload.replicas)]:
            self.delete_pod(pod.uid)

    def ungate(self, uid: str, version: int) -> bool:
        """Remove the gate with the pod's resourceVersion."""
        pod = self.pods[uid]
        if not pod.exists or not pod.gated or pod.version != version or pod.deleting is not None:
            return False
        self.ungated_log.append((self.now, uid))
        self._let_go(pod)
        return True

    def break_glass(self, uid: str, seconds: int) -> None:
        """A person removes the gate and spares the pod for so long."""
        pod = self.pods[uid]
        pod.spared_until = self.date + seconds
        self._let_go(pod)

    def _let_go(self, pod: Pod) -> None:
        pod.gated, pod.ungated, pod.version = False, self.now, pod.version + 1
        pod.stuck = self.rng.random() < self.quirks.unschedulable
        if not pod.stuck:
            self.after(self.rng.uniform(0.5, 90), lambda: self._bind(pod))

    def delete_pod(self, uid: str, version: int | None = None, *, force: bool = False) -> bool:
        """Delete by uid, with a resourceVersion as a further precondition when given."""
        pod = self.pods[uid]
        if not pod.exists or (version is not None and version != pod.version):
            return False
        if pod.bound is None or pod.ended is not None:
            self._remove(pod)
        elif force:
            # The object goes at once; the process when its kubelet next looks.
            pod.forced = True
            self._remove(pod)
        elif pod.deleting is None:
            pod.deleting, pod.version = self.now, pod.version + 1
            stop = (
                self.rng.uniform(0.1, 0.98) * pod.workload.stop if self.rng.random() < 0.5 else self.rng.uniform(0, 5)
            )
            self.after(stop, lambda: self._end(pod))
        self._fill(pod.workload)
        return True

    # The kubelet.

    def _schedule_heartbeat(self, node: str) -> None:
        self.after(self.rng.uniform(5, 50), lambda: self._heartbeat(node))

    def _heartbeat(self, node: str) -> None:
        for pod in self.pods.values():
            if pod.node == node and pod.forced and pod.ended is None:
                self._end(pod)
        self.heartbeats[node] = self.now
        self._schedule_heartbeat(node)

    def _bind(self, pod: Pod) -> None:
        if not pod.exists:
            return
        pod.bound, pod.version = self.now, pod.version + 1
        self.after(self.rng.uniform(0.2, 120), lambda: self._start(pod))

    def _start(self, pod: Pod) -> None:
        if pod.ended is not None or pod.forced or not pod.exists:
            return
        pod.started, pod.version = self.now, pod.version + 1
        if self.rng.random() < self.quirks.self_ending:
            self.after(self.rng.choice([1, 30, 600, 2400]) * self.rng.random(), lambda: self._end(pod))
        if self.rng.random() < self.quirks.forced:
            self.after(self.rng.uniform(1, 4000), lambda: self.delete_pod(pod.uid, force=True))

    def _end(self, pod: Pod) -> None:
        if pod.ended is not None:
            return
        pod.ended, pod.version = self.now, pod.version + 1
        # Of a pod that ended by itself the object stays until it is collected.
        longest = 60 if pod.deleting is not None else 600
        self.after(self.rng.uniform(0, longest), lambda: self._remove(pod))
        self._fill(pod.workload)

    def _remove(self, pod: Pod) -> None:
        if not pod.exists:
            return
        pod.exists = False
        for observe in self.on_gone:
            observe(pod.seen())


def _view(pod: Pod) -> View:
    return View(
        uid=pod.uid,
        workload=pod.workload.name,
        version=pod.version,
        gated=pod.gated,
        node=pod.node if pod.bound is not None else None,
        ungated=_seconds(pod.ungated),
        bound=_seconds(pod.bound),
        started=_seconds(pod.started),
        finished=_seconds(pod.ended),
        deleting=pod.deleting is not None,
        created=pod.created // TENTHS,
        dear=pod.dear,
        spared_until=pod.spared_until,
    )


def _seconds(tenths: int | None) -> int | None:
    return None if tenths is None else tenths // TENTHS
