import pytest
from modelservice.kit.objects import Key, annotation_of, controller_of, digest, key_of, label_of, ref_of, version_of

from tests.unit.kit.objects import make


def test_a_key_reads_as_kind_namespace_and_name() -> None:
    assert str(key_of("Thing", make("a", 1))) == "Thing/ns/a"
    assert str(Key("Node", "", "n1")) == "Node/n1"


def test_an_object_of_the_cluster_has_no_namespace() -> None:
    assert ref_of({"metadata": {"name": "n1"}}) == ("", "n1")


def test_versions_are_compared_as_numbers() -> None:
    assert version_of(make("a", 10)) > version_of(make("a", 9))


def test_what_is_not_there_is_none() -> None:
    bare = {"metadata": {"name": "a", "labels": None, "annotations": None}}
    assert label_of(bare, "x") is None
    assert annotation_of(bare, "x") is None
    assert controller_of(bare) is None


def test_the_controller_is_the_one_owner_that_says_so() -> None:
    owners = [{"uid": "one"}, {"uid": "two", "controller": True}]
    assert controller_of({"metadata": {"ownerReferences": owners}}) == owners[1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": [1, {"x": 1, "y": 2}]}, {"b": [1, {"y": 2, "x": 1}], "a": 1}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": None}, {}, False),
    ],
)
def test_a_digest_depends_on_content_and_not_on_the_order_of_keys(one: object, other: object, *, same: bool) -> None:
    assert (digest(one) == digest(other)) is same
