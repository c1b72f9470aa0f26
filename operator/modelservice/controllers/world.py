"""What the controllers share: the caches, the latest plan, the book as last read, and the server's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelservice.controllers.observation import gate_index, has_ended, pod_of, trouble_of, wake_request
from modelservice.domain.analysis import Finding
from modelservice.domain.book import Book
from modelservice.domain.conditions import Trouble
from modelservice.domain.demand import Memory
from modelservice.domain.downloads import Progress
from modelservice.domain.evidence import Evidence
from modelservice.domain.history import Series
from modelservice.domain.integrity import Freeze
from modelservice.domain.parking import Rest, take_in
from modelservice.domain.planner import Plan
from modelservice.domain.pricetable import Table
from modelservice.domain.rehearsal import Objection
from modelservice.domain.relief import Relief
from modelservice.domain.rollout import Canary
from modelservice.domain.snapshot import Pod
from modelservice.domain.specs import Pool, ServiceName
from modelservice.domain.unitcost import Tally
from modelservice.kit.cache import Cache, by_label, by_owner, object_cache
from modelservice.kit.objects import Object, Ref, ref_of
from modelservice.ports import Clock
from modelservice.render.labels import BREAK_GLASS_UNTIL, MANAGED_BY, MANAGER, NAME

SELECTOR = f"{MANAGED_BY}={MANAGER}"


FORGETTING = 1000
"""So many versions of pods that are gone are remembered at least before all are read anew."""


def _owned() -> Cache[Object]:
    return object_cache({"owner": by_owner, "name": by_label(NAME)})


def _pods() -> Cache[Object]:
    return object_cache({"owner": by_owner, "name": by_label(NAME), "spared": _by_break_glass})


def _by_break_glass(obj: Object) -> Iterable[bool]:
    return (True,) if BREAK_GLASS_UNTIL in (obj["metadata"].get("annotations") or {}) else ()


@dataclass(slots=True)
class Caches:
    """One cache for each watched kind."""

    services: Cache[Object] = field(default_factory=object_cache)
    policies: Cache[Object] = field(default_factory=object_cache)
    cluster_policies: Cache[Object] = field(default_factory=object_cache)
    namespaces: Cache[Object] = field(default_factory=object_cache)
    pools: Cache[Object] = field(default_factory=object_cache)
    runtimes: Cache[Object] = field(default_factory=object_cache)
    deployments: Cache[Object] = field(default_factory=_owned)
    jobs: Cache[Object] = field(default_factory=_owned)
    addresses: Cache[Object] = field(default_factory=_owned)
    slices: Cache[Object] = field(default_factory=object_cache)
    pods: Cache[Object] = field(default_factory=_pods)
    nodes: Cache[Object] = field(default_factory=object_cache)
    claims: Cache[Object] = field(default_factory=object_cache)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read of one version of a pod."""

    version: str
    pod: Pod | None
    trouble: Trouble | None
    ended: bool


