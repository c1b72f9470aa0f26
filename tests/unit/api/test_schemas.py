"""Rules that every schema of ours keeps, whatever fields are added."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from modelservice.api.crdgen import crd, generated, object_schema
from modelservice.api.kinds import KINDS, Kind
from modelservice.api.schema import structural
from pydantic import BaseModel

LIMIT_BYTES = 200 * 1024
BOOLEANS = {
    "ModelService.spec.suspend",
    "BudgetLedger.book.accounts[].sealed",
    "BudgetLedger.page.sealed",
}
CAMEL = re.compile(r"^[a-z][a-zA-Z0-9]*$")
SENTENCE = re.compile(r"^[A-Za-z][^\n]*\.$")
DURATION = re.compile(r"(?i)(seconds|minutes|hours|duration|timeout|delay|period|interval|ttl)$")


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}.*")


NODES = [
    (path, node)
    for kind in KINDS
    for path, node in walk(object_schema(kind), kind.name)
    if path != f"{kind.name}.metadata"
]
RULES = [(path, rule) for path, node in NODES for rule in node.get("x-kubernetes-validations", ())]


def offenders(bad: Any) -> list[str]:
    return [path for path, node in NODES if bad(path, node)]


def test_every_field_is_described() -> None:
    assert offenders(lambda path, node: not path.endswith((".*", "[]")) and not node.get("description")) == []


def test_every_description_is_short_and_ends_as_a_sentence() -> None:
    def bad(path: str, node: dict[str, Any]) -> bool:
        text = node.get("description", "Fine.")
        return not text.endswith(".") or (not text[0].isupper() and not text.startswith("pvc://")) or len(text) > 200

    assert offenders(bad) == []


def test_every_string_is_bounded() -> None:
    assert offenders(lambda _, node: node["type"] == "string" and "enum" not in node and "maxLength" not in node) == []


def test_every_integer_has_a_range_and_a_format() -> None:
    assert (
        offenders(lambda _, node: node["type"] == "integer" and not {"minimum", "maximum", "format"} <= node.keys())
        == []
    )


def test_every_range_fits_the_format_that_the_api_server_checks_it_by() -> None:
    def bad(_: str, node: dict[str, Any]) -> bool:
        bits = {"int32": 31, "int64": 63}.get(node.get("format", ""), 0)
        return node["type"] == "integer" and not -(2**bits) <= node["minimum"] <= node["maximum"] < 2**bits

    assert offenders(bad) == []


def test_every_list_is_bounded_and_says_how_it_is_merged() -> None:
    def bad(_: str, node: dict[str, Any]) -> bool:
        return node["type"] == "array" and not {"maxItems", "x-kubernetes-list-type"} <= node.keys()

    assert offenders(bad) == []


def test_lists_of_named_objects_are_merged_by_name() -> None:
    def bad(path: str, node: dict[str, Any]) -> bool:
        if node["type"] != "array" or node["items"]["type"] != "object" or path.startswith("BudgetLedger"):
            return False
        named = {"name", "type"} & set(node["items"].get("required", ()))
        return bool(named) and node["x-kubernetes-list-type"] != "map"

    assert offenders(bad) == []


def test_keys_of_merged_lists_are_required() -> None:
    def bad(_: str, node: dict[str, Any]) -> bool:
        keys = node.get("x-kubernetes-list-map-keys", ())
        return not set(keys) <= set(node.get("items", {}).get("required", ()))

    assert offenders(bad) == []


def test_every_map_is_bounded() -> None:
    assert offenders(lambda _, node: "additionalProperties" in node and "maxProperties" not in node) == []


def test_every_object_names_its_fields() -> None:
    def bad(_: str, node: dict[str, Any]) -> bool:
        return node["type"] == "object" and not {"properties", "additionalProperties"} & node.keys()

    assert offenders(bad) == []


def test_nothing_is_a_float_and_nothing_takes_any_shape() -> None:
    def bad(_: str, node: dict[str, Any]) -> bool:
        loose = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"} & node.keys()
        return node["type"] not in {"string", "integer", "boolean", "array", "object"} or bool(loose)

    assert offenders(bad) == []


def test_booleans_are_the_named_exceptions() -> None:
    assert {path for path, node in NODES if node["type"] == "boolean"} == BOOLEANS


def test_names_are_camel_case() -> None:
    def bad(path: str, _: dict[str, Any]) -> bool:
        return not CAMEL.match(path.rsplit(".", 1)[-1].removesuffix("[]")) and "." in path and not path.endswith(".*")

    assert offenders(bad) == []


def test_durations_are_integers_that_end_in_seconds() -> None:
    def bad(path: str, node: dict[str, Any]) -> bool:
        name = path.rsplit(".", 1)[-1]
        if path.startswith("BudgetLedger") or node["type"] in {"object", "array"} or not DURATION.search(name):
            return False
        return node["type"] != "integer" or not name.endswith("Seconds")

    assert offenders(bad) == []


def test_enums_are_camel_case_words() -> None:
    def bad(_: str, node: dict[str, Any]) -> bool:
        return any(
            not re.match(r"^[A-Z][A-Za-z]*$", value)
            for value in node.get("enum", ())
            if value != "modelservice.dev/v1alpha1"
        )

    assert offenders(bad) == []


def test_there_is_no_phase_and_no_state() -> None:
    assert offenders(lambda path, _: path.rsplit(".", 1)[-1] in {"phase", "state"}) == []


def test_the_operator_defaults_nothing_that_it_reports() -> None:
    assert offenders(lambda path, node: "default" in node and ".spec" not in path) == []


@pytest.mark.parametrize(("path", "rule"), RULES, ids=[f"{path}-{i}" for i, (path, _) in enumerate(RULES)])
def test_every_rule_answers_with_a_sentence(path: str, rule: dict[str, str]) -> None:
    assert SENTENCE.match(rule["message"]), path
    assert "must" in rule["message"] or "cannot" in rule["message"], path


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.has_status], ids=lambda kind: kind.name)
def test_every_kind_with_a_status_reports_conditions_in_the_standard_form(kind: Kind) -> None:
    status = object_schema(kind)["properties"]["status"]
    conditions = status["properties"]["conditions"]
    assert conditions["maxItems"] == 16
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {"type", "status", "lastTransitionTime", "reason", "message"}
    assert "observedGeneration" in status["properties"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_columns_point_at_fields_that_exist(kind: Kind) -> None:
    schema = object_schema(kind)
    for column in kind.columns:
        if column.path.startswith(".metadata"):
            continue
        node = schema
        for step in re.findall(r"\.(\w+)(\[[^\]]*\])?", re.sub(r'\(@\.(\w+)=="\w+"\)', "", column.path)):
            node = node["properties"][step[0]]
            node = node["items"] if step[1] else node
        assert node["type"] == column.type, column.name


def test_every_crd_is_small_enough_for_kubectl_apply() -> None:
    sizes = {path: len(text.encode()) for path, text in generated().items() if path.startswith("crds/")}
    assert len(sizes) == len(KINDS)
    assert {path: size for path, size in sizes.items() if size >= LIMIT_BYTES} == {}


def test_short_names_and_plurals_are_told_apart() -> None:
    names = [name for kind in KINDS for name in (kind.plural, kind.short, kind.name.lower())]
    assert len(names) == len(set(names))
    assert {crd(kind)["metadata"]["name"] for kind in KINDS} == {f"{kind.plural}.modelservice.dev" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_category_takes_the_name_by_which_one_object_is_asked_for(kind: Kind) -> None:
    """`kubectl get modelservice NAME` means a whole category where one is named like a kind."""
    assert "categories" not in crd(kind)["spec"]["names"]


def test_a_field_of_two_types_is_refused_by_the_generator() -> None:
    class Loose(BaseModel):
        both: int | str

    with pytest.raises(ValueError, match=r"Loose\.both is one of several types"):
        structural(Loose)


def test_a_field_of_any_type_is_refused_by_the_generator() -> None:
    class Open(BaseModel):
        anything: Any

    with pytest.raises(ValueError, match=r"Open\.anything has no single type"):
        structural(Open)
