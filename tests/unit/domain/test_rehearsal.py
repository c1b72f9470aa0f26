"""A budget on trial says what it would refuse, whatever runs already, and nobody else is asked."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.book import Blocked, Book, Enforcement
from modelservice.domain.ledger import Policy
from modelservice.domain.planner import plan
from modelservice.domain.rehearsal import Objection, rehearse
from modelservice.domain.scope import Scope
from modelservice.domain.settlement import Evidence, settle
from modelservice.domain.snapshot import ServiceView, Snapshot
from modelservice.domain.specs import ServiceName

from tests.unit.domain.specs import HOUR, NOW, USD, pod, policy, pool, running, view

CPU = pool()
HELD = -(-USD * (HOUR + 150) // HOUR)
"""What one pod holds when it is admitted: an hour, 120 s late, 30 s to stop."""


def trial(limit: int = 100 * USD, max_rate: int | None = None, **more: object) -> Policy:
    return replace(policy(limit, max_rate), enforcement=Enforcement.DRY_RUN, **more)  # type: ignore[arg-type]


def snapshot(*views: ServiceView, policies: tuple[Policy, ...], **more: object) -> Snapshot:
    given = {"pools": {"cpu": CPU}, "policies": policies, "book": Book(time=NOW), **more}
    return Snapshot(views, **given)  # type: ignore[arg-type]


def objections(seen: Snapshot, now: int = NOW) -> list[tuple[str, Blocked, int, int, int]]:
    (own,) = rehearse(seen, now).values()
    return [(str(o.service), (w := o.refused.why).blocked_by, o.refused.pods, w.need, w.have) for o in own]


def test_what_a_trial_would_refuse_runs_and_is_named_with_need_and_have() -> None:
    by_rate = snapshot(view(4, CPU), policies=(trial(max_rate=2_500_000),))
    by_limit = snapshot(view(4, CPU), policies=(trial(limit=2 * HELD + 7),))
    for seen in (by_rate, by_limit):
        own = plan(seen, NOW).services[ServiceName("ns", "chat")]
        assert (own.funded, own.refused, own.payers, own.counters) == (4, None, (), ("ns/team",))
    assert objections(by_rate) == [("ns/chat", Blocked.RATE, 2, USD, 500_000)]
    assert objections(by_limit) == [("ns/chat", Blocked.LIMIT, 2, HELD, 7)]


def test_a_trial_with_enough_money_objects_to_nothing() -> None:
    seen = snapshot(view(4, CPU), policies=(trial(limit=4 * HELD, max_rate=4 * USD),))
    assert objections(seen) == []


def test_pods_that_run_already_do_not_silence_a_trial() -> None:
    budget = trial(limit=3 * HELD, max_rate=2 * USD)
    first = plan(snapshot(view(3, CPU), policies=(budget,)), NOW)
    born = {f"p{n}": pod(f"p{n}") for n in range(3)}
    book = settle(Book(), NOW, Evidence(NOW, born), [budget], first.funding, 10).book
    alive = {uid: running(uid) for uid in born}
    book = settle(book, NOW + 60, Evidence(NOW + 60, alive), [budget], first.funding, 10).book
    seen = snapshot(view(3, CPU), policies=(budget,), book=book, pods=alive)
    assert objections(seen, NOW + 60) == [("ns/chat", Blocked.RATE, 1, USD, 0)]
    half = snapshot(view(3, CPU), policies=(replace(budget, max_rate=None),), book=book, pods=alive)
    spent = 3 * -(-USD * HOUR // 2 // HOUR)
    assert objections(half, NOW + HOUR // 2) == [("ns/chat", Blocked.LIMIT, 2, HELD, 3 * HELD - spent - HELD)]


def test_a_trial_speaks_only_for_the_pods_in_its_scope_and_only_of_its_own_money() -> None:
    hard = policy(max_rate=USD)
    other = trial(max_rate=USD, name="platform", scope=Scope(pools=frozenset({"gpu"})))
    mine = trial(max_rate=2 * USD, name="mine", scope=Scope(frozenset({"ns"})))
    seen = snapshot(view(1, CPU, name="a"), view(3, CPU, name="b"), policies=(hard, other, mine))
    found = rehearse(seen, NOW)
    assert found["platform"] == ()
    assert [(str(one.service), one.refused.pods) for one in found["mine"]] == [("ns/b", 2)]
    assert "ns/team" not in found


def test_a_trial_says_what_it_would_pay_for_and_from_when_on_for_one_more() -> None:
    begun = settle(
        Book(),
        NOW,
        Evidence(NOW, {"p": pod("p")}),
        [trial()],
        plan(snapshot(view(1, CPU), policies=(trial(),)), NOW).funding,
        10,
    ).book
    alive = {"p": running("p")}
    book = settle(begun, NOW + 60, Evidence(NOW + 60, alive), [trial()], {}, 10).book
    for budget, fits, moment in (
        (trial(limit=2 * HELD), 1, NOW + 18 * HOUR),
        (trial(max_rate=2_500_000), 2, None),
    ):
        (one,) = rehearse(snapshot(view(4, CPU), policies=(budget,), book=book, pods=alive), NOW + 60)["ns/team"]
        assert (one.fits, one.affordable_at) == (fits, moment)


def test_a_trial_in_another_currency_objects_and_counts_nothing() -> None:
    euros = trial(currency="EUR")
    seen = snapshot(view(2, CPU), policies=(euros,))
    assert objections(seen) == [("ns/chat", Blocked.CURRENCY, 2, 0, 0)]
    assert plan(seen, NOW).services[ServiceName("ns", "chat")].counters == ()


def test_a_budget_that_only_counts_cannot_refuse_by_its_currency_and_one_that_binds_does() -> None:
    soft = replace(policy(currency="EUR", name="soft"), enforcement=Enforcement.SOFT)
    refused = plan(snapshot(view(1, CPU), policies=(policy(currency="EUR"),)), NOW).services[ServiceName("ns", "chat")]
    counted = plan(snapshot(view(1, CPU), policies=(soft,)), NOW).services[ServiceName("ns", "chat")]
    assert refused.refused is not None
    assert (refused.refused.why.blocked_by, refused.funded) == (Blocked.CURRENCY, 0)
    assert (counted.refused, counted.funded) == (None, 1)


def test_a_soft_budget_is_not_rehearsed() -> None:
    seen = snapshot(view(4, CPU), policies=(replace(trial(max_rate=1), enforcement=Enforcement.SOFT),))
    assert rehearse(seen, NOW) == {}


def test_an_objection_stays_the_same_while_only_its_figures_move() -> None:
    budget = trial(limit=2 * HELD + 7)
    one, other = (rehearse(snapshot(view(4, CPU), policies=(budget,)), NOW + late)["ns/team"] for late in (0, 3))
    assert [each.cause for each in one] == [each.cause for each in other]
    assert isinstance(one[0], Objection)
