from __future__ import annotations

from typing import Any

import pytest
from modelservice.gateway.objects import Address, Slice, by_service, read_service, read_slice
from modelservice.kit.objects import Ref

from tests.unit.gateway.backends import endpoint_slice, model_service


def test_what_a_service_says_of_parking_and_its_canary_is_read() -> None:
    service = read_service(
        model_service(
            minimum=0,
            percent=20,
            annotations={"modelservice.dev/wake-requested-at": "2026-01-01T00:00:00Z"},
            inference={"scaling": {"scaleToZero": {"holdTimeoutSeconds": 30}}},
        )
    )
    assert service.ref == Ref("team", "llm")
    assert (service.serves, service.suspended, service.parks) == (True, False, True)
    assert (service.hold_seconds, service.canary_percent) == (30, 20)
    assert service.wake_requested_at == "2026-01-01T00:00:00Z"


def test_a_service_that_only_trains_serves_nothing() -> None:
    service = read_service({"metadata": {"namespace": "team", "name": "llm"}, "spec": {"training": {}}})
    assert not service.serves
    assert not service.parks


@pytest.mark.parametrize(
    ("conditions", "takes"),
    [
        ({"ready": True}, True),
        ({}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
    ],
)
def test_only_endpoints_that_are_ready_and_stay_take_requests(conditions: dict[str, Any], *, takes: bool) -> None:
    found = read_slice(endpoint_slice("llm", {"10.0.0.1": conditions}))
    assert found == Slice((Address("10.0.0.1", 8080),) if takes else ())


def test_a_slice_without_our_port_or_with_names_has_no_replica() -> None:
    other = endpoint_slice("llm", {"10.0.0.1": {}})
    other["ports"] = [{"name": "metrics", "port": 9090}]
    names = endpoint_slice("llm", {"a.example": {}})
    names["addressType"] = "FQDN"
    empty = {**endpoint_slice("llm", {}), "endpoints": None, "ports": None}
    assert [read_slice(one) for one in (other, names, empty)] == [Slice(())] * 3


def test_a_slice_belongs_to_the_service_that_its_label_names() -> None:
    assert by_service(endpoint_slice("llm", {})) == [Ref("team", "llm")]
    assert by_service({"metadata": {"namespace": "team", "name": "x"}}) == []
