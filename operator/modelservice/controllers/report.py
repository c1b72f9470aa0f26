"""The status of a ModelService from the draft, the plan, the book and what runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from modelservice.controllers.gather import Draft
from modelservice.controllers.observation import downloading
from modelservice.controllers.revisions import canary_row, rows
from modelservice.controllers.world import World
from modelservice.domain.book import Book
from modelservice.domain.budgets import funded_until, told_until
from modelservice.domain.conditions import Condition, Facts, Trouble
from modelservice.domain.downloads import Progress
from modelservice.domain.money import format_amount, parse_amount
from modelservice.domain.parking import Rest
from modelservice.domain.planner import ServicePlan
from modelservice.domain.progress import Turnover
from modelservice.domain.relief import Relief
from modelservice.domain.snapshot import Pod
from modelservice.domain.specs import ClaimPath, Role
from modelservice.domain.times import format_time, parse_time
from modelservice.domain.training import next_attempt, resting
from modelservice.domain.unitcost import Tally, per_thousand
from modelservice.kit.objects import Object, ref_of
from modelservice.render.service import url

REFRESH_SECONDS = 60
"""Figures that only grow with time are written at most this often, and only when they have moved by 1 %."""


def facts(draft: Draft, plan: ServicePlan, world: World, conflict: str) -> Facts:
    """What the conditions are made from."""
    service = draft.service
    spec = service.inference
    objects = world.pods_of_service(service.name)
    pods = [pod for pod in world.read(objects) if pod.live]
    troubles = world.troubles(objects, ended=False)
    attempt = next_attempt(draft.record)
    current = draft.attempts.get(attempt) if attempt is not None else None
    training_wish = draft.training if draft.training and not draft.training.selection.options else None
    wish = training_wish or draft.inference or draft.training
    memory = world.memories.get(service.name) if spec and spec.scaling else None
    if memory is not None:
        memory = replace(memory, desired=draft.desired)
    rest = world.rests.get(service.name, Rest()) if spec and spec.minimum == 0 else Rest()
    gone = [d for d in draft.deployed if d.name in plan.leaving]
    arrived = [d for d in draft.deployed if d.name not in plan.leaving]
    training = 1 if plan.training is not None else 0
    return Facts(
        suspended=service.suspended,
        serves=spec is not None,
        trains=service.training is not None,
        artifact=_artifact_text(draft),
        unsettled=draft.artifact is not None and not draft.artifact.settled,
        downloading=_downloading(draft, objects, world),
        missing_claim=draft.missing_claim,
        problem=draft.problem,
        selection=wish.selection if wish else None,
        option=None if training_wish else plan.option or plan.training,
        payers=plan.payers,
        counters=plan.counters,
        wanted=(plan.desired if draft.inference or draft.deployed else 0) + training,
        funded=plan.funded,
        training_held=int(plan.training_funded),
        refused=plan.refused,
        expiring=plan.expiring,
        unfunded=max(plan.unfunded, key=lambda each: each.need - each.have, default=None),
        relief=world.reliefs.get(service.name),
        curbed=plan.curbed,
        unpaid=plan.unpaid,
        ledger_problem=world.book_problem,
        frozen=world.freeze.text if world.freeze is not None else "",
        unheld=tuple(sorted(pod.name for pod in world.unheld.values() if pod.service == service.name)),
        conflict=conflict,
        minimum=spec.minimum if spec else 0,
        parked_at=rest.parked_at,
        woken_at=rest.woken_at,
        ready=_ready(pods),
        troubles=tuple(troubles),
        leaving=sum(d.replicas for d in gone),
        arrived=sum(d.ready for d in arrived),
        run=draft.record,
        attempt_running=current is not None and current.ending is None and current.started_at is not None,
        attempt_queued=current is not None and current.ending is None,
        attempt_resting=draft.service.training is not None and resting(draft.record, draft.attempts, world.now()),
        scaling=memory,
        turnover=Turnover(draft.revision, draft.revisions, draft.stance),
        scaling_since=format_time(memory.blind_since) if memory and memory.blind_since is not None else "",
    )


def _ready(pods: Iterable[Pod]) -> int:
    return sum(pod.role is Role.INFERENCE and pod.ready_since is not None for pod in pods)


def _artifact_text(draft: Draft) -> str:
    artifact = draft.artifact
    if artifact is None:
        return ""
    told = [f"at {artifact.revision}"] if artifact.revision else []
    told += [f"({artifact.digest})"] if artifact.digest else []
    return " ".join([str(artifact.where), *told])


def _downloading(draft: Draft, objects: Iterable[Object], world: World) -> str:
    """The end of a sentence about the pods that download, "" when none does."""
    pods = sorted(obj["metadata"]["name"] for obj in objects if downloading(obj))
    if not pods or draft.artifact is None:
        return ""
    progress = _nearest(objects, world)
    first = progress.pod if progress is not None else pods[0]
    others = f" and {len(pods) - 1} more download" if len(pods) > 1 else " downloads"
    far = f": {progress}" if progress is not None else ""
    return f"{first}{others} {draft.artifact.where}{far}"


def _nearest(objects: Iterable[Object], world: World) -> Progress | None:
    """Of the downloads of a service the one that is nearest to its end, as far as Prometheus knows."""
    known = (world.downloads.get(ref_of(obj)) for obj in objects if downloading(obj))
    return max((one for one in known if one is not None), key=lambda one: (one.done, one.pod), default=None)


def _download(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    made = {
        "pod": progress.pod,
        "percent": progress.percent,
        "doneBytes": progress.done,
        "totalBytes": progress.total,
        "bytesPerSecond": progress.speed,
    }
    return made if progress.remaining is None else {**made, "remainingSeconds": progress.remaining}


def _model(draft: Draft, progress: Progress | None) -> dict[str, Any] | None:
    artifact = draft.artifact
    if artifact is None:
        return None
    made = {
        "revision": artifact.revision,
        "digest": artifact.digest,
        "bytes": artifact.size_bytes,
        "download": _download(progress),
    }
    return {"uri": str(artifact.where), **{name: value for name, value in made.items() if value}}


def status(obj: Object, draft: Draft, plan: ServicePlan, world: World, judged: tuple[Condition, ...]) -> dict[str, Any]:
    """The whole status; what is absent is left out."""
    before = obj.get("status") or {}
    service = draft.service
    objects = world.pods_of_service(service.name)
    pods = [pod for pod in world.read(objects) if pod.live]
    troubles = world.troubles(objects, ended=True)
    made: dict[str, Any] = {
        "observedGeneration": service.generation,
        "conditions": [one.row(service.generation) for one in judged],
        "replicas": sum(pod.role is Role.INFERENCE for pod in pods),
        "readyReplicas": _ready(pods),
        "desiredReplicas": plan.desired if service.inference else 0,
        "fundedReplicas": plan.funded,
        "resolved": _resolved(draft, plan),
        "model": _model(draft, _nearest(objects, world)),
        "scaleToZero": _scale_to_zero(draft, world),
        "revisions": rows(draft.revisions) or None,
        "canary": canary_row(draft.revisions, draft.revision, _tried_placement(draft, plan)),
        "training": _training(draft),
        "cost": _cost(before.get("cost"), draft, plan, world),
        "fundedUntil": _funded_until(draft, world),
        "refusal": _refusal(plan, world.reliefs.get(service.name)),
        "lastFailure": _failure(before.get("lastFailure"), troubles),
    }
    if service.inference is not None:
        made["url"] = url(service)
    return {key: value for key, value in made.items() if value is not None}


def _scale_to_zero(draft: Draft, world: World) -> dict[str, str] | None:
    spec, rest = draft.service.inference, world.rests.get(draft.service.name, Rest())
    times = {"parkedAt": rest.parked_at, "wokenAt": rest.woken_at, "wakeRequestedAt": rest.request}
    told = {name: format_time(time) for name, time in times.items() if time is not None}
    return told if told and spec is not None and spec.minimum == 0 else None


def _resolved(draft: Draft, plan: ServicePlan) -> dict[str, Any] | None:
    option, spec = plan.option, draft.service.inference
    if option is None or draft.runtime is None or spec is None:
        return None
    chosen = {"runtimeReason": draft.choice.why, "modelFormat": draft.choice.format} if draft.choice else {}
    made = {
        "runtime": draft.runtime.name,
        **chosen,
        "image": spec.pod.image or draft.runtime.engines[option.pool.accelerator].image,
        "pool": option.pool.name,
        "purchase": option.purchase,
    }
    serves = draft.revisions.find(draft.stance.main)
    if serves is not None:
        made |= {"image": serves.image, "revision": draft.revision}
    return made


def _tried_placement(draft: Draft, plan: ServicePlan) -> str | None:
    return draft.placements.get(plan.beside.pool.name) if plan.beside is not None else None


def _training(draft: Draft) -> dict[str, Any] | None:
    spec, record = draft.service.training, draft.record
    if spec is None or not record.run:
        return None
    made: dict[str, Any] = {
        "run": record.run,
        "attempt": record.attempt,
        "failures": record.failures,
        "interruptions": record.interruptions,
        "metrics": dict(record.metrics),
    }
    if record.outcome is not None:
        made["outcome"] = record.outcome.value
    if record.message:
        made["message"] = record.message
    if record.published is not None:
        where = ClaimPath(spec.output.claim, record.published.path)
        made["artifact"] = {
            "path": str(where),
            "digest": record.published.digest,
            "bytes": record.published.size_bytes,
        }
    if record.started_at is not None:
        made["startTime"] = format_time(record.started_at)
    if record.finished_at is not None:
        made["completionTime"] = format_time(record.finished_at)
    return made


def _funded_until(draft: Draft, world: World) -> str | None:
    who, records = str(draft.service.name), world.book.placements.values() if world.book is not None else ()
    until = funded_until(record for record in records if record.terms.service == who)
    return told_until(until, world.now()) if until is not None else None


def _refusal(plan: ServicePlan, relief: Relief | None) -> dict[str, Any] | None:
    if plan.refused is None or plan.refused.why.blocked_by.value not in ("Rate", "Limit"):
        return None
    why = plan.refused.why
    made: dict[str, Any] = {
        "policy": why.policy,
        "blockedBy": why.blocked_by.value,
        "need": format_amount(why.need),
        "have": format_amount(why.have),
        "currency": why.currency,
        "replicas": plan.refused.pods,
        **({"kept": format_amount(why.kept)} if why.kept else {}),
        **({"waiting": plan.refused.waiting} if plan.refused.waiting else {}),
    }
    if relief is None:
        return made
    if relief.affordable_at is not None:
        made["affordableAt"] = format_time(relief.affordable_at)
    elsewhere = {"pool": relief.pool, "poolReplicas": relief.pods} if relief.pool else {}
    return {**made, "fitsNow": {"replicas": relief.replicas, **elsewhere}}


def _failure(before: Mapping[str, Any] | None, troubles: Iterable[Trouble]) -> Mapping[str, Any] | None:
    newest = max(
        (t for t in troubles if t.exit_code is not None), key=lambda each: (each.at or 0, each.pod), default=None
    )
    if newest is None:
        return before
    made: dict[str, Any] = {
        "pod": newest.pod,
        "container": newest.container,
        "reason": newest.reason,
        "message": newest.message,
        "exitCode": newest.exit_code,
    }
    if newest.at is not None:
        made["time"] = format_time(newest.at)
    return made


def _cost(before: Mapping[str, Any] | None, draft: Draft, plan: ServicePlan, world: World) -> Mapping[str, Any] | None:
    """What the service's pods in the book cost per hour, and have cost in the period of the first budget that pays."""
    book, who = world.book, str(draft.service.name)
    if book is None:
        return before
    option = plan.option or plan.training
    records = [record for record in book.placements.values() if record.terms.service == who and record.units]
    known = option.pool.currency if option else (before or {}).get("currency")
    currency = next((record.terms.currency for record in records), known)
    if currency is None:
        return None
    hourly = 0
    for record in records:
        funding = world.plan.funding.get(record.workload)
        rate = max(record.terms.rates.values(), default=funding.ceiling if funding else 0)
        hourly += rate * len(record.units)
    now = world.now()
    spent = spent_by(book, who, next(iter((*plan.payers, *plan.counters)), ""), now)
    made = {"currency": currency, "hourly": format_amount(hourly), "spent": format_amount(spent)}
    each = per_thousand(world.tallies.get(draft.service.name, Tally()))
    if each is not None:
        made["perThousandRequests"] = format_amount(each)
    before = before or {}
    kept = all(before.get(name) == made[name] for name in ("hourly", "currency"))
    told = before.get("perThousandRequests")
    same = told is None if each is None else told is not None and not moved(told, each, before.get("asOf"), now)
    if kept and same and not moved(before.get("spent"), spent, before.get("asOf"), now):
        return before
    return {**made, "asOf": format_time(now)}


def spent_by(book: Book, service: str, policy: str, now: int) -> int:
    """What one service has cost in the policy's current period, micro-units."""
    account = book.account_at(policy, now)
    if account is None:
        return 0
    return sum(cost for key, cost in book.costs(account, now).items() if key.service == service)


def moved(before: str | None, now_spent: int, as_of: str | None, now: int) -> bool:
    """Whether a figure that grows with time is worth another write."""
    try:
        old = parse_amount(before or "")
    except ValueError:
        return True
    if now_spent == old:
        return False
    age = now - (parse_time(as_of) or 0)
    return age >= REFRESH_SECONDS and abs(now_spent - old) * 100 >= old
