"""`make setup`: all that the cluster, the operator and the tests need; a step is done only when something changed."""

import argparse
import fcntl
import json
import sys

import gotools
import pythonenv
import system
from steps import LOGS, REPO, StepFailed, Steps


def work(*, environments: bool) -> dict[str, float]:
    """Do the steps; return the seconds spent on each kind of step."""
    system.check_machine()
    packages = system.missing_packages()
    total = bool(packages) + (pythonenv.STEP_COUNT if environments else 0) + gotools.STEP_COUNT
    steps = Steps(total)
    if packages:
        steps.run(f"system packages {', '.join(packages)}", "download", lambda _: system.install_packages(packages))
    if environments:
        pythonenv.make_environments(steps)
    gotools.make_programs(steps)
    return steps.seconds


def main() -> int:
    """Return the exit status; only one set-up at a time works on a repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--programs-only", action="store_true", help="the Go programs, without the virtual environments"
    )
    chosen = parser.parse_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    with (REPO / ".local" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            seconds = work(environments=not chosen.programs_only)
        except StepFailed as failure:
            print(f"\n{failure}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted; the next run goes on from here.", file=sys.stderr)
            return 130
    if seconds:
        print("set up: " + ", ".join(f"{kind} {spent:.0f} s" for kind, spent in seconds.items()), flush=True)
    (LOGS / "setup.json").write_text(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
