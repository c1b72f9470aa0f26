"""What the operator would do with services that are not there yet: where they go, what they cost, who pays.

The decisions are those of the running operator: judged pools, the rule by which replicas follow the load, and one plan
over an empty book at the fewest, the expected and the most replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from modelservice.domain.book import Book
from modelservice.domain.catalogue import Catalogue
from modelservice.domain.conditions import Problem, judge_refusal
from modelservice.domain.demand import Measurement, Memory, desire
from modelservice.domain.memory import gib
from modelservice.domain.modelfacts import ModelFacts, Source
from modelservice.domain.money import cost, format_amount
from modelservice.domain.outlook import LEVELS, MONTH_HOURS, Given, Level, Line, Outlook, Payment, Proposal
from modelservice.domain.placement import Option, Selection, select
from modelservice.domain.planner import ServicePlan, plan
from modelservice.domain.prices import SPOT, dominant_share
from modelservice.domain.runtimes import choose, unmeasured
from modelservice.domain.snapshot import ServiceView, Snapshot, Wish
from modelservice.domain.specs import Engine, Role, Runtime, Service, ServiceName, Workload
from modelservice.domain.suitability import Verdict, judge
from modelservice.domain.trainingmemory import compare


@dataclass(frozen=True, slots=True)
class _Draft:
    service: Service
    role: Role
    selection: Selection
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    counts: tuple[int, ...]
    problem: str = ""


def propose(listed: Catalogue, given: Given, now: int) -> Outlook:
    """Plan all services; equal input gives equal proposals."""
    drafts = [
        draft
        for service in sorted(given.services, key=lambda each: each.name)
        for draft in (_inference(service, listed, given), _training(service, listed, given))
        if draft is not None
    ]
    serving = [draft for draft in drafts if draft.role is Role.INFERENCE]
    plans = [_plan(serving, level, listed, given, now) for level in range(len(LEVELS))]
    runs = _plan([draft for draft in drafts if draft.role is Role.TRAINING], 0, listed, given, now)
    proposals = tuple(_proposal(draft, plans if draft.role is Role.INFERENCE else [runs], given) for draft in drafts)
    return Outlook(proposals, tuple(_payments(serving, listed, given, now)))


def _inference(service: Service, listed: Catalogue, given: Given) -> _Draft | None:
    spec = service.inference
    if spec is None:
        return None
    counts, notes = _counts(service, given)
    found = _runtime(service, spec.pod, Role.INFERENCE, listed)
    if isinstance(found, Problem):
        return _Draft(service, Role.INFERENCE, Selection((), ()), (), notes, counts, found.message)
    runtime, why = found
    notes = (*filter(None, [why]), *notes)
    known = runtime.name in listed.runtimes
    if known and (lack := unmeasured(spec, runtime)):
        problem = f"The ModelRuntime {runtime.name} {lack}."
        return _Draft(service, Role.INFERENCE, Selection((), ()), (), notes, counts, problem)
    facts = given.facts.get(service.name)
    paid = listed.currencies(given.origin(service), Role.INFERENCE)
    selection = select(spec.pod, runtime, listed.pools.values(), paid)
    verdicts = {option.pool.name: judge(facts, spec.pod, runtime, option) for option in selection.options}
    kept = tuple(option for option in selection.options if not verdicts[option.pool.name].why)
    first = selection.prefer(None)
    if first is not None and kept and kept[0] is not first:
        names = ", ".join(option.pool.name for option in kept)
        told = f"The operator does not look at the model yet and would take {first.pool.name}"
        notes += (f"{told}: set inference.placement.pools to [{names}].",)
    notes += tuple(f"{name}: {one.advice}" for name, one in sorted(verdicts.items()) if one.advice and not one.why)
    lines = tuple(_lines(selection, kept, verdicts))
    return _Draft(service, Role.INFERENCE, Selection(kept, selection.rejections), lines, notes, counts)


def _training(service: Service, listed: Catalogue, given: Given) -> _Draft | None:
    spec = service.training
    if spec is None:
        return None
    found = _runtime(service, spec.pod, Role.TRAINING, listed)
    if isinstance(found, Problem):
        return _Draft(service, Role.TRAINING, Selection((), ()), (), (), (1,), found.message)
    runtime, why = found
    paid = listed.currencies(given.origin(service), Role.TRAINING)
    selection = select(spec.pod, runtime, listed.pools.values(), paid)
    nothing = Verdict(unknown="it is not known what the training process takes")
    verdicts = {option.pool.name: nothing for option in selection.options}
    lines = tuple(_lines(selection, selection.options, verdicts))
    notes = tuple(filter(None, [why, _ways(given.facts.get(service.name), selection.prefer(None))]))
    return _Draft(service, Role.TRAINING, selection, lines, notes, (1,))


def _ways(facts: ModelFacts | None, option: Option | None) -> str:
    """What the ways to train a known model take of the devices of an option."""
    if facts is None or not facts.parameters or option is None or option.pool.resource is None:
        return ""
    devices = option.requests.get(option.pool.resource, 1)
    has = f" of {gib(option.pool.device_memory)}" if option.pool.device_memory else ""
    on = f"each of {devices} devices{has} by ZeRO 3" if devices > 1 else f"its device{has}"
    return f"Training takes on {on}, one sequence of 2,048 tokens at a time: {compare(facts, devices)}."


def _runtime(service: Service, pod: Workload, role: Role, listed: Catalogue) -> tuple[Runtime, str] | Problem:
    """The runtime, and a sentence where it is not the one that the service names.

    One that is not among the files may well be in the cluster: one that runs everywhere stands in for it.
    """
    found = listed.runtimes.get(pod.runtime)
    if found is not None and found.role is not role:
        text = f"The ModelRuntime {found.name} is for {found.role.value.lower()}, not for {role.value.lower()}."
        return Problem("RuntimeUnsuitable", text)
    if found is not None:
        return found, ""
    assumed = "one that runs on every accelerator is assumed"
    stand_in = Runtime(pod.runtime, role, 8080, "/metrics", {}, {kind: Engine("") for kind in ("CPU", "GPU", "TPU")})
    if pod.runtime:
        return stand_in, f"The ModelRuntime {pod.runtime} is not among the files: {assumed}."
    choice = choose(service, listed.runtimes.values(), listed.pools.values(), None)
    if not isinstance(choice, Problem):
        return choice.runtime, choice.why
    if choice.reason != "RuntimeNotFound":
        return choice
    return stand_in, f"{choice.message.rstrip('.')}; {assumed}."


def _counts(service: Service, given: Given) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Replicas at each level, and how the expected ones came about."""
    spec = service.inference
    if spec is None or service.suspended:
        return (0, 0, 0), ("It is suspended.",) if service.suspended else ()
    low, high = spec.minimum, max(spec.minimum, spec.maximum)
    if spec.scaling is None:
        return (low, low, low), ()
    load = given.loads.get(service.name)
    if load is None:
        middle = (low + high + 1) // 2
        text = f"{middle} replicas are taken as expected, halfway: tell the load by --load {service.name}=WORK."
        return (low, middle, high), (text,) if low < high else ()
    measured = Measurement(load, complete=True)
    desired = desire(Memory(desired=low), spec.scaling, measured, (low, high), 0).desired
    return (low, desired, high), ()


