"""The facts of a model that decide on which hardware it fits, and the document that carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 1
"""Of the document; the operator reads it too."""


@dataclass(frozen=True, slots=True)
class Cache:
    """What a layer keeps of each token: keys and values of `heads` heads, or one `latent` vector for all (MLA).

    Sizes in elements. `sliding` of the `layers` keep only the last `window` tokens.
    """

    layers: int
    heads: int = 0
    key_size: int = 0
    value_size: int = 0
    latent: int = 0
    sliding: int = 0
    window: int = 0

    def kind(self, heads: int) -> str:
        """MHA, GQA, MQA or MLA, by the attention heads of the model."""
        if self.latent:
            return "MLA"
        if self.heads == heads:
            return "MHA"
        return "MQA" if self.heads == 1 else "GQA"

    def elements_per_token(self) -> int:
        """Elements that all layers keep of one token."""
        return self.layers * (self.latent or self.heads * (self.key_size + self.value_size))


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a transformer; 0 and None where its configuration does not say."""

    name: str = ""
    layers: int = 0
    heads: int = 0
    hidden: int = 0
    intermediate: int = 0
    vocabulary: int = 0
    context_limit: int = 0
    experts: int = 0
    vision: bool = False
    quantization: str = ""
    quantization_bits: int = 0
    tied: bool = False
    cache: Cache | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors of a model: parameters, and the bytes that are loaded of each datatype; `notes` are sentences."""

    parameters: int
    bytes_of: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model without loading it; `files` are those with weights."""

    format: str
    files: tuple[str, ...]
    weights: Weights
    architecture: Architecture = field(default_factory=Architecture)

    @property
    def size_bytes(self) -> int:
        """Bytes of weights that an engine loads."""
        return sum(self.weights.bytes_of.values())

    def to_json(self) -> dict[str, Any]:
        """The document; what is not known is left out."""
        shape = self.architecture
        document: dict[str, Any] = {
            "version": VERSION,
            "format": self.format,
            "files": list(self.files),
            "bytes": self.size_bytes,
            "parameters": self.weights.parameters,
            "datatypes": dict(sorted(self.weights.bytes_of.items())),
            "architecture": shape.name,
            "layers": shape.layers,
            "heads": shape.heads,
            "hidden": shape.hidden,
            "intermediate": shape.intermediate,
            "vocabulary": shape.vocabulary,
            "contextLimit": shape.context_limit,
            "experts": shape.experts,
            "vision": shape.vision,
            "quantization": shape.quantization,
        }
        if shape.cache is not None:
            document["cache"] = _cache(shape.cache, shape.heads)
        document["notes"] = list(self.weights.notes)
        return {name: value for name, value in document.items() if value or name in ("version", "bytes", "parameters")}


def _cache(cache: Cache, heads: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "kind": cache.kind(heads),
        "layers": cache.layers,
        "heads": cache.heads,
        "keySize": cache.key_size,
        "valueSize": cache.value_size,
        "latent": cache.latent,
        "slidingLayers": cache.sliding,
        "window": cache.window,
        "elementsPerToken": cache.elements_per_token(),
    }
    return {name: value for name, value in document.items() if value}
