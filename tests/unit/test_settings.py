import re

import pytest
from modelservice.settings import Settings, SettingsError
from pydantic import ValidationError


def test_without_any_variable_the_defaults_hold() -> None:
    settings = Settings.from_environment({})
    assert settings.namespace == "modelservice-system"
    assert settings.leader_election
    assert not settings.budget_required
    assert settings.http_port == 8080
    assert settings.time_scale == 1


def test_variables_are_read_by_the_name_of_the_field() -> None:
    settings = Settings.from_environment(
        {
            "MODELSERVICE_PROMETHEUS_URL": "http://prometheus.monitoring:9090",
            "MODELSERVICE_BUDGET_REQUIRED": "true",
            "MODELSERVICE_WORKERS": "16",
            "MODELSERVICE_LOG_FORMAT": "Json",
            "WORKERS": "1",
        }
    )
    assert settings.prometheus_url == "http://prometheus.monitoring:9090"
    assert settings.budget_required
    assert settings.workers == 16
    assert settings.log_format == "Json"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("HTTP_PORT", "70000"),
        ("PROMETHEUS_URL", "prometheus:9090"),
        ("BUDGET_REQUIRED", "perhaps"),
        ("TICK_SECONDS", "0"),
        ("FUSE_POLL_SECONDS", "60"),
        ("ADMISSION_POLICIES", "Pods,Ledgers"),
        ("TIME_SCALE", "2"),
        ("LOG_LEVEL", "loud"),
        ("NAMESPACE", ""),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"MODELSERVICE_{name}='{value}'")):
        Settings.from_environment({f"MODELSERVICE_{name}": value})


def test_every_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"MODELSERVICE_WORKERS": "x", "MODELSERVICE_HTTP_PORT": "y"})
    assert "MODELSERVICE_WORKERS" in str(caught.value)
    assert "MODELSERVICE_HTTP_PORT" in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().workers = 3  # type: ignore[misc]