def _lines(selection: Selection, kept: Sequence[Option], verdicts: Mapping[str, Verdict]) -> Iterator[Line]:
    """The ranked options, then how else their nodes could be bought, then the pools that lose."""
    for rank, option in enumerate(kept, 1):
        pool = option.pool
        why = "is chosen" if rank == 1 else _dearer(option, kept[0])
        yield Line(pool.name, option.purchase, rank, option.price, pool.currency, verdicts[pool.name], why)
    for option in kept:
        if SPOT in option.pool.tariff.offers:
            yield _spot(option, verdicts[option.pool.name])
    for option in selection.options:
        verdict = verdicts[option.pool.name]
        if verdict.why:
            pool = option.pool
            yield Line(pool.name, option.purchase, 0, option.price, pool.currency, verdict, verdict.why)
    for rejection in selection.rejections:
        yield Line(rejection.pool, "", 0, None, "", Verdict(rejection.why), rejection.why)


def _dearer(option: Option, chosen: Option) -> str:
    if option.pool.currency != chosen.pool.currency:
        return f"is priced in {option.pool.currency}"
    more, name = option.price - chosen.price, chosen.pool.name
    if not more:
        return f"costs as much as {name}"
    return f"costs {format_amount(more)} {option.pool.currency} more an hour than {name}"


def _spot(option: Option, verdict: Verdict) -> Line:
    """What a pod would cost on nodes that can be taken away; the operator buys none of its own accord."""
    pool = option.pool
    share = dominant_share(option.requests, pool.allocatable)
    price = ceil(pool.tariff.offers[SPOT].price * share)
    less = option.price - price
    word = "less" if less > 0 else "more"
    told = f"costs {format_amount(abs(less))} {pool.currency} {word} an hour than" if less else "costs as much as"
    return Line(pool.name, SPOT, 0, price, pool.currency, verdict, f"{told} OnDemand, which alone is bought")


