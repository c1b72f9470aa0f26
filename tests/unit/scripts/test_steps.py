"""Steps of the set-up: fingerprints, logs, hints."""

import sys
from pathlib import Path

import pytest
import steps


@pytest.fixture(autouse=True)
def logs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(steps, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(steps, "REPO", tmp_path)
    return tmp_path / "logs"


def test_a_digest_changes_with_the_content_of_a_file(tmp_path: Path) -> None:
    source = tmp_path / "main.go"
    source.write_text("package main")
    before = steps.digest("go1.26", source)
    source.write_text("package other")
    assert steps.digest("go1.26", source) != before


def test_a_digest_keeps_neighbouring_parts_apart() -> None:
    assert steps.digest("ab", "c") != steps.digest("a", "bc")


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("write /tmp/x: No space left on device", "disk is full"),
        ("dial tcp: lookup modules.example.org: no such host", "check the network"),
        ("compile: signal: killed", "ran out of memory"),
        ("go: go.mod requires go >= 1.27 (running go 1.26)", "Go is too old"),
        ("undefined: somethingElse", "run the same command again"),
    ],
)
def test_a_failure_gets_the_hint_that_fits(log: str, says: str) -> None:
    assert says in steps.hint(log)


def test_a_failed_command_shows_the_last_thirty_lines_and_names_its_log(logs_in: Path) -> None:
    program = "import sys; [print(f'line {n}') for n in range(100)]; sys.exit(3)"
    with pytest.raises(steps.StepFailed) as failure:
        steps.run_logged([sys.executable, "-c", program], log="failing")
    lines = str(failure.value).splitlines()
    assert lines[0] == "line 70"
    assert "ended with status 3; the whole log is logs/failing.log" in str(failure.value)
    assert (logs_in / "failing.log").read_text().startswith("line 0\n")


def test_every_line_of_a_command_is_reported_while_it_runs(logs_in: Path) -> None:
    seen: list[str] = []
    steps.run_logged([sys.executable, "-c", "print('a'); print('b')"], log="fine", on_line=seen.append)
    assert seen == ["a\n", "b\n"]


def test_a_command_finds_its_environment(logs_in: Path) -> None:
    steps.run_logged(
        [sys.executable, "-c", "import os; print(os.environ['CGO_ENABLED'])"], log="env", env={"CGO_ENABLED": "0"}
    )
    assert (logs_in / "env.log").read_text() == "0\n"


def test_steps_are_numbered_and_their_times_add_up_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    plan = steps.Steps(3)
    plan.run("kubernetes modules", "download", lambda _: None)
    plan.skip("coredns")
    plan.run("helm", "build", lambda _: None)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["[1/3] kubernetes modules ... 0 s", "[2/3] coredns ... up to date", "[3/3] helm ... 0 s"]
    assert set(plan.seconds) == {"download", "build"}


def test_a_step_that_fails_says_so_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: steps.Progress) -> None:
        raise steps.StepFailed("no")

    with pytest.raises(steps.StepFailed):
        steps.Steps(1).run("helm", "build", fail)
    assert capsys.readouterr().out == "[1/1] helm ... failed after 0 s\n"
