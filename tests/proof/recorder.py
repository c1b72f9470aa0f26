"""Every version of every object of some kinds, as the API server tells of them, with the time at which it did."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tests.cluster.rest import credentials

Object = dict[str, Any]
SILENCE_SECONDS = 10.0
"""A watch without an event for so long is opened anew from where it was."""
OURS = "/apis/modelservice.dev/v1alpha1"
PATHS = {
    "Pod": "/api/v1/pods",
    "Node": "/api/v1/nodes",
    "BudgetLedger": f"{OURS}/budgetledgers",
    "BudgetPolicy": f"{OURS}/budgetpolicies",
    "ClusterBudgetPolicy": f"{OURS}/clusterbudgetpolicies",
    "ModelService": f"{OURS}/modelservices",
}


@dataclass(frozen=True, slots=True)
class Version:
    """An object as it was from `at` on (seconds since the epoch, by our clock, a moment late); or its end."""

    kind: str
    at: float
    gone: bool
    object: Object

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])


@dataclass(slots=True)
class Recorder:
    """Records until `stop`; the watches go on after interruptions from the version they had, so that none is missed."""

    kubeconfig: Path
    versions: list[Version] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _latest: dict[str, str] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Self:
        """Returns when nothing later can be missed."""
        server, tls = credentials(self.kubeconfig)
        client = httpx.Client(base_url=server, verify=tls, timeout=SILENCE_SECONDS, trust_env=False)
        for kind, path in PATHS.items():
            self._take_list(kind, client.get(path).raise_for_status().json())
            self._threads.append(threading.Thread(target=self._follow, args=(kind, path, client), daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Record what has happened until now, and end."""
        server, tls = credentials(self.kubeconfig)
        with httpx.Client(base_url=server, verify=tls, timeout=60, trust_env=False) as client:
            for kind, path in PATHS.items():
                present = client.get(path).raise_for_status().json()
                wanted = {obj["metadata"]["resourceVersion"] for obj in present["items"]}
                deadline = time.monotonic() + 60
                while not wanted <= {v.object["metadata"]["resourceVersion"] for v in self.of(kind)}:
                    assert time.monotonic() < deadline, f"the record of {kind} did not catch up in 60 s"
                    time.sleep(0.2)
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * SILENCE_SECONDS)

    def of(self, kind: str) -> Iterator[Version]:
        """The versions of one kind in their order."""
        return (version for version in list(self.versions) if version.kind == kind)

    def save(self, path: Path) -> None:
        """Keep the record as lines of JSON, for looking into a fault without another run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as out:
            out.writelines(json.dumps(asdict(version)) + "\n" for version in self.versions)

    def _take_list(self, kind: str, listing: Object) -> None:
        self._latest[kind] = listing["metadata"]["resourceVersion"]
        now = time.time()
        self.versions.extend(Version(kind, now, gone=False, object=obj) for obj in listing["items"])

    def _follow(self, kind: str, path: str, client: httpx.Client) -> None:
        while not self._stopping.is_set() and not self.lost:
            query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._latest[kind]}
            try:
                with client.stream("GET", path, params=query) as stream:
                    if stream.status_code != httpx.codes.OK:
                        time.sleep(0.5)
                        continue
                    for line in stream.iter_lines():
                        self._take_event(kind, json.loads(line))
                        if self._stopping.is_set():
                            return
            except httpx.HTTPError:
                self._stopping.wait(0.2)

    def _take_event(self, kind: str, event: Object) -> None:
        obj = event["object"]
        if event["type"] == "ERROR":
            self.lost.append(f"{kind}: {obj.get('message')}")
            return
        self._latest[kind] = obj["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            self.versions.append(Version(kind, time.time(), gone=event["type"] == "DELETED", object=obj))