@dataclass(slots=True)
class World:
    """The state of the leader between two passes; everything but the caches is rebuilt after a start."""

    clock: Clock
    caches: Caches = field(default_factory=Caches)
    plan: Plan = field(default_factory=Plan)
    drafts: dict[ServiceName, Any] = field(default_factory=dict)
    memories: dict[ServiceName, Memory] = field(default_factory=dict)
    downloads: Mapping[tuple[str, str], Progress] = field(default_factory=dict)
    rests: dict[ServiceName, Rest] = field(default_factory=dict)
    tables: dict[str, Table | str] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    book: Book | None = None
    book_problem: str = ""
    freeze: Freeze | None = None
    refusals: Mapping[str, Any] = field(default_factory=dict)
    objections: Mapping[str, tuple[Objection, ...]] = field(default_factory=dict)
    tallies: dict[ServiceName, Tally] = field(default_factory=dict)
    history: Mapping[str, Series] = field(default_factory=dict)
    peaks: Mapping[str, int] = field(default_factory=dict)
    reliefs: Mapping[ServiceName, Relief] = field(default_factory=dict)
    foreseen: Mapping[str, int] = field(default_factory=dict)
    unheld: dict[str, Pod] = field(default_factory=dict)
    evidence: dict[ServiceName, Evidence] = field(default_factory=dict)
    replan: Callable[[], None] = lambda: None
    hurry: Callable[[], None] = lambda: None
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _date: int | None = None
    _read_at: float = 0.0

    def saw_date(self, date: int) -> None:
        """The API server's clock showed this just now."""
        self._date, self._read_at = date, self.clock.monotonic()

    def now(self) -> int:
        """The API server's time as far as it is known, in seconds since the epoch."""
        if self._date is None:
            return int(self.clock.wall())
        return self._date + int(self.clock.monotonic() - self._read_at)

    def ledger(self, namespace: str) -> str:
        """What tells the book in that namespace from those of other clusters."""
        found = self.caches.namespaces.get(Ref("", "kube-system"))
        return f"{found['metadata']['uid'] if found else ''}/{namespace}"

    def pods(self) -> dict[str, Pod]:
        """All our pods by UID, as the cache has them."""
        objects = self.caches.pods.values()
        if len(self._seen) > 2 * len(objects) + FORGETTING:
            self._seen.clear()
        return {pod.uid: pod for pod in self.read(objects)}

    def read(self, objects: Iterable[Object]) -> Iterable[Pod]:
        """The pods among the objects that are ours; a version that was seen before is not read again."""
        return (seen.pod for seen in map(self._look, objects) if seen.pod is not None)

    def troubles(self, objects: Iterable[Object], *, ended: bool) -> list[Trouble]:
        """What keeps these pods from becoming ready; with `ended` also that of pods in which nothing runs again."""
        seen = map(self._look, objects)
        return [one.trouble for one in seen if one.trouble is not None and (ended or not one.ended)]

    def _look(self, obj: Object) -> _Seen:
        meta = obj["metadata"]
        seen = self._seen.get(meta["uid"])
        if seen is None or seen.version != meta["resourceVersion"]:
            seen = _Seen(meta["resourceVersion"], pod_of(obj), trouble_of(obj), has_ended(obj))
            self._seen[meta["uid"]] = seen
        return seen

    def asked_for(self, service: Object) -> bool:
        """Whether a service is parked and carries a wake request that was not taken in yet."""
        rest = self.rests.get(service_name(service))
        return rest is not None and rest.parked and not take_in(rest, wake_request(service), self.now()).parked

    def at_an_awaited_gate(self, pod: Object) -> bool:
        """Whether a pod is at its gate, and no replica is ready of the service that was woken for somebody."""
        name = service_name(pod)
        rest = self.rests.get(name)
        if gate_index(pod) is None or rest is None or rest.woken_at is None:
            return False
        return all(one.ready_since is None for one in self.read(self.pods_of_service(name)))

    def finding(self, name: ServiceName, revision: str, canary: Canary | None) -> Finding:
        """What is known of a canary's requests since it has its share."""
        evidence = self.evidence.get(name)
        if canary is None or evidence is None or evidence.about != (revision, canary.since):
            return Finding(message="its first requests are awaited")
        return evidence.finding()

    def passes(self, name: ServiceName) -> bool:
        """Whether requests for a service that has a canary come through the gateway."""
        evidence = self.evidence.get(name)
        return evidence is not None and evidence.passes

    def spared(self) -> list[Pod]:
        """Our pods that a person has spared, or once had."""
        return list(self.read(self.caches.pods.by("spared", True)))

    def pods_of_service(self, name: ServiceName) -> list[Object]:
        """The pods of one service."""
        return self.caches.pods.by("name", (name.namespace, name.name))


def pods_of(objects: Iterable[Object]) -> Iterable[Pod]:
    """The pods among the objects that are ours."""
    return (pod for obj in objects if (pod := pod_of(obj)) is not None)


def service_name(obj: Object) -> ServiceName:
    """Whose a ModelService, or a child with our label, is."""
    labels = obj["metadata"].get("labels") or {}
    ref: Ref = ref_of(obj)
    return ServiceName(ref.namespace, labels.get(NAME, ref.name))
