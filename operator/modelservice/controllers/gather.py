"""From the caches to what the planner decides on: one draft for each service, one snapshot for all."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from modelservice.api.budgetpolicy import BudgetPolicy, ClusterBudgetPolicy
from modelservice.api.computepool import ComputePool
from modelservice.api.convert import (
    claim_path,
    closed_policy_of,
    policy_of,
    pool_of,
    record_of,
    runtime_of,
    served_of,
    service_of,
    tariff_of,
)
from modelservice.api.modelruntime import ModelRuntime
from modelservice.api.modelservice import ModelService
from modelservice.controllers.downloads import known
from modelservice.controllers.observation import attempt_of, deployed_of, is_ready, owned_by, room_of
from modelservice.controllers.revisions import asleep, presences, settled, standing
from modelservice.controllers.revisions import record_of as revisions_of
from modelservice.controllers.world import World
from modelservice.domain.catalogue import Catalogue
from modelservice.domain.conditions import Problem
from modelservice.domain.handover import newest
from modelservice.domain.ledger import Policy
from modelservice.domain.placement import select
from modelservice.domain.rollout import Record as Revisions
from modelservice.domain.rollout import Revision, Scene, Stance, advance, stance
from modelservice.domain.runtimes import Choice, choose, unmeasured
from modelservice.domain.scope import Origin
from modelservice.domain.snapshot import Deployed, ServiceView, Snapshot, Turn, Wish
from modelservice.domain.specs import (
    Artifact,
    ClaimPath,
    Pool,
    Role,
    Runtime,
    Service,
    ServiceName,
    Workload,
)
from modelservice.domain.training import Attempt, Outcome, Record, advance_run, next_attempt, resting
from modelservice.domain.waking import Room
from modelservice.kit.objects import Object, Ref, label_of
from modelservice.render.deployment import deployment_name
from modelservice.render.hashing import placement_id, revision_id, run_id
from modelservice.render.job import job_name
from modelservice.render.labels import ARTIFACT, ATTEMPT, DIGEST, POD_REVISION, POOL, RUN

log = logging.getLogger(__name__)

K = TypeVar("K", bound=BaseModel)
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Draft:
    """One service, prepared for a plan: what it is, what it needs, and what stands in the way.

    `revision` is what the spec describes, `revisions` what is known of that and of earlier ones, and `stance` what
    follows from them: `inference` is the wish for the one that shall serve.
    """

    service: Service
    record: Record = field(default_factory=Record)
    attempts: Mapping[int, Attempt] = field(default_factory=dict)
    artifact: Artifact | None = None
    missing_claim: str = ""
    problem: Problem | None = None
    runtime: Runtime | None = None
    choice: Choice | None = None
    trainer: Runtime | None = None
    inference: Wish | None = None
    placements: Mapping[str, str] = field(default_factory=dict)
    training: Wish | None = None
    deployed: tuple[Deployed, ...] = ()
    desired: int = 0
    woken: bool = False
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    revisions: Revisions = field(default_factory=Revisions)
    stance: Stance = field(default_factory=Stance)
    turn: Turn = field(default_factory=Turn)

    def view(self) -> ServiceView:
        """What the planner sees of it."""
        service = self.service
        return ServiceView(
            service.name,
            service.suspended,
            self.inference,
            self.desired,
            self.training,
            self.deployed,
            service.labels,
            self.namespace_labels,
            service.priority,
            service.inference.minimum if service.inference else 0,
            service.inference.maximum if service.inference else 0,
            self.woken,
            self.turn,
        )

    @property
    def origin(self) -> Origin:
        """What decides which budgets pay."""
        return Origin(self.service.name.namespace, self.namespace_labels, self.service.labels)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the platform has set for all budgets: whether one is needed, and by which labels costs are kept apart."""

    budget_required: bool = False
    cost_labels: tuple[str, ...] = ()


