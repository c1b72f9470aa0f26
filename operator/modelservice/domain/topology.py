"""Slices of TPUs: how many nodes the chips of a topology take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

_TOPOLOGY = re.compile(r"[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){1,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Slice:
    """A group of nodes whose chips work as one; each pod asks for the chips of its node, all start together."""

    chips: int
    hosts: int


def slice_of(topology: str, node_chips: int, requested: int | None = None) -> Slice:
    """The slice of a topology such as 2x4 or 2x2x2 on nodes with so many chips.

    `requested` is how many chips one pod asks for, where it says so: those of its node. Raises ValueError.
    """
    if _TOPOLOGY.fullmatch(topology) is None:
        raise ValueError(
            f"{topology!r} is no topology of TPUs (its nodes have {node_chips} chips): write one such as 2x4 or 2x2x2"
        )
    chips = prod(int(size) for size in topology.split("x"))
    if node_chips < 1 or chips % node_chips:
        raise ValueError(
            f"topology {topology} has {chips} chips, which nodes of {node_chips} chips cannot share evenly"
        )
    if requested is not None and requested != node_chips:
        raise ValueError(
            f"topology {topology} gives each pod the {node_chips} chips of its node, and the pod asks for {requested}"
        )
    return Slice(chips, chips // node_chips)
