"""The revisions of one service: remembered in its status, seen in its Deployments and pods, decided on by `rollout`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelservice.api.service_status import ModelServiceStatus
from modelservice.controllers.world import World
from modelservice.domain.placement import Option, Selection, price
from modelservice.domain.rollout import SETTLED_SECONDS, Canary, Presence, Record, Revision, State
from modelservice.domain.snapshot import Deployed, Pod, Wish
from modelservice.domain.specs import Pool
from modelservice.domain.times import format_time, parse_time
from modelservice.kit.objects import Object, label_of
from modelservice.render.labels import POD_REVISION


def record_of(status: ModelServiceStatus) -> Record:
    """What the status remembers."""
    revisions = tuple(
        Revision(
            one.revision,
            one.uri,
            one.image or "",
            one.runtime or "",
            parse_time(one.created_time) or 0,
            State(one.stage),
            parse_time(one.served_time),
            one.message or "",
        )
        for one in status.revisions
    )
    told = status.canary
    if told is None:
        return Record(revisions)
    dark = parse_time(told.dark_since)
    return Record(
        revisions, Canary(parse_time(told.since) or 0, told.target_percent, told.percent, dark, told.message or "")
    )


def rows(record: Record) -> list[dict[str, Any]]:
    """The revisions as the status holds them."""
    made = []
    for one in record.revisions:
        row = {
            "revision": one.name,
            "stage": one.state.value,
            "uri": one.uri,
            "image": one.image or None,
            "runtime": one.runtime or None,
            "createdTime": format_time(one.created_at),
            "servedTime": format_time(one.served_at) if one.served_at is not None else None,
            "message": one.message or None,
        }
        made.append({key: value for key, value in row.items() if value is not None})
    return made


def canary_row(record: Record, revision: str, placement: str | None) -> dict[str, Any] | None:
    """The canary as the status holds it."""
    canary = record.canary
    if canary is None:
        return None
    row = {
        "revision": revision,
        "placement": placement,
        "percent": canary.percent,
        "targetPercent": canary.target,
        "since": format_time(canary.since),
        "darkSince": format_time(canary.dark_since) if canary.dark_since is not None else None,
        "message": canary.held or None,
    }
    return {key: value for key, value in row.items() if value is not None}


def settled(pods: Iterable[Pod], now: int) -> dict[str, int]:
    """By workload, the replicas that have been ready for long enough to stand for others."""
    counts: dict[str, int] = {}
    for pod in pods:
        if pod.live and pod.ready_since is not None and now - pod.ready_since >= SETTLED_SECONDS:
            counts[pod.workload] = counts.get(pod.workload, 0) + 1
    return counts


def presences(deployed: Iterable[Deployed], objects: Iterable[Object], world: World) -> dict[str, Presence]:
    """What is there of each revision; a pod that only waits for its node is no trouble."""
    by_revision: dict[str, list[Object]] = {}
    for obj in objects:
        by_revision.setdefault(label_of(obj, POD_REVISION) or "", []).append(obj)
    found: dict[str, Presence] = {}
    for one in deployed:
        own = by_revision.get(one.revision, [])
        before = found.get(one.revision, Presence())
        ready = sum(pod.live and pod.ready_since is not None for pod in world.read(own))
        failing = [each for each in world.troubles(own, ended=False) if each.reason != "PodsPending"]
        trouble = min(failing, key=lambda each: each.pod).message if failing else ""
        found[one.revision] = Presence(
            before.replicas + one.replicas, ready, before.settled + one.ready, trouble if one.replicas else ""
        )
    return found


def kept(record: Record) -> frozenset[str]:
    """The revisions whose Deployments stay although they are empty, so that they can be returned to."""
    return frozenset(one.name for one in record.revisions if one.served_at is not None)


def asleep(record: Record) -> frozenset[str]:
    """Those of them that nothing is done with."""
    states = (State.RETIRED, State.UNDONE, State.ROLLED_BACK)
    return frozenset(one.name for one in record.revisions if one.served_at is not None and one.state in states)


def standing(
    revision: str, deployed: Iterable[Deployed], pools: Mapping[str, Pool], namespace: str, count: int
) -> Wish:
    """The wish for a revision that the spec does not describe: only where its Deployments are."""
    options, workloads = [], {}
    for one in sorted(deployed, key=lambda each: (-each.ready, -each.created_at, each.name)):
        pool = pools.get(one.pool)
        if one.revision != revision or pool is None or one.pool in workloads:
            continue
        priced = price(pool, one.requests)
        if isinstance(priced, Option):
            options.append(priced)
            workloads[one.pool] = f"{namespace}/{one.name}"
    return Wish(Selection(tuple(options), ()), workloads, count)
