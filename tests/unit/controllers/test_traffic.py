"""What is read of the gateway's counters, and about whom."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelservice.controllers.traffic import REQUESTS, SECONDS, assemble, canaries, query, watch
from modelservice.domain.evidence import Evidence, Traffic
from modelservice.domain.specs import ServiceName
from modelservice.kit.errors import Unavailable
from modelservice.ports import Sample

CHAT = ServiceName("ns", "chat")


class Source:
    """Answers every query with the same samples."""

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples
        self.asked: list[str] = []

    async def query(self, promql: str) -> Sequence[Sample]:
        self.asked.append(promql)
        if not self.samples:
            raise Unavailable("Prometheus does not answer.")
        return self.samples


def sample(name: str, value: float, track: str = "canary", **labels: str) -> Sample:
    whose = {"service_namespace": "ns", "service_name": "chat", "track": track, "pod": "gateway-1"}
    return Sample({"__name__": name, **whose, **labels}, value, 1.0)


def test_only_services_with_a_canary_are_asked_about() -> None:
    def service(name: str, **canary: object) -> dict[str, object]:
        return {"metadata": {"namespace": "ns", "name": name}, "status": {"canary": canary} if canary else {}}

    told = {"revision": "abc", "since": "2026-01-01T00:00:00Z"}
    objects = [service("none"), service("chat", percent=10, **told)]
    assert canaries(objects) == {CHAT: ("abc", 1_767_225_600)}


def test_one_query_names_all_services_and_their_namespaces() -> None:
    asked = query([CHAT, ServiceName("other", "a-b")])
    assert asked == (f'{{__name__=~"{REQUESTS}|{SECONDS}",service_namespace=~"ns|other",service_name=~"a\\\\-b|chat"}}')


def test_samples_are_put_together_by_service_and_replica_and_bad_values_are_left_out() -> None:
    read = assemble(
        [
            sample(REQUESTS, 5.0, code="200"),
            sample(REQUESTS, math.nan, code="503"),
            sample(SECONDS, 4.0, "stable", le="0.5"),
            sample(SECONDS, 3.0, "stable", le="0.5", pod="gateway-2"),
        ]
    )
    one, two = "pod=gateway-1", "pod=gateway-2"
    assert read == {
        CHAT: Traffic(
            {
                one: {("canary", ("code", "200")): 5.0, ("stable", ("le", "0.5")): 4.0},
                two: {("stable", ("le", "0.5")): 3.0},
            }
        )
    }


async def test_without_canaries_nobody_is_asked_and_what_cannot_be_read_is_a_problem() -> None:
    source = Source()
    assert await watch(source, {}, {CHAT: Evidence(("abc", 1))}) == {}
    assert source.asked == []
    found = await watch(source, {CHAT: ("abc", 1)}, {})
    assert found[CHAT].problem == "Prometheus does not answer"
    assert "prometheus.url" in (await watch(None, {CHAT: ("abc", 1)}, {}))[CHAT].problem
    known = await watch(Source(sample(REQUESTS, 5.0, code="200")), {CHAT: ("abc", 1)}, found)
    assert "both revisions" in known[CHAT].problem
