from __future__ import annotations

import pytest
from modelservice.cli.gateway import limits
from modelservice.cli.main import main
from modelservice.gateway.limits import Limits
from modelservice.settings import GatewaySettings


def test_a_wrong_setting_of_the_gateway_ends_it_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELSERVICE_GATEWAY_PORT", "70000")
    monkeypatch.setenv("MODELSERVICE_HOLD_TIMEOUT_SECONDS", "0")
    assert main(["gateway"]) == 2
    said = capsys.readouterr().err
    assert "MODELSERVICE_GATEWAY_PORT='70000'" in said
    assert "MODELSERVICE_HOLD_TIMEOUT_SECONDS='0'" in said


def test_the_settings_have_the_limits_of_the_gateway_as_their_defaults() -> None:
    assert limits(GatewaySettings()) == Limits()


def test_every_limit_can_be_set() -> None:
    given = {
        "MAX_CONNECTIONS": 1, "MAX_BODY_BYTES": 2, "KEPT_BODY_BYTES": 2000, "KEPT_TOTAL_BYTES": 4,
        "IDLE_TIMEOUT_SECONDS": 5, "HEAD_TIMEOUT_SECONDS": 6, "CLIENT_TIMEOUT_SECONDS": 7,
        "CONNECT_TIMEOUT_SECONDS": 8, "REPLICA_TIMEOUT_SECONDS": 9, "HOLD_TIMEOUT_SECONDS": 10, "MAX_HELD_REQUESTS": 11,
    }  # fmt: skip
    settings = GatewaySettings.from_environment({f"MODELSERVICE_{name}": str(value) for name, value in given.items()})
    assert limits(settings) == Limits(1, 2, 2000, 4, 5, 6, 7, 8, 9, 10, 11)
