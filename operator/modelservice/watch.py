"""Kopf as the informer: each event of a watch goes into a source, and nothing else happens in a handler."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import kopf

from modelservice.kit.resync import Source
from modelservice.ports import RESOURCES, Connection

UNUSED_FINALIZER = "modelservice.dev/kopf-unused"
"""Kopf takes the finalizer of this name away from every object it sees, so it must be one that nobody uses."""

CHUNK = 500


class JitteredForever:
    """Seconds between tries of a request that fails: endless, so that the watches outlive any outage of the API."""

    def __iter__(self) -> Iterator[float]:
        for seconds in itertools.chain((1, 2, 4, 8, 15), itertools.repeat(30)):
            yield seconds * random.uniform(0.7, 1.3)  # noqa: S311 - jitter is no secret


async def run(
    sources: Sequence[Source],
    login: Callable[[], Awaitable[Connection]],
    *,
    stop: asyncio.Event,
    ready: asyncio.Event,
    after_start: Callable[[], None] = lambda: None,
) -> None:
    """Watch all sources until `stop` is set; `ready` is set when the watches start.

    Kopf ends with an exception when a watch breaks with anything but an expired version. It takes SIGTERM and SIGINT
    for itself, so `after_start` may take them back.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry(sources, login),
        settings=settings(sources),
        clusterwide=True,
        stop_flag=stop,
        ready_flag=ready,
    )
    after_start()
    await kopf.run_tasks(tasks, ignored=_TasksOfOthers())


class _TasksOfOthers(Collection[asyncio.Task[Any]]):
    """All tasks that do not run Kopf's code.

    At its end Kopf waits for every task that is not in a given collection, and then cancels it. Meant are those that
    existed before its start; but ours that came later, and those of the HTTP server, are no business of Kopf either.
    """

    _home = str(Path(kopf.__file__).parent)

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or not code.co_filename.startswith(self._home)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(task for task in asyncio.all_tasks() if task in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _NoDifferences(kopf.DiffBaseStorage):
    """What Kopf compares an object with to find what has changed: nothing, for no handler of ours asks.

    Otherwise it copies every object of every event several times, which is half of what the operator computes.
    """

    def build(self, **_: object) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: object) -> None:
        pass


def settings(sources: Sequence[Source]) -> kopf.OperatorSettings:
    """Kopf reduced to watching: it writes nothing, elects nobody, scans nothing and never gives up."""
    kopf_settings = kopf.OperatorSettings()
    kopf_settings.networking.request_timeout = 30
    kopf_settings.networking.connect_timeout = 5
    kopf_settings.networking.error_backoffs = JitteredForever()
    kopf_settings.watching.server_timeout = 290
    kopf_settings.watching.client_timeout = 300
    kopf_settings.watching.chunk_size = CHUNK
    kopf_settings.queueing.worker_limit = None
    kopf_settings.queueing.idle_timeout = 2.0
    kopf_settings.posting.enabled = False
    kopf_settings.peering.standalone = True
    kopf_settings.scanning.disabled = True
    kopf_settings.persistence.finalizer = UNUSED_FINALIZER
    kopf_settings.persistence.diffbase_storage = _NoDifferences()
    for source in sources:
        if source.label_selector:
            resource = RESOURCES[source.kind]
            selected = (resource.group, resource.version, resource.plural)
            kopf_settings.watching.label_selectors[selected] = source.label_selector
    return kopf_settings


def registry(sources: Sequence[Source], login: Callable[[], Awaitable[Connection]]) -> kopf.OperatorRegistry:
    """One handler for each source, and the login."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def on_login(**_: object) -> kopf.ConnectionInfo:
        now = await login()
        return kopf.ConnectionInfo(
            server=now.server,
            ca_path=now.ca_path,
            insecure=now.insecure,
            certificate_path=now.certificate_path,
            private_key_path=now.private_key_path,
            token=now.token,
        )

    for source in sources:
        _watch(handlers, source)
    return handlers


def _watch(handlers: kopf.OperatorRegistry, source: Source) -> None:
    resource = RESOURCES[source.kind]

    @kopf.on.event(resource.group, resource.version, resource.plural, id=f"watch-{source.kind}", registry=handlers)
    async def on_event(event: kopf.RawEvent, **_: object) -> None:
        source.observe(event["type"], dict(event["object"]))
