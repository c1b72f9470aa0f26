"""A server with the layout of the Hugging Face hub, as a pod of the end-to-end tests.

It serves a directory as the repository org/tiny to whoever has the token. POST /-/release lets the weights of the quick
start through, /-/move has the branch point at other files, /-/tamper changes a byte of the weights without telling.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from tests.unit.workers.webservers import COMMIT, REPOSITORY, Handler, Server, Site

REPO = Path(__file__).resolve().parents[2]
URI = f"hf://{REPOSITORY}"
TOKEN = "let-me-in"
PORT = 8080
WEIGHTS = f"/{REPOSITORY}/resolve/{COMMIT}/model.pt2"


def manifests(namespace: str, directory: str, claim: str = "") -> list[dict[str, Any]]:
    """The server `hub` with a Service, and the Secret `hub` that opens it; a claim is mounted at /<claim>."""
    labels = {"app": "hub"}
    container: dict[str, Any] = {
        "name": "hub",
        "image": "python:3.11",
        "command": ["python", "-m", "tests.e2e.hub", directory],
        "env": [{"name": "PYTHONPATH", "value": f"{REPO}:{REPO / 'workers'}"}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod: dict[str, Any] = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if claim:
        container["volumeMounts"] = [{"name": claim, "mountPath": f"/{claim}", "readOnly": True}]
        pod["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}}]
    meta = {"name": "hub", "namespace": namespace, "labels": labels}
    template = {"metadata": {"labels": labels}, "spec": pod}
    ports = [{"port": 80, "targetPort": PORT}]
    keys = {"HF_ENDPOINT": f"http://hub.{namespace}", "HF_TOKEN": TOKEN}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": ports}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": keys},
    ]


class _Hub(Server):
    def __init__(self, site: Site) -> None:
        super().__init__(site, ("0.0.0.0", PORT), _Orders)  # noqa: S104 - other pods are its clients
        self.released = threading.Event()


class _Orders(Handler):
    server: _Hub

    def do_POST(self) -> None:  # noqa: N802 - the name that the server calls
        site = self.server.site
        if self._path == "/-/release":
            self.server.released.set()
        elif self._path == "/-/move":
            site.put_hub({"README.md": b"Moved on."}, "f" * 40)
        elif self._path == "/-/tamper":
            weights = site.bodies[WEIGHTS]
            site.bodies[WEIGHTS] = weights[:-1] + bytes([weights[-1] ^ 1])
        else:
            super().do_POST()
            return
        self._send(200, b"{}", {})

    def _send_content(self, content: bytes) -> None:
        if self._path == WEIGHTS:
            self.server.released.wait()
        super()._send_content(content)


def main(directory: Path) -> None:
    """Serve the files of a directory for ever."""
    site = Site(token=TOKEN)
    files = (path for path in directory.rglob("*") if path.is_file())
    site.put_hub({path.relative_to(directory).as_posix(): path.read_bytes() for path in files})
    _Hub(site).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
