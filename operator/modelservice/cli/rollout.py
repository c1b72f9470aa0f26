"""`modelservice rollout`: how the rollout of a service stands, what it has served, and a person's word on it.

Undo and promote are annotations about named revisions, not changes of the spec: a tool that keeps the spec as it is in
a repository does not fight them, and they end by themselves with the next change of the spec.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from modelservice import __version__
from modelservice.adapters.kube import Kube, login
from modelservice.kit.errors import ApiError, Forbidden, Invalid, NotFound
from modelservice.kit.objects import Object
from modelservice.ports import KubeClient
from modelservice.render.labels import PROMOTE, UNDO
from modelservice.render.rollouttext import history_text, status_text

MANAGER = "modelservice-rollout"
SPEC_STAYS = (
    "The spec is as it was, so a tool that keeps it from a repository has nothing to revert; correct it there: this "
    "ends with the next change of what the pods are made of."
)


class Refused(Exception):
    """Nothing was done; the message is a sentence that says why."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its actions."""
    parser = commands.add_parser("rollout", help="how a rollout stands; go back to an earlier revision, or promote one")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (
        ("status", "how the rollout stands"),
        ("history", "the revisions that are remembered"),
        ("undo", "serve an earlier revision than the spec describes, until the spec changes"),
        ("promote", "give the canary all requests without further steps"),
    ):
        one = actions.add_parser(action, help=text)
        one.add_argument("name", metavar="NAME", help="the ModelService")
        one.add_argument("-n", "--namespace", default="default", metavar="NS", help="its namespace (default: default)")
        if action == "undo":
            one.add_argument("--to", default="", metavar="REVISION", help="default: the one that served before")
        one.add_argument("--kubeconfig", default="", metavar="FILE", help="instead of KUBECONFIG or ~/.kube/config")


async def run(arguments: argparse.Namespace) -> str:
    """Do what is asked for; returns what is to be printed. Raises Refused and LoginFailed."""
    configuration = await login(arguments.kubeconfig)
    async with Kube(configuration, user_agent=f"modelservice-rollout/{__version__}") as kube:
        return await act(kube, arguments.action, arguments.namespace, arguments.name, getattr(arguments, "to", ""))


async def act(kube: KubeClient, action: str, namespace: str, name: str, to: str = "") -> str:
    """One action on one service."""
    try:
        service = (await kube.get("ModelService", namespace, name)).object
        status = service.get("status") or {}
        if action == "status":
            return status_text(f"{namespace}/{name}", status)
        if action == "history":
            return history_text(status)
        notes, said = undo(status, to) if action == "undo" else promote(status)
        await kube.patch_json("ModelService", namespace, name, annotate(service, notes), manager=MANAGER)
    except NotFound:
        raise Refused(f"There is no ModelService {name} in {namespace}.") from None
    except Forbidden as error:
        raise Refused(f"You may not do this with ModelServices in {namespace}: {error}") from error
    except Invalid as error:
        raise Refused(f"ModelService {name} changed meanwhile and is as it was, try again: {error}") from error
    except ApiError as error:
        raise Refused(f"The API server could not be asked, try again: {error}") from error
    return said


def undo(status: Mapping[str, Any], to: str = "") -> tuple[Mapping[str, str | None], str]:
    """The annotations that bring an earlier revision back, None for one that goes, and what to say. Raises Refused."""
    own = str((status.get("resolved") or {}).get("revision"))
    rows = {row["revision"]: row for row in status.get("revisions") or ()}
    if own not in rows:
        raise Refused("It is not known yet which revision the spec describes: look at modelservice rollout status.")
    serving = next((row for row in rows.values() if row["stage"] == "Serving"), None)
    goal = rows.get(to) if to else _before(rows, own, serving)
    if to and goal is None:
        raise Refused(f"Revision {to} is not remembered: modelservice rollout history lists those that are.")
    if goal is None:
        raise Refused("No other revision has served: there is nothing to go back to.")
    name = goal["revision"]
    if "servedTime" not in goal:
        raise Refused(f"Revision {name} has never served: choose one that has, or correct the spec.")
    if name == own:
        return {UNDO: None}, f"Revision {name} will serve again, as the spec describes."
    return {
        UNDO: f"{own}/{name}"
    }, f"Revision {name} ({goal.get('image', '')}) will serve in place of {own}. {SPEC_STAYS}"


def _before(
    rows: Mapping[str, Mapping[str, Any]], own: str, serving: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """What serves while something newer is tried, else what served before it."""
    if serving is not None and serving["revision"] != own and rows[own]["stage"] in ("Starting", "Canary"):
        return serving
    past = [row for row in rows.values() if row is not serving and "servedTime" in row]
    return max(past, key=lambda row: (row["servedTime"], row["revision"]), default=None)


def promote(status: Mapping[str, Any]) -> tuple[Mapping[str, str | None], str]:
    """The annotation that ends a canary's steps, and what to say. Raises Refused."""
    canary = status.get("canary")
    if not canary:
        raise Refused("There is no canary to promote: modelservice rollout status says what is there.")
    name = canary["revision"]
    said = f"Revision {name} gets all requests as soon as all its replicas are ready; it had {canary['percent']} %."
    return {PROMOTE: name}, said


def annotate(service: Object, notes: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """A JSON patch for the service as it was read."""
    meta = service["metadata"]
    there = meta.get("annotations") or {}
    operations = [{"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}]
    if not there:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    for annotation, value in notes.items():
        path = f"/metadata/annotations/{annotation.replace('/', '~1')}"
        if value is not None:
            operations.append({"op": "add", "path": path, "value": value})
        elif annotation in there:
            operations.append({"op": "remove", "path": path})
    return operations
