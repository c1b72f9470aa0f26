"""The oracles see it when a rule of the book is broken: each mutant is killed by some seed."""

from dataclasses import replace

import pytest

from tests.property.actors import Faults
from tests.property.oracles import Violation
from tests.property.simulation import CONTENTION, STRESS, Schedule, play

SEEDS = range(60)

MUTANTS = {
    "no compare-and-swap": (Faults(no_compare_and_swap=True), CONTENTION),
    "ungate before the write": (Faults(ungate_before_write=True), CONTENTION),
    "release at deletionTimestamp": (Faults(release_at_deletion=True), STRESS),
    "count ticks instead of time": (Faults(count_ticks=True), STRESS),
    "hold at the spot price": (Faults(cheap_rate_percent=70), STRESS),
    "hold expires while the pod lives": (Faults(hold_expires=True), STRESS),
    "no fuse": (Faults(), replace(STRESS, fuse=False)),
    "endurance lent twice": (Faults(lends_twice=True), STRESS),
    "local clock instead of money time": (Faults(local_clock=True), STRESS),
    "absence without a heartbeat": (Faults(absence_without_heartbeat=True), STRESS),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_seen(name: str) -> None:
    faults, schedule = MUTANTS[name]
    seed, violation = first_violation(faults, schedule)
    print(f"{name}: killed by seed {seed}: {violation}")


def first_violation(faults: Faults, schedule: Schedule) -> tuple[int, Violation]:
    for seed in SEEDS:
        try:
            play(seed, schedule, faults)
        except Violation as violation:
            return seed, violation
    pytest.fail(f"no seed of {SEEDS} kills it")
