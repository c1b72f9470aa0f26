"""Real servers on the loopback for a gateway under test, and the gateway itself."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from modelservice.cli.gateway import METRICS
from modelservice.gateway.gateway import Gateway
from modelservice.gateway.limits import Limits
from modelservice.gateway.objects import Address
from modelservice.kit.clock import SystemClock
from modelservice.kit.objects import Ref
from modelservice.kit.resync import Source

VERSIONS = itertools.count(1)
DECLARED = {metric.name: set(metric.labels) for metric in METRICS}
INFER = "/v2/models/m/infer"

Serve = Callable[["Heard", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Heard:
    """One request as a replica got it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


async def answer_ok(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """200 with what was heard."""
    body = json.dumps({"line": heard.line, "body": heard.body.decode("latin-1")}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@dataclass
class Replica:
    """A server that reads requests whole and lets `serve` answer; it keeps connections."""

    serve: Serve = answer_ok
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    ended: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> Replica:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                heard = await read_request(reader)
                self.heard.append(heard)
                await self.serve(heard, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # cancelled by stop(): 3.11 would log it
        finally:
            self.ended += 1
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]]:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = text.rstrip("\r\n").split("\r\n")
    return line, [(name, value.strip()) for name, _, value in (one.partition(":") for one in rest)]


async def read_request(reader: asyncio.StreamReader) -> Heard:
    heard = Heard(*await read_head(reader))
    if heard.header("Transfer-Encoding") == "chunked":
        while size := int((await reader.readline()).strip(), 16):
            heard.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif length := heard.header("Content-Length"):
        heard.body = await reader.readexactly(int(length))
    return heard


@dataclass
class Operator:
    """Stands where the API server is: takes the annotations."""

    patches: list[tuple[str, str, str, Any]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def patch_merge(self, kind: str, namespace: str, name: str, patch: Any, *, manager: str) -> object:
        self.patches.append((kind, namespace, name, patch))
        if self.failures:
            raise self.failures.pop(0)
        return None


@dataclass
class Figures:
    """What the gateway has counted."""

    counts: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        assert DECLARED[name] == labels.keys(), name
        key = name, tuple(sorted(labels.items()))
        self.counts[key] = self.counts.get(key, 0) + amount

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        self.count(name, **labels)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        assert DECLARED[name] == labels.keys(), name
        self.gauges[name, tuple(sorted(labels.items()))] = value

    def of(self, name: str, **labels: str) -> float:
        """The sum over the series that have these labels."""
        wanted = set(labels.items())
        return sum(value for (key, has), value in self.counts.items() if key == name and wanted <= set(has))


def model_service(
    name: str = "llm",
    namespace: str = "team",
    *,
    minimum: int = 1,
    percent: int | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": name, "annotations": annotations or {}}
    given = {"inference": {"minReplicas": minimum, **spec.pop("inference", {})}, **spec}
    status = {} if percent is None else {"canary": {"percent": percent}}
    return {"kind": "ModelService", "metadata": meta, "spec": given, "status": status}


def endpoint_slice(
    name: str, hosts: dict[str, dict[str, Any]], *, namespace: str = "team", port: int = 8080
) -> dict[str, Any]:
    """A slice of the Service `name`; hosts with their conditions."""
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": namespace,
            "uid": f"{name}-1",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [host], "conditions": conditions} for host, conditions in hosts.items()],
    }


@dataclass
class Stage:
    """A gateway between a client and replicas, fed as the watches would."""

    gateway: Gateway
    operator: Operator
    figures: Figures
    port: int
    dials: dict[str, int]
    sources: list[Source]
    replicas: list[Replica] = field(default_factory=list)

    def show(self, obj: dict[str, Any], event: str = "MODIFIED") -> None:
        """An event of a watch."""
        obj["metadata"]["resourceVersion"] = str(next(VERSIONS))
        next(one for one in self.sources if one.kind == obj["kind"]).observe(event, obj)

    async def replica(self, host: str, serve: Serve = answer_ok) -> Replica:
        """A replica that is reached at `host`; it is not ready yet."""
        replica = await Replica(serve).start()
        self.replicas.append(replica)
        self.dials[host] = replica.port
        return replica

    def ready(self, *hosts: str, service: str = "llm", namespace: str = "team") -> None:
        """Show which replicas are ready."""
        self.show(endpoint_slice(service, {host: {"ready": True} for host in hosts}, namespace=namespace))

    async def ask(
        self,
        method: str = "POST",
        path: str = INFER,
        body: bytes = b"{}",
        host: str = "llm.team",
        headers: tuple[str, ...] = (),
    ) -> Answer:
        """One request on a connection of its own."""
        more = "".join(f"{line}\r\n" for line in headers)
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}{more}\r\n"
        return await self.send(head.encode("latin-1") + body, method)

    async def send(self, data: bytes, method: str = "POST") -> Answer:
        """Raw bytes on a connection of their own; the answer is read to its end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            await writer.drain()
            return await read_answer(reader, method)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def sentence(self) -> str:
        error = json.loads(self.body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)


async def read_answer(reader: asyncio.StreamReader, method: str = "POST") -> Answer:
    """One answer; raises IncompleteReadError when it is cut off."""
    line, headers = await read_head(reader)
    if " 100 " in line:
        line, headers = await read_head(reader)
    answer = Answer(int(line.split()[1]), headers, b"")
    if method == "HEAD" or answer.status in (204, 304):
        return answer
    if answer.header("Transfer-Encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            answer.body += (await reader.readexactly(size + 2))[:-2]
    elif (length := answer.header("Content-Length")) is not None:
        answer.body = await reader.readexactly(int(length))
    else:
        answer.body = await reader.read()
    return answer


@asynccontextmanager
async def staged(**limits: Any) -> AsyncIterator[Stage]:
    """A gateway with these limits."""
    operator, figures = Operator(), Figures()
    dials: dict[str, int] = {}

    def dial(address: Address) -> Address:
        return Address("127.0.0.1", dials[address.host])

    forgotten: list[Ref] = []
    gateway = Gateway(operator, SystemClock(), figures, Limits(**limits), dial=dial, deleted=forgotten.append)
    port = await gateway.start("127.0.0.1", 0)
    stage = Stage(gateway, operator, figures, port, dials, gateway.directory.sources())
    try:
        yield stage
    finally:
        await gateway.stop()
        for replica in stage.replicas:
            await replica.stop()
        await asyncio.sleep(0)


async def until(what: str, look: Callable[[], object]) -> None:
    """Let the loop run until there is something true to see."""
    deadline = asyncio.get_running_loop().time() + 10
    while not look():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)
