"""What the watches and lists of one kind have shown, newest version of each object, with tombstones and indexes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from modelservice.kit.objects import Object, Ref, ref_of, uid_of, version_of, without_noise

T = TypeVar("T")
Index = Callable[[Object], Iterable[Hashable]]

TOMBSTONES = 10_000
"""Deletions remembered per cache; older ones are forgotten first."""


def by_owner(obj: Object) -> Iterable[Hashable]:
    """Index: the uids of the object's owners."""
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]


def by_label(label: str) -> Index:
    """Index: (namespace, value) of a label."""

    def keys(obj: Object) -> Iterable[Hashable]:
        value = (obj["metadata"].get("labels") or {}).get(label)
        return () if value is None else ((obj["metadata"].get("namespace", ""), value),)

    return keys


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An object that is gone: its uid and the version at which it went."""

    uid: str
    version: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What a list shows that the cache does not: objects that are new or newer, and objects that are gone."""

    changed: tuple[Object, ...]
    gone: tuple[Ref, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    uid: str
    version: int
    value: T
    indexed: tuple[tuple[str, Hashable], ...]


@dataclass(slots=True)
class Cache(Generic[T]):
    """Objects of one kind, each projected to what is read of it.

    `project` makes the stored value from the object as the API server sent it; `indexes` are computed from that same
    object, before projection. An older version never replaces a newer one, and nothing older than a deletion revives.
    """

    project: Callable[[Object], T]
    indexes: Mapping[str, Index] = field(default_factory=dict)
    synced: bool = False
    _entries: dict[Ref, _Entry[T]] = field(init=False, default_factory=dict)
    _tombstones: dict[Ref, Tombstone] = field(init=False, default_factory=dict)
    _indexed: dict[tuple[str, Hashable], dict[Ref, None]] = field(init=False, default_factory=dict)

    def observe(self, obj: Object, *, deleted: bool = False) -> bool:
        """Take in one version of an object; False when something newer, or this very version, was known."""
        ref, uid, version = ref_of(obj), uid_of(obj), version_of(obj)
        known = self._entries.get(ref)
        grave = self._tombstones.get(ref)
        if grave is not None and version <= grave.version:
            return False
        if known is not None and (version < known.version or (version == known.version and not deleted)):
            return False
        if deleted:
            self._bury(ref, Tombstone(uid, version))
            return known is not None
        self._tombstones.pop(ref, None)
        self._unindex(ref)
        indexed = tuple((name, value) for name, index in self.indexes.items() for value in index(obj))
        self._entries[ref] = _Entry(uid, version, self.project(obj), indexed)
        for slot in indexed:
            self._indexed.setdefault(slot, {})[ref] = None
        return True

    def compare(self, items: Iterable[Object], version: int) -> Difference:
        """What a list made at a collection version shows that the cache does not, without taking it in."""
        listed: set[Ref] = set()
        changed: list[Object] = []
        for obj in items:
            ref = ref_of(obj)
            listed.add(ref)
            known, grave = self._entries.get(ref), self._tombstones.get(ref)
            newest = max(known.version if known else 0, grave.version if grave else 0)
            if version_of(obj) > newest:
                changed.append(obj)
        gone = (ref for ref, entry in self._entries.items() if ref not in listed and entry.version <= version)
        return Difference(tuple(changed), tuple(gone))

    def bury(self, ref: Ref, version: int) -> None:
        """Take in that a list made at a collection version does not hold the object any more."""
        known = self._entries.get(ref)
        if known is not None and known.version <= version:
            self._bury(ref, Tombstone(known.uid, version))

    def get(self, ref: Ref) -> T | None:
        """The newest value known, None where the object is not there."""
        entry = self._entries.get(ref)
        return None if entry is None else entry.value

    def tombstone(self, ref: Ref) -> Tombstone | None:
        """How the object went, None where it is there or its end is not known."""
        return self._tombstones.get(ref)

    def by(self, index: str, value: Hashable) -> list[T]:
        """The values that an index holds under `value`, in the order of their names."""
        return [self._entries[ref].value for ref in sorted(self._indexed.get((index, value), ()))]

    def values(self, namespace: str | None = None) -> list[T]:
        """All values, or those of one namespace, in the order of their names."""
        return [self._entries[ref].value for ref in sorted(self.refs(namespace))]

    def refs(self, namespace: str | None = None) -> Iterator[Ref]:
        """The names of all objects, or of those of one namespace."""
        return (ref for ref in self._entries if namespace is None or ref.namespace == namespace)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._entries

    def _bury(self, ref: Ref, grave: Tombstone) -> None:
        self._unindex(ref)
        self._entries.pop(ref, None)
        self._tombstones.pop(ref, None)
        self._tombstones[ref] = grave
        while len(self._tombstones) > TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]

    def _unindex(self, ref: Ref) -> None:
        entry = self._entries.get(ref)
        for slot in entry.indexed if entry else ():
            slots = self._indexed[slot]
            slots.pop(ref, None)
            if not slots:
                del self._indexed[slot]


def object_cache(indexes: Mapping[str, Index] | None = None) -> Cache[Object]:
    """A cache of whole objects, less managedFields."""
    return Cache[dict[str, Any]](without_noise, indexes or {})
