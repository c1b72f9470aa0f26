"""What workers read from and tell their environment: settings, CPU limit, termination message, training metrics."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from modelservice_workers.common.cpu import LIMIT_VARIABLE, count_threads
from modelservice_workers.common.cpufeatures import HIDDEN_VARIABLE
from modelservice_workers.common.errors import SettingsError
from modelservice_workers.common.termination import ArtifactReference, TerminationMessage, write_termination
from modelservice_workers.serving.metrics import UtilizationMeter
from modelservice_workers.serving.settings import NUMBERS, REMOTE_CODE_VARIABLE, STOP_VARIABLE, read_settings
from modelservice_workers.training.metrics_file import read_metrics

CPUS = len(os.sched_getaffinity(0))
MODEL = {"MODEL_NAME": "m", "MODEL_PATH": "/mnt/models/m"}


def test_settings_come_from_flags_then_variables_then_defaults() -> None:
    variables = {"PORT": "9000", "MODELSERVICE_MAX_BATCH_ROWS": "16", "MODELSERVICE_DRAIN_DELAY_SECONDS": "0.5"}
    settings = read_settings(["--port", "9001", "--model-name", "other"], {**MODEL, **variables})
    assert (settings.model_name, settings.model_path, settings.port) == ("other", "/mnt/models/m", 9001)
    assert (settings.max_batch_rows, settings.drain_delay_seconds) == (16, 0.5)
    assert (settings.max_queue_requests, settings.drain_timeout_seconds) == (512, 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("MODELSERVICE_MAX_BATCH_ROWS", "0"),
        ("MODELSERVICE_MAX_BATCH_ROWS", "1.5"),
        ("MODELSERVICE_DRAIN_DELAY_SECONDS", "nan"),
        ("MODELSERVICE_DRAIN_DELAY_SECONDS", "-1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_bounds(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}.* is '{value}'; it must be a"):
        read_settings([], {**MODEL, name: value})


@pytest.mark.parametrize("stop", [1, 5, 35, 50, 60, 61, 3600])
@pytest.mark.parametrize("flags", [(), ("--drain-delay-seconds", "0.5"), ("--request-timeout-seconds", "0.25")])
def test_in_a_pod_no_request_outlasts_the_drain_and_no_drain_the_pod(stop: int, flags: tuple[str, ...]) -> None:
    settings = read_settings(flags, {**MODEL, STOP_VARIABLE: str(stop)})
    assert settings.drain_delay_seconds + settings.request_timeout_seconds <= stop
    assert settings.drain_delay_seconds + settings.drain_timeout_seconds == stop
    assert 0 < settings.request_timeout_seconds <= min(60, settings.drain_timeout_seconds)


def test_in_a_pod_the_delay_before_the_signal_is_enough_and_all_of_the_rest_is_for_requests() -> None:
    settings = read_settings([], {**MODEL, STOP_VARIABLE: "35"})
    times = (settings.drain_delay_seconds, settings.request_timeout_seconds, settings.drain_timeout_seconds)
    assert times == (0, 35, 35)


@pytest.mark.parametrize(
    ("flags", "variables", "said"),
    [
        (["--request-timeout-seconds", "60"], {}, "--request-timeout-seconds is 60 s, but the pod has only 35 s"),
        ([], {"MODELSERVICE_REQUEST_TIMEOUT_SECONDS": "35.5"}, "is 35.5 s, but the pod has only 35 s for its last"),
        (["--request-timeout-seconds", "35", "--drain-delay-seconds", "1"], {}, "the pod has only 34 s"),
        (["--drain-timeout-seconds", "36"], {}, "--drain-timeout-seconds is 36 s, but the pod has only 35 s"),
        (["--drain-delay-seconds", "35"], {}, "--drain-delay-seconds is 35 s, but the pod has only 35 s after SIGTERM"),
        ([], {STOP_VARIABLE: "0"}, f"{STOP_VARIABLE} is '0'; it must be a whole number from 1"),
        ([], {STOP_VARIABLE: "5.5"}, f"{STOP_VARIABLE} is '5.5'; it must be a whole number from 1"),
    ],
)
def test_a_time_that_the_pod_does_not_have_is_refused_with_both_figures(
    flags: list[str], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(flags, {**MODEL, STOP_VARIABLE: "35", **variables})
    assert said in str(refused.value)


def test_code_of_artifacts_is_denied_unless_it_is_allowed() -> None:
    assert not read_settings([], MODEL).remote_code
    assert read_settings([], {**MODEL, "MODELSERVICE_REMOTE_CODE": "Allow"}).remote_code
    with pytest.raises(SettingsError, match="MODELSERVICE_REMOTE_CODE is 'yes'; it must be Deny or Allow"):
        read_settings([], {**MODEL, "MODELSERVICE_REMOTE_CODE": "yes"})


def test_every_setting_of_the_server_is_in_the_reference_with_its_default() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "worker.md").read_text()
    for number in NUMBERS:
        assert f"| `{number.variable}` | `--{number.flag}` | `{int(number.default)}` |" in text
    for variable in ("MODEL_NAME", "MODEL_PATH", LIMIT_VARIABLE, REMOTE_CODE_VARIABLE, STOP_VARIABLE, HIDDEN_VARIABLE):
        assert f"| `{variable}` |" in text


def groups(tmp_path: Path, **limits: str) -> tuple[Path, Path]:
    """A control group tree, version 2, with cpu.max files, and a process in its group pod/container."""
    root = tmp_path / "cgroup"
    for name, content in limits.items():
        group = root / name.replace("__", "/").removeprefix("root").lstrip("/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.max").write_text(content)
    membership = tmp_path / "membership"
    membership.write_text("0::/pod/container\n")
    return root, membership


@pytest.mark.parametrize(
    ("limits", "threads"),
    [
        ({}, CPUS),
        ({"root__pod__container": "max 100000"}, CPUS),
        ({"root__pod__container": "50000 100000"}, 1),
        ({"root__pod__container": "max 100000", "root__pod": "100000 100000"}, 1),
        ({"root": "100000 100000"}, 1),
        ({"root__pod__container": "nonsense"}, CPUS),
        ({"root__pod__container": "99900000 100000"}, CPUS),
    ],
)
def test_threads_follow_the_quota_of_the_control_group(tmp_path: Path, limits: dict[str, str], threads: int) -> None:
    assert count_threads({}, *groups(tmp_path, **limits)) == threads


def test_threads_follow_a_quota_of_version_1(tmp_path: Path) -> None:
    group = tmp_path / "cpu"
    group.mkdir()
    (group / "cpu.cfs_quota_us").write_text("100000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert count_threads({}, tmp_path, tmp_path / "none") == 1
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert count_threads({}, tmp_path, tmp_path / "none") == CPUS


def test_variables_decide_before_the_control_group(tmp_path: Path) -> None:
    places = groups(tmp_path, root="50000 100000")
    assert count_threads({"OMP_NUM_THREADS": "7"}, *places) == 7
    assert count_threads({"MODELSERVICE_CPU_LIMIT": "64"}, *places) == CPUS
    assert count_threads({"MODELSERVICE_CPU_LIMIT": "0.5"}, *places) == 1
    for value in ("0", "-1", "two", "nan", "inf"):
        with pytest.raises(SettingsError, match="MODELSERVICE_CPU_LIMIT is"):
            count_threads({"MODELSERVICE_CPU_LIMIT": value}, *places)


@pytest.mark.parametrize("text", ["x" * 10_000, "é" * 10_000, "\0" * 10_000, '"\\' * 5_000, "😀" * 3_000])
def test_a_termination_message_fits_4_kib_whatever_it_says(text: str) -> None:
    reference = ArtifactReference("/mnt/output/a", "sha256:" + "0" * 64, 1 << 40)
    content = TerminationMessage("Succeeded", text, reference, {"loss": "0.037"}).to_bytes()
    assert 4000 < len(content) <= 4096
    document = json.loads(content)
    assert document["artifact"] == {"path": "/mnt/output/a", "digest": "sha256:" + "0" * 64, "bytes": 1 << 40}
    assert document["metrics"] == {"loss": "0.037"}
    assert text.startswith(document["message"])


def test_a_termination_message_keeps_its_outcome_however_many_metrics_there_are() -> None:
    metrics = {f"metric{number}": "1.0" for number in range(1000)}
    document = json.loads(TerminationMessage("Succeeded", "done", metrics=metrics).to_bytes())
    assert (document["outcome"], document["message"]) == ("Succeeded", "done")
    assert 0 < len(document["metrics"]) < 1000


def test_a_termination_log_that_cannot_be_written_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "none" / "log"
    write_termination(TerminationMessage("Failed", "x"), {"MODELSERVICE_TERMINATION_LOG": str(path)})
    assert f"could not be written to {path}" in caplog.text


@pytest.mark.parametrize(
    ("content", "values", "complaint"),
    [
        ('{"loss": 0.0370, "steps": 790, "top": "-1.5e-3"}', {"loss": "0.0370", "steps": "790", "top": "-1.5e-3"}, ""),
        ("{}", {}, ""),
        ('{"loss": NaN}', {}, "Metric loss was left out"),
        ('{"loss": 1e999}', {}, "Metric loss was left out"),
        ('{"a": true, "b": 1}', {"b": "1"}, "Metric a was left out"),
        ('{"a": "1_000"}', {}, "Metric a was left out"),
        ('{"a": [1]}', {}, "Metric a was left out"),
        ("[1]", {}, "metrics.json was left out"),
        ("{", {}, "metrics.json was left out"),
        ("[" * 60_000, {}, "metrics.json was left out"),
        (" " * 70_000 + "{}", {}, "metrics.json was left out"),
    ],
)
def test_metrics_are_decimal_strings_and_what_is_not_is_told(
    tmp_path: Path, content: str, values: dict[str, str], complaint: str
) -> None:
    assert read_metrics(tmp_path).values == {}
    (tmp_path / "metrics.json").write_text(content)
    reported = read_metrics(tmp_path)
    assert reported.values == values
    assert reported.complaint.startswith(complaint)
    assert bool(reported.complaint) == bool(complaint)


def test_utilization_is_the_busy_share_of_the_last_ten_seconds() -> None:
    now, busy = 0.0, 0.0
    meter = UtilizationMeter(lambda: busy, lambda: now)
    assert meter.read() == 0
    for _ in range(20):
        now, busy = now + 1, busy + 0.5
        meter.sample()
    assert meter.read() == pytest.approx(0.5)
    for _ in range(5):
        now += 1
        meter.sample()
    assert meter.read() == pytest.approx(0.25)
    for _ in range(10):
        now += 1
        meter.sample()
    assert meter.read() == 0
