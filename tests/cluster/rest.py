"""A thin HTTP client for the API server: what it answers, word for word, as any user."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx
import yaml

Object = dict[str, Any]
T = TypeVar("T")

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks; without a name, the owner of the kubeconfig."""

    name: str = ""
    groups: tuple[str, ...] = ()

    @property
    def headers(self) -> list[tuple[str, str]]:
        if not self.name:
            return []
        return [("Impersonate-User", self.name), *(("Impersonate-Group", group) for group in self.groups)]


@dataclass(frozen=True, slots=True)
class Reply:
    """Status code and body; `message` is the sentence of a refusal."""

    code: int
    body: Object

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    def ok(self) -> Object:
        """The body of a request that must have worked."""
        assert self.code < 300, f"{self.code}: {self.message}"
        return self.body


class Rest:
    """One API server, asked as the owner of a kubeconfig or on behalf of somebody else."""

    def __init__(self, client: httpx.Client, person: Person | None = None) -> None:
        self._client = client
        self._person = person or Person()

    def person(self, name: str, *groups: str) -> Rest:
        """The same server, asked on behalf of a user."""
        return Rest(self._client, Person(name, groups))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Reply:
        headers = [("Content-Type", content), ("Accept", accept), *self._person.headers]
        answer = self._client.request(method, path, json=body, headers=headers)
        return Reply(answer.status_code, answer.json())

    def get(self, path: str, *, accept: str = "application/json") -> Reply:
        return self.ask("GET", path, accept=accept)

    def post(self, path: str, body: Object) -> Reply:
        return self.ask("POST", path, body)

    def put(self, path: str, body: Object) -> Reply:
        return self.ask("PUT", path, body)

    def patch(self, path: str, body: Any, content: str = MERGE) -> Reply:
        return self.ask("PATCH", path, body, content=content)

    def delete(self, path: str) -> Reply:
        return self.ask("DELETE", path)


def until(what: str, look: Callable[[], T | None], *, seconds: float = 30) -> T:
    """Look again until there is something to see; fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        if seen := look():
            return seen
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.1)


@contextmanager
def connect(kubeconfig: Path) -> Iterator[Rest]:
    """A client with the server, authority and certificate of the kubeconfig's current context."""
    server, tls = credentials(kubeconfig)
    with httpx.Client(base_url=server, verify=tls, timeout=30, trust_env=False) as client:
        yield Rest(client)


async def watch(kubeconfig: Path, path: str, began: asyncio.Event) -> AsyncGenerator[Object]:
    """What a list holds when `began` is set, then every later version, none left out, until the reader goes away."""
    server, tls = credentials(kubeconfig)
    async with httpx.AsyncClient(base_url=server, verify=tls, timeout=None, trust_env=False) as client:  # noqa: S113
        while (answer := await client.get(path)).status_code in (404, 429, 503):  # noqa: ASYNC110 - a kind that is not served yet
            await asyncio.sleep(0.1)
        listing = answer.raise_for_status().json()
        began.set()
        for obj in listing["items"]:
            yield obj
        query = {"watch": "1", "resourceVersion": listing["metadata"]["resourceVersion"]}
        async with client.stream("GET", path, params=query) as stream:
            async for line in stream.aiter_lines():
                event = json.loads(line)
                assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
                yield event["object"]


def credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """The server of the current context, and what proves who asks."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    with TemporaryDirectory(prefix="ms-rest-") as directory:
        authority, certificate, key = (
            _file(source, name, Path(directory), kubeconfig.parent)
            for source, name in (
                (cluster, "certificate-authority"),
                (user, "client-certificate"),
                (user, "client-key"),
            )
        )
        tls = ssl.create_default_context(cafile=authority)
        tls.load_cert_chain(certificate, key)
    return cluster["server"], tls


def _named(entries: list[Object], name: str) -> Object:
    return next(entry for entry in entries if entry["name"] == name)


def _file(source: Object, name: str, scratch: Path, beside: Path) -> Path:
    if name in source:
        return beside / str(source[name])
    target = scratch / name
    target.write_bytes(base64.b64decode(source[f"{name}-data"]))
    return target
