"""Models that pods download: what is known of each, which pods wait until it is, and what each pod has to keep to.

The first pod finds out what lies at an address and says so when its download ends. All later pods are given that
revision with the removal of their gate, and until it is known no second one starts: if something else came to lie there
meanwhile, two replicas of one service would answer from different weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from modelservice.controllers.observation import fetched_of, fetches
from modelservice.controllers.world import World
from modelservice.domain.planner import Plan
from modelservice.domain.snapshot import Pod
from modelservice.domain.specs import Artifact, Download, ServiceName
from modelservice.domain.training import Published
from modelservice.kit.objects import Object, Ref, annotation_of
from modelservice.render.labels import ARTIFACT, DIGEST, REVISION, SIZE


def known(artifact: Artifact, told: Published | None, children: Iterable[Object], pods: Iterable[Object]) -> Artifact:
    """The artifact with its revision, digest and size, as far as they have been found.

    Whoever kept to a revision first is believed first: the status (`told`), then Deployments, then pods that live, the
    oldest first. The address itself may name a commit.
    """
    where = artifact.where
    if not isinstance(where, Download):
        return artifact
    tellers = list(_tellers(where, told, children, pods))
    revision = next((one.revision for one in tellers if one.revision), where.commit)
    found = next((one for one in tellers if one.digest and one.revision == revision), Published("", "", 0))
    return replace(artifact, revision=revision, digest=found.digest, size_bytes=found.size_bytes)


def _tellers(
    where: Download, told: Published | None, children: Iterable[Object], pods: Iterable[Object]
) -> Iterable[Published]:
    if told is not None and told.path == where.uri:
        yield told
    for child in sorted(children, key=_age):
        if annotation_of(child, ARTIFACT) == where.uri:
            size = annotation_of(child, SIZE) or ""
            yield Published(
                where.uri,
                annotation_of(child, DIGEST) or "",
                int(size) if size.isdecimal() else 0,
                annotation_of(child, REVISION) or "",
            )
    for pod in sorted(pods, key=_age):
        if "deletionTimestamp" not in pod["metadata"] and fetches(pod, where.uri) and (found := fetched_of(pod)):
            yield found


def _age(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]


def hold_back(
    made: Plan, artifacts: Iterable[tuple[ServiceName, Artifact]], world: World, serving: Collection[ServiceName] = ()
) -> Plan:
    """The plan with one pod alone for each service whose model is not known yet; what was started already stays.

    Of all Deployments of a service that download from the same address one pod finds out what lies there. `serving` are
    the services whose wanted placement serves another model than that.
    """
    services, funding = dict(made.services), dict(made.funding)
    for name, artifact in artifacts:
        plan = services.get(name)
        if artifact.settled or plan is None:
            continue
        started: dict[str, int] = {}
        for pod in world.read(pod for pod in world.pods_of_service(name) if fetches(pod, str(artifact.where))):
            if pod.live and not pod.gated:
                started[pod.workload] = started.get(pod.workload, 0) + 1
        first = plan.tried if name in serving else plan.workload
        most = {**({first: 0 if started else 1} if first else {}), **started}
        for workload, count in most.items():
            if workload in funding:
                funding[workload] = replace(funding[workload], count=min(funding[workload].count, count))
        prefix = f"{name.namespace}/"
        counts = {child: min(count, most.get(prefix + child, count)) for child, count in plan.counts.items()}
        services[name] = replace(plan, counts=counts)
    return Plan(services, funding)


def revision_for(pod: Pod, world: World) -> str:
    """What a pod has to keep to, "" where that is not known or where nothing is downloaded."""
    namespace, _, name = pod.workload.partition("/")
    child = world.caches.deployments.get(Ref(namespace, name))
    if child is None:
        return ""
    if revision := annotation_of(child, REVISION):
        return revision
    draft = world.drafts.get(pod.service)
    artifact: Artifact | None = draft.artifact if draft is not None else None
    same = artifact is not None and annotation_of(child, ARTIFACT) == str(artifact.where)
    return artifact.revision if artifact is not None and same else ""
