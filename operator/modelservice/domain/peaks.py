"""The dearest that the services of a budget can run at once."""

from __future__ import annotations

from collections.abc import Mapping

from modelservice.domain.planner import Plan
from modelservice.domain.snapshot import Snapshot
from modelservice.domain.specs import Role


def peak_rates(snapshot: Snapshot, plan: Plan) -> Mapping[str, int]:
    """What the services of each budget cost with maxReplicas pods and a training pod, where the plan has them.

    Micro-units per hour by the name of the budget, whatever it pays for now.
    """
    peaks = dict.fromkeys((policy.name for policy in snapshot.policies), 0)
    for view in snapshot.services:
        planned = plan.services.get(view.name)
        if planned is None or view.suspended:
            continue
        wanted = ((Role.INFERENCE, planned.option, view.most), (Role.TRAINING, planned.training, 1))
        for role, option, pods in wanted:
            if option is not None:
                for policy in snapshot.payers(view, role, option.pool.name):
                    peaks[policy.name] += option.ceiling * pods
    return peaks
