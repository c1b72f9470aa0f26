"""Kubernetes objects as the decisions see them: pods, Deployments, Jobs, and what is wrong with a pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from modelservice.domain.conditions import Trouble
from modelservice.domain.gateways import Gateways
from modelservice.domain.parking import Rest
from modelservice.domain.quantities import whole
from modelservice.domain.snapshot import BreakGlass, Deployed, Pod
from modelservice.domain.specs import Pool, Role, ServiceName
from modelservice.domain.times import parse_instant, parse_time
from modelservice.domain.training import Attempt, BadReport, Ending, Published, parse_report
from modelservice.kit.objects import label_of
from modelservice.ports import Object
from modelservice.render.fetch import ADDRESS, FETCH
from modelservice.render.labels import (
    ATTEMPT,
    BREAK_GLASS_REASON,
    BREAK_GLASS_UNTIL,
    GATE,
    MANAGER,
    NAME,
    PLACEMENT,
    POD_REVISION,
    POOL,
    ROLE,
    RUN,
    SLICE_MANAGER,
    WAKE,
)

TERMINAL = ("Succeeded", "Failed")
TAKEN_BY_THE_CLUSTER = ("NodeShutdown", "Terminated", "Shutdown", "NodeLost", "Preempting")
IMAGE_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
)
SETUP_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
LONGEST = 512
OUTCOMES = {
    "FetchFailed": ("DownloadFailed", "The model cannot be downloaded"),
    "ModelLoadFailed": ("ModelLoadFailed", "The model cannot be loaded"),
    "RemoteCodeDenied": ("RemoteCodeDenied", "The model needs model.remoteCode: Allow"),
    "UnsupportedHardware": ("UnsupportedHardware", "The model cannot run on the nodes of this pool"),
}
"""What the end of a worker means: a reason of Available, and how its sentence begins."""


def pod_of(obj: Object) -> Pod | None:
    """A pod of ours; None when its labels do not say whose it is."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    labels = meta.get("labels") or {}
    if not {NAME, ROLE, PLACEMENT} <= labels.keys() or labels[ROLE] not in set(Role):
        return None
    role = Role(labels[ROLE])
    if role is Role.TRAINING:
        parent = f"{labels[NAME]}-{labels.get(RUN, '')}-{labels.get(ATTEMPT, '')}"
    else:
        parent = f"{labels[NAME]}-{labels[PLACEMENT]}"
    ready = _condition(status, "Ready")
    terminal = status.get("phase") in TERMINAL
    return Pod(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        version=meta["resourceVersion"],
        service=ServiceName(meta["namespace"], labels[NAME]),
        role=role,
        workload=f"{meta['namespace']}/{parent}",
        created_at=parse_time(meta["creationTimestamp"]) or 0,
        gated=gate_index(obj) is not None,
        node=spec.get("nodeName") or None,
        started_at=_started(status),
        ready_since=parse_time(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
        terminal=terminal,
        finished_at=_finished(status) if terminal else None,
        deleting="deletionTimestamp" in meta,
        requests=_requests(spec),
        selector=spec.get("nodeSelector") or {},
        break_glass=_break_glass(meta.get("annotations") or {}),
    )


def _break_glass(annotations: Mapping[str, str]) -> BreakGlass | None:
    """What a person decided about the pod; a time that cannot be read, or without a zone, decides nothing."""
    try:
        until = parse_instant(annotations.get(BREAK_GLASS_UNTIL, ""))
    except ValueError:
        return None
    return BreakGlass(until, annotations.get(BREAK_GLASS_REASON, ""))


def wake_request(service: Object) -> int | None:
    """When somebody last asked for a service to be woken; None for never, or a time that cannot be read."""
    try:
        return parse_instant((service["metadata"].get("annotations") or {}).get(WAKE, ""))
    except (ValueError, OverflowError):
        return None


def rest_of(service: Object) -> Rest:
    """What the status remembers of parking and waking."""
    told = (service.get("status") or {}).get("scaleToZero") or {}
    return Rest(
        parked_at=parse_time(told.get("parkedAt")),
        woken_at=parse_time(told.get("wokenAt")),
        request=parse_time(told.get("wakeRequestedAt")),
    )


def _requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod asks of its node, as the scheduler counts it: the most that runs at once, before or after the start.

    Containers that prepare the pod run one after the other, beside those among them that stay.
    """
    staying: dict[str, int] = {}
    most: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        beside = _sum(staying, _asked(container))
        staying = beside if container.get("restartPolicy") == "Always" else staying
        most = {name: max(most.get(name, 0), beside.get(name, 0)) for name in (*most, *beside)}
    lasting = _sum(staying, *map(_asked, spec["containers"]))
    most = {name: max(most.get(name, 0), lasting.get(name, 0)) for name in (*most, *lasting)}
    return _sum(most, _amounts(spec.get("overhead")))


def _asked(container: Mapping[str, Any]) -> dict[str, int]:
    return _amounts((container.get("resources") or {}).get("requests"))


def _amounts(quantities: Mapping[str, str] | None) -> dict[str, int]:
    return {resource: _amount(resource, text) for resource, text in (quantities or {}).items()}


def _sum(*parts: Mapping[str, int]) -> dict[str, int]:
    names = {name: None for part in parts for name in part}
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def _amount(resource: str, text: str) -> int:
    """The quantity; one in a spelling that we never write counts as more than any node has."""
    try:
        return whole(resource, text)
    except ValueError:
        return 2**62


def gate_index(obj: Object) -> int | None:
    """Where our scheduling gate is in the pod's list of them, None once it is removed."""
    gates = obj["spec"].get("schedulingGates") or ()
    return next((index for index, gate in enumerate(gates) if gate["name"] == GATE), None)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c["type"] == kind), {})


