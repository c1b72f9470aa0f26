from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelservice.gateway.balance import Track
from modelservice.gateway.directory import Directory
from modelservice.gateway.objects import Address
from modelservice.kit.objects import Ref
from modelservice.kit.workqueue import LIVE

from tests.unit.gateway.backends import VERSIONS, endpoint_slice, model_service

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
LLM = Ref("team", "llm")


@dataclass
class World:
    """A directory, fed as the watches would, and what it told."""

    gone: list[str] = field(default_factory=list)
    deleted: list[Ref] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory = Directory(lambda address: self.gone.append(address.host), self.deleted.append)
        self.sources = {source.kind: source for source in self.directory.sources()}

    def show(self, obj: dict[str, Any], event: str = "MODIFIED") -> None:
        obj["metadata"]["resourceVersion"] = str(next(VERSIONS))
        self.sources[obj["kind"]].observe(event, obj)

    def ready(self, track: Track = Track.STABLE, ref: Ref = LLM) -> set[str]:
        return {address.host for address in self.directory[ref].replicas[track]}


def named(name: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "name": name}}


async def test_replicas_that_are_known_before_their_service_are_there_with_it() -> None:
    world = World()
    world.show(endpoint_slice("llm", {A: {}}))
    world.show(endpoint_slice("llm-canary", {B: {}}))
    assert LLM not in world.directory
    world.show(model_service())
    assert (world.ready(), world.ready(Track.CANARY)) == ({A}, {B})
    assert list(world.directory.namespaces("llm")) == ["team"]


async def test_the_slices_of_one_service_count_together_and_each_replica_once() -> None:
    world = World()
    world.show(model_service())
    world.show(endpoint_slice("llm", {A: {}, B: {}}))
    world.show(named("llm-2", endpoint_slice("llm", {B: {}, C: {}})))
    assert world.ready() == {A, B, C}
    world.show(endpoint_slice("llm", {}), "DELETED")
    assert world.ready() == {B, C}
    assert world.gone == [A]


async def test_a_slice_whose_end_only_a_list_showed_takes_its_replicas_along() -> None:
    world = World()
    world.show(model_service())
    world.show(endpoint_slice("llm", {A: {}}))
    source, ref = world.sources["EndpointSlice"], Ref("team", "llm-1")
    source.cache.bury(ref, next(VERSIONS))
    source.changed({"kind": "EndpointSlice", "metadata": {"namespace": "team", "name": "llm-1"}}, LIVE)
    assert world.ready() == set()
    assert world.gone == [A]


async def test_a_replica_keeps_its_count_while_others_come_and_go() -> None:
    world = World()
    world.show(model_service())
    world.show(endpoint_slice("llm", {A: {}}))
    replica = world.directory[LLM].replicas[Track.STABLE][Address(A, 8080)]
    replica.in_flight = 3
    world.show(endpoint_slice("llm", {A: {}, B: {}}))
    world.show(endpoint_slice("llm", {A: {}}))
    assert world.directory[LLM].replicas[Track.STABLE][Address(A, 8080)] is replica
    assert not replica.gone
    world.show(endpoint_slice("llm", {A: {"terminating": True}}))
    assert replica.gone


async def test_a_service_of_its_own_is_nobodys_canary() -> None:
    world = World()
    world.show(model_service())
    world.show(model_service("llm-canary"))
    world.show(endpoint_slice("llm-canary", {A: {}}))
    assert world.ready(Track.CANARY) == set()
    assert world.ready(ref=Ref("team", "llm-canary")) == {A}


async def test_a_service_that_is_deleted_is_forgotten_with_its_replicas() -> None:
    world = World()
    world.show(model_service())
    world.show(endpoint_slice("llm", {A: {}}))
    world.show(model_service(), "DELETED")
    assert LLM not in world.directory
    assert not world.directory.namespaces("llm")
    assert (world.gone, world.deleted) == ([A], [LLM])
    world.show(endpoint_slice("llm", {A: {}, B: {}}))
    world.show(model_service())
    assert world.ready() == {A, B}
