"""A local cluster with ModelService on it, for the demo and the end-to-end tests: localcluster, kubectl and helm."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

REPO = Path(__file__).resolve().parent.parent
SYSTEM = "modelservice-system"
T = TypeVar("T")


class StepFailed(Exception):
    """One step did not work; the message is the sentence a person reads."""


@dataclass(slots=True)
class Cluster:
    """One localcluster below `directory`; `port` 0 takes any free port."""

    directory: Path
    port: int = 16443
    images: Path = REPO / "local/images.yaml"
    env: dict[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def run(self, *argv: str | Path, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
        """Run one command to its end and return what it printed on stdout; raise StepFailed with the end of stderr."""
        env = {**os.environ, **self.env, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [str(part) for part in argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=env,
            cwd=REPO,
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise StepFailed(f"{Path(str(argv[0])).name} {' '.join(map(str, argv[1:5]))} failed: {' '.join(said)}")
        return done.stdout

    def up(self, *extra: str, timeout: float = 180) -> None:
        where = ("--dir", self.directory, "--port", str(self.port), "--images", self.images)
        self.run(REPO / "bin/localcluster", "up", *where, *extra, timeout=timeout)

    def down(self, *extra: str) -> None:
        self.run(REPO / "bin/localcluster", "down", "--dir", self.directory, *extra, timeout=60)

    def kubectl(self, *argv: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
        return self.run(*self.kubectl_command(*argv), stdin=stdin, timeout=timeout, check=check)

    def kubectl_command(self, *argv: str) -> list[str]:
        return [str(REPO / "bin/localcluster"), "kubectl", "--dir", str(self.directory), *argv]

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The object as the API server has it, or None where there is none."""
        scope = ["-n", namespace] if namespace else []
        out = self.kubectl("get", kind, name, *scope, "-o", "json", "--ignore-not-found")
        return json.loads(out) if out.strip() else None

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[dict[str, Any]]:
        scope = ["-n", namespace] if namespace else ["-A"]
        chosen = ["-l", selector] if selector else []
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *scope, *chosen, "-o", "json"))["items"]
        return items

    def helm(self, *argv: str, timeout: float = 240) -> str:
        return self.run(REPO / "bin/helm", *argv, timeout=timeout)

    def install(self, *values: str) -> None:
        """Install or upgrade the chart in a namespace that enforces the restricted Pod Security level."""
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": SYSTEM, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
        values = ("prometheus.url=http://prometheus.monitoring:9090", *values)
        settings = [word for value in values for word in ("--set", value)]
        release = ("modelservice", "charts/modelservice", "-n", SYSTEM)
        self.helm("upgrade", "--install", *release, "--wait", "--timeout", "180s", *settings)

    def post(self, namespace: str, service: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST JSON to a Service through the API server's proxy."""
        raw = f"/api/v1/namespaces/{namespace}/services/{service}:80/proxy{path}"
        answer: dict[str, Any] = json.loads(self.kubectl("create", "--raw", raw, "-f", "-", stdin=json.dumps(body)))
        return answer

    def wait(self, what: str, look: Callable[[], T | None], *, timeout: float = 120, every: float = 0.5) -> T:
        """Call `look` until it returns something true; raise StepFailed naming `what` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if seen := look():
                return seen
            if time.monotonic() > deadline:
                raise StepFailed(f"waited {timeout:.0f} s in vain for {what}")
            time.sleep(every)


def condition(thing: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    """The condition of that type, or an empty one where it is not reported yet."""
    conditions = ((thing or {}).get("status") or {}).get("conditions") or []
    unknown = {"type": kind, "status": "Unknown", "reason": "", "message": ""}
    return next((c for c in conditions if c["type"] == kind), unknown)


def is_true(thing: dict[str, Any] | None, kind: str) -> bool:
    return bool(condition(thing, kind)["status"] == "True")
