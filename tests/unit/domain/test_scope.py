from itertools import product
from typing import Any

import pytest
from modelservice.domain.scope import Operator, Origin, Requirement, Scope, Selector

CHAT = Origin("team", {"tier": "gold"}, {"model": "chat", "size": "xl"})


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (Requirement("model", Operator.IN, ("chat", "code")), True),
        (Requirement("model", Operator.IN, ("code",)), False),
        (Requirement("owner", Operator.IN, ("chat",)), False),
        (Requirement("model", Operator.NOT_IN, ("code",)), True),
        (Requirement("model", Operator.NOT_IN, ("chat",)), False),
        (Requirement("owner", Operator.NOT_IN, ("chat",)), True),
        (Requirement("model", Operator.EXISTS), True),
        (Requirement("owner", Operator.EXISTS), False),
        (Requirement("model", Operator.DOES_NOT_EXIST), False),
        (Requirement("owner", Operator.DOES_NOT_EXIST), True),
    ],
)
def test_labels_are_compared_as_kubernetes_does(requirement: Requirement, holds: bool) -> None:  # noqa: FBT001 a column
    assert requirement.holds(CHAT.labels) is holds


def test_a_selector_needs_all_its_requirements_and_an_empty_one_takes_everything() -> None:
    model = Requirement("model", Operator.IN, ("chat",))
    small = Requirement("size", Operator.IN, ("s",))
    assert Selector().matches({})
    assert Selector((model,)).matches(CHAT.labels)
    assert not Selector((model, small)).matches(CHAT.labels)


GOLD = Selector((Requirement("tier", Operator.EXISTS),))
CODE = Selector((Requirement("model", Operator.IN, ("code",)),))
PARTS: list[tuple[str, Any, Any]] = [
    ("namespaces", frozenset({"team", "x"}), frozenset({"x"})),
    ("namespace_selector", GOLD, Selector((Requirement("tier", Operator.DOES_NOT_EXIST),))),
    ("services", Selector((Requirement("model", Operator.EXISTS),)), CODE),
    ("roles", frozenset({"Inference"}), frozenset({"Training"})),
    ("pools", frozenset({"a100", "l4"}), frozenset({"cpu"})),
]


@pytest.mark.parametrize("chosen", list(product((None, True, False), repeat=len(PARTS))))
def test_a_pod_is_covered_when_every_part_that_is_given_applies(chosen: tuple[bool | None, ...]) -> None:
    pairs = [(part, choice) for part, choice in zip(PARTS, chosen, strict=True) if choice is not None]
    scope = Scope(**{name: applies if choice else other for (name, applies, other), choice in pairs})
    assert scope.covers(CHAT, "Inference", "a100") is (False not in chosen)
    assert scope.reaches(CHAT) is (False not in chosen[:3])
