"""Leadership by a Lease, judged on a clock that only goes forward.

Another holder's lease counts as expired when its record has not changed for its whole duration *as seen here*, so no
jump of a wall clock can take a lease away or keep it. Correctness of the money does not rest on leadership: it only
keeps two replicas from doing the same work twice.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

from modelservice.kit.apply import Answered
from modelservice.kit.clock import Clock
from modelservice.kit.errors import ApiError, Conflict, NotFound
from modelservice.kit.meter import Meter, NoMeter
from modelservice.kit.objects import Object
from modelservice.kit.ratelimit import jittered

log = logging.getLogger(__name__)


class LeaseClient(Protocol):
    """The three verbs that the elector needs."""

    async def get(self, kind: str, namespace: str, name: str) -> Answered:
        """Read one object."""
        ...

    async def create(self, obj: Object, *, manager: str) -> Answered:
        """Store a new object."""
        ...

    async def replace(self, obj: Object, *, manager: str) -> Answered:
        """PUT one object with its resourceVersion as the precondition."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds: how long a lease lasts, how long a holder goes on without a renewal, how often it renews."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0

    def scaled(self, factor: float) -> LeaseTimes:
        """The same proportions, `factor` times as long."""
        return LeaseTimes(self.duration * factor, self.deadline * factor, self.retry * factor)


class LeaseLost(Exception):
    """This process held the lease and does not any more; it must stop its work at once."""


class Elector:
    """Takes, keeps and gives back one Lease under the name `identity`."""

    def __init__(
        self,
        client: LeaseClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        times: LeaseTimes | None = None,
        random: Random | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._times = times or LeaseTimes()
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self._meter = meter or NoMeter()
        self._seen: tuple[Any, ...] = ()
        self._seen_at = 0.0
        self._lease: Object | None = None
        self.leading = False

    async def acquire(self) -> None:
        """Return once this process holds the lease."""
        self._meter.set("leader", 0)
        while not await self._try():
            await self._clock.sleep(jittered(self._times.retry, 0.2, self._random))
        self.leading = True
        self._meter.set("leader", 1)
        log.info("%s leads", self._identity)

    async def keep(self) -> None:
        """Renew the lease until it is lost, then raise LeaseLost."""
        renewed = self._clock.monotonic()
        try:
            while True:
                await self._clock.sleep(self._times.retry)
                asked = self._clock.monotonic()
                if asked - renewed > self._times.deadline:
                    raise LeaseLost(f"The lease was not renewed for {asked - renewed:.1f} s.")
                left = self._times.deadline - (asked - renewed)
                try:
                    held = await asyncio.wait_for(self._try(), timeout=max(left, 0.1))
                except TimeoutError:
                    held = False
                if held:
                    renewed = asked
                elif self._holder() not in ("", self._identity):
                    raise LeaseLost(f"{self._holder()} holds the lease now.")
        finally:
            self.leading = False
            self._meter.set("leader", 0)

    async def release(self) -> None:
        """Give the lease back so that another replica may lead at once; errors only delay that."""
        if self._lease is None or self._holder() != self._identity:
            return
        try:
            await self._put(self._lease, holder="")
        except ApiError as error:
            log.warning("The lease was not given back: %s", error)
        self.leading = False
        self._meter.set("leader", 0)

    def _holder(self) -> str:
        holder: str = ((self._lease or {}).get("spec") or {}).get("holderIdentity") or ""
        return holder

    async def _try(self) -> bool:
        """Take or renew the lease; False when somebody else holds it or no answer says that we do."""
        try:
            self._lease = await self._read()
            holder = self._holder()
            if holder not in ("", self._identity) and not self._expired():
                return False
            self._lease = await self._put(self._lease, holder=self._identity)
        except Conflict:
            return False
        except ApiError as error:
            log.warning("The lease was not reached: %s", error)
            return False
        return True

    async def _read(self) -> Object:
        try:
            return (await self._client.get("Lease", self._namespace, self._name)).object
        except NotFound:
            meta = {"namespace": self._namespace, "name": self._name}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}
            return (await self._client.create(lease, manager="modelservice-lease")).object

    async def _put(self, lease: Object, *, holder: str) -> Object:
        old = lease.get("spec") or {}
        now = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            **old,
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "renewTime": now,
        }
        if old.get("holderIdentity") != holder and holder:
            spec |= {"acquireTime": now, "leaseTransitions": int(old.get("leaseTransitions") or 0) + 1}
        return (await self._client.replace({**lease, "spec": spec}, manager="modelservice-lease")).object

    def _expired(self) -> bool:
        """Whether the record has stayed the same for the whole duration of a lease, as seen on our clock."""
        spec = (self._lease or {}).get("spec") or {}
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        now = self._clock.monotonic()
        if record != self._seen:
            self._seen, self._seen_at = record, now
            return False
        return now - self._seen_at > self._times.duration
