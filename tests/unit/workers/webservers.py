"""A web server on the loopback that keeps files in memory, cuts answers short, and counts what it sent."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.unit.workers.listings import sha256

REPOSITORY = "org/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Site:
    """What a server answers: bodies by path, and faults that later requests meet.

    From `hold_at` bytes sent in all it sends no more until `released`.
    """

    bodies: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    cuts: list[int] = field(default_factory=list)
    token: str = ""
    hold_at: int | None = None
    released: threading.Event = field(default_factory=threading.Event)
    missing: str = "RepoNotFound"
    sent: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""

    def put_hub(self, files: Mapping[str, bytes], commit: str = COMMIT, *names: str) -> None:
        """Serve `files` as a repository of the hub at a commit; `names` are branches or tags that point to it."""
        info = {"id": REPOSITORY, "sha": commit, "private": False, "siblings": [], "tags": []}
        for name, content in files.items():
            info["siblings"].append(_sibling(name, content))  # type: ignore[attr-defined]
            self.bodies[f"/{REPOSITORY}/resolve/{commit}/{name}"] = content
        for revision in (commit, *(names or ("main",))):
            self.bodies[f"/api/models/{REPOSITORY}/revision/{revision}"] = json.dumps(info).encode()
        if not names:
            self.bodies[f"/api/models/{REPOSITORY}"] = json.dumps(info).encode()
        self.bodies[f"/api/models/{REPOSITORY}/paths-info/{commit}"] = json.dumps(
            [_row(name, content) for name, content in files.items()]
        ).encode()
        for folder in {"", *map(_folder, files)}:
            rows = [_row(name, content) for name, content in files.items() if _folder(name) == folder]
            self.bodies[f"/api/models/{REPOSITORY}/tree/{commit}{folder}"] = json.dumps(rows).encode()


def _folder(name: str) -> str:
    parent = PurePosixPath(name).parent
    return "" if parent == PurePosixPath() else f"/{parent}"


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}  # noqa: S324
    if name.endswith((".safetensors", ".gguf", ".bin")):
        sibling["lfs"] = {"size": len(content), "sha256": sha256(content), "pointerSize": 130}
    return sibling


def _row(name: str, content: bytes) -> dict[str, Any]:
    sibling = _sibling(name, content)
    row = {"type": "file", "path": name, "size": len(content), "oid": sibling["blobId"]}
    if lfs := sibling.get("lfs"):
        row["lfs"] = {"size": lfs["size"], "oid": lfs["sha256"], "pointerSize": 130}
    return row


class Server(ThreadingHTTPServer):
    """Serves a site; a thread for each connection."""

    daemon_threads = True

    def __init__(
        self, site: Site, address: tuple[str, int] = ("127.0.0.1", 0), handler: type[Handler] | None = None
    ) -> None:
        super().__init__(address, handler or Handler)
        self.site = site


class Handler(BaseHTTPRequestHandler):
    """Answers from the bodies of the server's site."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        rows = json.loads(self.server.site.bodies.get(self._path, b"[]"))
        self._send(200, json.dumps([row for row in rows if row["path"] in asked.get("paths", [])]).encode(), {})

    @property
    def _path(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _answer(self) -> None:
        site = self.server.site
        with site.lock:
            site.requests.append(f"{self.command} {self._path}")
        content = site.bodies.get(self._path)
        if site.token and self.headers.get("Authorization") != f"Bearer {site.token}":
            self._send(401, b"{}", {})
        elif content is None:
            self._send(404, b"{}", {"X-Error-Code": site.missing})
        else:
            self._send_content(content)

    def _send_content(self, content: bytes) -> None:
        headers = {"ETag": f'"{sha256(content)[:16]}"', "X-Repo-Commit": COMMIT}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.server.site.ranges:
            start = int(asked[1])
            end = min(int(asked[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            self._send(206, content[start : end + 1], headers)
            return
        headers["Accept-Ranges"] = "bytes" if self.server.site.ranges else "none"
        self._send(200, content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        site = self.server.site
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if site.lengths:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        with site.lock:
            cut = site.cuts.pop(0) if site.cuts and len(content) > site.cuts[0] else None
            piece = content if cut is None else content[:cut]
            site.sent[self._path] = site.sent.get(self._path, 0) + len(piece)
            held = site.hold_at is not None and sum(site.sent.values()) > site.hold_at
        if held:
            site.released.wait()
        try:
            self.wfile.write(piece)
        except OSError:
            self.close_connection = True
        self.close_connection = self.close_connection or cut is not None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Run the server; `site.address` is its address."""
    server = Server(site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
