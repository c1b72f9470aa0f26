from typing import Any

import pytest
from modelservice.kit.status import StatusWriter, stamp, timestamp
from modelservice.ports import Answer

from tests.unit.kit.objects import make

EARLY, LATE = "2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z"
NOW = 1_800_003_600


class Ear:
    """Hears what is PUT and stores it as the next version."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    async def replace_status(self, obj: dict[str, Any], *, manager: str) -> Answer:
        assert manager == "modelservice-status"
        self.heard.append(obj)
        version = str(int(obj["metadata"]["resourceVersion"]) + 1)
        return Answer({**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}, 0)


def condition(status: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": "Because", "message": message, **more}


def test_times_are_written_as_kubernetes_does() -> None:
    assert timestamp(NOW) == LATE


@pytest.mark.parametrize(
    ("before", "wanted", "since"),
    [
        ([], condition("True"), LATE),
        ([condition("True", lastTransitionTime=EARLY)], condition("True"), EARLY),
        ([condition("True", "old", lastTransitionTime=EARLY)], condition("True", "new"), EARLY),
        ([condition("False", lastTransitionTime=EARLY)], condition("True"), LATE),
        ([condition("True", lastTransitionTime=EARLY)], condition("Unknown"), LATE),
    ],
    ids=["a new condition", "the same", "another message", "another status", "not known any more"],
)
def test_the_time_of_a_condition_changes_only_with_its_status(
    before: list[dict[str, Any]], wanted: dict[str, Any], since: str
) -> None:
    assert stamp([wanted], before, NOW) == [{**wanted, "lastTransitionTime": since}]


OLD = {
    "observedGeneration": 2,
    "conditions": [condition("True", "fine", lastTransitionTime=EARLY)],
    "replicas": 3,
}


@pytest.mark.parametrize(
    ("status", "writes"),
    [
        ({"observedGeneration": 2, "conditions": [condition("True", "fine")], "replicas": 3}, 0),
        ({"replicas": 3, "conditions": [condition("True", "fine")], "observedGeneration": 2}, 0),
        ({**OLD, "conditions": [condition("True", "fine")], "message": None, "placements": [], "resolved": {}}, 0),
        ({**OLD, "conditions": [condition("True", "fine")], "replicas": 4}, 1),
        ({**OLD, "conditions": [condition("True", "better")]}, 1),
        ({**OLD, "conditions": [condition("False", "fine")]}, 1),
        ({"observedGeneration": 2, "conditions": [condition("True", "fine")]}, 1),
        ({**OLD, "conditions": [condition("True", "fine")], "ready": False}, 1),
    ],
    ids=[
        "the same says nothing",
        "the order of keys says nothing",
        "null and empty say nothing",
        "a number changed",
        "a message changed",
        "a condition changed",
        "a field went",
        "false is something",
    ],
)
async def test_a_status_is_written_only_when_it_says_something_new(status: dict[str, Any], writes: int) -> None:
    ear = Ear()
    observed = make("a", 5, status=OLD)
    stored = await StatusWriter(ear, manager="modelservice-status").write(observed, status, now=NOW)
    assert len(ear.heard) == writes
    assert stored["metadata"]["resourceVersion"] == ("6" if writes else "5")


async def test_a_write_carries_the_version_that_was_read_and_leaves_the_rest_of_the_object() -> None:
    ear = Ear()
    observed = make("a", 5, spec={"x": 1}, status=OLD)
    await StatusWriter(ear, manager="modelservice-status").write(observed, {"replicas": 1}, now=NOW)
    (sent,) = ear.heard
    assert sent["metadata"]["resourceVersion"] == "5"
    assert sent["spec"] == {"x": 1}
    assert sent["status"] == {"replicas": 1}
    assert observed["status"] == OLD