def _plan(
    drafts: Iterable[_Draft], level: int, listed: Catalogue, given: Given, now: int
) -> Mapping[ServiceName, ServicePlan]:
    views = tuple(_view(draft, draft.counts[level], given) for draft in drafts)
    book = Book(time=now)
    snapshot = Snapshot(views, listed.pools, listed.policies, {}, book, given.budget_required)
    return plan(snapshot, now).services


def _view(draft: _Draft, count: int, given: Given) -> ServiceView:
    service = draft.service
    workloads = {one.pool.name: f"{service.name}-{draft.role}-{one.pool.name}" for one in draft.selection.options}
    wish = Wish(draft.selection, workloads, count)
    serves = draft.role is Role.INFERENCE
    origin = given.origin(service)
    return ServiceView(
        name=service.name,
        suspended=service.suspended,
        inference=wish if serves else None,
        training=None if serves else wish,
        labels=service.labels,
        namespace_labels=origin.namespace_labels,
        priority=service.priority,
        minimum=min(count, service.inference.minimum) if serves and service.inference is not None else 0,
        most=count if serves else 0,
    )


def _proposal(draft: _Draft, plans: Iterable[Mapping[ServiceName, ServicePlan]], given: Given) -> Proposal:
    service, option = draft.service, draft.selection.prefer(None)
    facts = given.facts.get(service.name)
    levels, payers = [], set[str]()
    if option is not None:
        names = LEVELS if draft.role is Role.INFERENCE else ("run",)
        for name, count, planned in zip(names, draft.counts, plans, strict=True):
            own = planned[service.name]
            funded = own.funded if draft.role is Role.INFERENCE else int(own.training_funded)
            refusal = judge_refusal(own.refused).message if own.refused is not None else ""
            refusal = "A budget is required and none pays for it." if own.unpaid else refusal
            levels.append(Level(name, count, count * option.price * MONTH_HOURS, funded, refusal))
            payers.update(own.payers)
    return Proposal(
        service.name,
        draft.role,
        _describe(facts, service),
        option.pool.currency if option is not None else "",
        draft.lines,
        tuple(levels),
        draft.problem or ("" if option is not None else "No pool fits."),
        (*(facts.notes if facts is not None and draft.role is Role.INFERENCE else ()), *draft.notes),
        tuple(sorted(payers)),
    )


def _describe(facts: ModelFacts | None, service: Service) -> str:
    """What is known of the model, without a full stop."""
    if facts is None:
        if service.model is None:
            return "unknown, its training makes it"
        return (
            f"unknown, {service.model.where} is not here: give its headers by --model {service.name}=PATH, or declare "
            "model.parameterCount"
        )
    parts = [facts.architecture] if facts.architecture else []
    if facts.parameters:
        parts.append(_many(facts.parameters))
    stored = f" in {facts.main_datatype}" if facts.main_datatype else ""
    parts.append(f"{gib(facts.weights)} of weights{stored}")
    told = "declared" if facts.source is Source.HEURISTIC else "from its headers"
    return f"{', '.join(parts)} ({told})"


def _many(parameters: int) -> str:
    for size, name in ((10**9, "billion "), (10**6, "million ")):
        if parameters >= size:
            return f"{parameters / size:.3g} {name}parameters"
    return f"{parameters:,} parameters"


def _payments(drafts: Sequence[_Draft], listed: Catalogue, given: Given, now: int) -> Iterator[Payment]:
    """What each budget that pays for some replicas would pay, at the prices in force."""
    for policy in sorted(listed.policies, key=lambda each: each.name):
        span = policy.period.span_at(now)
        amounts, rates, pays = [0] * len(LEVELS), [0] * len(LEVELS), False
        for draft in drafts:
            option = draft.selection.prefer(None)
            if option is None or option.pool.currency != policy.currency:
                continue
            if not policy.scope.covers(given.origin(draft.service), Role.INFERENCE.value, option.pool.name):
                continue
            pays = True
            for level, count in enumerate(draft.counts):
                rates[level] += count * option.ceiling
                amounts[level] += cost(count * option.price, span.start, span.end) if span is not None else 0
        if pays:
            yield Payment(policy, span.end - span.start if span is not None else 0, tuple(amounts), tuple(rates))
