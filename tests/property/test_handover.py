"""Whatever the state of a rollout: no replica that answers is given up before another one answers for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.handover import shares
from modelservice.domain.rollout import Presence, Record, Revision, Rule, Scene, State, Strategy, advance, stance
from modelservice.domain.snapshot import Deployed, Turn

from tests.unit.domain.specs import NOW, pool, view

CPU = pool()
counts = st.integers(0, 6)


def deployed(name: str, replicas: int, ready: int, age: int) -> Deployed:
    return Deployed(f"chat-{name}", name, "cpu", {"cpu": 1000}, replicas, min(ready, replicas), NOW - age, name)


olds = st.builds(deployed, st.just("old"), counts, counts, st.integers(10, 99))
news = st.builds(deployed, st.just("new"), counts, counts, st.integers(0, 99))
broken = st.lists(st.builds(deployed, st.sampled_from("xyz"), counts, st.just(0), st.integers(0, 99)), max_size=2)


@given(olds, news, broken, counts, st.sampled_from([Strategy.OVERLAP, Strategy.WAIT]))
def test_never_fewer_answer_than_are_wanted_because_of_a_rollout(
    old: Deployed, new: Deployed, others: list[Deployed], want: int, strategy: Strategy
) -> None:
    there = (old, new, *{one.name: one for one in others}.values())
    service = view(want, CPU, deployed=there, turn=Turn(strategy, "old"))
    given_ = shares(service, "chat-new", None, want)
    after = min(new.ready, given_["chat-new"]) + min(old.ready, given_["chat-old"])
    assert after >= min(want, old.ready + new.ready)
    assert given_["chat-new"] == want


@given(olds, news, counts)
def test_a_failing_revision_leaves_what_served_with_all_that_is_missing(
    old: Deployed, new: Deployed, want: int
) -> None:
    service = view(want, CPU, deployed=(old, new), turn=Turn(Strategy.OVERLAP, "old", failing=True))
    given_ = shares(service, "chat-new", None, want)
    assert given_["chat-old"] == max(0, want - new.ready)
    assert given_["chat-new"] in (want, min(want, 1))


presences = st.builds(Presence, counts, counts, counts, st.sampled_from(["", "It crashes."]))
scenes = st.builds(
    Scene,
    st.sampled_from([Revision("a"), Revision("b"), Revision("c")]),
    counts,
    st.just(Rule()),
    st.dictionaries(st.sampled_from("abc"), presences),
)


@given(st.lists(scenes, max_size=12))
def test_at_most_one_revision_serves_it_is_pinned_while_another_fails_and_the_same_look_changes_nothing(
    looks: list[Scene],
) -> None:
    record = Record()
    for number, look in enumerate(looks):
        record = advance(record, look, NOW + number)
        assert advance(record, look, NOW + number) == record
        assert sum(one.state is State.SERVING for one in record.revisions) <= 1
        assert len({one.name for one in record.revisions}) == len(record.revisions)
        taken = stance(record, look)
        if record.serving is not None and taken.failing and look.of(record.serving.name).ready:
            assert taken.pinned == record.serving.name