def _started(status: Mapping[str, Any]) -> int | None:
    """Start of the first container; after a restart only its own start is known, so the binding of the pod counts."""
    starts = []
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if container.get("restartCount"):
            return parse_time(_condition(status, "PodScheduled").get("lastTransitionTime"))
        state = container.get("state") or {}
        begun = (state.get("running") or state.get("terminated") or {}).get("startedAt")
        if begun:
            starts.append(parse_time(begun) or 0)
    return min(starts, default=None)


def _finished(status: Mapping[str, Any]) -> int | None:
    """End of the last container of a pod in a terminal phase; None when a container did not report one."""
    ends = []
    for container in status.get("containerStatuses") or ():
        end = ((container.get("state") or {}).get("terminated") or {}).get("finishedAt")
        if not end:
            return None
        ends.append(parse_time(end) or 0)
    return max(ends, default=None)


def deployed_of(obj: Object) -> Deployed:
    """A Deployment of ours."""
    meta, labels, status = obj["metadata"], obj["metadata"].get("labels") or {}, obj.get("status") or {}
    return Deployed(
        name=meta["name"],
        placement=labels.get(PLACEMENT, ""),
        pool=labels.get(POOL, ""),
        requests=_requests(obj["spec"]["template"]["spec"]),
        replicas=obj["spec"].get("replicas", 1),
        ready=status.get("readyReplicas") or 0,
        created_at=parse_time(meta["creationTimestamp"]) or 0,
        revision=labels.get(POD_REVISION, ""),
    )


def gateways_of(slices: Iterable[Object], namespace: str) -> Gateways | None:
    """The gateway pods that take requests, from the slices of the gateway's Service in the operator's namespace."""
    found: dict[tuple[str, int], set[str]] = {}
    for one in slices:
        ports = [port["port"] for port in one.get("ports") or () if port.get("name") == "http"]
        foreign = one["metadata"]["namespace"] != namespace or label_of(one, SLICE_MANAGER) == MANAGER
        if foreign or not ports:
            continue
        ready = [end for end in one.get("endpoints") or () if (end.get("conditions") or {}).get("ready")]
        addresses = {address for end in ready for address in end["addresses"]}
        found.setdefault((one["addressType"], ports[0]), set()).update(addresses)
    usable = sorted(key for key, addresses in found.items() if addresses)
    if not usable:
        return None
    family, port = usable[0]
    return Gateways(tuple(sorted(found[family, port])), port, family)


def attempt_of(job: Object, pods: Iterable[Object]) -> Attempt:
    """The attempt that a Job stands for; it has ended when its pod has, or when the Job has and its pod is gone."""
    number = int(job["metadata"]["labels"][ATTEMPT])
    newest = max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]), default=None)
    status = job.get("status") or {}
    over = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions") or ())
    if newest is None:
        return Attempt(number, ending=Ending(disrupted=True) if over else None)
    seen = newest.get("status") or {}
    started = _started(seen)
    if seen.get("phase") not in TERMINAL:
        lost = over or "deletionTimestamp" in job["metadata"]
        return Attempt(number, started, Ending(disrupted=True, started_at=started) if lost else None)
    terminated = _terminated(seen)
    disrupted = _condition(seen, "DisruptionTarget").get("status") == "True"
    return Attempt(
        number,
        started,
        Ending(
            exit_code=terminated.get("exitCode"),
            disrupted=disrupted
            or seen.get("reason") in TAKEN_BY_THE_CLUSTER
            or "deletionTimestamp" in newest["metadata"],
            out_of_memory=terminated.get("reason") == "OOMKilled",
            message=terminated.get("message") or "",
            started_at=started,
            finished_at=_finished(seen),
        ),
    )


def owned_by(obj: Object, owner: Object) -> bool:
    """Whether one object is owned by another."""
    uid = owner["metadata"]["uid"]
    return any(reference["uid"] == uid for reference in obj["metadata"].get("ownerReferences") or ())


