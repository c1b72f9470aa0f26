"""How many devices carry one replica: the sizes that an engine starts with, and the smallest that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from modelservice.domain.estimator import Fit, Serving, Terms, serve
from modelservice.domain.memory import Figure, gib
from modelservice.domain.modelfacts import ModelFacts

MOST_DEVICES = 1024


@dataclass(frozen=True, slots=True)
class Devices:
    """So many devices carry a replica, each with the memory of `serving`."""

    count: int
    serving: Serving


def tensor_sizes(heads: int, key_heads: int, devices: int) -> tuple[int, ...]:
    """The sizes of tensor parallelism on a node with so many devices.

    An engine starts only when the size divides the heads, and divides the heads of keys or is a multiple of them.
    """
    return tuple(
        size for size in range(1, devices + 1) if heads % size == 0 and (key_heads % size == 0 or size % key_heads == 0)
    )


def sizes_for(facts: ModelFacts, devices: int) -> tuple[int, ...]:
    """The sizes for a model; powers of two when its heads are not known."""
    if not facts.heads:
        return tuple(1 << power for power in range(devices.bit_length()) if 1 << power <= devices)
    key_heads = facts.cache.heads if facts.cache is not None and facts.cache.heads else facts.heads
    return tensor_sizes(facts.heads, key_heads, devices)


def spread(facts: ModelFacts, terms: Terms, memory: int, devices: int, measured: Figure | None = None) -> Devices | str:
    """The fewest of a node's devices that hold the model, each with so many bytes, or a sentence why none do.

    The others are left for further replicas.
    """
    sizes = sizes_for(facts, devices)

    def on(size: int) -> Serving:
        return serve(facts, replace(terms, tensor=size), memory, measured)

    for size in sizes:
        serving = on(size)
        if serving.fit is not Fit.NOT:
            return Devices(size, serving)
    if not sizes:
        return "A node of the pool has no device."
    needed = _fewest(lambda count: on(count).fit is not Fit.NOT)
    possible = ", ".join(map(str, sizes))
    if needed is None:
        lack = on(sizes[-1])
        return f"{gib(lack.need.likely)} are needed on a device and {gib(lack.share)} of it can be used."
    return f"{needed} devices needed, possible {possible}."


def _fewest(fits: Callable[[int], bool]) -> int | None:
    """The least number of devices by memory alone."""
    if not fits(MOST_DEVICES):
        return None
    low, high = 1, MOST_DEVICES
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low
