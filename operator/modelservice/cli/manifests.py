"""Manifests of our kinds read from files, without a cluster: what is wrong is told with its file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from modelservice.api.budgetpolicy import BudgetPolicy, ClusterBudgetPolicy
from modelservice.api.computepool import ComputePool
from modelservice.api.fields import API_VERSION, GROUP
from modelservice.api.modelruntime import ModelRuntime
from modelservice.api.modelservice import ModelService

KINDS: Mapping[str, type[BaseModel]] = {
    kind.__name__: kind for kind in (ModelService, BudgetPolicy, ClusterBudgetPolicy, ComputePool, ModelRuntime)
}
NAMESPACED = ("ModelService", "BudgetPolicy", "ConfigMap")
SUFFIXES = (".yaml", ".yml", ".json")
MOST_FILES, MOST_BYTES = 2000, 4 << 20

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mistaken(ValueError):
    """The files cannot be used; each line of the text names a file and says what is wrong there."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object: its kind, its content, and where it stands."""

    kind: str
    body: dict[str, Any]
    path: Path
    node: yaml.Node

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        meta = self.body["metadata"]
        return self.kind, str(meta.get("namespace", "")), str(meta.get("name", ""))

    def at(self, path: Sequence[int | str] = ()) -> str:
        """The file and the line of a part of it, or of what comes nearest to it."""
        return f"{self.path}:{_line(self.node, path)}"


@dataclass(slots=True)
class Manifests:
    """All objects of our kinds, with namespaces and ConfigMaps, which say who pays and what nodes cost."""

    objects: dict[tuple[str, str, str], tuple[Found, BaseModel | None]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[tuple[Found, Any]]:
        """The objects of a kind with what they were read as, by name."""
        return ((found, read) for key, (found, read) in sorted(self.objects.items()) if key[0] == kind)


def read_manifests(paths: Sequence[Path]) -> Manifests:
    """Read files and directories, these with all that is below them; raises Mistaken with every fault."""
    manifests = Manifests()
    for path in paths:
        for file in _files(path):
            try:
                for found in _read(file):
                    _take(found, manifests)
            except Mistaken as error:
                manifests.faults.append(str(error))
    if manifests.faults:
        raise Mistaken("\n".join(manifests.faults))
    return manifests


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise Mistaken(f"{path}: it does not exist, name a file or a directory with manifests.")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if len(files) > MOST_FILES:
        raise Mistaken(f"{path}: it has {len(files):,} files, name a directory with at most {MOST_FILES:,}.")
    return files


def _read(path: Path) -> Iterator[Found]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Mistaken(f"{path}: it cannot be read ({error.strerror}).") from None
    if len(content) > MOST_BYTES:
        raise Mistaken(f"{path}: it has more than {MOST_BYTES >> 20} MiB and is no manifest.")
    if not any(word in content for word in (GROUP.encode(), b"ConfigMap", b"Namespace")):
        return
    loader = Loader(content)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield from _objects(path, node, loader.construct_document(node))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise Mistaken(f"{path}{line}: it is no YAML ({what}).") from None
    finally:
        loader.dispose()


def _objects(path: Path, node: yaml.Node, body: Any) -> Iterator[Found]:
    """The objects of a document; a List has several."""
    if not isinstance(body, dict):
        return
    if body.get("kind") == "List" and isinstance(body.get("items"), list):
        items = _child(node, "items")
        nodes = items.value if isinstance(items, yaml.SequenceNode) else []
        for item, inner in zip(body["items"], nodes, strict=True):
            yield from _objects(path, inner, item)
        return
    kind = str(body.get("kind"))
    ours = str(body.get("apiVersion", "")).startswith(f"{GROUP}/")
    if ours or kind in ("Namespace", "ConfigMap"):
        yield Found(kind, body, path, node)


def _take(found: Found, manifests: Manifests) -> None:
    """Check one object and keep it; faults are noted."""
    meta = found.body.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        manifests.faults.append(f"{found.at()}: {found.kind}: metadata.name is missing.")
        return
    if found.kind in NAMESPACED:
        meta.setdefault("namespace", "default")
    model = KINDS.get(found.kind)
    read = None
    if found.body.get("apiVersion") == API_VERSION and model is not None:
        try:
            read = model.model_validate(found.body)
        except ValidationError as error:
            manifests.faults += _faults(found, error)
            return
        if unknown := _unknown(found.body, read.model_dump(by_alias=True, exclude_unset=True), ()):
            where = ".".join(map(str, unknown))
            manifests.faults.append(
                f"{found.at(unknown)}: {found.kind} {meta['name']}: {where} is no field, remove it."
            )
            return
    elif str(found.body.get("apiVersion", "")).startswith(GROUP):
        what = f"{found.body['apiVersion']} {found.kind}"
        manifests.faults.append(f"{found.at()}: {what} is not read here, only {', '.join(KINDS)} of {API_VERSION}.")
        return
    other = manifests.objects.get(found.key)
    if other is not None:
        manifests.faults.append(f"{found.at()}: {found.kind} {meta['name']} stands in {other[0].at()} too, keep one.")
        return
    manifests.objects[found.key] = (found, read)


def _faults(found: Found, error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_url=False, include_input=False):
        path = tuple(one["loc"])
        text = one["msg"].rstrip(".")
        where = ".".join(map(str, path)) or "it"
        yield f"{found.at(path)}: {found.kind} {found.body['metadata']['name']}: {where}: {text}."


def _unknown(given: Any, read: Any, path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The first part of what was given that was not read, () when all was."""
    if path in {("metadata",), ("status",)}:
        return ()
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            if name not in read:
                return (*path, str(name))
            if deeper := _unknown(value, read[name], (*path, str(name))):
                return deeper
    elif isinstance(given, list) and isinstance(read, list | tuple):
        for at, (value, taken) in enumerate(zip(given, read, strict=False)):
            if deeper := _unknown(value, taken, (*path, at)):
                return deeper
    return ()


def _line(node: yaml.Node, path: Sequence[int | str]) -> int:
    for part in path:
        child = _child(node, part)
        if child is None:
            break
        node = child
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    return None
