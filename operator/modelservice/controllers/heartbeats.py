"""Proof that a pod which is not there any more has stopped: its node has reported since, or is gone itself.

No clocks are compared: what is waited for is that a heartbeat differs from the one seen when the pod was first missed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from modelservice.api.computepool import ComputePool
from modelservice.controllers.world import World
from modelservice.domain.funding import MAX_UNITS
from modelservice.kit.errors import Forbidden, NotFound
from modelservice.kit.objects import Object, Ref
from modelservice.ports import KubeClient

NODE_LEASES = "kube-node-lease"
MOST_REMEMBERED = 2 * MAX_UNITS
"""A replica that stands by does not know which of the pods that it sees end are in the book; the latest count."""

T = TypeVar("T")


def remember(memory: dict[str, T], uid: str, value: T) -> None:
    """Put down what was seen of a pod; beyond `MOST_REMEMBERED` the oldest is forgotten."""
    memory.pop(uid, None)
    memory[uid] = value
    if len(memory) > MOST_REMEMBERED:
        del memory[next(iter(memory))]


@dataclass(slots=True)
class Absences:
    """The pods that are missed, where they ran, and the heartbeats of the nodes when they were first missed."""

    world: World
    kube: KubeClient
    _nodes: dict[str, str] = field(default_factory=dict)
    _since: dict[str, dict[str, str]] = field(default_factory=dict)

    def was_on(self, uid: str, node: str) -> None:
        """A pod was seen on that node."""
        remember(self._nodes, uid, node)

    def keep_only(self, uids: Collection[str]) -> None:
        """Forget all but these pods."""
        self._nodes = {uid: node for uid, node in self._nodes.items() if uid in uids}
        self._since = {uid: beats for uid, beats in self._since.items() if uid in uids}

    async def proven(self, missing: Mapping[str, tuple[str | None, str]]) -> list[str]:
        """Those of the missing pods (by UID: node if known, pool) that have stopped for sure."""
        if not missing:
            return []
        beats = await self._heartbeats()
        gone = []
        for uid, (known, pool) in missing.items():
            node = known or self._nodes.get(uid)
            concerned = {node: beats[node]} if node in beats else {} if node else self._of_pool(pool, beats)
            first = self._since.setdefault(uid, concerned)
            if all(beats.get(name) != beat for name, beat in first.items()):
                gone.append(uid)
        return gone

    async def _heartbeats(self) -> dict[str, str]:
        """The latest heartbeat of each node that exists: its Lease's and its status' together."""
        leases: dict[str, str] = {}
        try:
            listing = await self.kube.list("Lease", namespace=NODE_LEASES)
            leases = {lease["metadata"]["name"]: lease["spec"].get("renewTime") or "" for lease in listing.items}
        except (Forbidden, NotFound):
            pass  # the heartbeat in the node's status remains; it comes every five minutes
        nodes = (await self.kube.list("Node")).items
        return {
            node["metadata"]["name"]: f"{leases.get(node['metadata']['name'])} {_status_beat(node)}" for node in nodes
        }

    def _of_pool(self, pool: str, beats: Mapping[str, str]) -> dict[str, str]:
        """The nodes on which a pod of the pool may have run; all of them when the pool is gone."""
        found = self.world.caches.pools.get(Ref("", pool))
        selector = ComputePool.model_validate(found).spec.node_selector if found else {}
        labels = {
            node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in self.world.caches.nodes.values()
        }
        return {name: beat for name, beat in beats.items() if selector.items() <= labels.get(name, selector).items()}


def _status_beat(node: Object) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((str(c.get("lastHeartbeatTime")) for c in conditions if c["type"] == "Ready"), "")