def catalogue(world: World) -> Catalogue:
    """Read pools, runtimes and budgets; what cannot be honoured is left out (its own controller says so)."""
    tables, now = world.tables, world.now()

    def priced(obj: ComputePool) -> Pool:
        return pool_of(obj, tariff_of(obj, tables, now))

    return Catalogue(
        {pool.name: pool for pool in _convert(world.caches.pools.values(), ComputePool, priced)},
        {runtime.name: runtime for runtime in _convert(world.caches.runtimes.values(), ModelRuntime, runtime_of)},
        (
            *_convert(world.caches.policies.values(), BudgetPolicy, _budget),
            *_convert(world.caches.cluster_policies.values(), ClusterBudgetPolicy, _budget),
        ),
    )


def _budget(obj: BudgetPolicy | ClusterBudgetPolicy) -> Policy:
    """A budget; one that cannot be honoured pays for nothing rather than for everything."""
    try:
        return policy_of(obj)
    except ValueError:
        return closed_policy_of(obj)


def _convert(objects: Iterable[Object], model: type[K], convert: Callable[[K], D]) -> Iterable[D]:
    for obj in objects:
        if "deletionTimestamp" in obj["metadata"] and model not in (BudgetPolicy, ClusterBudgetPolicy):
            continue
        try:
            yield convert(model.model_validate(obj))
        except (ValidationError, ValueError) as error:
            log.warning("%s %s is left out: %s", obj["kind"], obj["metadata"]["name"], error)


def snapshot(world: World, listed: Catalogue, drafts: Mapping[ServiceName, Draft], rules: Rules) -> Snapshot:
    """Everything a plan depends on, from the caches and the book as last read."""
    if world.book is None:
        raise RuntimeError("the book has not been read")
    views = tuple(draft.view() for draft in drafts.values())
    frozen = world.freeze is not None
    required, labels = rules.budget_required, rules.cost_labels
    return Snapshot(views, listed.pools, listed.policies, world.pods(), world.book, required, frozen, labels)


def rooms(world: World) -> list[Room]:
    """The nodes that take pods, less what our own pods ask of them."""
    taken: dict[str, Counter[str]] = {}
    for pod in world.pods().values():
        if pod.node is not None and not pod.terminal:
            taken.setdefault(pod.node, Counter()).update(pod.requests)
    found = []
    for node in world.caches.nodes.values():
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        if is_ready(node) and not node["spec"].get("unschedulable"):
            free = Counter(room_of(node))
            free.subtract(taken.get(name, Counter()))
            found.append(Room(labels, free))
    return found


def prepare(obj: Object, world: World, listed: Catalogue, desired: Callable[[Service], int]) -> Draft:
    """Prepare one service; `desired` says how many replicas it shall have.

    Raises ValueError and ValidationError for a broken object.
    """
    parsed = ModelService.model_validate(obj)
    service = service_of(parsed)
    children = world.caches.deployments.by("owner", service.uid)
    revisions = revisions_of(parsed.status)
    deployed = _deployed(service, children, world)
    record, attempts = Record(), {}
    if service.training is not None:
        run = run_id(service.training)
        attempts = _attempts(world, service, run)
        record = advance_run(
            record_of(parsed.status),
            run,
            service.training.backoff_limit,
            attempts,
            service.training.output.path,
            world.now(),
        )
    labels = _namespace_labels(service, world)
    artifact = _artifact(service, record, revisions, children)
    if service.model is not None and artifact is not None:
        artifact = known(artifact, served_of(parsed.status), children, world.pods_of_service(service.name))
    draft = Draft(
        service,
        record,
        attempts,
        artifact,
        deployed=deployed,
        namespace_labels=labels,
        revisions=revisions,
    )
    draft = replace(draft, desired=desired(service))
    if missing := _missing_claim(service, world):
        return replace(draft, missing_claim=missing)
    resolved = parsed.status.resolved
    draft = _with_inference(_with_training(draft, world, listed), listed, resolved.runtime if resolved else None)
    return _with_rollout(draft, world, listed)


def _deployed(service: Service, children: Iterable[Object], world: World) -> tuple[Deployed, ...]:
    """Its Deployments; only replicas that have been ready for long enough count as ready."""
    ready = settled(world.read(world.pods_of_service(service.name)), world.now())
    own = [deployed_of(child) for child in children if "deletionTimestamp" not in child["metadata"]]
    return tuple(replace(one, ready=ready.get(f"{service.name.namespace}/{one.name}", 0)) for one in own)


