"""What a status says of money and of pods that have ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from modelservice.api.convert import service_of
from modelservice.api.modelservice import ModelService
from modelservice.api.service_status import ModelServiceStatus
from modelservice.controllers.gather import Draft
from modelservice.controllers.report import facts, moved, status
from modelservice.controllers.world import World
from modelservice.domain.asks import Refused
from modelservice.domain.book import Blocked, Book, Placement, Refusal, Terms, Unit
from modelservice.domain.planner import ServicePlan
from modelservice.domain.prices import Billing
from modelservice.domain.relief import Relief
from modelservice.domain.unitcost import Minute, Tally

NOON = 1_783_684_800
AT = "2026-07-10T12:00:00Z"


@pytest.mark.parametrize(
    ("before", "spent", "age", "worth"),
    [
        (None, 0, 0, True),
        ("1.00", 1_000_000, 3600, False),
        ("1.00", 1_020_000, 59, False),
        ("1.00", 1_020_000, 60, True),
        ("1.00", 1_009_999, 3600, False),
        ("1.00", 1_010_000, 3600, True),
        ("1.00", 900_000, 60, True),
        ("0.00", 1, 60, True),
    ],
)
def test_spent_is_written_at_one_percent_and_at_most_once_a_minute(
    before: str | None, spent: int, age: int, worth: object
) -> None:
    assert moved(before, spent, AT, NOON + age) is worth


TRAINS_ONLY: dict[str, Any] = {
    "apiVersion": "modelservice.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"namespace": "ns", "name": "chat", "uid": "u", "generation": 1},
    "spec": {
        "training": {
            "runtime": "engine",
            "command": ["train"],
            "output": {"storageUri": "pvc://models/chat"},
            "resourcesPerNode": {"requests": {"cpu": "1", "memory": "1Gi"}},
        }
    },
}
TERMINATED = {"exitCode": 1, "startedAt": AT, "finishedAt": AT}
FAILED_POD: dict[str, Any] = {
    "metadata": {
        "namespace": "ns",
        "name": "chat-1",
        "uid": "p",
        "resourceVersion": "1",
        "creationTimestamp": AT,
        "labels": {
            "modelservice.dev/name": "chat",
            "modelservice.dev/role": "Training",
            "modelservice.dev/placement": "x",
        },
    },
    "spec": {"containers": []},
    "status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": TERMINATED}}]},
}


class Noon:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return NOON

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


def scene() -> tuple[World, Draft]:
    world = World(Noon(), book=Book(time=NOON))
    return world, Draft(service_of(ModelService.model_validate(TRAINS_ONLY)))


def test_a_service_of_which_no_pod_is_left_costs_nothing_an_hour() -> None:
    world, draft = scene()
    before = {"cost": {"currency": "USD", "hourly": "0.05", "spent": "0.00", "asOf": AT}}
    made = status({**TRAINS_ONLY, "status": before}, draft, ServicePlan(), world, ())
    assert (made["cost"]["hourly"], made["cost"]["currency"]) == ("0.00", "USD")


def test_a_service_is_funded_until_the_first_of_its_pods_that_go_on_is_paid_no_longer() -> None:
    world, draft = scene()
    terms = Terms("ns/chat", "Training", "cpu", "USD", {"ns/team": 3600}, Billing(30))
    other = replace(terms, service="ns/other")
    units = {"a": Unit(NOON)}
    records = (
        Placement("ns/chat-1", terms, NOON + 900, units),
        Placement("ns/chat-2", terms, NOON + 600, units),
        Placement("ns/chat-2~1", terms, NOON + 60, units),
        Placement("ns/chat-3", terms, NOON + 30),
        Placement("ns/other-1", other, NOON + 10, units),
    )
    world.book = Book(NOON, placements={record.name: record for record in records})
    assert status(TRAINS_ONLY, draft, ServicePlan(), world, ())["fundedUntil"] == "2026-07-10T12:10:00Z"
    world.book = Book(NOON, placements={"ns/chat-1": Placement("ns/chat-1", terms, None, units)})
    assert "fundedUntil" not in status(TRAINS_ONLY, draft, ServicePlan(), world, ())


@pytest.mark.parametrize(
    ("relief", "told"),
    [
        (Relief(NOON, never=False, replicas=2), {"affordableAt": AT, "fitsNow": {"replicas": 2}}),
        (
            Relief(None, never=True, replicas=0, pool="small", pods=3),
            {"fitsNow": {"replicas": 0, "pool": "small", "poolReplicas": 3}},
        ),
        (None, {}),
    ],
)
def test_a_refusal_stands_in_the_status_with_what_helps(relief: Relief | None, told: dict[str, Any]) -> None:
    world, draft = scene()
    world.reliefs = {draft.service.name: relief} if relief is not None else {}
    why = Refusal(Blocked.LIMIT, "ns/team", 2_000_000, 500_000, "USD")
    made = status(TRAINS_ONLY, draft, ServicePlan(refused=Refused(why, 1)), world, ())
    ModelServiceStatus.model_validate(made)
    figures = {"policy": "ns/team", "blockedBy": "Limit", "need": "2.00", "have": "0.50", "currency": "USD"}
    assert made["refusal"] == {**figures, "replicas": 1, **told}


def test_what_requests_cost_is_told_while_it_is_known() -> None:
    world, draft = scene()
    told = {"currency": "USD", "hourly": "0.00", "spent": "0.00", "perThousandRequests": "0.01", "asOf": AT}
    world.tallies[draft.service.name] = Tally((Minute(NOON, 36_000, 1000),))
    first = status({**TRAINS_ONLY, "status": {"cost": {**told, "asOf": "x"}}}, draft, ServicePlan(), world, ())["cost"]
    assert first["perThousandRequests"] == "0.01"
    world.tallies[draft.service.name] = Tally((Minute(NOON, 36_001, 1000),))
    assert status({**TRAINS_ONLY, "status": {"cost": told}}, draft, ServicePlan(), world, ())["cost"] == told
    world.tallies.clear()
    gone = status({**TRAINS_ONLY, "status": {"cost": told}}, draft, ServicePlan(), world, ())["cost"]
    assert "perThousandRequests" not in gone


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_a_training_pod_that_failed_is_the_last_failure_and_keeps_no_replica_from_being_ready(phase: str) -> None:
    world, draft = scene()
    world.caches.pods.observe({**FAILED_POD, "status": {**FAILED_POD["status"], "phase": phase}})
    assert facts(draft, ServicePlan(), world, "").troubles == ()
    assert status(TRAINS_ONLY, draft, ServicePlan(), world, ())["lastFailure"]["exitCode"] == 1
