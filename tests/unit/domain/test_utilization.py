"""What the book charges in a pool, against what its nodes cost."""

from modelservice.domain.utilization import PoolUse, charged, pools_of

from tests.unit.domain.costbooks import book_of


def test_each_running_pod_is_charged_once_whoever_pays_for_it() -> None:
    # Two budgets pay for the pod in a100; the other pod of that pool has not been seen on a node yet.
    assert [charged(book_of(), pool) for pool in ("a100", "l4", "other")] == [3_600_000, 1_000_001, 0]


def test_what_no_pod_pays_for_is_never_below_zero() -> None:
    assert PoolUse("a", "USD", 2, 8, 3).uncharged == 5
    assert PoolUse("a", "USD", 0, 0, 3).uncharged == 0


def test_pools_are_chosen_by_name() -> None:
    uses = [PoolUse(name, "USD", 1, 1, 1) for name in ("b", "c", "a")]
    assert [use.pool for use in pools_of(uses, {"a", "b", "z"})] == ["a", "b"]
