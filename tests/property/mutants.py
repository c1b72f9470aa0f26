"""Rules of the book that must not be broken: who breaks one is noticed by some seed; ``make mutants`` shows which."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from tests.property.actors import NONE, Faults
from tests.property.oracles import Violation
from tests.property.simulation import CONTENTION, STRESS, Schedule, play

SEEDS = range(100)


@dataclass(frozen=True)
class Mutant:
    """A rule that is broken, and the schedule that is played to notice it."""

    name: str
    faults: Faults
    schedule: Schedule = STRESS

    def hunt(self) -> tuple[int, Violation] | None:
        """The first seed that notices it, and what it notices."""
        for seed in SEEDS:
            try:
                play(seed, self.schedule, self.faults)
            except Violation as violation:
                return seed, violation
        return None


MUTANTS = (
    Mutant("no compare-and-swap", Faults(no_compare_and_swap=True), CONTENTION),
    Mutant("ungate before the write", Faults(ungate_before_write=True), CONTENTION),
    Mutant("release at deletionTimestamp", Faults(release_at_deletion=True)),
    Mutant("count ticks instead of time", Faults(count_ticks=True)),
    Mutant("hold at the spot price", Faults(cheap_rate_percent=70)),
    Mutant("hold expires while the pod lives", Faults(hold_expires=True)),
    Mutant("no fuse", NONE, replace(STRESS, fuse=False, crash=0.02, longest_outage=10_000)),
    Mutant("endurance lent twice", Faults(lends_twice=True)),
    Mutant("local clock instead of money time", Faults(local_clock=True)),
    Mutant("release while gated", Faults(release_while_gated=True)),
    Mutant("no write deadline", Faults(no_write_deadline=True)),
    Mutant("absence without a heartbeat", Faults(absence_without_heartbeat=True)),
)


def main() -> int:
    """Print a table of all mutants; the exit status is 1 when one survives."""
    print(f"{'MUTANT':<36} {'KILLED BY':<12} NOTICED")
    killed = 0
    for mutant in MUTANTS:
        found = mutant.hunt()
        killed += found is not None
        by, what = ("nobody", "") if found is None else (f"seed {found[0]}", str(found[1]))
        print(f"{mutant.name:<36} {by:<12} {what}", flush=True)
    print(f"{killed} of {len(MUTANTS)} killed")
    return int(killed < len(MUTANTS))


if __name__ == "__main__":
    sys.exit(main())
