"""The API reference as Markdown, from the same schemas as the CRDs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from modelservice.api.fields import API_VERSION
from modelservice.api.kinds import Kind

INTRODUCTION = f"""# API reference, {API_VERSION}

<!-- Generated from operator/modelservice/api by `make crds`; change the models instead. -->

Money, ratios and quantities are strings; durations are whole seconds. Conditions have the form of `metav1.Condition`;
their reasons are listed in [conditions.md](conditions.md). A field that is bold must be set.
"""


def reference(kinds: Iterable[tuple[Kind, dict[str, Any]]]) -> str:
    """One section per kind with a table of its fields and the sentences of its rules."""
    return "\n".join([INTRODUCTION, *(_section(kind, schema) for kind, schema in kinds)])


def _section(kind: Kind, schema: dict[str, Any]) -> str:
    scope = "in a namespace" if kind.scope == "Namespaced" else "for the whole cluster"
    lines = [
        f"## {kind.name}",
        "",
        f"{schema['description']} Lives {scope}; `kubectl get {kind.short}`.",
        "",
        "| field | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, child in schema["properties"].items():
        if name not in {"apiVersion", "kind", "metadata"}:
            lines += _rows(name, child, name in schema.get("required", ()))
    sentences = sorted(set(_sentences(schema)))
    if sentences:
        lines += [
            "",
            "The API server refuses an object with these sentences:",
            "",
            *(f"- {text}" for text in sentences),
        ]
    return "\n".join([*lines, ""])


def _rows(path: str, schema: dict[str, Any], required: bool) -> Iterator[str]:  # noqa: FBT001 - one flag of a table row
    name = f"**`{path}`**" if required else f"`{path}`"
    default = f"`{schema['default']}`" if "default" in schema and schema["type"] != "object" else ""
    yield f"| {name} | {_type(schema)} | {default} | {_escape(schema.get('description', ''))} |"
    if path.endswith("conditions"):
        return
    inner, prefix = schema, path
    if schema["type"] == "array":
        inner, prefix = schema["items"], f"{path}[]"
    for name, child in inner.get("properties", {}).items():
        yield from _rows(f"{prefix}.{name}", child, name in inner.get("required", ()))


def _type(schema: dict[str, Any]) -> str:
    match schema["type"]:
        case "array":
            items = schema["items"]
            plural = _type(items) if items["type"] != "object" else "object"
            return f"list of {plural}, at most {schema['maxItems']}"
        case "integer":
            return f"integer {schema['minimum']}..{schema['maximum']}"
        case "string" if "enum" in schema:
            return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
        case "object" if "additionalProperties" in schema:
            return f"map of {_type(schema['additionalProperties'])}, at most {schema['maxProperties']}"
        case "string" if schema.get("format") == "date-time":
            return "time"
        case other:
            return str(other)


def _sentences(schema: dict[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for child in (
        *schema.get("properties", {}).values(),
        *(schema[k] for k in ("items", "additionalProperties") if k in schema),
    ):
        yield from _sentences(child)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
