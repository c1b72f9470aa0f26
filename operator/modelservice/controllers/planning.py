"""The planner's task: gather, measure, plan for all services, settle the book, wake the services that it concerns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from pydantic import ValidationError

from modelservice.controllers.bookkeeper import Bookkeeper
from modelservice.controllers.downloads import hold_back
from modelservice.controllers.gather import Draft, Rules, catalogue, prepare, rooms, snapshot
from modelservice.controllers.observation import downloading, rest_of, wake_request
from modelservice.controllers.pricetables import PriceTables
from modelservice.controllers.signals import read, read_downloads
from modelservice.controllers.traffic import canaries, watch
from modelservice.controllers.world import World, service_name
from modelservice.domain.catalogue import Catalogue
from modelservice.domain.codec import DamagedBookError
from modelservice.domain.demand import Memory, Metric, Reading, Replica, Scaling, desire, measure
from modelservice.domain.forecast import forecast
from modelservice.domain.ledger import Policy
from modelservice.domain.parking import Activity, Rest, look, take_in
from modelservice.domain.peaks import peak_rates
from modelservice.domain.planner import Plan, plan
from modelservice.domain.rehearsal import Objection, rehearse
from modelservice.domain.relief import relieve, shortages
from modelservice.domain.snapshot import Snapshot
from modelservice.domain.specs import Role, Service, ServiceName
from modelservice.domain.thresholds import Metric as Figure
from modelservice.domain.unitcost import Tally, count, per_thousand, serving_rates
from modelservice.domain.waking import plan_waking, refused_wakes
from modelservice.kit.debounce import Debounce
from modelservice.kit.errors import ApiError
from modelservice.kit.meter import Meter
from modelservice.kit.objects import Object, ref_of
from modelservice.ports import MetricsSource

log = logging.getLogger(__name__)

RELIEF_SECONDS = 60
"""What helps those that are refused pods is looked for anew when they are others, and so often."""
RELIEF_SHARE = 10
"""Where that takes long, it rests so many times as long: a large cluster has better things to do."""
REQUESTS = "requests"
MAX_AGE = 30
"""Seconds after which a scrape says nothing any more."""


@dataclass(slots=True)
class Planner:
    """Plans when something has changed, and each `tick` seconds; `wake` has one service looked at."""

    world: World
    bookkeeper: Bookkeeper
    prices: PriceTables
    metrics: MetricsSource | None
    meter: Meter
    debounce: Debounce
    tick: float
    wake: Callable[[ServiceName], None]
    wake_policies: Callable[[], None]
    rules: Rules = field(default_factory=Rules)
    _reading: Reading = field(default_factory=Reading)
    _asking: asyncio.Task[Reading] | None = None
    _measured_at: float | None = None
    _looked_at: float | None = None
    _relieved_for: object = None
    _relieved_at: int = 0
    _rests_until: float = 0.0
    _unpaid_wakes: frozenset[ServiceName] = frozenset()
    _wakes_rest_until: float = 0.0

    async def run(self) -> None:
        """Plan for ever."""
        try:
            while True:
                await self.step()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.debounce.wait(), self.tick)
        finally:
            if self._asking is not None:
                self._asking.cancel()
                await asyncio.gather(self._asking, return_exceptions=True)

    async def step(self) -> None:
        """One pass; what the API server or the book refuses is reported and tried again on the next one."""
        before = (self.world.book_problem, self.world.freeze)
        try:
            await self._step()
        except (ApiError, TimeoutError) as error:
            self.world.book_problem = str(error) or "the API server did not answer in time."
            log.warning("The plan was not carried out, the next try is in %.0f s: %s", self.tick, error)
        except DamagedBookError as error:
            self.world.book_problem = (
                f"{error}. Nothing is started or renewed: delete it, and what is known is put back."
            )
            log.error("The book is damaged: %s", error)  # noqa: TRY400 - a sentence, not a traceback
        else:
            self.world.book_problem = ""
        if before != (self.world.book_problem, self.world.freeze):
            for name in self.world.drafts:
                self.wake(name)
            self.wake_policies()
            self.debounce.trigger()

    async def _step(self) -> None:
        await self.prices.refresh()
        listed = catalogue(self.world)
        self.world.pools = listed.pools
        if self.world.book is None:
            await self.bookkeeper.settle(None, listed.policies)
        fresh = await self._measure(listed)
        self.debounce.hurried.clear()
        await self._look()
        drafts = self._prepare(listed, fresh=fresh)
        news = self._count(drafts) | await self._follow_downloads(drafts) if fresh else set()
        seen = snapshot(self.world, listed, drafts, self.rules)
        downloads = [(name, draft.artifact) for name, draft in drafts.items() if draft.artifact is not None]
        others = {name for name, draft in drafts.items() if draft.stance.main not in ("", draft.revision)}
        made = hold_back(self._plan(seen), downloads, self.world, others)
        changed = self._adopt(drafts, made) | news
        self.world.peaks = peak_rates(seen, made)
        changed |= self._relieve(seen, made)
        self.world.foreseen = self._foresee(listed.policies)
        self._rehearse(seen)
        if await self.bookkeeper.settle(made, listed.policies):
            self.meter.count("book_writes_total")
            self.debounce.trigger()
            changed = set(drafts)
            self.wake_policies()
        for name in sorted(changed):
            self.wake(name)

    def _plan(self, seen: Snapshot) -> Plan:
        """The plan; what wakes and is paid for nowhere is tried anew after a rest of so many times as long."""
        now, begun = self.world.now(), self.world.clock.monotonic()
        if not any(view.waking for view in seen.services):
            return plan(seen, now)
        known = self._unpaid_wakes if begun < self._wakes_rest_until else frozenset()
        made = plan_waking(seen, rooms(self.world), now, known)
        self._unpaid_wakes = refused_wakes(seen, made)
        if self._unpaid_wakes - known:
            ended = self.world.clock.monotonic()
            self._wakes_rest_until = ended + RELIEF_SHARE * (ended - begun)
        return made

    def _relieve(self, seen: Snapshot, made: Plan) -> set[ServiceName]:
        """Find what helps those that are refused pods; returns the services for which that is something else now."""
        world, now = self.world, self.world.now()
        why = shortages(made), seen.policies, {name: pool.tariff for name, pool in seen.pools.items()}
        passed = any((one.affordable_at or now + 1) <= now for one in world.reliefs.values())
        due = why != self._relieved_for or now >= self._relieved_at + RELIEF_SECONDS or passed
        begun = world.clock.monotonic()
        if not due or begun < self._rests_until:
            return set()
        before, world.reliefs = world.reliefs, relieve(seen, made, now)
        self._relieved_for, self._relieved_at = why, now
        ended = world.clock.monotonic()
        self._rests_until = ended + RELIEF_SHARE * (ended - begun)
        return {name for name in before.keys() | world.reliefs.keys() if before.get(name) != world.reliefs.get(name)}

    def _foresee(self, policies: Iterable[Policy]) -> Mapping[str, int]:
        """The p90 of the period's total for each budget of which a threshold asks for it."""
        book, now = self.world.book, self.world.now()
        found: dict[str, int] = {}
        for policy in policies:
            asked = any(threshold.metric is Figure.FORECAST for threshold in policy.thresholds)
            if book is None or not asked:
                continue
            peak, history = self.world.peaks.get(policy.name, 0), self.world.history.get(policy.name)
            told = forecast(book, policy.name, now, peak, history)
            found |= {policy.name: told.p90} if told is not None else {}
        return found

    def _rehearse(self, seen: Snapshot) -> None:
        """Ask the budgets on trial, and have them report when they object to something else than before."""
        before, now = self.world.objections, rehearse(seen, self.world.now())
        self.world.objections = now
        if _causes(before) != _causes(now):
            self.wake_policies()

    def _adopt(self, drafts: dict[ServiceName, Draft], made: Plan) -> set[ServiceName]:
        """Make the plan the current one; returns the services for which something is different."""
        world = self.world
        names = drafts.keys() | world.drafts.keys()
        changed = {
            name
            for name in names
            if drafts.get(name) != world.drafts.get(name) or made.services.get(name) != world.plan.services.get(name)
        }
        world.drafts, world.plan = drafts, made
        world.memories = {name: memory for name, memory in world.memories.items() if name in drafts}
        world.rests = {name: rest for name, rest in world.rests.items() if name in drafts}
        return changed

    async def _measure(self, listed: Catalogue) -> bool:
        """Ask Prometheus once a tick, if any service scales or can be counted; True when there is a new reading.

        An answer that is still to come keeps no service waiting that is being woken: it counts on a later pass.
        """
        now = self.world.clock.monotonic()
        if self._asking is None:
            if self._measured_at is not None and now - self._measured_at < self.tick * 0.9:
                return False
            serving = [obj["spec"].get("inference") or {} for obj in self.world.caches.services.values()]
            if not any(spec.get("scaling") or (spec and self.metrics is not None) for spec in serving):
                return False
            self._asking = asyncio.create_task(read(self.metrics, listed.runtimes.values()))
        hurried = asyncio.create_task(self.debounce.hurried.wait())
        try:
            await asyncio.wait({self._asking, hurried}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
        if not self._asking.done():
            return False
        asked, self._asking = self._asking, None
        self._reading = asked.result()
        self.meter.set("metrics_available", 0 if self._reading.problem else 1)
        self._measured_at = self.world.clock.monotonic()
        return True

    async def _follow_downloads(self, drafts: Iterable[ServiceName]) -> set[ServiceName]:
        """Ask how far downloads are, if there are any; returns the services of which one has come further."""
        world, before = self.world, self.world.downloads
        pods = [obj for name in drafts for obj in world.pods_of_service(name) if downloading(obj)]
        world.downloads = await read_downloads(self.metrics) if pods and self.metrics is not None else {}
        moved = {ref for ref in before.keys() | world.downloads.keys() if before.get(ref) != world.downloads.get(ref)}
        return {service_name(obj) for obj in pods if ref_of(obj) in moved}

    async def _look(self) -> None:
        """Once a tick, count the requests of canaries and of what serves beside them."""
        now = self.world.clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < self.tick * 0.9:
            return
        about = canaries(self.world.caches.services.values())
        self.world.evidence = await watch(self.metrics, about, self.world.evidence)
        self._looked_at = now

    def _prepare(self, listed: Catalogue, *, fresh: bool) -> dict[ServiceName, Draft]:
        drafts = {}
        for obj in self.world.caches.services.values():
            if "deletionTimestamp" in obj["metadata"]:
                continue
            name = service_name(obj)
            try:
                draft = prepare(obj, self.world, listed, partial(self._desired, obj=obj, fresh=fresh))
                rest = self.world.rests.get(name, Rest())
                drafts[name] = replace(draft, woken=rest.woken_at is not None)
            except (ValidationError, ValueError) as error:
                log.warning("%s is left out of the plan: %s", name, error)
        return drafts

    def _desired(self, service: Service, *, obj: Object, fresh: bool) -> int:
        """The replicas that the load asks for; after a start what the status says goes on."""
        world, name, spec = self.world, service.name, service.inference
        if spec is None:
            return 0
        if spec.minimum:
            world.rests.pop(name, None)
        if spec.scaling is None:
            world.memories.pop(name, None)
            return spec.minimum
        lowest = max(1, spec.minimum)
        told = (obj.get("status") or {}).get("desiredReplicas") or 0
        memory = world.memories.get(name) or Memory(told or lowest)
        if fresh:
            now = world.now()
            measured = measure(spec.scaling.metric, name.namespace, self._replicas(name), self._reading, now, MAX_AGE)
            memory = desire(memory, spec.scaling, measured, (lowest, spec.maximum), now)
        if spec.minimum == 0 and self._rests(service, spec.scaling, obj, fresh=fresh):
            world.memories[name] = replace(memory, desired=lowest, need=0, fewer_since=None)
            return 0
        world.memories[name] = memory
        return min(max(memory.desired, lowest), spec.maximum)

    def _rests(self, service: Service, rule: Scaling, obj: Object, *, fresh: bool) -> bool:
        """Whether the service is parked at zero, after what is known by now."""
        world, name, now = self.world, service.name, self.world.now()
        rest = take_in(world.rests.get(name) or rest_of(obj), wake_request(obj), now)
        if fresh and not rest.parked:
            rest = look(rest, self._activity(name), rule.idle_delay, now, starting=self._starting(name, now))
        world.rests[name] = rest
        return rest.parked

    def _activity(self, name: ServiceName) -> Activity | None:
        """What the ready replicas do, None when that is not known of all of them."""
        replicas, now = self._replicas(name), self.world.now()
        kinds: tuple[Metric, Metric] = ("Concurrency", "Activity")
        work, served = (measure(kind, name.namespace, replicas, self._reading, now, MAX_AGE) for kind in kinds)
        known = work.complete and served.complete
        return Activity(work.work, served.work) if known else None

    def _starting(self, name: ServiceName, now: int) -> bool:
        """Whether some replica is not ready yet, or younger than its pool takes to start one."""
        own = self.world.plan.services.get(name)
        start = own.option.pool.start_seconds if own is not None and own.option is not None else 0
        pods = self.world.read(self.world.pods_of_service(name))
        serving = [pod for pod in pods if pod.role is Role.INFERENCE and pod.live]
        return any(pod.ready_since is None or now - pod.created_at < start for pod in serving)

    def _count(self, drafts: Mapping[ServiceName, Draft]) -> set[ServiceName]:
        """Count what the services cost and serve; a load that is not known for every ready pod is none.

        Returns those for which the cost of requests has become known, or is not known any longer.
        """
        now, before, book = self.world.now(), self.world.tallies, self.world.book
        rates, tallies = serving_rates(book) if book is not None else {}, {}
        for name, draft in drafts.items():
            load = None
            if draft.runtime is not None and REQUESTS in draft.runtime.series:
                seen = measure("RPS", name.namespace, self._replicas(name), self._reading, now, MAX_AGE)
                load = seen.work if seen.complete else None
            tallies[name] = count(before.get(name, Tally()), now, rates.get(str(name), 0), load)
        self.world.tallies = tallies
        return {name for name in tallies if _known(tallies[name]) != _known(before.get(name, Tally()))}

    def _replicas(self, name: ServiceName) -> list[Replica]:
        pods = self.world.read(self.world.pods_of_service(name))
        return [
            Replica(pod.name, pod.started_at if pod.started_at is not None else pod.created_at, pod.ready_since)
            for pod in pods
            if pod.role is Role.INFERENCE and pod.live and pod.ready_since is not None
        ]


def _known(tally: Tally) -> bool:
    return per_thousand(tally) is not None


def _causes(objections: Mapping[str, tuple[Objection, ...]]) -> dict[str, list[object]]:
    return {policy: [one.cause for one in own] for policy, own in objections.items()}
