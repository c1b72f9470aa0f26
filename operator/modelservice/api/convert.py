"""From the kinds to the decisions' types.

Raises ValueError with a sentence where an object cannot be honoured as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modelservice.api.budgetpolicy import BudgetPolicy, ClusterBudgetPolicy
from modelservice.api.budgetpolicy import Period as ApiPeriod
from modelservice.api.computepool import Billing as ApiBilling
from modelservice.api.computepool import ComputePool
from modelservice.api.modelruntime import ModelRuntime
from modelservice.api.modelservice import Inference as ApiInference
from modelservice.api.modelservice import Model as ApiModel
from modelservice.api.modelservice import ModelService, ScaleToZero
from modelservice.api.modelservice import Placement as ApiPlacement
from modelservice.api.modelservice import Scaling as ApiScaling
from modelservice.api.modelservice import Training as ApiTraining
from modelservice.api.pod import Env, Volumes
from modelservice.api.rollout import RolloutSpec
from modelservice.api.scope import ClusterScope
from modelservice.api.scope import Selector as ApiSelector
from modelservice.api.service_status import Artifact as ApiArtifact
from modelservice.api.service_status import ModelServiceStatus
from modelservice.api.thresholds import Threshold as ApiThreshold
from modelservice.domain.book import HORIZON_SECONDS, Enforcement
from modelservice.domain.demand import Scaling
from modelservice.domain.ledger import Policy
from modelservice.domain.limits import DEBTS_ONLY, CarryOver, Override, Overspend, Unused
from modelservice.domain.money import parse_amount, parse_price
from modelservice.domain.periods import Calendar, Period, Window, load_zone
from modelservice.domain.prices import Billing, BillingStart
from modelservice.domain.pricetable import Table
from modelservice.domain.priorities import Priority
from modelservice.domain.quantities import whole
from modelservice.domain.rollout import CanaryRule, Orders, Rule, Strategy
from modelservice.domain.scope import Operator, Requirement, Scope, Selector
from modelservice.domain.specs import (
    ClaimPath,
    Download,
    Drain,
    Engine,
    Format,
    Inference,
    Json,
    Model,
    Pool,
    Probes,
    Role,
    Runtime,
    Service,
    ServiceName,
    Training,
    Workload,
)
from modelservice.domain.tariff import Tariff, fixed, quote, unknown
from modelservice.domain.thresholds import Action, Metric, Threshold
from modelservice.domain.times import parse_instant, parse_time
from modelservice.domain.training import Outcome, Published, Record

SCHEME = "pvc://"
LEAST_DEVICE = 1 << 30
UNDO, PROMOTE = "modelservice.dev/rollout-undo", "modelservice.dev/rollout-promote"


def service_of(obj: ModelService) -> Service:
    """The service that a ModelService describes."""
    meta, spec = obj.metadata, obj.spec
    return Service(
        name=ServiceName(meta.namespace, meta.name),
        uid=meta.uid,
        generation=meta.generation,
        suspended=spec.suspend,
        model=_model(spec.model) if spec.model else None,
        inference=_inference(spec.inference) if spec.inference else None,
        training=_training(spec.training) if spec.training else None,
        labels=dict(meta.labels),
        priority=Priority(spec.priority),
        parameter_count=(spec.model.parameter_count or "") if spec.model else "",
        orders=_orders(meta.annotations),
    )


def _model(spec: ApiModel) -> Model:
    uri, secret = spec.storage_uri, spec.secret_ref.name if spec.secret_ref else ""
    where = claim_path(uri) if uri.startswith(SCHEME) else Download(uri, secret)
    return Model(where, spec.remote_code == "Allow")


def _orders(annotations: Mapping[str, str]) -> Orders:
    """What a person has decided about the rollout, by annotations that `modelservice rollout` sets."""
    undo_from, _, undo_to = annotations.get(UNDO, "").partition("/")
    return Orders(undo_from, undo_to, annotations.get(PROMOTE, ""))


def claim_path(uri: str) -> ClaimPath:
    """The claim and path of pvc://<claim>/<path>."""
    claim, _, path = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not claim or not path or ".." in path.split("/"):
        raise ValueError(f"{uri!r} is not a place on a claim: write pvc://<claim>/<path>.")
    return ClaimPath(claim, path.strip("/"))


def _inference(spec: ApiInference) -> Inference:
    return Inference(
        pod=Workload(
            runtime=spec.runtime or "",
            image=spec.image,
            args=spec.args,
            env=_env(spec.env),
            volumes=_volumes(spec.volumes),
            pools=_pools(spec.placement),
            accelerators=_accelerators(spec.placement),
            requests=dict(spec.resources.requests),
            limits=dict(spec.resources.limits),
        ),
        minimum=spec.min_replicas,
        maximum=spec.max_replicas if spec.max_replicas is not None else spec.min_replicas,
        scaling=_scaling(spec.scaling) if spec.scaling else None,
        model_format=spec.model_format or "",
        rollout=_rollout(spec.rollout) if spec.rollout else Rule(),
    )


