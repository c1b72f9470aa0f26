"""What is known of a model without loading it: from the headers of its files, or from a declared number of parameters.

`modelservice-worker inspect -o json` writes the document that ``read_facts`` reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar

VERSION = 1
HALF = 2
"""Bytes of a number in 16 bits, in which models are served unless they are quantized."""
MOST = 1 << 60

_COUNT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([KMBT])", re.ASCII)
_FACTORS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class Source(StrEnum):
    """Where a figure is from, the most certain first: an engine, the model's own files, a rule of thumb."""

    MEASURED = "Measured"
    CONFIG = "Config"
    HEURISTIC = "Heuristic"

    def weaker(self, other: Source) -> Source:
        """The less certain of the two."""
        order = list(Source)
        return max(self, other, key=order.index)


@dataclass(frozen=True, slots=True)
class Cache:
    """What layers keep of each token, in elements: keys and values of `heads` heads, or one `latent` vector (MLA).

    `sliding` of the `layers` keep only the last `window` tokens.
    """

    layers: int
    heads: int = 0
    key_size: int = 0
    value_size: int = 0
    latent: int = 0
    sliding: int = 0
    window: int = 0

    def elements(self, tokens: int, tensor: int) -> Fraction:
        """Elements on each of `tensor` devices for one sequence of so many tokens.

        Heads are shared out, and repeated when there are fewer than devices; a latent vector is on every device.
        """
        width = Fraction(self.latent) or Fraction(max(self.heads, tensor), tensor) * (self.key_size + self.value_size)
        full = (self.layers - self.sliding) * tokens
        return width * (full + self.sliding * min(tokens, self.window or tokens))


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model: 0, None and "" for what is not known; `weights` in bytes, by datatype where that is known."""

    source: Source
    weights: int
    parameters: int = 0
    datatypes: Mapping[str, int] = field(default_factory=dict)
    architecture: str = ""
    layers: int = 0
    heads: int = 0
    hidden: int = 0
    intermediate: int = 0
    vocabulary: int = 0
    context_limit: int = 0
    experts: int = 0
    vision: bool = False
    quantization: str = ""
    cache: Cache | None = None
    notes: tuple[str, ...] = ()
    format: str = ""

    @property
    def generates(self) -> bool:
        """Whether it keeps a cache, as models that generate text do; one of which only the size is known may."""
        return self.cache is not None or self.source is Source.HEURISTIC

    @property
    def main_datatype(self) -> str:
        """The datatype that most bytes of its weights have, "" when it is not known."""
        return max(self.datatypes, key=lambda name: (self.datatypes[name], name), default="")


def declared(parameter_count: str) -> ModelFacts:
    """A model of which only the number of parameters is told, such as 7B or 560M; raises ValueError."""
    match = _COUNT.fullmatch(parameter_count)
    if match is None or Fraction(match[1]) == 0:
        raise ValueError(f"{parameter_count!r} is not a number of parameters: write one such as 7B or 560M")
    parameters = int(Fraction(match[1]) * _FACTORS[match[2]])
    note = f"Only the number of parameters is declared, {parameter_count}: 16 bits are assumed for each."
    return ModelFacts(Source.HEURISTIC, HALF * parameters, parameters, notes=(note,))


N = TypeVar("N", int, str, bool)


def read_facts(document: object) -> ModelFacts:
    """The facts that `modelservice-worker inspect -o json` wrote; raises ValueError with the name of a wrong field."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"it is no document of version {VERSION} that modelservice-worker inspect -o json has written")

    def of(name: str, default: N, where: Mapping[str, Any] | None = document) -> N:
        value: Any = (where or {}).get(name, default)
        kind = value.__class__
        if kind is not default.__class__ or (kind is int and not 0 <= value < MOST):
            raise ValueError(f"{name} is {str(value)[:40]!r}, which cannot be")
        found: N = value
        return found

    kinds, notes, kept = (document.get(name) for name in ("datatypes", "notes", "cache"))
    good = isinstance(kinds, dict | None) and isinstance(notes, list | None) and isinstance(kept, dict | None)
    if not good:
        raise ValueError("datatypes or cache is no object, or notes is no list")
    cache = None
    if kept is not None:
        names = ("layers", "heads", "keySize", "valueSize", "latent", "slidingLayers", "window")
        cache = Cache(*(of(name, 0, kept) for name in names))
    return ModelFacts(
        Source.CONFIG,
        of("bytes", 0),
        of("parameters", 0),
        {str(name): of(name, 0, kinds) for name in kinds or {}},
        of("architecture", ""),
        of("layers", 0),
        of("heads", 0),
        of("hidden", 0),
        of("intermediate", 0),
        of("vocabulary", 0),
        of("contextLimit", 0),
        of("experts", 0),
        of("vision", default=False),
        of("quantization", ""),
        cache,
        tuple(str(note) for note in notes or ()),
        of("format", ""),
    )
