"""What a model takes and gives: names, datatypes and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelservice_workers.common.datatypenames import DATATYPES
from modelservice_workers.common.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Range:
    """A dimension whose size may vary between requests.

    `symbol` is equal for dimensions that must have the same size; `largest` is None when unbounded.
    """

    symbol: str
    smallest: int = 1
    largest: int | None = None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output; a dimension is a fixed size or a Range."""

    name: str
    datatype: str
    dims: tuple[int | Range, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes in protocol form, where -1 stands for a size that varies."""
        return tuple(-1 if isinstance(dim, Range) else dim for dim in self.dims)

    def to_json(self) -> dict[str, Any]:
        """The tensor as metadata and manifests write it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs in the order in which the model takes and gives them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def rows(self) -> Range | None:
        """The first dimension that all tensors share, or None when requests cannot be merged."""
        firsts = {spec.dims[0] if spec.dims else None for spec in (*self.inputs, *self.outputs)}
        first = firsts.pop() if len(firsts) == 1 else None
        return first if isinstance(first, Range) else None

    def to_json(self) -> dict[str, Any]:
        """The signature as metadata and manifests write it."""
        return {
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }

    def renamed(self, names: Signature) -> Signature:
        """This signature with the tensor names of `names`.

        Raises ArtifactError when the two differ in anything but names.
        """
        return Signature(
            _rename("input", self.inputs, names.inputs),
            _rename("output", self.outputs, names.outputs),
        )


def parse_signature(value: object) -> Signature:
    """Read the signature of a manifest; raises ArtifactError with what is wrong."""
    if not isinstance(value, Mapping):
        raise ArtifactError("The manifest's signature must be an object with inputs and outputs.")
    return Signature(_parse_specs(value, "inputs"), _parse_specs(value, "outputs"))


def _parse_specs(signature: Mapping[Any, Any], key: str) -> tuple[TensorSpec, ...]:
    entries = signature.get(key)
    if not isinstance(entries, list) or not entries:
        raise ArtifactError(f"The manifest's signature must list at least one tensor in {key}.")
    specs = tuple(_parse_spec(entry, f"{key}[{position}]") for position, entry in enumerate(entries))
    if len({spec.name for spec in specs}) != len(specs):
        raise ArtifactError(f"The manifest's signature uses one name twice in {key}.")
    return specs


def _parse_spec(entry: object, where: str) -> TensorSpec:
    if not isinstance(entry, Mapping):
        raise ArtifactError(f"The manifest's signature holds no object at {where}.")
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not name:
        raise ArtifactError(f"The manifest's signature names no tensor at {where}.")
    if datatype not in DATATYPES:
        raise ArtifactError(f"The manifest's signature gives {name} the unknown datatype {datatype!r}.")
    if not isinstance(shape, list) or not all(type(size) is int and size >= -1 for size in shape):
        raise ArtifactError(f"The manifest's signature gives {name} a shape that is no list of sizes.")
    dims = tuple(Range(f"{name}.{axis}") if size == -1 else size for axis, size in enumerate(shape))
    return TensorSpec(name, datatype, dims)


def _rename(kind: str, specs: Sequence[TensorSpec], names: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    if len(specs) != len(names):
        raise ArtifactError(
            f"The manifest lists {len(names)} {kind}s and the model has {len(specs)}; export the model again."
        )
    for spec, named in zip(specs, names, strict=True):
        if (spec.datatype, spec.shape) != (named.datatype, named.shape):
            raise ArtifactError(
                f"The manifest says that {kind} {named.name} is {named.datatype} {list(named.shape)} "
                f"and the model has {spec.datatype} {list(spec.shape)}; export the model again."
            )
    return tuple(replace(spec, name=named.name) for spec, named in zip(specs, names, strict=True))
