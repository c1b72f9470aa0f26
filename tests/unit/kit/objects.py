"""Makes small objects for the tests of the kit."""

from typing import Any


def make(
    name: str, version: int, *, uid: str = "", namespace: str = "ns", labels: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    if labels:
        meta["labels"] = labels
    owners = more.pop("owners", None)
    if owners:
        meta["ownerReferences"] = [{"uid": owner} for owner in owners]
    return {"apiVersion": "v1", "kind": "Thing", "metadata": meta, **more}