def _terminated(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or ():
        if ended := (container.get("state") or {}).get("terminated"):
            return dict(ended)
    return {}


def has_ended(obj: Object) -> bool:
    """Whether nothing of the pod runs again; a training pod's phase follows a moment after its container."""
    status = obj.get("status") or {}
    trains = (obj["metadata"].get("labels") or {}).get(ROLE) == Role.TRAINING
    return status.get("phase") in TERMINAL or (trains and bool(_terminated(status)))


def fetches(obj: Object, uri: str) -> bool:
    """Whether a pod downloads from that address before it serves."""
    return _address(obj) == uri


def _address(obj: Object) -> str:
    for container in obj["spec"].get("initContainers") or ():
        if container["name"] == FETCH:
            given = {one["name"]: one.get("value", "") for one in container.get("env") or ()}
            return str(given.get(ADDRESS, "")).replace("$$", "$")
    return ""


def downloading(obj: Object) -> bool:
    """Whether a pod's download is under way."""
    return "running" in (_fetch_status(obj).get("state") or {})


def fetched_of(obj: Object) -> Published | None:
    """What a pod has downloaded, None before and where nothing is."""
    ended = (_fetch_status(obj).get("state") or {}).get("terminated") or {}
    if not ended or ended.get("exitCode"):
        return None
    try:
        found = parse_report(ended.get("message") or "").artifact
    except BadReport:
        return None
    return found if found is not None and found.revision else None


def _fetch_status(obj: Object) -> Mapping[str, Any]:
    statuses = (obj.get("status") or {}).get("initContainerStatuses") or ()
    return next((one for one in statuses if one["name"] == FETCH), {})


def trouble_of(obj: Object) -> Trouble | None:
    """What keeps a pod from becoming ready, or None when it is ready, gated, done, or simply starting."""
    name, status = obj["metadata"]["name"], obj.get("status") or {}
    if gate_index(obj) is not None or "deletionTimestamp" in obj["metadata"]:
        return None
    if has_ended(obj) and not _terminated(status).get("exitCode"):
        return None
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return Trouble(name, "PodsPending", f"Pod {name} finds no node: {_sentence(scheduled.get('message'))}")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if trouble := _container_trouble(name, container):
            return replace(trouble, container=container.get("name", "main"))
    return None


def _container_trouble(pod: str, container: Mapping[str, Any]) -> Trouble | None:
    if container.get("ready"):
        return None
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in IMAGE_REASONS:
        text = f"Pod {pod} cannot get the image {container.get('image', '')}: {_sentence(waiting.get('message'))}"
        return Trouble(pod, "ImagePullFailed", text)
    if reason in SETUP_REASONS:
        return Trouble(
            pod, "PodsCrashing", f"Pod {pod} cannot be set up ({reason}): {_sentence(waiting.get('message'))}"
        )
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    return _ending_trouble(pod, ended, container.get("restartCount") or 0) if ended else None


def _ending_trouble(pod: str, ended: Mapping[str, Any], restarts: int) -> Trouble | None:
    code, at = ended.get("exitCode"), parse_time(ended.get("finishedAt"))
    try:
        report = parse_report(ended.get("message") or "")
    except BadReport:
        report = None
    if report is not None and report.outcome in OUTCOMES:
        reason, text = OUTCOMES[report.outcome]
        return Trouble(pod, reason, f"{text}: {report.message}", code, at)
    if ended.get("reason") == "OOMKilled":
        text = f"Pod {pod} was killed because it used more memory than its limit: raise resources.limits.memory."
        return Trouble(pod, "OutOfMemory", text, code, at)
    said = (
        f" It said: {report.message}"
        if report is not None and report.message
        else f" See: kubectl logs {pod} --previous"
    )
    return Trouble(
        pod, "PodsCrashing", f"Pod {pod} ended with exit code {code}, restarts so far: {restarts}.{said}", code, at
    )


def _sentence(text: Any) -> str:
    clean = " ".join(str(text or "no reason is given").split())
    return clean[:LONGEST]


def count_nodes(pool: Pool, nodes: Iterable[Object]) -> tuple[int, int]:
    """How many nodes match the pool, and how many of them are ready."""
    members = [node for node in nodes if pool.selector.items() <= (node["metadata"].get("labels") or {}).items()]
    return len(members), sum(is_ready(node) for node in members)


def is_ready(node: Object) -> bool:
    """Whether its kubelet reports."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def room_of(node: Object) -> dict[str, int]:
    """What pods may ask of a node in all; a quantity in a spelling that we do not know is none."""
    room = {}
    for resource, text in ((node.get("status") or {}).get("allocatable") or {}).items():
        try:
            room[resource] = whole(resource, text)
        except ValueError:
            continue
    return room