def _scaling(spec: ApiScaling) -> Scaling:
    idle = (spec.scale_to_zero or ScaleToZero()).idle_seconds
    return Scaling(spec.scale_metric, spec.scale_target, spec.scale_down_delay_seconds, idle)


def _rollout(spec: RolloutSpec) -> Rule:
    canary = spec.canary
    rule = CanaryRule(canary.step_percent, canary.step_period_seconds) if canary else None
    return Rule(Strategy(spec.strategy), rule)


def _training(spec: ApiTraining) -> Training:
    return Training(
        pod=Workload(
            runtime=spec.runtime,
            image=spec.image,
            command=spec.command,
            args=spec.args,
            env=_env(spec.env),
            pools=_pools(spec.placement),
            accelerators=_accelerators(spec.placement),
            requests=dict(spec.resources_per_node.requests),
            limits=dict(spec.resources_per_node.limits),
        ),
        output=claim_path(spec.output.storage_uri),
        files=spec.files.config_map_ref.name if spec.files else None,
        backoff_limit=spec.backoff_limit,
    )


def _pools(placement: ApiPlacement | None) -> tuple[str, ...]:
    return placement.pools if placement else ()


def _accelerators(placement: ApiPlacement | None) -> tuple[str, ...]:
    return placement.accelerators if placement else ()


def _env(variables: Env) -> tuple[Json, ...]:
    return tuple(variable.model_dump(by_alias=True, exclude_none=True) for variable in variables)


def _volumes(volumes: Volumes) -> tuple[Json, ...]:
    return tuple(volume.model_dump(by_alias=True, exclude_none=True) for volume in volumes)


def runtime_of(obj: ModelRuntime) -> Runtime:
    """The runtime that a ModelRuntime describes."""
    spec = obj.spec
    metrics = spec.metrics
    names = (
        {
            "running": metrics.requests_running,
            "waiting": metrics.requests_waiting,
            "requests": metrics.requests_total,
            "activity": (*metrics.activity_total, *metrics.requests_total),
        }
        if metrics
        else {}
    )
    probes, drain = spec.probes, spec.drain
    return Runtime(
        name=obj.metadata.name,
        role=Role(spec.role),
        port=spec.port,
        metrics_path=spec.metrics_path,
        series={key: known for key, known in names.items() if known},
        engines={
            one.type: Engine(one.image, one.args, _env(one.env), one.command, one.shared_memory)
            for one in spec.accelerators
        },
        probes=Probes(probes.live_path, probes.ready_path, probes.start_seconds),
        drain=Drain(drain.delay_seconds, drain.timeout_seconds) if drain else None,
        formats=tuple(Format(one.name, one.priority, one.accelerators) for one in spec.supported_model_formats),
    )


def tariff_of(obj: ComputePool, tables: Mapping[str, Table | str], now: int) -> Tariff:
    """What its node hours cost from `now` on; `tables` has each price table, or why there is none, by its name."""
    spec = obj.spec
    if spec.price_table is None:
        return fixed({option.type: parse_price(option.per_node_hour) for option in spec.purchase_options})
    name = spec.price_table.config_map_ref.name
    table = tables.get(name, f"the price table {name} has not been read yet")
    if isinstance(table, str):
        return unknown(table)
    return quote(table, obj.metadata.name, spec.currency, now, HORIZON_SECONDS + _billing(spec.billing).overrun)


def _billing(spec: ApiBilling) -> Billing:
    begins = BillingStart(spec.from_)
    return Billing(spec.stop_seconds, spec.tail_seconds, spec.minimum_seconds, begins=begins)


def pool_of(obj: ComputePool, tariff: Tariff) -> Pool:
    """The pool that a ComputePool describes."""
    spec = obj.spec
    allocatable = {"cpu": whole("cpu", spec.node.cpu), "memory": whole("memory", spec.node.memory)}
    if spec.accelerator.resource_name is not None:
        allocatable[spec.accelerator.resource_name] = spec.node.devices
    return Pool(
        name=obj.metadata.name,
        currency=spec.currency,
        accelerator=spec.accelerator.type,
        resource=spec.accelerator.resource_name,
        allocatable=allocatable,
        selector=dict(spec.node_selector),
        tolerations=tuple(one.model_dump(by_alias=True, exclude_none=True) for one in spec.tolerations),
        tariff=tariff,
        margin_percent=spec.billing.margin_percent,
        billing=_billing(spec.billing),
        start_seconds=spec.start_seconds,
        device_memory=_device_memory(spec.accelerator.memory),
        features=spec.accelerator.features,
        topology=spec.accelerator.topology or "",
    )


