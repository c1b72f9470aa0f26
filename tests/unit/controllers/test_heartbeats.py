"""What a replica remembers of pods that ended while it did not know the book."""

from __future__ import annotations

from modelservice.controllers.heartbeats import MOST_REMEMBERED, remember


def test_a_replica_that_stands_by_for_long_forgets_the_oldest_ends_only() -> None:
    memory: dict[str, int] = {}
    for number in range(MOST_REMEMBERED + 3):
        remember(memory, f"pod-{number}", number)
    assert len(memory) == MOST_REMEMBERED
    assert "pod-2" not in memory
    assert memory["pod-3"] == 3


def test_what_was_seen_again_counts_as_new() -> None:
    memory = {f"pod-{number}": number for number in range(MOST_REMEMBERED)}
    remember(memory, "pod-0", -1)
    remember(memory, "another", 0)
    assert memory["pod-0"] == -1
    assert "pod-1" not in memory
