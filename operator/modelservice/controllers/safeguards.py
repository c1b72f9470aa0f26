"""What keeps budgets beside the operator, as it was last seen: the watch of the fuse and the admission policies."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelservice.controllers.world import World
from modelservice.domain.guarantee import GAP_SECONDS, Watch
from modelservice.domain.times import parse_time
from modelservice.kit.errors import ApiError, Forbidden, NotFound
from modelservice.kit.objects import Object
from modelservice.ports import KubeClient

log = logging.getLogger(__name__)

FUSE_LEASE = "modelservice-fuse"
SPARED = "modelservice.dev/spared"
"""On the Lease of the fuse: the pods that a watch proves nothing of, and when each was last there, as JSON."""
LOOK_SECONDS = 15.0


@dataclass(slots=True)
class Safeguards:
    """Looks every `every` seconds; `changed` is called when the guarantee may have another level or other reasons.

    Attributes:
        policies: names of the ValidatingAdmissionPolicies, and of their bindings, that must be in force.
        watch: that of the fuse, None where there is none.
        lacking: a sentence for each admission policy that is not in force.
    """

    world: World
    kube: KubeClient
    namespace: str
    policies: Sequence[str]
    every: float = LOOK_SECONDS
    changed: Callable[[], None] = lambda: None
    watch: Watch | None = None
    lacking: tuple[str, ...] = ("The admission policies have not been looked at yet.",)
    _fresh: bool = field(default=False)

    async def run(self) -> None:
        """Look for ever; what the API server does not answer stays as it was seen last."""
        while True:
            try:
                await self.look()
            except (ApiError, TimeoutError) as error:
                log.warning("The fuse and the admission policies could not be looked at: %s", error)
            await self.world.clock.sleep(self.every)

    async def look(self) -> None:
        """Read the Lease of the fuse and the admission policies."""
        before = (self._fresh, self.lacking)
        self.watch = await self._read_watch()
        self._fresh = self.watch is not None and self.watch.fresh(self.world.now())
        self.lacking = await self._missing()
        if before != (self._fresh, self.lacking):
            self.changed()

    async def _read_watch(self) -> Watch | None:
        try:
            lease = (await self.kube.get("Lease", self.namespace, FUSE_LEASE)).object
        except (Forbidden, NotFound):
            return None
        return watch_of(lease)

    async def _missing(self) -> tuple[str, ...]:
        if not self.policies:
            return ("The operator was told of no admission policies that keep gates and book.",)
        return tuple([text for name in self.policies if (text := await self._problem(name))])

    async def _problem(self, name: str) -> str:
        try:
            policy = (await self.kube.get("ValidatingAdmissionPolicy", "", name)).object["spec"]
            binding = (await self.kube.get("ValidatingAdmissionPolicyBinding", "", name)).object["spec"]
        except NotFound:
            return f"The ValidatingAdmissionPolicy {name} or its binding does not exist."
        except Forbidden:
            return f"The operator may not read the ValidatingAdmissionPolicy {name} and its binding."
        strict = (
            policy.get("failurePolicy", "Fail") == "Fail"
            and binding.get("policyName") == name
            and "Deny" in (binding.get("validationActions") or ())
            and not binding.get("matchResources")
        )
        return "" if strict else f"The ValidatingAdmissionPolicy {name} does not deny everywhere."


def watch_of(lease: Object) -> Watch | None:
    """The watch that a Lease of the fuse tells of; None when it tells of none."""
    spec = lease.get("spec") or {}
    try:
        since, until = parse_time(spec.get("acquireTime")), parse_time(spec.get("renewTime"))
        noted = json.loads((lease["metadata"].get("annotations") or {}).get(SPARED, "{}"))
        spared = {str(uid): int(last) for uid, last in noted.items()}
    except (AttributeError, TypeError, ValueError):
        return None
    return None if since is None or until is None else Watch(since, until, spared)


def recorded(lease: Object, watch: Watch, holder: str) -> Object:
    """The Lease as it tells of a watch."""
    annotations = {name: text for name, text in (lease["metadata"].get("annotations") or {}).items() if name != SPARED}
    if watch.spared:
        annotations[SPARED] = json.dumps(dict(watch.spared), separators=(",", ":"), sort_keys=True)
    return {
        **lease,
        "metadata": {**lease["metadata"], "annotations": annotations},
        "spec": lease_spec(watch, holder),
    }


def lease_spec(watch: Watch, holder: str) -> dict[str, Any]:
    """The spec of a Lease that tells of a watch."""
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": GAP_SECONDS,
        "acquireTime": _micro(watch.since),
        "renewTime": _micro(watch.until),
    }


def _micro(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
