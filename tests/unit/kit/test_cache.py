from typing import Any

import pytest
from modelservice.kit import cache as module
from modelservice.kit.cache import Cache, by_label, by_owner, object_cache
from modelservice.kit.objects import Ref, without_noise

from tests.unit.kit.objects import make

A = Ref("ns", "a")


def versions(cache: Cache[dict[str, Any]]) -> dict[str, int]:
    return {obj["metadata"]["name"]: int(obj["metadata"]["resourceVersion"]) for obj in cache.values()}


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([("set", 5), ("set", 7)], 7),
        ([("set", 7), ("set", 5)], 7),
        ([("set", 5), ("delete", 6)], None),
        ([("set", 5), ("delete", 6), ("set", 5)], None),
        ([("delete", 6), ("set", 5)], None),
        ([("set", 5), ("delete", 6), ("set", 9)], 9),
        ([("set", 9), ("delete", 6)], 9),
    ],
    ids=[
        "a newer version replaces an older one",
        "an older version never replaces a newer one",
        "a deletion removes",
        "a late event does not revive what is gone",
        "a deletion seen first holds against older events",
        "an object made again under the same name is there",
        "the late deletion of a former object leaves the new one",
    ],
)
def test_the_newest_version_wins(events: list[tuple[str, int]], left: int | None) -> None:
    cache = object_cache()
    for what, version in events:
        cache.observe(make("a", version, uid=f"uid-{version}"), deleted=what == "delete")
    assert versions(cache) == ({} if left is None else {"a": left})


def test_observing_says_whether_anything_was_new() -> None:
    cache = object_cache()
    assert cache.observe(make("a", 5))
    assert not cache.observe(make("a", 5))
    assert not cache.observe(make("a", 4))
    assert cache.observe(make("a", 6), deleted=True)
    assert not cache.observe(make("a", 6), deleted=True)
    assert not cache.observe(make("never-seen", 3), deleted=True)


def test_a_tombstone_keeps_the_uid_and_the_version_of_the_end() -> None:
    cache = object_cache()
    cache.observe(make("a", 5, uid="one"))
    cache.observe(make("a", 8, uid="one"), deleted=True)
    grave = cache.tombstone(A)
    assert grave is not None
    assert (grave.uid, grave.version) == ("one", 8)
    cache.observe(make("a", 9, uid="two"))
    assert cache.tombstone(A) is None


def test_tombstones_are_bounded_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOMBSTONES", 3)
    cache = object_cache()
    for number in range(5):
        cache.observe(make(f"n{number}", number + 1), deleted=True)
    assert [cache.tombstone(Ref("ns", f"n{n}")) is not None for n in range(5)] == [False, False, True, True, True]


def test_a_list_shows_what_is_new_newer_and_gone_and_spares_what_is_younger_than_itself() -> None:
    cache = object_cache()
    for name, version in (("same", 1), ("older", 2), ("newer", 30), ("gone", 4), ("young", 25)):
        cache.observe(make(name, version))
    listed = [make("same", 1), make("older", 12), make("newer", 13), make("fresh", 14)]
    difference = cache.compare(listed, 20)
    assert [obj["metadata"]["name"] for obj in difference.changed] == ["older", "fresh"]
    assert difference.gone == (Ref("ns", "gone"),)
    assert versions(cache)["older"] == 2


def test_a_list_older_than_a_deletion_revives_nothing() -> None:
    cache = object_cache()
    cache.observe(make("a", 5))
    cache.observe(make("a", 9), deleted=True)
    assert not cache.compare([make("a", 5)], 6)


def test_burying_spares_an_object_that_came_after_the_list() -> None:
    cache = object_cache()
    cache.observe(make("a", 9))
    cache.bury(A, 8)
    assert A in cache
    cache.bury(A, 9)
    assert A not in cache


def test_indexes_follow_the_object() -> None:
    cache = object_cache({"owner": by_owner, "team": by_label("team")})
    cache.observe(make("b", 1, owners=["o1"], labels={"team": "red"}))
    cache.observe(make("a", 2, owners=["o1", "o2"]))
    assert [obj["metadata"]["name"] for obj in cache.by("owner", "o1")] == ["a", "b"]
    assert [obj["metadata"]["name"] for obj in cache.by("team", ("ns", "red"))] == ["b"]
    cache.observe(make("b", 3, owners=["o2"], labels={"team": "blue"}))
    assert [obj["metadata"]["name"] for obj in cache.by("owner", "o1")] == ["a"]
    assert cache.by("team", ("ns", "red")) == []
    cache.observe(make("a", 4, owners=["o1"]), deleted=True)
    assert cache.by("owner", "o1") == []
    assert [obj["metadata"]["name"] for obj in cache.by("owner", "o2")] == ["b"]


def test_a_projection_is_what_is_kept_and_indexes_see_the_whole_object() -> None:
    cache: Cache[int] = Cache(lambda obj: int(obj["replicas"]), {"team": by_label("team")})
    cache.observe(make("a", 1, labels={"team": "red"}, replicas="3"))
    assert cache.get(A) == 3
    assert cache.by("team", ("ns", "red")) == [3]


def test_values_are_sorted_by_name_and_may_be_those_of_one_namespace() -> None:
    cache = object_cache()
    for name, namespace in (("b", "x"), ("a", "y"), ("c", "x")):
        cache.observe(make(name, 1, namespace=namespace))
    assert [obj["metadata"]["name"] for obj in cache.values()] == ["b", "c", "a"]
    assert [obj["metadata"]["name"] for obj in cache.values("x")] == ["b", "c"]


def test_noise_is_dropped_and_the_original_stays_as_it_was() -> None:
    obj = make("a", 1)
    obj["metadata"] |= {
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"},
    }
    lean = without_noise(obj)
    assert lean["metadata"]["annotations"] == {"mine": "1"}
    assert "managedFields" not in lean["metadata"]
    assert "managedFields" in obj["metadata"]
