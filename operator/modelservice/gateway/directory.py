"""What the gateway knows of services and their replicas, as the watches tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from modelservice.gateway.balance import Replica, Track, Turns, usable
from modelservice.gateway.objects import (
    CANARY_SUFFIX,
    SLICES,
    Address,
    Service,
    Slice,
    by_service,
    read_service,
    read_slice,
)
from modelservice.kit.cache import Cache
from modelservice.kit.objects import Object, Ref, ref_of
from modelservice.kit.resync import Source

REST_SECONDS = 1.0
"""How long a replica that refused a connection is left alone."""


@dataclass(slots=True, eq=False)
class Target:
    """One service: its replicas, and the requests that wait for one.

    Attributes:
        waiting: futures of held requests, done when there may be a replica.
        wake_asked_at: monotonic seconds of the latest request to wake it since its replicas changed, None without one.
    """

    service: Service
    replicas: dict[Track, dict[Address, Replica]] = field(default_factory=lambda: {track: {} for track in Track})
    turns: Turns = field(default_factory=Turns)
    waiting: dict[asyncio.Future[None], None] = field(default_factory=dict)
    wake_asked_at: float | None = None

    def pick(self, forced: Track | None, now: float) -> Replica | None:
        """The replica for the next request, None while there is none; `forced` leaves no choice of the track."""
        percent = self.service.canary_percent
        track = forced or (self.turns.track(percent) if percent and self.replicas[Track.CANARY] else Track.STABLE)
        found = usable(self.replicas[track].values(), now)
        if not found and forced is None and percent:
            other = Track.STABLE if track is Track.CANARY else Track.CANARY
            found = usable(self.replicas[other].values(), now)
        return self.turns.take(found) if found else None

    def rest(self, replica: Replica) -> None:
        """Leave a replica alone for a moment."""
        loop = asyncio.get_running_loop()
        replica.rests_until = loop.time() + REST_SECONDS
        loop.call_at(replica.rests_until + 0.001, self.tell)

    def tell(self) -> None:
        """Let every held request look for a replica again."""
        for future in self.waiting:
            if not future.done():
                future.set_result(None)

    def ready(self, track: Track, addresses: Collection[Address]) -> list[Replica]:
        """Take in which replicas of a track are ready; returns those that are not any more."""
        before = self.replicas[track]
        self.replicas[track] = {address: before.get(address) or Replica(address, track) for address in addresses}
        if self.replicas[track].keys() != before.keys():
            self.wake_asked_at = None
            self.tell()
        lost = [one for address, one in before.items() if address not in self.replicas[track]]
        for one in lost:
            one.gone = True
        return lost


class Directory:
    """All services by namespace and name.

    `gone` is told the address of every replica that takes nothing new, `deleted` every service that is no more.
    """

    def __init__(
        self, gone: Callable[[Address], None] = lambda _: None, deleted: Callable[[Ref], None] = lambda _: None
    ) -> None:
        self.services: Cache[Service] = Cache(read_service)
        self.slices: Cache[Slice] = Cache(read_slice, {"service": by_service})
        self._gone = gone
        self._deleted = deleted
        self._targets: dict[Ref, Target] = {}
        self._namespaces: dict[str, set[str]] = {}
        self._owners: dict[Ref, Ref] = {}

    def sources(self) -> list[Source]:
        """What is to be watched."""
        return [
            Source("ModelService", self.services, lambda obj, _: self._service_changed(ref_of(obj))),
            Source("EndpointSlice", self.slices, lambda obj, _: self._slice_changed(obj), label_selector=SLICES),
        ]

    def __contains__(self, ref: Ref) -> bool:
        """Whether there is a service of that namespace and name."""
        return ref in self._targets

    def __getitem__(self, ref: Ref) -> Target:
        """The service of that namespace and name."""
        return self._targets[ref]

    def __iter__(self) -> Iterator[Target]:
        """All services."""
        return iter(self._targets.values())

    def namespaces(self, name: str) -> Collection[str]:
        """The namespaces that have a service of that name."""
        return self._namespaces.get(name, ())

    def _service_changed(self, ref: Ref) -> None:
        service = self.services.get(ref)
        target = self._targets.get(ref)
        if service is None:
            if target is not None:
                self._forget(target)
        elif target is None:
            self._targets[ref] = Target(service)
            self._namespaces.setdefault(ref.name, set()).add(ref.namespace)
            for track in Track:
                self._look(ref, track)
        else:
            before, target.service = target.service, service
            if service.wake_requested_at != before.wake_requested_at and service.wake_requested_at:
                target.wake_asked_at = asyncio.get_running_loop().time()  # by another gateway, or by ours
            if (service.suspended, service.canary_percent) != (before.suspended, before.canary_percent):
                target.tell()

    def _forget(self, target: Target) -> None:
        ref = target.service.ref
        del self._targets[ref]
        self._namespaces[ref.name].discard(ref.namespace)
        if not self._namespaces[ref.name]:
            del self._namespaces[ref.name]
        for track in Track:
            for replica in target.ready(track, ()):
                self._gone(replica.address)
        target.tell()
        self._deleted(ref)

    def _slice_changed(self, obj: Object) -> None:
        name = ref_of(obj)
        before = self._owners.pop(name, None)
        owners = dict.fromkeys((*by_service(obj), *((before,) if before else ())))
        if name in self.slices:
            self._owners[name] = next(iter(owners))
        for ref in owners:
            self._look(ref, Track.STABLE)
            if ref.name.endswith(CANARY_SUFFIX):
                self._look(Ref(ref.namespace, ref.name.removesuffix(CANARY_SUFFIX)), Track.CANARY)

    def _look(self, ref: Ref, track: Track) -> None:
        """Read the replicas of a track again."""
        if (target := self._targets.get(ref)) is None:
            return
        name = ref.name + CANARY_SUFFIX if track is Track.CANARY else ref.name
        whose = Ref(ref.namespace, name)
        is_other = track is Track.CANARY and whose in self._targets
        slices = () if is_other else self.slices.by("service", whose)
        addresses = dict.fromkeys(address for one in slices for address in one.addresses)
        for replica in target.ready(track, addresses.keys()):
            self._gone(replica.address)
