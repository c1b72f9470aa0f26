"""Pools, runtimes and services for tests of the decisions."""

from __future__ import annotations

from typing import Any

from modelservice.domain.ledger import Policy
from modelservice.domain.periods import Calendar, Period
from modelservice.domain.placement import select
from modelservice.domain.prices import Billing, BillingStart
from modelservice.domain.snapshot import Deployed, Pod, ServiceView, Wish
from modelservice.domain.specs import Engine, Pool, Role, Runtime, ServiceName, Workload
from modelservice.domain.tariff import fixed

HOUR = 3600
USD = 1_000_000
NOW = 1_767_225_600 + 6 * HOUR  # 06:00 UTC: far from the end of the day

REQUESTS = {"cpu": "1", "memory": "1Gi"}


def pool(name: str = "cpu", price: int = 4 * USD, **more: Any) -> Pool:
    """Nodes with 4 cpu: a pod that asks for one costs a quarter."""
    given: dict[str, Any] = {
        "currency": "USD",
        "accelerator": "CPU",
        "resource": None,
        "allocatable": {"cpu": 4000, "memory": 16 * 2**30},
        "selector": {"pool": name},
        "tolerations": (),
        "tariff": fixed(more.pop("prices", {"OnDemand": price})),
        "margin_percent": 0,
        "billing": Billing(30, begins=BillingStart.RUNNING),
        "start_seconds": 30,
    }
    return Pool(name=name, **{**given, **more})


def gpu_pool(name: str = "gpu", price: int = 8 * USD, **more: Any) -> Pool:
    """Nodes with 4 devices."""
    room = {"cpu": 8000, "memory": 32 * 2**30, "nvidia.com/gpu": 4}
    return pool(name, price, accelerator="GPU", resource="nvidia.com/gpu", allocatable=room, **more)


def workload(**more: Any) -> Workload:
    given: dict[str, Any] = {"runtime": "engine", "requests": REQUESTS}
    return Workload(**{**given, **more})


def runtime(role: Role = Role.INFERENCE, **more: Any) -> Runtime:
    requests = ("r_total",)
    series = {"running": ("r_running",), "waiting": ("r_waiting",), "requests": requests, "activity": requests}
    engines = {"CPU": Engine("engine:cpu", ("serve",)), "GPU": Engine("engine:gpu", ("serve", "--gpu"))}
    given: dict[str, Any] = {"port": 8080, "metrics_path": "/metrics", "series": series, "engines": engines}
    return Runtime(name="engine", role=role, **{**given, **more})


def policy(limit: int = 100 * USD, max_rate: int | None = None, name: str = "ns/team", currency: str = "USD") -> Policy:
    return Policy(name, currency, limit, Period(Calendar.DAY, "UTC"), max_rate)


def wish(count: int, *pools: Pool, service: str = "chat", currencies: set[str] | None = None, **more: Any) -> Wish:
    """So many replicas on whichever of the pools fits; the placement is named after the pool."""
    selection = select(workload(**more), runtime(), pools, {one.name: currencies or set() for one in pools})
    return Wish(
        selection, {option.pool.name: f"ns/{service}-{option.pool.name}" for option in selection.options}, count
    )


def view(count: int, *pools: Pool, name: str = "chat", deployed: tuple[Deployed, ...] = (), **more: Any) -> ServiceView:
    """A service of the namespace `ns` that wants so many replicas."""
    given: dict[str, Any] = {"suspended": False, "inference": wish(count, *pools, service=name), "keep": count}
    return ServiceView(name=ServiceName("ns", name), deployed=deployed, **{**given, **more})


def pod(uid: str, work: str = "ns/chat-cpu", **more: Any) -> Pod:
    """A gated pod of a Deployment as it is born."""
    service = ServiceName("ns", work.partition("/")[2].rpartition("-")[0])
    given: dict[str, Any] = {
        "version": "1",
        "role": Role.INFERENCE,
        "created_at": NOW,
        "gated": True,
        "requests": {"cpu": 1000, "memory": 2**30},
        "selector": {"pool": work.rpartition("-")[2]},
    }
    return Pod(uid=uid, namespace="ns", name=uid, service=service, workload=work, **{**given, **more})


def running(uid: str, work: str = "ns/chat-cpu", started_at: int | None = NOW, **more: Any) -> Pod:
    """A pod that has been let go, is bound and runs."""
    given: dict[str, Any] = {"gated": False, "node": "n1", "started_at": started_at, "ready_since": started_at}
    return pod(uid, work, **{**given, **more})