def _namespace_labels(service: Service, world: World) -> Mapping[str, str]:
    """The labels of the service's namespace, on which it may depend who pays; ValueError until it has been seen."""
    namespace = world.caches.namespaces.get(Ref("", service.name.namespace))
    if namespace is None:
        raise ValueError(f"the namespace {service.name.namespace} has not been seen yet")
    return namespace["metadata"].get("labels") or {}


def _attempts(world: World, service: Service, run: str) -> dict[int, Attempt]:
    """The attempts of one run whose Jobs are there."""
    pods = world.pods_of_service(service.name)
    attempts = {}
    for job in world.caches.jobs.by("owner", service.uid):
        labels = job["metadata"]["labels"]
        if labels.get(RUN) == run and labels.get(ATTEMPT, "").isdecimal():
            own = [pod for pod in pods if owned_by(pod, job)]
            attempts[int(labels[ATTEMPT])] = attempt_of(job, own)
    return attempts


def _artifact(service: Service, record: Record, revisions: Revisions, children: Iterable[Object]) -> Artifact | None:
    """The model to serve: the given one, what the run published, or while a run goes on what is served already."""
    if service.model is not None:
        return Artifact(service.model.where, remote_code=service.model.remote_code)
    if service.training is None:
        return None
    if record.published is not None and record.outcome is Outcome.SUCCEEDED:
        where = ClaimPath(service.training.output.claim, record.published.path)
        return Artifact(where, record.published.digest, record.published.size_bytes)
    serving = revisions.serving.name if revisions.serving is not None else ""

    def latest(child: Object) -> tuple[bool, str, str]:
        meta = child["metadata"]
        return label_of(child, POD_REVISION) == serving, meta["creationTimestamp"], meta["name"]

    served = max(children, key=latest, default=None)
    notes = (served["metadata"].get("annotations") or {}) if served else {}
    return Artifact(claim_path(notes[ARTIFACT]), notes.get(DIGEST, "")) if ARTIFACT in notes else None


def _missing_claim(service: Service, world: World) -> str:
    """The first claim that the service names and that does not exist, "" if all do."""
    places = [service.model.where if service.model else None, service.training.output if service.training else None]
    claims = [place.claim for place in places if isinstance(place, ClaimPath)]
    volumes = service.inference.pod.volumes if service.inference else ()
    claims += [one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one]
    return next((claim for claim in claims if Ref(service.name.namespace, claim) not in world.caches.claims), "")


def _runtime(pod: Workload, role: Role, listed: Catalogue) -> Runtime | Problem:
    runtime = listed.runtimes.get(pod.runtime)
    if runtime is None:
        known = ", ".join(sorted(r.name for r in listed.runtimes.values() if r.role is role)) or "there is none yet"
        text = f"There is no ModelRuntime {pod.runtime}. Those for {role.value.lower()} are: {known}."
        return Problem("RuntimeNotFound", text)
    if runtime.role is not role:
        text = f"The ModelRuntime {runtime.name} is for {runtime.role.value.lower()}, not for {role.value.lower()}."
        return Problem("RuntimeUnsuitable", text)
    return runtime


def _with_training(draft: Draft, world: World, listed: Catalogue) -> Draft:
    """Add the wish for the pod of the next attempt; a running attempt stays in its pool."""
    spec, number = draft.service.training, next_attempt(draft.record)
    if spec is None or number is None or resting(draft.record, draft.attempts, world.now()):
        return draft
    runtime = _runtime(spec.pod, Role.TRAINING, listed)
    if isinstance(runtime, Problem):
        return replace(draft, problem=runtime)
    name = job_name(draft.service, draft.record.run, number)
    job = world.caches.jobs.get(Ref(draft.service.name.namespace, name))
    pools = listed.pools
    if job is not None:
        used = job["metadata"]["labels"].get(POOL, "")
        pools = {used: pools[used]} if used in pools else {}
    selection = select(spec.pod, runtime, pools.values(), listed.currencies(draft.origin, Role.TRAINING))
    workload = f"{draft.service.name.namespace}/{name}"
    workloads = {option.pool.name: workload for option in selection.options}
    return replace(draft, trainer=runtime, training=Wish(selection, workloads, 1))


