"""What really happened, by the watch of pods and nodes alone: when each pod began and ended to cost, and what.

Times are seconds since the epoch, amounts micro-units. Nothing here knows the operator's code or its book.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.proof.recorder import Version
from tests.proof.scene import POOLS, Tariff

Object = dict[str, Any]
NAME, ROLE, POOL = "modelservice.dev/name", "modelservice.dev/role", "modelservice.dev/pool"
GATE = "modelservice.dev/budget"


@dataclass(slots=True)
class Life:
    """One pod of ours.

    `ungated`, `vanished` and `lost` (its node was gone) are when we were told; `asked` is the server's time of its
    deletion request; `started` and `finished` are what its kubelet said.
    """

    uid: str
    namespace: str
    name: str
    service: str
    role: str
    pool: str
    ungated: float | None = None
    node: str | None = None
    bound: float | None = None
    started: int | None = None
    finished: int | None = None
    asked: int | None = None
    vanished: float | None = None
    lost: float | None = None
    restarted: bool = False

    @property
    def tariff(self) -> Tariff:
        return POOLS[self.pool]

    @property
    def line(self) -> tuple[str, str, str]:
        """Service, role and pool."""
        return f"{self.namespace}/{self.service}", self.role, self.pool

    @property
    def policies(self) -> tuple[str, str]:
        """The budgets that pay for it."""
        return "platform", f"{self.namespace}/team"

    @property
    def begin(self) -> int | None:
        """When it began to cost; None when it never did. A pod that never got a node has cost nothing."""
        if self.bound is None:
            return None
        return int(self.ungated or self.bound) if self.tariff.ungate else self.started

    @property
    def end(self) -> int | None:
        """The first second in which it did not run any more: its kubelet's word, which is cut to seconds, or its node's
        end; None while it runs."""
        if self.finished is not None:
            return self.finished + 1
        over = [moment for moment in (self.lost, self.vanished) if moment is not None]
        return int(min(over)) + 1 if over else None

    def cost(self, start: int, end: int, until: float) -> int:
        """What it has cost within `[start, end)` by the moment `until`, its node's idle tail included."""
        if self.begin is None:
            return 0
        last = min(end, int(until))
        if self.end is not None:
            least = self.begin + self.tariff.minimum if self.tariff.minimum else 0
            last = min(last, max(self.end, least) + self.tariff.tail)
        return price(self.tariff.rate, max(start, self.begin), last)


def price(rate: int, start: int, end: int) -> int:
    """Micro-units for a time at a rate per hour, rounded up."""
    return (rate * (end - start) + 3599) // 3600 if end > start else 0


def lives(versions: Iterable[Version]) -> dict[str, Life]:
    """The pods of ours by UID, from all versions of pods and nodes in their order."""
    found: dict[str, Life] = {}
    nodes: dict[str, float] = {}
    for version in versions:
        if version.kind == "Node":
            if version.gone:
                nodes[version.object["metadata"]["name"]] = version.at
        elif version.kind == "Pod" and NAME in (version.object["metadata"].get("labels") or {}):
            life = found.setdefault(version.uid, _born(version.object))
            _follow(life, version)
    for life in found.values():
        life.lost = nodes.get(life.node or "")
    return found


def _born(pod: Object) -> Life:
    meta = pod["metadata"]
    labels: Mapping[str, str] = meta["labels"]
    return Life(meta["uid"], meta["namespace"], meta["name"], labels[NAME], labels[ROLE], labels[POOL])


def _follow(life: Life, version: Version) -> None:
    meta, spec, status = version.object["metadata"], version.object["spec"], version.object.get("status") or {}
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    if life.ungated is None and GATE not in gates:
        life.ungated = version.at
    if life.bound is None and spec.get("nodeName"):
        life.node, life.bound = spec["nodeName"], version.at
    if "deletionTimestamp" in meta:
        asked = seconds(meta["deletionTimestamp"]) - (meta.get("deletionGracePeriodSeconds") or 0)
        life.asked = min(asked, life.asked or asked)  # the kubelet's last word asks once more, with no grace
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        life.restarted = life.restarted or bool(container.get("restartCount"))
        begun = (state.get("running") or state.get("terminated") or {}).get("startedAt")
        if begun and life.started is None:
            life.started = seconds(begun)
        ended = (state.get("terminated") or {}).get("finishedAt")
        if ended and status.get("phase") in ("Succeeded", "Failed"):
            life.finished = seconds(ended)
    if version.gone:
        life.vanished = version.at


def seconds(stamp: str) -> int:
    """An instant of Kubernetes, which has no fractions."""
    return int(datetime.fromisoformat(stamp).timestamp())
