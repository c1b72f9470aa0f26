"""The stages of the check: counts, order, the first failure stops."""

import sys
from pathlib import Path

import pytest
import stages

REPORT = """<testsuites><testsuite name="unit" tests="5" failures="1" errors="1" skipped="1">
<testcase classname="tests.unit.test_x" name="test_it_holds"/>
<testcase classname="tests.unit.test_x" name="test_it_breaks"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="tests.unit.test_x" name="test_it_cannot_start"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def python(code: str, **more: object) -> stages.Command:
    return stages.Command((sys.executable, "-c", code), **more)  # type: ignore[arg-type]


def test_counts_come_from_what_pytest_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert stages.read_counts(report) == {"passed": 2, "failed": 1, "errors": 1, "skipped": 1}
    assert list(stages.failed_tests(report)) == [
        "FAILED tests.unit.test_x::test_it_breaks - assert 1 == 2",
        "ERROR tests.unit.test_x::test_it_cannot_start - no fixture",
    ]


def test_a_stage_stops_at_its_first_failure(tmp_path: Path) -> None:
    second = tmp_path / "second"
    stage = stages.Stage("lint", (python("raise SystemExit(3)"), python(f"open({str(second)!r}, 'w')")))
    assert stages.run_stage(stage, {}).status == 3
    assert not second.exists()


def test_a_formatter_that_names_files_fails_though_it_exits_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    stage = stages.Stage("go", (python("print('plane.go')", must_print_nothing=True),))
    assert stages.run_stage(stage, {}).status == 1
    assert "plane.go" in capsys.readouterr().out


def test_the_mark_reaches_what_a_stage_runs() -> None:
    stage = stages.Stage("unit", (python("import os, sys; sys.exit(os.environ.get('THE_MARK') != 'x')"),))
    assert stages.run_stage(stage, {"THE_MARK": "x"}).status == 0


def test_the_table_names_what_did_not_run_and_ends_as_pytest_does(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = stages.Stage("unit", ()), stages.Stage("e2e", ())
    outcome = stages.Outcome(first, seconds=2.0, status=1, counts={"passed": 7, "failed": 1, "errors": 0, "skipped": 0})
    stages.print_table([outcome], [first, second])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["unit", "2.0", "8", "failed"] for line in lines)
    assert any(line.split() == ["e2e", "-", "-", "not", "run"] for line in lines)
    assert lines[-1].strip("= ") == "7 passed, 1 failed in 2.00s"


def test_the_stages_stand_in_the_order_of_their_cost() -> None:
    names = [stage.name for stage in stages.stages()]
    assert names == ["setup", "lint", "go", "unit", "property", "cluster", "e2e"]


def test_the_long_stages_run_only_when_they_are_asked_for() -> None:
    names = [stage.name for stage in stages.long_stages()]
    assert names == ["models", "proof"]
    assert not {stage.name for stage in stages.stages()} & set(names)