def _with_inference(draft: Draft, listed: Catalogue, used: str | None) -> Draft:
    """Add the wish for replicas, one placement for each pool that fits; `used` is the runtime that served before."""
    spec, artifact = draft.service.inference, draft.artifact
    if spec is None:
        return draft
    if spec.pod.runtime:
        runtime = _runtime(spec.pod, Role.INFERENCE, listed)
    else:
        chosen = choose(draft.service, listed.runtimes.values(), listed.pools.values(), used)
        draft = replace(draft, choice=chosen if isinstance(chosen, Choice) else None)
        runtime = chosen.runtime if isinstance(chosen, Choice) else chosen
    if isinstance(runtime, Problem):
        return replace(draft, problem=draft.problem or runtime)
    if lack := unmeasured(spec, runtime):
        text = f"The ModelRuntime {runtime.name} {lack}."
        return replace(draft, problem=draft.problem or Problem("RuntimeUnsuitable", text))
    if artifact is None:
        return replace(draft, runtime=runtime)
    selection = select(spec.pod, runtime, listed.pools.values(), listed.currencies(draft.origin, Role.INFERENCE))
    placements = {
        option.pool.name: placement_id(
            spec, runtime, runtime.engines[option.pool.accelerator], artifact, option.pool, option.purchase
        )
        for option in selection.options
    }
    namespace = draft.service.name.namespace
    workloads = {pool: f"{namespace}/{deployment_name(draft.service, one)}" for pool, one in placements.items()}
    return replace(draft, runtime=runtime, placements=placements, inference=Wish(selection, workloads, draft.desired))


def _with_rollout(draft: Draft, world: World, listed: Catalogue) -> Draft:
    """Decide which revision shall serve, which one is tried beside it, and which Deployments are only kept."""
    service, spec = draft.service, draft.service.inference
    if spec is None:
        return draft
    described = _described(draft)
    objects = world.pods_of_service(service.name)
    known = draft.revisions
    finding = world.finding(service.name, described.name if described else "", known.canary)
    scene = Scene(
        described,
        0 if service.suspended else draft.desired,
        spec.rollout,
        presences(draft.deployed, objects, world),
        service.orders,
        finding,
        world.passes(service.name),
    )
    known = advance(known, scene, world.now())
    taken, idle = stance(known, scene), asleep(known)
    populated = {pod.workload for pod in world.read(objects)}
    deployed = tuple(
        one
        for one in draft.deployed
        if one.replicas or one.revision not in idle or f"{service.name.namespace}/{one.name}" in populated
    )
    draft = replace(draft, revisions=known, stance=taken, deployed=deployed)
    if described is None or draft.inference is None:
        return draft
    wish, namespace = draft.inference, service.name.namespace
    turn = Turn(
        spec.rollout.strategy,
        known.serving.name if known.serving is not None else "",
        bool(taken.failing),
        replace(wish, count=taken.count) if taken.beside else None,
    )
    if taken.main != described.name:
        wish = standing(taken.main, draft.deployed, listed.pools, namespace, draft.desired)
    return replace(draft, revision=described.name, inference=wish, turn=turn)


def _described(draft: Draft) -> Revision | None:
    """The revision of the spec, in the pool in which it would be now; None while there is none."""
    spec, runtime, artifact = draft.service.inference, draft.runtime, draft.artifact
    if spec is None or runtime is None or artifact is None or draft.inference is None:
        return None
    latest = newest(draft.deployed)
    option = draft.inference.selection.prefer(latest.pool if latest else None)
    if option is None:
        return None
    engine = runtime.engines[option.pool.accelerator]
    name = revision_id(spec, runtime, engine, artifact)
    return Revision(name, str(artifact.where), spec.pod.image or engine.image, runtime.name)
