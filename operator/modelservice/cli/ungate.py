"""`modelservice ungate`: let one pod run although no money is held for it, and say what that means."""

from __future__ import annotations

import argparse

from modelservice import __version__
from modelservice.adapters.kube import Kube, login
from modelservice.controllers.gates import opening
from modelservice.controllers.observation import gate_index, pod_of
from modelservice.domain.times import format_time, parse_instant
from modelservice.kit.errors import ApiError, Forbidden, Invalid, NotFound
from modelservice.kit.objects import annotation_of
from modelservice.ports import KubeClient
from modelservice.render.labels import BREAK_GLASS_REASON, BREAK_GLASS_UNTIL, REVISION

LONGEST_REASON = 256
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
HIGHEST_COST = str(2**31 - 1)
"""A ReplicaSet that shrinks stops its ready pods of the least cost first."""


class Refused(Exception):
    """The glass was not broken; the message says why in a sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("pod", metavar="POD")
    parser.add_argument("-n", "--namespace", required=True, help="namespace of the pod")
    parser.add_argument("--until", required=True, metavar="TIME", help="RFC 3339, for example 2026-03-01T18:00:00Z")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; people will read it")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="instead of KUBECONFIG or ~/.kube/config")


async def run(arguments: argparse.Namespace) -> str:
    """Break the glass for one pod; returns the sentence that says what was done. Raises Refused and LoginFailed."""
    configuration = await login(arguments.kubeconfig)
    async with Kube(configuration, user_agent=f"modelservice-ungate/{__version__}") as kube:
        return await ungate(kube, arguments.namespace, arguments.pod, arguments.until, arguments.reason)


async def ungate(kube: KubeClient, namespace: str, name: str, until: str, reason: str) -> str:
    """Take the gate of a pod away and note until when, and why, it is spared; returns what was done."""
    try:
        end = parse_instant(until)
    except ValueError:
        raise Refused(f"--until {until} is no time with a zone: write it like 2026-03-01T18:00:00Z.") from None
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON:
        raise Refused(f"--reason must say why in 1 to {LONGEST_REASON} characters.")
    try:
        answer = await kube.get("Pod", namespace, name)
        pod = answer.object
        read = pod_of(pod)
        if read is None:
            raise Refused(f"Pod {name} in {namespace} belongs to no ModelService: no gate of ours is on it.")
        if end <= answer.date:
            raise Refused(f"--until {until} is past: the time of the API server is {format_time(answer.date)}.")
        notes = {
            BREAK_GLASS_UNTIL: format_time(end),
            BREAK_GLASS_REASON: reason,
            DELETION_COST: HIGHEST_COST,
            **await _revision(kube, read.workload),
        }
        await kube.patch_json("Pod", namespace, name, opening(pod, notes), manager="modelservice-break-glass")
    except NotFound:
        raise Refused(f"There is no pod {name} in {namespace}.") from None
    except Forbidden as error:
        raise Refused(
            "You may not do this: it takes a member of the break-glass group who may get and patch pods in "
            f"{namespace}. The API server said: {error}"
        ) from error
    except Invalid as error:
        raise Refused(f"Pod {name} changed meanwhile and is as it was, try again: {error}") from error
    except ApiError as error:
        raise Refused(f"The API server could not be asked, look at the pod and try again: {error}") from error
    did = "starts without money held for it" if gate_index(pod) is not None else "goes on, paid or not"
    return (
        f"Pod {name} in {namespace} {did}: until {format_time(end)} neither operator nor fuse deletes it for want of "
        f"money, so what it costs may pass the limits, and the budgets of {namespace} promise BestEffort meanwhile."
    )


async def _revision(kube: KubeClient, workload: str) -> dict[str, str]:
    """The annotation by which a pod downloads what the others of its Deployment serve, where that is known."""
    namespace, _, name = workload.partition("/")
    try:
        deployment = (await kube.get("Deployment", namespace, name)).object
    except (NotFound, Forbidden):
        return {}
    revision = annotation_of(deployment, REVISION)
    return {REVISION: revision} if revision else {}
