"""One run of the operator from start to stop: probes, leadership, signals, exit status."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from modelservice import app
from modelservice.adapters.kube import Kube
from modelservice.app import Controllers, Tools
from modelservice.kit.cache import object_cache
from modelservice.kit.controller import Result
from modelservice.kit.errors import Conflict
from modelservice.kit.leader import LeaseLost
from modelservice.kit.objects import Key, key_of
from modelservice.kit.resync import Source

from tests.cluster.conftest import Runs, get, manifest, until
from tests.cluster.plane import REPO


class Maps:
    """A controller of ConfigMaps with a label: it notes what it reconciles."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.reconciled: list[Key] = []
        self.ticks = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.finished = 0

    def build(self, tools: Tools) -> Controllers:
        def changed(obj: dict[str, Any], priority: int) -> None:
            tools.queue.add(key_of("ConfigMap", obj), priority=priority)

        source = Source("ConfigMap", object_cache(), changed, self.namespace, f"run={self.namespace}")
        return Controllers([source], {"ConfigMap": self.reconcile}, [self.tick])

    async def reconcile(self, key: Key) -> Result | None:
        self.reconciled.append(key)
        await self.hold.wait()
        self.finished += 1
        return None

    async def tick(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(0.05)


async def add(kube: Kube, namespace: str, name: str) -> None:
    await kube.create(manifest("v1", "ConfigMap", name, namespace, labels={"run": namespace}), manager="tests")


async def test_what_is_there_and_what_comes_is_reconciled_and_probes_say_so(
    kube: Kube, namespace: str, operators: Runs
) -> None:
    maps = Maps(namespace)
    await add(kube, namespace, "before")
    operator = await operators.start(maps.build)

    async def both() -> bool:
        return {key.name for key in maps.reconciled} == {"before", "after"}

    await add(kube, namespace, "after")
    await until("both ConfigMaps to be reconciled", both)
    assert await get(operator.port, "/healthz") == (200, "ok\n")
    assert await get(operator.port, "/readyz") == (200, "ok\n")
    _, metrics = await get(operator.port, "/metrics")
    assert 'modelservice_operator_reconcile_total{controller="ConfigMap",result="success"} 2.0' in metrics
    assert "modelservice_operator_cache_synced 1.0" in metrics
    assert maps.ticks > 0


async def test_a_signal_stops_the_run_of_the_tests_and_not_only_the_operator_in_it(
    namespace: str, operators: Runs
) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        operator = await operators.start(Maps(namespace).build)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        assert (came, operator.stopping.is_set()) == ([signal.SIGTERM], False)
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_stop_finishes_what_is_in_work_and_then_ends(kube: Kube, namespace: str, operators: Runs) -> None:
    maps = Maps(namespace)
    operator = await operators.start(maps.build)
    maps.hold.clear()
    await add(kube, namespace, "a")

    async def begun() -> bool:
        return bool(maps.reconciled)

    await until("the reconciliation to begin", begun)
    asyncio.get_running_loop().call_later(0.5, maps.hold.set)
    await operators.stop(operator)
    assert maps.finished == 1
    ticks = maps.ticks
    await asyncio.sleep(0.2)
    assert maps.ticks == ticks


async def test_a_leader_that_loses_its_lease_stops_its_work_and_fails(
    kube: Kube, namespace: str, operators: Runs
) -> None:
    maps = Maps(namespace)
    operator = await operators.start(maps.build, leader_election=True, namespace=namespace, time_scale=0.1)

    async def steal() -> bool:
        if not maps.ticks:
            return False
        lease = (await kube.get("Lease", namespace, app.LEASE)).object
        lease["spec"]["holderIdentity"] = "somebody-else"
        with contextlib.suppress(Conflict):  # it was renewed in between
            await kube.replace(lease, manager="tests")
            return True
        return False

    await until("the lease to be taken away", steal)
    (task,) = (task for one, task in operators.tasks if one is operator)
    operators.tasks.clear()
    with pytest.raises(LeaseLost, match="somebody-else holds the lease now"):
        await asyncio.wait_for(task, 30)


async def test_a_task_of_a_controller_that_breaks_ends_the_operator(namespace: str, operators: Runs) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("a bug outside of a reconciliation")

    operator = await operators.start(lambda _tools: Controllers([], {}, [broken]))
    (task,) = (task for one, task in operators.tasks if one is operator)
    operators.tasks.clear()
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(task, 30)


@asynccontextmanager
async def command(*arguments: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELSERVICE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "modelservice.cli.main",
        *arguments,
        cwd=REPO,
        env={**environment, "PYTHONPATH": str(REPO / "operator"), **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def as_replica(operators: Runs, namespace: str) -> dict[str, str]:
    """Settings of a replica in a process of its own, with a short lease."""
    return {
        "MODELSERVICE_KUBECONFIG": str(operators.kubeconfig),
        "MODELSERVICE_NAMESPACE": namespace,
        "MODELSERVICE_IDENTITY": "the-command",
        "MODELSERVICE_HTTP_HOST": "127.0.0.1",
        "MODELSERVICE_HTTP_PORT": "0",
        "MODELSERVICE_TIME_SCALE": "0.3",
    }


async def holder(kube: Kube, namespace: str) -> str:
    listed = await kube.list("Lease", namespace=namespace, field_selector=f"metadata.name={app.LEASE}")
    return str(listed.items[0]["spec"].get("holderIdentity", "")) if listed.items else ""


async def test_the_command_ends_with_0_on_sigterm_and_gives_the_lease_back(
    kube: Kube, operators: Runs, namespace: str
) -> None:
    async with command("run", **as_replica(operators, namespace)) as process:
        held = await until("the command to lead", lambda: holder(kube, namespace), seconds=60)
        assert held == "the-command"
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, said.decode()[-2000:]
    assert await holder(kube, namespace) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_standby_is_ready_does_nothing_and_takes_over_when_the_leader_goes(
    kube: Kube, operators: Runs, namespace: str, number: signal.Signals
) -> None:
    maps = Maps(namespace)
    async with command("run", **as_replica(operators, namespace)) as leader:
        await until("the command to lead", lambda: holder(kube, namespace), seconds=60)
        standby = await operators.start(maps.build, leader_election=True, namespace=namespace, time_scale=0.3)
        await add(kube, namespace, "a")
        await asyncio.sleep(1)
        assert (await get(standby.port, "/readyz"))[0] == 200
        assert (maps.ticks, maps.reconciled) == (0, [])
        leader.send_signal(number)

        async def took_over() -> bool:
            return bool(maps.ticks and maps.reconciled)

        await until("the standby to take over", took_over, seconds=30)
    assert await holder(kube, namespace) == standby.settings.identity


@pytest.mark.parametrize(
    ("settings", "status", "sentence"),
    [
        ({"MODELSERVICE_WORKERS": "many"}, 2, "MODELSERVICE_WORKERS='many'"),
        ({"MODELSERVICE_KUBECONFIG": "/no/such/file"}, 1, "No way to log in to Kubernetes through /no/such/file"),
    ],
)
async def test_what_keeps_the_command_from_starting_is_one_sentence(
    settings: dict[str, str], status: int, sentence: str
) -> None:
    async with command("run", **settings) as process:
        _, said = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == status
    assert sentence in said.decode()
    assert "Traceback" not in said.decode()


async def test_a_taken_port_is_one_sentence(operators: Runs, unused_tcp_port: int) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", unused_tcp_port)
    async with server:
        settings = {
            "MODELSERVICE_KUBECONFIG": str(operators.kubeconfig),
            "MODELSERVICE_HTTP_HOST": "127.0.0.1",
            "MODELSERVICE_HTTP_PORT": str(unused_tcp_port),
        }
        async with command("run", **settings) as process:
            _, said = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 1
    assert f"127.0.0.1:{unused_tcp_port} cannot be listened on" in said.decode()
    assert "Traceback" not in said.decode()


async def test_the_version_is_printed() -> None:
    async with command("version") as process:
        out, _ = await asyncio.wait_for(process.communicate(), 40)
    assert (process.returncode, out.decode()) == (0, "0.1.0\n")


def test_the_source_root_never_shadows_the_standard_library() -> None:
    assert not (Path(REPO) / "operator" / "__init__.py").exists()