def _device_memory(given: str | None) -> int:
    memory = whole("memory", given) if given is not None else 0
    if given is not None and memory < LEAST_DEVICE:
        raise ValueError(
            f"accelerator.memory is {given}, and no device has less than 1Gi: write its memory, such as 22Gi."
        )
    return memory


def policy_of(obj: BudgetPolicy | ClusterBudgetPolicy) -> Policy:
    """The budget that a policy asks for; ValueError for a time that is none, an unknown zone, or an empty window."""
    spec = obj.spec.override
    override = None
    if spec is not None:
        override = Override(parse_amount(spec.extra_amount), parse_instant(spec.until), spec.reason)
    return replace(_policy(obj, _period(obj.spec.period)), override=override)


def closed_policy_of(obj: BudgetPolicy | ClusterBudgetPolicy) -> Policy:
    """The same budget without any period in which it would pay."""
    return _policy(obj, Window(0, 1))


def _policy(obj: BudgetPolicy | ClusterBudgetPolicy, period: Period | Window) -> Policy:
    spec, meta = obj.spec, obj.metadata
    carry = spec.carry_over
    return Policy(
        name=f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name,
        currency=spec.currency,
        limit=parse_amount(spec.limit),
        period=period,
        max_rate=parse_amount(spec.max_rate_per_hour) if spec.max_rate_per_hour is not None else None,
        scope=_scope(obj),
        enforcement=Enforcement(spec.enforcement),
        horizon=spec.admission.horizon_seconds if spec.admission is not None else HORIZON_SECONDS,
        soft_limit=parse_amount(spec.soft_limit) if spec.soft_limit is not None else None,
        carry_over=CarryOver(Overspend(carry.overspend), Unused(carry.unused)) if carry is not None else DEBTS_ONLY,
        thresholds=tuple(_threshold(one) for one in spec.thresholds),
        shares={Priority(one.priority): parse_amount(one.min_share) for one in spec.classes},
    )


def _threshold(spec: ApiThreshold) -> Threshold:
    """Actions in their order, whatever the order in which they were written."""
    below = spec.at_percent if spec.clear_below_percent is None else spec.clear_below_percent
    actions = tuple(action for action in Action if action.value in spec.actions)
    return Threshold(spec.name, Metric(spec.metric), spec.at_percent, below, spec.for_seconds, actions)


def _scope(obj: BudgetPolicy | ClusterBudgetPolicy) -> Scope:
    given = obj.spec.scope
    namespaces = frozenset({obj.metadata.namespace} if isinstance(obj, BudgetPolicy) else ())
    if given is None:
        return Scope(namespaces)
    return Scope(
        namespaces=frozenset(given.namespaces) if isinstance(given, ClusterScope) else namespaces,
        namespace_selector=_selector(given.namespace_selector if isinstance(given, ClusterScope) else None),
        services=_selector(given.services),
        roles=frozenset(given.roles),
        pools=frozenset(given.pools),
    )


def _selector(given: ApiSelector | None) -> Selector:
    if given is None:
        return Selector()
    equal = [Requirement(key, Operator.IN, (value,)) for key, value in given.match_labels.items()]
    compared = [Requirement(one.key, Operator(one.operator), one.values) for one in given.match_expressions]
    return Selector((*equal, *compared))


def _period(spec: ApiPeriod) -> Period | Window:
    if spec.window is not None:
        start, end = parse_time(spec.window.from_), parse_time(spec.window.to)
        return Window(start or 0, end or 0)
    zone, calendar = spec.time_zone or "", Calendar(spec.calendar or "")
    load_zone(zone)
    return Period(calendar, zone, spec.start_day or 1, spec.start_month or 1)


def served_of(status: ModelServiceStatus) -> Published | None:
    """What the status remembers of the model that is served; None before it is known."""
    model = status.model
    return Published(model.uri, model.digest, model.bytes, model.revision) if model is not None else None


def record_of(whole_status: ModelServiceStatus) -> Record:
    """What the status remembers of the latest training run."""
    status = whole_status.training
    if status is None:
        return Record()
    reasons = {condition.type: condition.reason for condition in whole_status.conditions}
    return Record(
        run=status.run,
        attempt=status.attempt,
        failures=status.failures,
        interruptions=status.interruptions,
        outcome=Outcome(status.outcome) if status.outcome else None,
        message=status.message or "",
        out_of_memory=reasons.get("TrainingSucceeded") == "OutOfMemory",
        metrics=dict(status.metrics),
        published=_published(status.artifact),
        started_at=parse_time(status.start_time),
        finished_at=parse_time(status.completion_time),
    )


def _published(artifact: ApiArtifact | None) -> Published | None:
    if artifact is None:
        return None
    return Published(claim_path(artifact.path).path, artifact.digest, artifact.bytes)
