"""`make lint`, `make test`, `make test-all`: stages, each timed, the first failure stops; a table closes it."""

import argparse
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree as ET

import leftovers
from steps import LOGS, REPO

VENV = REPO / ".venv" / "bin"
WORKERS = REPO / ".venv-workers" / "bin"
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -trimpath", "GOWORK": "off"}  # the build's: one cache
EXAMPLES_VARIABLE = "MODELSERVICE_PROPERTY_EXAMPLES"
STOP_SECONDS = 90
TALLY = ("passed", "failed", "errors", "skipped")


@dataclass(frozen=True, slots=True)
class Command:
    """One program of a stage; `report` names the file for the counts of a pytest run."""

    words: tuple[str | Path, ...]
    directory: Path = REPO
    environment: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    must_print_nothing: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the closing table."""

    name: str
    commands: tuple[Command, ...]


@dataclass(slots=True)
class Outcome:
    """What a stage did: seconds, exit status and the counts of its tests."""

    stage: Stage
    seconds: float = 0.0
    status: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def pytest(name: str, *words: str, venv: Path = VENV) -> Command:
    """Return the pytest run of some test directories."""
    report = LOGS / f"pytest-{name}.xml"
    return Command((venv / "pytest", *words, "--junitxml", report, "-o", f"junit_suite_name={name}"), report=report)


def go(module: str) -> tuple[Command, ...]:
    """Return the checks of one Go module."""
    directory = REPO / "local" / module
    commands = (
        ("go", "vet", "./..."),
        (REPO / "bin" / "staticcheck", "./..."),
        ("go", "test", "-vet=off", "-count=1", "./..."),
    )
    formatted = Command(("gofmt", "-l", "."), directory, must_print_nothing=True)
    return (formatted, *(Command(words, directory, GO_ENVIRONMENT) for words in commands))


def stages() -> list[Stage]:
    """Return all stages in their order."""
    workers_python = f"--python-executable={WORKERS / 'python'}"
    lint = (
        Command((VENV / "ruff", "check", ".")),
        Command((VENV / "ruff", "format", "--check", ".")),
        Command((VENV / "mypy", "operator", "tests", "scripts", "--exclude", "tests/unit/workers")),
        Command((VENV / "mypy", workers_python, "workers", "tests/unit/workers")),
        Command((VENV / "lint-imports", "--cache-dir=.cache/import-linter")),
        Command((VENV / "python", "-m", "modelservice.api.crdgen", "check")),
    )
    return [
        Stage("setup", (Command((sys.executable, REPO / "scripts" / "setup.py")),)),
        Stage("lint", lint),
        Stage("go", go("") + go("tools")),
        Stage(
            "unit",
            (
                pytest("unit", "tests/unit", "--ignore=tests/unit/workers"),
                pytest("workers", "tests/unit/workers", venv=WORKERS),
            ),
        ),
        Stage("property", (pytest("property", "tests/property"),)),
        Stage("cluster", (pytest("cluster", "tests/cluster"),)),
        Stage("e2e", (pytest("e2e", "tests/e2e"),)),
    ]


def long_stages() -> list[Stage]:
    """Return those that only `--all` or their names run: they take longer than a change can wait for."""
    return [
        Stage("models", (pytest("models", "tests/models", venv=WORKERS),)),
        Stage("proof", (pytest("proof", "-s", "tests/proof"),)),
    ]


def run_command(command: Command, mark: dict[str, str]) -> int:
    """Run one program in the foreground; stop it properly when this program is told to stop."""
    words = [str(word) for word in command.words]
    shown = [word.removeprefix(f"{REPO}/") for word in words]
    print(f"$ {' '.join(shown)}", flush=True)
    if command.report is not None:
        command.report.parent.mkdir(parents=True, exist_ok=True)
        command.report.unlink(missing_ok=True)
    environment = {**os.environ, **command.environment, **mark}
    output = subprocess.PIPE if command.must_print_nothing else None
    with subprocess.Popen(words, cwd=command.directory, env=environment, stdout=output, text=True) as process:
        try:
            printed = process.communicate()[0]
        except BaseException:
            process.send_signal(signal.SIGINT)  # pytest tears its fixtures down on this one
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if printed:
        print(f"{shown[0]} names files to correct:\n{printed}", end="")
        return 1
    return process.returncode


def read_counts(report: Path) -> dict[str, int]:
    """Return how many tests of a pytest run passed, failed, could not run and were skipped."""
    if not report.exists():
        return {}
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own pytest wrote it
    counts = dict.fromkeys(TALLY, 0)
    for suite in suites:
        failed, errors, skipped = (int(suite.get(key, "0")) for key in ("failures", "errors", "skipped"))
        counts["passed"] += int(suite.get("tests", "0")) - failed - errors - skipped
        counts["failed"] += failed
        counts["errors"] += errors
        counts["skipped"] += skipped
    return counts


def failed_tests(report: Path) -> Iterator[str]:
    """Yield one line for each test that failed, as pytest's short summary does."""
    if not report.exists():
        return
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - our own pytest wrote it
        for kind, word in (("failure", "FAILED"), ("error", "ERROR")):
            if (problem := case.find(kind)) is not None:
                message = (problem.get("message") or "").splitlines() or [""]
                yield f"{word} {case.get('classname')}::{case.get('name')} - {message[0][:160]}"


