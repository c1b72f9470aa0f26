"""A proxy in front of the API server that counts what a client asks for and breaks its watches on request."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from modelservice.adapters.kube import Kube

SKIPPED = {
    "host",
    "authorization",
    "connection",
    "transfer-encoding",
    "content-length",
    "accept-encoding",
    "content-encoding",
}


@dataclass
class Proxy:
    """Plain HTTP on the loopback in front, the client certificate of `behind` towards the server.

    Attributes:
        writes: method and path of every request that is not a GET.
        lists: paths of requests for lists.
        watches: how many watches are open now.
        failing: how many of the next lists are answered with 503.
        refused: a bearer token that is answered with 401.
        person: headers that make the server see somebody else than the administrator.
    """

    behind: Kube
    writes: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    watches: int = 0
    failing: int = 0
    refused: str = ""
    person: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)
    _errors: list[dict[str, Any]] = field(default_factory=list)

    def kubeconfig(self, directory: Path) -> Path:
        """A kubeconfig that leads through the proxy."""
        path = directory / "through-the-proxy"
        named = {"name": "proxy"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def hold(self) -> None:
        """Cut every watch, and let nothing through until `release`."""
        self._open.clear()
        self._cut.set()

    def release(self, *, error: int = 0, watches: int = 1) -> None:
        """Let requests through; the next `watches` watches get that error event first: 410 means expired."""
        self._cut.clear()
        status = {"kind": "Status", "apiVersion": "v1", "code": error, "reason": "Injected", "message": "injected"}
        self._errors = [{"type": "ERROR", "object": status}] * (watches if error else 0)
        self._open.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await self._open.wait()
        if self.refused and request.headers.get("Authorization") == f"Bearer {self.refused}":
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized"}, status=401)
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.path}")
        if "watch" in request.query:
            return await self._watch(request)
        if "limit" in request.query:
            self.lists.append(request.path)
            if self.failing > 0:
                self.failing -= 1
                return web.Response(status=503, text="injected")
        async with self._forward(request) as answer:
            headers = {key: value for key, value in answer.headers.items() if key.lower() not in SKIPPED}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if self._errors:
            await response.write(json.dumps(self._errors.pop()).encode() + b"\n")
            return response
        async with self._forward(request) as answer:
            cut = asyncio.create_task(self._cut.wait())
            self.watches += 1
            try:
                while True:
                    line = asyncio.create_task(answer.content.readline())
                    await asyncio.wait({line, cut}, return_when=asyncio.FIRST_COMPLETED)
                    if not line.done() or not line.result():
                        line.cancel()
                        return response
                    await response.write(line.result())
            finally:
                self.watches -= 1
                cut.cancel()

    @asynccontextmanager
    async def _forward(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in SKIPPED}
        headers |= self.person
        url = self.behind.configuration.host + request.path_qs
        body = await request.read()
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            yield answer

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Proxy]:
        """Listen on a free port of the loopback."""
        configuration = self.behind.configuration
        tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        assert configuration.cert_file is not None
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        timeout = aiohttp.ClientTimeout(total=None)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        self._open.set()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), timeout=timeout, read_bufsize=2**22
        ) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            try:
                yield self
            finally:
                self._cut.set()
                self._open.set()
                await runner.cleanup()
