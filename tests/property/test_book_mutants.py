"""The oracles see it when a rule of the book is broken: each mutant is killed by some seed."""

import pytest

from tests.property.mutants import MUTANTS, SEEDS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_seen(mutant: Mutant) -> None:
    assert mutant.hunt() is not None, f"no seed of {SEEDS} notices it"
