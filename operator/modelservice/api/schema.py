"""From pydantic's JSON schema to the structural OpenAPI schema of a CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)
INT32 = 2**31 - 1


def structural(model: type[BaseModel]) -> Schema:
    """The schema of a model with references inlined and only keys that the API server knows.

    Raises:
        ValueError: the model uses something that a structural schema cannot say.
    """
    document = model.model_json_schema(by_alias=True)
    return _convert(document, document.get("$defs", {}), model.__name__)


def without_defaults(schema: Schema) -> Schema:
    """The same schema with no default at any depth, for what the operator writes."""
    bare = {key: value for key, value in schema.items() if key not in {"default", "properties"}}
    if "properties" in schema:
        bare["properties"] = {name: without_defaults(child) for name, child in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in bare:
            bare[key] = without_defaults(bare[key])
    return bare


def _convert(node: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    node = _resolve(node, definitions, path)
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    schema = {key: node[key] for key in KEPT if key in node}
    if "type" not in schema:
        raise ValueError(f"{path} has no single type.")
    default = node.get("default")
    if default not in (None, [], {}):
        schema["default"] = default
    if schema["type"] == "integer":
        bounds = (abs(node.get("minimum", INT32 + 1)), abs(node.get("maximum", INT32 + 1)))
        schema["format"] = "int64" if max(bounds) > INT32 else "int32"
    if "properties" in node:
        schema["properties"] = {
            name: _convert(child, definitions, f"{path}.{name}") for name, child in node["properties"].items()
        }
        if required := node.get("required"):
            schema["required"] = required
    elif schema["type"] == "object":
        schema["additionalProperties"] = _convert(_values(node, path), definitions, f"{path}.*")
    if "items" in node:
        schema["items"] = _convert(node["items"], definitions, f"{path}[]")
    return schema


def _resolve(node: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    """Follow a reference and drop the null of an optional value; what stands beside them wins, rules add up."""
    if "$ref" in node:
        return _merge(node, _resolve(definitions[node["$ref"].removeprefix("#/$defs/")], definitions, path))
    if "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"{path} is one of several types.")
        return _merge(node, _resolve(choices[0], definitions, path))
    return node


def _merge(outer: Schema, inner: Schema) -> Schema:
    merged = {**inner, **{key: value for key, value in outer.items() if key not in {"$ref", "anyOf"}}}
    rules = [*inner.get("x-kubernetes-validations", ()), *outer.get("x-kubernetes-validations", ())]
    if rules:
        merged["x-kubernetes-validations"] = rules
    return merged


def _values(node: Schema, path: str) -> Schema:
    """The schema of a map's values; its keys can only be bounded by a CEL rule."""
    if patterns := node.get("patternProperties"):
        (values,) = patterns.values()
        return dict(values)
    if isinstance(values := node.get("additionalProperties"), dict):
        return values
    raise ValueError(f"{path} is an object without fields.")
