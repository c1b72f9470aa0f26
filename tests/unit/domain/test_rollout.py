"""How one revision takes over from another: every step of the decision, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain.analysis import Finding, Verdict
from modelservice.domain.rollout import (
    UNREADY_SECONDS,
    Canary,
    CanaryRule,
    Orders,
    Presence,
    Record,
    Revision,
    Rule,
    Scene,
    State,
    advance,
    share,
    stance,
)

NOW = 1_000_000
STEPS = Rule(canary=CanaryRule(20, 60))
FINE = Finding(Verdict.FINE)
OLD = Revision("old", state=State.SERVING, created_at=NOW - 900, served_at=NOW - 800)
STABLE = Record((OLD,))
UP = Presence(4, 4, 4)


def scene(described: str = "new", desired: int = 4, **more: Any) -> Scene:
    given: dict[str, Any] = {"present": {"old": UP}, "splits": True}
    return Scene(Revision(described), desired, **{**given, **more})


def states(record: Record) -> dict[str, str]:
    return {one.name: one.state.value for one in record.revisions}


def tried(percent: int = 20, target: int = 20, since: int = NOW, **more: Any) -> Record:
    return Record((Revision("new", state=State.CANARY, created_at=since), OLD), Canary(since, target, percent, **more))


def test_the_first_revision_serves_once_a_replica_of_it_has_proved_itself() -> None:
    begun = advance(Record(), scene("old", present={"old": Presence(4, 1)}), NOW)
    assert states(begun) == {"old": "Starting"}
    assert stance(begun, scene("old")).main == "old"
    assert states(advance(begun, scene("old"), NOW + 9)) == {"old": "Serving"}


def test_what_is_remembered_does_not_change_while_nothing_does() -> None:
    once = advance(STABLE, scene(), NOW)
    assert advance(once, scene(), NOW + 50) == once


def test_nothing_is_decided_while_the_spec_cannot_be_rendered() -> None:
    lost = replace(scene(), described=None)
    assert advance(STABLE, lost, NOW) == STABLE
    assert (stance(STABLE, lost).main, stance(STABLE, lost).pinned) == ("", "old")
    assert stance(STABLE, replace(lost, present={})).pinned == ""


@pytest.mark.parametrize(
    ("there", "taken", "pinned", "failing"),
    [
        (Presence(4), "Starting", "old", ""),
        (Presence(4, 4, 0), "Starting", "old", ""),
        (Presence(4, 4, 1), "Starting", "", ""),
        (Presence(4, 4, 4), "Serving", "", ""),
        (Presence(4, 0, 0, "It crashes."), "Starting", "old", "It crashes."),
        (Presence(4, 3, 3, "It crashes."), "Starting", "old", "It crashes."),
        (Presence(4, 4, 4, "It crashes."), "Starting", "old", "It crashes."),
    ],
)
def test_a_revision_takes_over_when_its_replicas_stand_and_gets_no_requests_while_one_of_them_fails(
    there: Presence, taken: str, pinned: str, failing: str
) -> None:
    seen = scene(present={"old": UP, "new": there})
    record = advance(STABLE, seen, NOW)
    assert states(record)["new"] == taken
    assert states(record)["old"] == ("Retired" if taken == "Serving" else "Serving")
    after = stance(record, seen)
    assert (after.main, after.failing) == ("new", failing)
    assert after.pinned == ("new" if taken == "Serving" else pinned)


def test_with_less_money_than_wanted_it_takes_over_when_the_old_ones_are_gone() -> None:
    seen = scene(present={"old": Presence(0), "new": Presence(2, 2, 2)})
    assert states(advance(STABLE, seen, NOW)) == {"new": "Serving", "old": "Retired"}


def test_a_newer_edit_forgets_the_one_that_never_served() -> None:
    failing = Record((Revision("bad", created_at=NOW), OLD))
    seen = scene(present={"old": UP, "bad": Presence(4, trouble="It crashes.")})
    record = advance(failing, seen, NOW + 1)
    assert states(record) == {"new": "Starting", "old": "Serving"}


def test_an_edit_back_is_the_same_revision_and_nothing_is_rolled_out() -> None:
    trying = Record((Revision("new", created_at=NOW), OLD))
    record = advance(trying, scene("old", present={"old": UP, "new": Presence(4)}), NOW)
    assert record == STABLE
    assert stance(record, scene("old", present={"old": UP, "new": Presence(4)})).pinned == "old"


def test_only_so_many_revisions_are_remembered_and_the_longest_retired_goes_first() -> None:
    past = tuple(Revision(f"r{n}", state=State.RETIRED, created_at=n, served_at=n) for n in range(6))
    record = advance(Record((*past, OLD)), scene(), NOW)
    assert [one.name for one in record.revisions] == ["new", "old", "r5", "r4", "r3"]


def test_a_canary_waits_for_its_replicas_and_then_gets_its_first_share() -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": Presence(1, 1, 0)})
    record = advance(STABLE, seen, NOW)
    assert (states(record)["new"], record.canary) == ("Canary", Canary(NOW, 20))
    after = stance(record, seen)
    assert (after.main, after.beside, after.count, after.pinned) == ("old", "new", 1, "old")
    ready = scene(rule=STEPS, present={"old": UP, "new": Presence(1, 1, 1)})
    assert advance(record, ready, NOW + 30).canary == Canary(NOW + 30, 20, 20)


@pytest.mark.parametrize(
    ("percent", "later", "finding", "target", "held"),
    [
        (20, 59, FINE, 20, ""),
        (20, 60, FINE, 40, ""),
        (80, 60, FINE, 100, ""),
        (20, 600, Finding(message="nothing is known"), 20, "nothing is known"),
    ],
)
def test_a_canary_goes_on_after_its_period_when_it_is_known_to_be_fine(
    percent: int, later: int, finding: Finding, target: int, held: str
) -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": UP}, finding=finding)
    record = advance(tried(percent, percent), seen, NOW + later)
    assert record.canary == Canary(NOW, target, percent, None, held)
    assert stance(record, seen).count == share(4, target)


def test_a_canary_that_has_been_through_its_steps_serves() -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": UP}, finding=FINE)
    record = advance(tried(80, 100), seen, NOW + 90)
    assert (states(record), record.canary) == ({"new": "Serving", "old": "Retired"}, None)
    short = scene(rule=STEPS, present={"old": UP, "new": Presence(4, 3, 3)}, finding=FINE)
    assert states(advance(tried(80, 100), short, NOW + 90))["new"] == "Canary"


def test_without_a_gateway_a_canary_gets_no_share_and_says_so_and_a_person_can_promote_it() -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": UP}, splits=False)
    record = advance(tried(0), seen, NOW + 1)
    assert record.canary is not None
    assert (record.canary.percent, "through the gateway" in record.canary.held) == (0, True)
    promoted = replace(seen, orders=Orders(promote="new"))
    assert states(advance(record, promoted, NOW + 2)) == {"new": "Serving", "old": "Retired"}
    assert states(advance(record, replace(seen, orders=Orders(promote="other")), NOW + 2))["new"] == "Canary"


@pytest.mark.parametrize(
    ("there", "finding", "why"),
    [
        (UP, Finding(Verdict.WORSE, "It is slow."), "It is slow."),
        (Presence(1, 0, 0, "It crashes."), FINE, "It crashes."),
    ],
)
def test_a_bad_canary_is_taken_back_and_not_tried_again_until_the_spec_changes(
    there: Presence, finding: Finding, why: str
) -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": there}, finding=finding)
    record = advance(tried(), seen, NOW + 5)
    assert (states(record), record.canary) == ({"new": "RolledBack", "old": "Serving"}, None)
    row = record.find("new")
    assert row is not None
    assert row.message == why
    after = stance(record, seen)
    assert (after.main, after.beside, after.pinned) == ("old", "", "old")
    better = replace(seen, finding=FINE, present={"old": UP, "new": UP})
    assert advance(record, better, NOW + 9000) == record
    changed = advance(record, replace(better, described=Revision("next")), NOW + 9001)
    assert states(changed) == {"next": "Canary", "old": "Serving"}


def test_a_canary_that_fails_before_it_has_a_share_only_waits() -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": Presence(1, 0, 0, "No image.")})
    record = advance(STABLE, seen, NOW)
    assert states(record)["new"] == "Canary"
    assert stance(record, seen).failing == "No image."


def test_a_canary_without_a_ready_replica_for_long_is_taken_back() -> None:
    dark = scene(rule=STEPS, present={"old": UP, "new": Presence(1)}, finding=FINE)
    record = advance(tried(), dark, NOW + 10)
    assert record.canary is not None
    assert record.canary.dark_since == NOW + 10
    assert advance(record, dark, NOW + 9 + UNREADY_SECONDS).canary is not None
    assert states(advance(record, dark, NOW + 10 + UNREADY_SECONDS))["new"] == "RolledBack"
    back = replace(dark, present={"old": UP, "new": UP})
    again = advance(record, back, NOW + 40).canary
    assert again is not None
    assert again.dark_since is None


def test_a_service_at_zero_gives_its_canary_no_share_until_it_is_awake() -> None:
    parked = scene(desired=0, rule=STEPS, present={"old": Presence(), "new": Presence()}, finding=FINE)
    assert advance(tried(40, 40), parked, NOW + 99).canary == Canary(NOW, 20, 0)


def test_undo_serves_an_earlier_revision_for_as_long_as_the_spec_stays() -> None:
    older = Revision("older", state=State.RETIRED, created_at=1, served_at=2)
    record = Record((OLD, older))
    orders = Orders(undo_from="old", undo_to="older")
    present = {"old": UP, "older": Presence()}
    seen = scene("old", orders=orders, present=present, rule=STEPS)
    undone = advance(record, seen, NOW)
    assert (states(undone), undone.canary) == ({"old": "Serving", "older": "Starting"}, None)
    assert stance(undone, seen).main == "older"
    done = replace(seen, present={"old": UP, "older": UP})
    after = advance(advance(undone, done, NOW + 20), done, NOW + 21)
    assert states(after) == {"old": "Undone", "older": "Serving"}
    assert stance(after, done).undone
    changed = advance(after, replace(done, described=Revision("new"), rule=Rule()), NOW + 30)
    assert states(changed)["new"] == "Starting"
    assert not stance(changed, replace(done, described=Revision("new"))).undone


def test_a_revision_that_was_taken_back_is_not_tried_again_after_an_undo_either() -> None:
    bad = Revision("new", state=State.ROLLED_BACK, created_at=NOW, message="It is slow.")
    older = Revision("older", state=State.RETIRED, created_at=1, served_at=2)
    present = {"old": UP, "older": UP}
    seen = scene(rule=STEPS, present=present, orders=Orders("new", "older"))
    undone = advance(Record((bad, OLD, older)), seen, NOW)
    assert states(undone) == {"new": "RolledBack", "old": "Retired", "older": "Serving"}
    again = advance(undone, replace(seen, orders=Orders()), NOW + 1)
    assert states(again) == states(undone)


def test_undo_of_a_canary_ends_it_at_once() -> None:
    seen = scene(rule=STEPS, present={"old": UP, "new": UP}, orders=Orders("new", "old"), finding=FINE)
    record = advance(tried(40, 40), seen, NOW + 5)
    assert (states(record), record.canary) == ({"new": "Undone", "old": "Serving"}, None)
    again = advance(record, replace(seen, orders=Orders()), NOW + 6)
    assert states(again)["new"] == "Canary"


@pytest.mark.parametrize("orders", [Orders("new", "gone"), Orders("other", "old"), Orders("new", "new")])
def test_an_undo_that_is_about_another_revision_or_to_an_unknown_one_does_nothing(orders: Orders) -> None:
    assert states(advance(STABLE, scene(orders=orders), NOW))["new"] == "Starting"


@pytest.mark.parametrize(
    ("desired", "percent", "replicas"), [(4, 10, 1), (4, 25, 1), (4, 26, 2), (1, 1, 1), (10, 100, 10), (0, 50, 0)]
)
def test_a_share_of_the_requests_needs_that_share_of_the_replicas_and_at_least_one(
    desired: int, percent: int, replicas: int
) -> None:
    assert share(desired, percent) == replicas