def run_stage(stage: Stage, mark: dict[str, str]) -> Outcome:
    """Run the commands of a stage until one fails."""
    outcome, began = Outcome(stage), time.monotonic()
    print(f"\n=== {stage.name} ===", flush=True)
    for command in stage.commands:
        outcome.status = run_command(command, mark)
        if command.report is not None:
            for key, count in read_counts(command.report).items():
                outcome.counts[key] = outcome.counts.get(key, 0) + count
        if outcome.status:
            break
    outcome.seconds = time.monotonic() - began
    return outcome


def print_table(outcomes: list[Outcome], chosen: list[Stage]) -> None:
    """Print one row for each stage, and pytest's own closing line for all of them together."""
    print(f"\n{'stage':<10} {'seconds':>8}  {'tests':>6}  result")
    done = {outcome.stage.name: outcome for outcome in outcomes}
    for stage in chosen:
        if (outcome := done.get(stage.name)) is None:
            print(f"{stage.name:<10} {'-':>8}  {'-':>6}  not run")
            continue
        tests = str(sum(outcome.counts.values())) if outcome.counts else "-"
        print(f"{stage.name:<10} {outcome.seconds:>8.1f}  {tests:>6}  {'failed' if outcome.status else 'ok'}")
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{'sum':<10} {seconds:>8.1f}\n")
    for outcome in outcomes:
        for command in outcome.stage.commands if outcome.status else ():
            if command.report is not None:
                print(*failed_tests(command.report), sep="\n")
    total = {key: sum(outcome.counts.get(key, 0) for outcome in outcomes) for key in TALLY}
    if any(total.values()):
        tally = ", ".join(f"{count} {key}" for key, count in total.items() if count)
        print(f"{'=' * 20} {tally} in {seconds:.2f}s {'=' * 20}", flush=True)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Turn SIGTERM into the exception of Ctrl-C, so that everything is stopped on the way out."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the chosen stages, or all; return the exit status."""
    everything = [*stages(), *long_stages()]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", nargs="*", help=f"one or more of {', '.join(stage.name for stage in everything)}")
    parser.add_argument("--all", action="store_true", help="the stages that take long too")
    parser.add_argument("--examples", type=int, help="random examples for each property instead of the fixed ones")
    arguments = parser.parse_args()
    if unknown := set(arguments.stage) - {stage.name for stage in everything}:
        parser.error(f"there is no stage {', '.join(sorted(unknown))}")
    usual = everything if arguments.all else stages()
    chosen = [stage for stage in everything if stage.name in arguments.stage] or usual
    signal.signal(signal.SIGTERM, interrupt)
    mark = {leftovers.MARK: uuid.uuid4().hex}
    if arguments.examples:
        mark[EXAMPLES_VARIABLE] = str(arguments.examples)
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for stage in chosen:
            outcomes.append(run_stage(stage, mark))
            if outcomes[-1].status:
                break
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted; stopping what was started", flush=True)
    left = leftovers.stop_marked(mark[leftovers.MARK])
    if len(chosen) > 1:
        print_table(outcomes, chosen)
    for line in left:
        print(f"left running by the tests, now stopped: {line}", file=sys.stderr)
    if interrupted:
        return 130
    return 1 if left or any(outcome.status for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
