"""Services that wake: each where it starts soonest among what the money allows, and never more than it allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.book import Book
from modelservice.domain.planner import plan
from modelservice.domain.snapshot import Snapshot
from modelservice.domain.specs import Pool, ServiceName
from modelservice.domain.waking import MOST_POOLS, plan_waking

from tests.unit.domain.specs import NOW, USD, policy, pool, view

pools = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 600)), min_size=1, max_size=MOST_POOLS).map(
    lambda pairs: tuple(
        pool(f"p{number}", price * USD, start_seconds=start) for number, (price, start) in enumerate(pairs)
    )
)
rates = st.integers(0, 24 * USD)


def seen(names: str, given_pools: tuple[Pool, ...], rate: int) -> Snapshot:
    views = tuple(view(1, *given_pools, name=name, woken=True) for name in names)
    known = {one.name: one for one in given_pools}
    return Snapshot(views, known, (policy(limit=1000 * USD, max_rate=rate),), {}, Book(time=NOW))


@given(pools, rates)
def test_one_wakes_in_the_pool_of_the_smallest_start_that_is_paid_or_not_at_all(
    given_pools: tuple[Pool, ...], rate: int
) -> None:
    own = plan_waking(seen("a", given_pools, rate), (), NOW).services[ServiceName("ns", "a")]
    paid = [one for one in given_pools if one.tariff.dearest["OnDemand"] <= 4 * rate]
    assert own.option is not None
    assert own.funded == bool(paid)
    if paid:
        assert own.option.pool.start_seconds == min(one.start_seconds for one in paid)
    else:
        assert own.option.price == min(one.tariff.dearest["OnDemand"] for one in given_pools) // 4


@given(pools, rates, st.integers(1, 4))
def test_several_never_get_more_than_there_is_and_some_wake_whenever_the_cheapest_pool_is_paid(
    given_pools: tuple[Pool, ...], rate: int, count: int
) -> None:
    snapshot = seen("abcd"[:count], given_pools, rate)
    made = plan_waking(snapshot, (), NOW)
    running = [own.option.ceiling for own in made.services.values() if own.option is not None and own.funded]
    assert sum(running) <= rate
    if not running:
        cheapest = plan(snapshot, NOW)
        assert not any(own.funded for own in cheapest.services.values())
