"""How much of a limit is spent when more is wanted than it pays for."""

from __future__ import annotations

import os
from random import Random
from statistics import mean

import pytest
from modelservice.domain.ledger import Policy
from modelservice.domain.money import cost
from modelservice.domain.periods import Calendar
from modelservice.domain.prices import Billing
from modelservice.domain.scope import Scope
from modelservice.domain.specs import Role

from tests.property.actors import Spec
from tests.property.simulation import EPOCH, Run, Schedule, Shifts
from tests.property.world import TENTHS, Quirks, Workload, World

PERIOD = 8 * 3600
BEGIN = EPOCH - EPOCH % PERIOD
STEADY = Schedule(PERIOD, 60, 0.03, 300, 0.003, 600, changes=False)
POD_HORIZONS = 50
LEAST = 0.95
RUNS = max(3, int(os.environ.get("MODELSERVICE_PROPERTY_EXAMPLES", "300")) // 100)


def utilisation(seed: int, horizon: int) -> float:
    """The part of a limit of so many pod-horizons that is spent by the end of its period."""
    limits = []

    def build(rng: Random) -> tuple[World, Spec]:
        rate, billing = rng.choice([999_983, 8_000_000]), Billing(rng.choice([60, 300, 900]), rng.choice([0, 37]))
        limits.append(POD_HORIZONS * cost(rate, 0, horizon + billing.overrun))
        work = Workload(
            name="team/w",
            service="team/s",
            role=Role.INFERENCE,
            policies=("team/all",),
            billed_from="Running",
            stop=billing.stop,
            tail=billing.tail,
            minimum=0,
            ceiling=rate,
            true_rates=[(0, rate)],
            demand=12,
            floor=rng.choice([0, 1, 12]),
        )
        period = Shifts(Calendar.DAY, "UTC", seconds=PERIOD)
        policy = Policy("team/all", "USD", limits[0], period, scope=Scope(pools=frozenset({"w"})), horizon=horizon)
        quirks = Quirks(forced=0.05)
        return World(rng, BEGIN * TENTHS, {work.name: work}, quirks), Spec([(BEGIN * TENTHS, (policy,))])

    run = Run(seed, STEADY, build=build)
    oracle = run.play()
    rows = {**run.world.pages, **oracle.book.accounts}
    spent = sum(line["closed"] + line["adjusted"] for line in rows["team/all", BEGIN]["lines"])
    return float(spent / limits[0])


@pytest.mark.parametrize("horizon", [3600, 600])
def test_a_limit_of_fifty_pod_horizons_is_used_to_at_least_95_percent(
    horizon: int, capsys: pytest.CaptureFixture[str]
) -> None:
    used = [utilisation(seed, horizon) for seed in range(RUNS)]
    with capsys.disabled():
        print(
            f" horizon {horizon} s: {min(used):.1%} to {max(used):.1%} of the limit used, {mean(used):.1%} on average"
        )
    assert min(used) >= LEAST
