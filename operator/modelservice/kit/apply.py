"""Keeps a child as it was rendered: server-side apply, skipped while nothing has moved on either side."""

from __future__ import annotations

from typing import Any, Protocol

from modelservice.kit.errors import NotFound
from modelservice.kit.meter import Meter, NoMeter
from modelservice.kit.objects import Object, annotation_of, controller_of, digest, uid_of

REMEMBERED = 65_536
"""Children whose state is remembered; one that is forgotten is applied once more, which changes nothing."""


class Answered(Protocol):
    """The API server's answer to one request."""

    @property
    def object(self) -> Object:
        """The object as it is stored."""
        ...


class Appliers(Protocol):
    """The two verbs that the applier needs."""

    async def get(self, kind: str, namespace: str, name: str) -> Answered:
        """Read one object."""
        ...

    async def apply(self, obj: Object, *, manager: str, force: bool = True) -> Answered:
        """Server-side apply one object."""
        ...


class NameConflict(Exception):
    """The name a child needs belongs to somebody else's object, which is left alone."""

    def __init__(self, kind: str, namespace: str, name: str, owner: str) -> None:
        super().__init__(f"The name of the {kind} {name} in namespace {namespace} is taken by {owner}.")
        self.kind = kind
        self.name = name
        self.owner = owner


class ChildApplier:
    """Applies rendered children under one field manager.

    A child is left alone while its annotation names the hash of what is rendered and it is at the very state that our
    last apply left: its generation, or its resourceVersion for kinds without one. So an edit by somebody else is
    undone, and at rest nothing is written. What the last apply left is kept in memory; after a start each child is
    applied once, which changes nothing on the server when nothing differs.
    """

    def __init__(self, client: Appliers, *, manager: str, annotation: str, meter: Meter | None = None) -> None:
        self._client = client
        self._manager = manager
        self._annotation = annotation
        self._meter = meter or NoMeter()
        self._left: dict[str, Any] = {}  # uid -> generation or resourceVersion

    async def apply(self, rendered: Object, current: Object | None) -> Object:
        """Bring the child to what is rendered and return it as stored (`current` itself where nothing was sent).

        `rendered` names its controller in ownerReferences; `current` is the child in the cache, None if it is not
        there. Raises NameConflict when an object of that name has another controller or none, and ApiError.
        """
        wanted = digest(rendered)
        if current is None:
            current = await self._live(rendered)
        if current is not None:
            self._check_owner(rendered, current)
            same = annotation_of(current, self._annotation) == wanted
            if same and self._left.get(uid_of(current)) == _state(current):
                return current
        self._meter.count("child_applies_total", kind=rendered["kind"])
        answer = await self._client.apply(self._intent(rendered, wanted, current), manager=self._manager)
        self._remember(answer.object)
        return answer.object

    def _remember(self, stored: Object) -> None:
        self._left.pop(uid_of(stored), None)
        self._left[uid_of(stored)] = _state(stored)
        while len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]

    def _intent(self, rendered: Object, wanted: str, current: Object | None) -> Object:
        meta = dict(rendered["metadata"])
        meta["annotations"] = {**(meta.get("annotations") or {}), self._annotation: wanted}
        if current is not None:
            meta["uid"] = uid_of(current)  # a precondition: not another object of that name
        return {**rendered, "metadata": meta}

    async def _live(self, rendered: Object) -> Object | None:
        meta = rendered["metadata"]
        try:
            answer = await self._client.get(rendered["kind"], meta.get("namespace", ""), meta["name"])
        except NotFound:
            return None
        return answer.object

    @staticmethod
    def _check_owner(rendered: Object, current: Object) -> None:
        ours, theirs = controller_of(rendered), controller_of(current)
        if (ours or {}).get("uid") == (theirs or {}).get("uid"):
            return
        meta = rendered["metadata"]
        owner = f"{theirs['kind']} {theirs['name']}" if theirs else "an object that this service did not make"
        raise NameConflict(rendered["kind"], meta.get("namespace", ""), meta["name"], owner)


def _state(obj: Object) -> Any:
    meta = obj["metadata"]
    return meta["generation"] if "generation" in meta else meta["resourceVersion"]
