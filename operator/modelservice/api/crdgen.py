"""Writes what is generated from the models: run `python -m modelservice.api.crdgen write` in the root."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from modelservice.api.fields import GROUP, VERSION
from modelservice.api.kinds import KINDS, Kind
from modelservice.api.reference import reference
from modelservice.api.schema import structural, without_defaults

HEADER = "# Generated from operator/modelservice/api by `make crds`; change the models instead.\n"
KEEP = "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": object_schema(kind)},
    }
    if kind.has_status:
        version["subresources"] = {"status": {}}
    version["additionalPrinterColumns"] = [
        {"name": column.name, "type": column.type, "jsonPath": column.path}
        | ({"priority": column.priority} if column.priority else {})
        for column in kind.columns
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
            },
            "versions": [version],
        },
    }


def object_schema(kind: Kind) -> dict[str, Any]:
    """The schema of the whole object; metadata is left to the API server."""
    schema = structural(kind.model)
    properties = schema["properties"]
    properties["apiVersion"] = {
        "type": "string",
        "description": "The group and version of this schema.",
        "maxLength": 64,
    }
    properties["kind"] = {"type": "string", "description": "The name of the kind.", "maxLength": 64}
    properties["metadata"] = {"type": "object"}
    if kind.has_status:
        properties["status"] = without_defaults(properties["status"])
    else:
        for name in properties.keys() & {"book", "page", "history"}:
            properties[name] = without_defaults(properties[name])
    schema["required"] = [name for name in schema.get("required", ()) if name != "metadata"]
    if not schema["required"]:
        del schema["required"]
    rules = [{"rule": rule, "message": message} for rule, message in kind.rules]
    if rules:
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", ()), *rules]
    return schema


def generated() -> dict[str, str]:
    """Every generated file by its path from the root of the repository."""
    files = {}
    for kind in KINDS:
        name = f"{kind.plural}.yaml"
        text = yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=120)
        if "{{" in text:
            raise ValueError(f"The schema of {kind.name} contains {{{{, which Helm would expand.")
        files[f"crds/{name}"] = HEADER + text
        templated = text.replace("metadata:\n", f"metadata:\n{KEEP}", 1)
        files[f"charts/modelservice/templates/crds/{name}"] = (
            f"{HEADER}{{{{- if .Values.crds.install }}}}\n{templated}{{{{- end }}}}\n"
        )
    files["docs/reference/api.md"] = reference([(kind, object_schema(kind)) for kind in KINDS])
    return files


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - Kubernetes reads no YAML anchors worth having
        return True


def main(argv: list[str]) -> int:
    """Write the files, or check that they are up to date; exit status 1 with a sentence for each that is not."""
    root = Path.cwd()
    match argv:
        case ["write"]:
            for path, text in generated().items():
                target = root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
            return 0
        case ["check"]:
            stale = [
                path
                for path, text in generated().items()
                if not (root / path).is_file() or (root / path).read_text() != text
            ]
            for path in stale:
                sys.stderr.write(f"{path} does not match the models: run `make crds` and commit it.\n")
            return 1 if stale else 0
        case _:
            sys.stderr.write("usage: python -m modelservice.api.crdgen write|check\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
