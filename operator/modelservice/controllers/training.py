"""The Jobs of a training run: one for each attempt, made when its pod is paid for."""

from __future__ import annotations

from modelservice.controllers.gather import Draft
from modelservice.controllers.world import World
from modelservice.domain.planner import ServicePlan
from modelservice.domain.training import next_attempt
from modelservice.kit.apply import ChildApplier
from modelservice.kit.errors import Conflict, NotFound
from modelservice.kit.objects import Object, Ref, uid_of
from modelservice.ports import KubeClient
from modelservice.render.job import job, job_name
from modelservice.render.labels import ATTEMPT, RUN

KEPT_JOBS = 10
"""Jobs of a run that stay after their end."""


async def train(draft: Draft, plan: ServicePlan, world: World, kube: KubeClient, applier: ChildApplier) -> None:
    """Start the next attempt when it is paid for, and remove what is not to run. Raises NameConflict and ApiError."""
    service, number = draft.service, next_attempt(draft.record)
    for child in world.caches.jobs.by("owner", service.uid):
        if _obsolete(child, draft, number) and "deletionTimestamp" not in child["metadata"]:
            await _remove(child, world, kube)
    spec, option = service.training, plan.training
    if spec is None or number is None or option is None or draft.trainer is None or service.suspended:
        return
    current = world.caches.jobs.get(Ref(service.name.namespace, job_name(service, draft.record.run, number)))
    if current is not None or not plan.training_funded:
        return
    if number in draft.attempts:  # it has gone since the plan was made: the next plan counts that
        world.replan()
        return
    rendered = job(service, spec, draft.trainer, option.pool, option.purchase, draft.record.run, number)
    world.caches.jobs.observe(await applier.apply(rendered, None))
    world.replan()


def _obsolete(child: Object, draft: Draft, number: int | None) -> bool:
    """A Job of another run, or one that runs although it shall not; the latest ended Jobs stay, with their logs.

    A Job that is newer than the draft is left for the next one.
    """
    labels = child["metadata"]["labels"]
    if draft.service.training is None or labels.get(RUN) != draft.record.run:
        return True
    attempt = draft.attempts.get(int(labels[ATTEMPT])) if labels.get(ATTEMPT, "").isdecimal() else None
    if attempt is None:
        return False
    if attempt.ending is not None:
        return attempt.number <= draft.record.attempt - KEPT_JOBS
    return draft.service.suspended or attempt.number != number


async def _remove(child: Object, world: World, kube: KubeClient) -> None:
    meta = child["metadata"]
    try:
        await kube.delete("Job", meta["namespace"], meta["name"], uid=uid_of(child))
    except (Conflict, NotFound):
        return
    world.replan()
