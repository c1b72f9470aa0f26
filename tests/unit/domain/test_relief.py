"""When a refused pod can be paid for, and what fits now."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.book import Account, Book, Line, Placement, Unit
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, Policy, advance, set_policies
from modelservice.domain.limits import CarryOver, Unused
from modelservice.domain.periods import Calendar, Period, Window
from modelservice.domain.planner import plan
from modelservice.domain.pricetable import COLUMNS, parse_table
from modelservice.domain.relief import Relief, relieve, shortages
from modelservice.domain.scope import Scope
from modelservice.domain.snapshot import ServiceView, Snapshot
from modelservice.domain.specs import Pool, ServiceName
from modelservice.domain.tariff import quote
from modelservice.domain.times import format_time

from tests.unit.domain.specs import HOUR, NOW, USD, policy, pool, running, view

CHAT = ServiceName("ns", "chat")
CPU = pool()
WORK = "ns/chat-cpu"
TODAY = NOW - 6 * HOUR
TOMORROW = TODAY + 24 * HOUR
FOR_ONE = -(-USD * (3600 + 120 + 30) // HOUR)
"""What one pod of 1.00 USD an hour holds when it is admitted."""


def scene(
    view_: ServiceView, *policies: Policy, book: Book | None = None, pools: tuple[Pool, ...] = (CPU,)
) -> Snapshot:
    named = {one.name: one for one in pools}
    pods = {uid: running(uid) for record in (book or Book()).placements.values() for uid in record.units}
    opened = set_policies(advance(book or Book(), NOW), policies)
    return Snapshot((view_,), named, policies, pods, opened)


def relief(seen: Snapshot, now: int = NOW) -> Relief | None:
    return relieve(seen, plan(seen, now), now).get(CHAT)


def spent(amount: int, asked: Policy) -> Book:
    """A book in which pods that have stopped cost so much today."""
    book = set_policies(advance(Book(), NOW), [asked])
    line = Line("ns/chat", "Inference", "cpu", amount)
    return replace(book, accounts=(replace(book.accounts[0], lines=(line,)), *book.accounts[1:]))


def stopping(book: Book, seen: Snapshot, pods: int, until: int) -> Book:
    """The book with pods that are being stopped and are held until then."""
    terms = plan(seen, NOW).funding[WORK].terms
    assert terms is not None
    units = {f"s{number}": Unit(NOW - 60, "n1") for number in range(pods)}
    return book.with_placement(Placement(f"{WORK}~1", terms, until, units))


def test_who_is_refused_nothing_needs_no_relief() -> None:
    assert relief(scene(view(2, CPU), policy())) is None


def test_money_that_is_spent_comes_back_when_the_next_period_begins() -> None:
    asked = policy(4 * USD)
    found = relief(scene(view(2, CPU), asked, book=spent(2 * USD, asked)))
    assert found == Relief(affordable_at=TOMORROW, never=False, replicas=1)


def test_what_is_more_than_a_whole_limit_is_never_paid_for() -> None:
    assert relief(scene(view(1, CPU), policy(FOR_ONE - 1))) == Relief(None, never=True, replicas=0)
    assert relief(scene(view(3, CPU), policy(2 * FOR_ONE))) == Relief(None, never=True, replicas=2)
    assert relief(scene(view(2, CPU), policy(max_rate=USD))) == Relief(None, never=True, replicas=1)


def test_of_two_budgets_that_are_short_the_later_one_decides() -> None:
    daily, monthly = policy(4 * USD), replace(policy(4 * USD, name="ns/month"), period=Period(Calendar.MONTH, "UTC"))
    book = set_policies(advance(spent(2 * USD, daily), NOW), [daily, monthly])
    line = Line("ns/chat", "Inference", "cpu", 2 * USD)
    book = replace(
        book, accounts=tuple(replace(one, lines=(line,)) if one.covers(NOW) else one for one in book.accounts)
    )
    february = NOW - 6 * HOUR + 31 * 24 * HOUR
    assert relief(scene(view(2, CPU), daily, monthly, book=book)) == Relief(february, never=False, replicas=1)


def test_a_window_that_is_still_to_come_pays_from_its_begin_and_one_that_ends_never_again() -> None:
    ahead = replace(policy(100 * USD), period=Window(NOW + 9 * HOUR, NOW + 99 * HOUR))
    assert relief(scene(view(1, CPU), ahead)) == Relief(NOW + 9 * HOUR, never=False, replicas=0)
    ending = replace(policy(100 * USD), period=Window(NOW - HOUR, NOW + HOUR))
    assert relief(scene(view(1, CPU), ending)) == Relief(None, never=True, replicas=0)


def test_a_rate_is_free_again_when_pods_that_are_being_stopped_have_ended_at_the_latest() -> None:
    asked = policy(max_rate=2 * USD)
    seen = scene(view(2, CPU), asked)
    one = replace(seen, book=stopping(seen.book, seen, 1, NOW + 600))
    assert relief(one) == Relief(NOW + 600 + 120 + 30, never=False, replicas=1)


def test_what_stopped_pods_have_cost_stays_spent() -> None:
    asked = policy(2 * FOR_ONE)
    seen = scene(view(2, CPU), asked)
    one = replace(seen, book=stopping(seen.book, seen, 1, NOW + 600))
    assert relief(one) == Relief(TOMORROW, never=False, replicas=1)


def test_a_price_that_is_known_to_fall_makes_it_enough() -> None:
    def row(price: str, begin: int | None, end: int | None) -> str:
        times = ",".join("" if time is None else format_time(time) for time in (begin, end))
        return f"cpu,OnDemand,{price},USD,{times},list"

    rows = [row("8", None, NOW + 9000), row("6", NOW + 9000, NOW + 18_000), row("4", NOW + 18_000, None)]
    table = parse_table("\n".join([",".join(COLUMNS), *rows]))
    falling = pool(tariff=quote(table, "cpu", "USD", NOW, 3750))
    assert [time for time, _ in falling.tariff.cheaper] == [NOW + 9000, NOW + 18_000]
    seen = scene(view(1, falling), policy(max_rate=USD), pools=(falling,))
    assert relief(seen) == Relief(NOW + 18_000, never=False, replicas=0)
    seen = scene(view(1, falling), policy(max_rate=USD * 3 // 2), pools=(falling,))
    assert relief(seen) == Relief(NOW + 9000, never=False, replicas=0)


def test_unused_money_of_the_last_period_makes_it_enough_when_that_is_final() -> None:
    asked = replace(policy(FOR_ONE - 1), carry_over=CarryOver(unused=Unused.ALL))
    late = TODAY + 600
    past = Account("ns/team", TODAY - 24 * HOUR, TODAY, "USD", FOR_ONE - 1, carry_over=asked.carry_over)
    book = set_policies(Book(late, (past,)), [asked])
    seen = replace(scene(view(1, CPU), asked), book=book)
    assert relief(seen, late) == Relief(TODAY + SEAL_AFTER_SECONDS, never=False, replicas=0)


def test_replicas_that_another_pool_could_take_are_counted_there() -> None:
    dear, small = pool("dear", price=8 * USD), pool("small", price=6 * USD)
    here = replace(policy(max_rate=2 * USD, name="ns/here"), scope=Scope(pools=frozenset({"cpu"})))
    small_budget = replace(policy(max_rate=USD, name="ns/small"), scope=Scope(pools=frozenset({"small"})))
    there = replace(policy(max_rate=5 * USD, name="ns/there"), scope=Scope(pools=frozenset({"dear"})))
    pools = (CPU, dear, small)
    found = relief(scene(view(6, *pools), here, small_budget, there, pools=pools))
    assert found == Relief(None, never=True, replicas=2, pool="dear", pods=2)
    cheaper = replace(small_budget, max_rate=10 * USD)
    found = relief(scene(view(6, *pools), here, cheaper, there, pools=pools))
    assert found == Relief(None, never=True, replicas=2, pool="small", pods=4)


def test_two_services_do_not_get_the_same_money_of_another_pool() -> None:
    other = pool("other", price=8 * USD)
    here = replace(policy(max_rate=0, name="ns/here"), scope=Scope(pools=frozenset({"cpu"})))
    there = replace(policy(max_rate=2 * USD, name="ns/there"), scope=Scope(pools=frozenset({"other"})))
    both = (view(1, CPU, other), view(1, CPU, other, name="embed"))
    seen = Snapshot(both, {"cpu": CPU, "other": other}, (here, there), {}, set_policies(Book(NOW), [here, there]))
    found = relieve(seen, plan(seen, NOW), NOW)
    assert sorted((one.pool, one.pods) for one in found.values()) == [("", 0), ("other", 1)]


def two_that_run(asked: Policy, book: Book) -> Snapshot:
    seen = scene(view(3, CPU), asked, book=book)
    terms = plan(seen, NOW).funding[WORK].terms
    assert terms is not None
    units = {uid: Unit(NOW, "n1") for uid in ("a", "b")}
    held = seen.book.with_placement(Placement(WORK, terms, NOW + HOUR, units))
    return replace(seen, book=held, pods={uid: running(uid) for uid in units})


def test_what_runs_goes_on_and_is_paid_first() -> None:
    tight = policy(2 * FOR_ONE + USD)
    assert relief(two_that_run(tight, Book())) == Relief(None, never=True, replicas=2)
    ample = policy(3 * FOR_ONE + USD // 2)
    assert relief(two_that_run(ample, spent(USD, ample))) == Relief(TOMORROW, never=False, replicas=2)


def test_a_debt_is_paid_first() -> None:
    asked = policy(2 * FOR_ONE)
    found = relief(scene(view(1, CPU), asked, book=spent(3 * FOR_ONE + 1, asked)))
    assert found == Relief(TOMORROW + 24 * HOUR, never=False, replicas=0)
    found = relief(scene(view(1, CPU), asked, book=spent(3 * FOR_ONE, asked)))
    assert found == Relief(TOMORROW, never=False, replicas=0)


def test_a_relief_is_looked_for_anew_when_somebody_else_is_refused_and_not_when_only_figures_differ() -> None:
    def short(asked: Policy) -> object:
        return shortages(plan(scene(view(2, CPU), asked, book=spent(USD, asked)), NOW))

    assert short(policy(3 * USD)) == short(policy(3 * USD + 7))
    assert short(policy(3 * USD)) != short(policy(USD + FOR_ONE - 1))
    assert short(policy(30 * USD)) == {}
