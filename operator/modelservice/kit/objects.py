"""Reading Kubernetes objects as plain dicts: keys, owners, labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]


class Key(NamedTuple):
    """What the queue holds: which object of which kind is to be looked at. `namespace` is "" for the cluster."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


class Ref(NamedTuple):
    """Namespace and name of an object inside one cache."""

    namespace: str
    name: str


def ref_of(obj: Mapping[str, Any]) -> Ref:
    """Namespace ("" for the cluster) and name."""
    meta = obj["metadata"]
    return Ref(meta.get("namespace", ""), meta["name"])


def key_of(kind: str, obj: Mapping[str, Any]) -> Key:
    """The queue's key of an object of a kind."""
    return Key(kind, *ref_of(obj))


def uid_of(obj: Mapping[str, Any]) -> str:
    """The object's uid, "" before it is stored."""
    uid: str = obj["metadata"].get("uid", "")
    return uid


def version_of(obj: Mapping[str, Any]) -> int:
    """The resourceVersion as a number: API servers promise that versions of one kind are ordered integers."""
    return int(obj["metadata"]["resourceVersion"])


def label_of(obj: Mapping[str, Any], label: str) -> str | None:
    """The value of a label, None where it is not set."""
    value: str | None = (obj["metadata"].get("labels") or {}).get(label)
    return value


def annotation_of(obj: Mapping[str, Any], annotation: str) -> str | None:
    """The value of an annotation, None where it is not set."""
    value: str | None = (obj["metadata"].get("annotations") or {}).get(annotation)
    return value


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference with `controller: true`, None where nobody controls the object."""
    return next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)


def digest(value: Any) -> str:
    """A hash of JSON that does not depend on the order of keys: 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_noise(obj: Object) -> Object:
    """The object less what no controller of ours reads: managedFields and kubectl's copy of the whole manifest."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if annotations := meta.get("annotations"):
        last = "kubectl.kubernetes.io/last-applied-configuration"
        meta["annotations"] = {key: value for key, value in annotations.items() if key != last}
    return {**obj, "metadata": meta}
