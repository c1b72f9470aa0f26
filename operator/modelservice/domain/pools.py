"""What a ComputePool says of itself."""

from __future__ import annotations

from modelservice.domain.conditions import Condition

POOL_REASONS = frozenset({"NodesReady", "NoMatchingNodes", "NoReadyNodes", "Invalid"})


def judge_pool(nodes: int, ready: int, problem: str) -> Condition:
    """Ready of a ComputePool that so many nodes match; nodes that start on demand may come later."""
    if problem:
        return Condition("Ready", "False", "Invalid", f"The pool cannot be used: {problem}.")
    if nodes == 0:
        text = "No node carries the labels of nodeSelector now; pods wait until one does."
        return Condition("Ready", "False", "NoMatchingNodes", text)
    if ready == 0:
        return Condition("Ready", "False", "NoReadyNodes", f"None of its {nodes} nodes is ready.")
    return Condition("Ready", "True", "NodesReady", f"{ready} of {nodes} nodes are ready.")
