"""What the observer of the proof reads from the versions of a pod."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.proof.history import lives
from tests.proof.recorder import Version

T0 = 1_800_000_000


def stamp(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def version(at: int, *, gone: bool = False, **meta: Any) -> Version:
    labels = {"modelservice.dev/name": "embed", "modelservice.dev/role": "Inference", "modelservice.dev/pool": "steady"}
    own = {"uid": "u", "namespace": "north", "name": "embed-1", "labels": labels, **meta}
    return Version("Pod", at, gone, {"metadata": own, "spec": {"nodeName": "n"}, "status": {}})


def test_a_pod_was_asked_to_end_when_it_was_first_told_so_though_its_kubelet_asks_again_without_grace() -> None:
    told = version(T0, deletionTimestamp=stamp(T0 + 60), deletionGracePeriodSeconds=60)
    last = version(T0 + 6, gone=True, deletionTimestamp=stamp(T0 + 6), deletionGracePeriodSeconds=0)
    life = lives([version(T0 - 100), told, last])["u"]
    assert (life.asked, life.vanished) == (T0, T0 + 6)
