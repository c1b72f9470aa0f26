"""The Deployments and the Service of a ModelService, brought to what the plan funds."""

from __future__ import annotations

from typing import Any

from modelservice.controllers.gather import Draft
from modelservice.controllers.revisions import kept
from modelservice.controllers.world import World
from modelservice.domain.gateways import Gateways
from modelservice.domain.planner import ServicePlan
from modelservice.domain.specs import Role
from modelservice.kit.apply import ChildApplier
from modelservice.kit.errors import Conflict, Invalid, NotFound
from modelservice.kit.objects import Object, Ref, controller_of, label_of, uid_of
from modelservice.ports import KubeClient
from modelservice.render.deployment import deployment, deployment_name, fetcher_of
from modelservice.render.labels import MANAGER, POD_REVISION, ROLE
from modelservice.render.service import canary, canary_name, stand_in, stand_in_name
from modelservice.render.service import service as address


async def serve(
    draft: Draft, plan: ServicePlan, world: World, kube: KubeClient, applier: ChildApplier, fetcher: str
) -> None:
    """Apply the wanted placement, scale the others to what is funded, remove the empty ones.

    `fetcher` is the image that downloads models in Deployments that are made now. Raises NameConflict and ApiError.
    """
    service, taken = draft.service, draft.stance
    children = {child["metadata"]["name"]: child for child in world.caches.deployments.by("owner", service.uid)}
    if service.inference is not None:
        current = world.caches.addresses.get(Ref(*service.name))
        world.caches.addresses.observe(await applier.apply(address(service, taken.pinned), current))
    wanted = await _apply_wanted(draft, plan, world, applier, children, fetcher)
    lasting = kept(draft.revisions) - {taken.main}
    for name, child in children.items():
        if name == wanted or "deletionTimestamp" in child["metadata"]:
            continue
        count = plan.counts.get(name)
        left = name in plan.leaving and label_of(child, POD_REVISION) not in lasting
        if (left and not count and _empty(child, draft, world)) or service.inference is None:
            await _remove(child, kube)
        elif count is not None and child["spec"].get("replicas") != count:
            await _scale(child, count, world, kube)
    await _try(draft, world, kube, applier)


async def _try(draft: Draft, world: World, kube: KubeClient, applier: ChildApplier) -> None:
    """The Service of a canary, for as long as there is one."""
    service, taken = draft.service, draft.stance
    current = world.caches.addresses.get(Ref(service.name.namespace, canary_name(service.name)))
    if taken.beside and service.inference is not None:
        world.caches.addresses.observe(await applier.apply(canary(service, taken.beside), current))
    elif current is not None and (controller_of(current) or {}).get("uid") == service.uid:
        await _remove(current, kube, "Service")


async def stand_in_for(
    draft: Draft, plan: ServicePlan, gateways: Gateways | None, world: World, kube: KubeClient, applier: ChildApplier
) -> None:
    """Have the gateway hold the requests for a service that may be at zero while no replica of it is ready.

    It stands in before the last replica goes, so that no request finds nobody.
    """
    service, spec = draft.service, draft.service.inference
    current = world.caches.slices.get(Ref(service.name.namespace, stand_in_name(service.name)))
    pods = world.read(world.pods_of_service(service.name))
    ready = any(pod.role is Role.INFERENCE and pod.live and pod.ready_since is not None for pod in pods)
    may_rest = spec is not None and spec.minimum == 0 and not service.suspended
    if gateways is not None and may_rest and not (ready and plan.funded):
        world.caches.slices.observe(await applier.apply(stand_in(service, gateways), current))
    elif current is not None and (controller_of(current) or {}).get("uid") == service.uid:
        await _remove(current, kube, "EndpointSlice")


async def _apply_wanted(
    draft: Draft,
    plan: ServicePlan,
    world: World,
    applier: ChildApplier,
    children: dict[str, Object],
    fetcher: str,
) -> str | None:
    """Apply the Deployment of the revision that the spec describes, whether it serves or is tried beside.

    It is not made before the first replica of it is paid for.
    """
    service = draft.service
    option = plan.option if draft.stance.main in ("", draft.revision) else plan.beside
    if service.inference is None or option is None or draft.runtime is None or draft.artifact is None:
        return None
    placement = draft.placements.get(option.pool.name)
    if placement is None:
        return None
    name = deployment_name(service, placement)
    count = plan.counts.get(name, 0)
    current = children.get(name) or world.caches.deployments.get(Ref(service.name.namespace, name))
    if current is None and count == 0:
        return name
    image = fetcher_of(current) or fetcher
    rendered = deployment(
        service, service.inference, draft.runtime, option.pool, draft.artifact, placement, count, image
    )
    world.caches.deployments.observe(await applier.apply(rendered, current))
    return name


def _empty(child: Object, draft: Draft, world: World) -> bool:
    """Whether no pod of the Deployment is left."""
    selector = child["spec"]["selector"]["matchLabels"]
    pods = world.pods_of_service(draft.service.name)
    return not any(
        label_of(pod, ROLE) == Role.INFERENCE and selector.items() <= (pod["metadata"].get("labels") or {}).items()
        for pod in pods
    )


async def _scale(child: Object, count: int, world: World, kube: KubeClient) -> None:
    """Change nothing but the replicas of a Deployment whose revision is not rendered any more."""
    meta = child["metadata"]
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": uid_of(child)},
        {"op": "add", "path": "/spec/replicas", "value": count},
    ]
    try:
        answer = await kube.patch_json("Deployment", meta["namespace"], meta["name"], operations, manager=MANAGER)
    except (Invalid, NotFound):
        return
    world.caches.deployments.observe(answer.object)


async def _remove(child: Object, kube: KubeClient, kind: str = "Deployment") -> None:
    meta = child["metadata"]
    try:
        await kube.delete(kind, meta["namespace"], meta["name"], uid=uid_of(child))
    except (Conflict, NotFound):
        return
