from dataclasses import replace

from modelservice.domain.book import Book
from modelservice.domain.costs import Denial
from modelservice.domain.endurance import recall
from modelservice.domain.forecast import forecast
from modelservice.domain.gauges import (
    AVAILABLE,
    CHARGED_RATE,
    COMMITTED,
    COST,
    COST_BY_LABEL,
    EXHAUSTED,
    FORECAST_P50,
    FORECAST_P90,
    FROZEN,
    GAUGES,
    HELD,
    LEDGER_RATE,
    LEDGER_SPENT,
    LEDGER_TIME,
    LIMIT,
    NODES,
    NODES_RATE,
    PER_THOUSAND,
    PERIOD_END,
    PERIOD_START,
    POSTED,
    PRICE,
    PRICE_AGE,
    PRICE_END,
    PRICED,
    RATE,
    REFUSED,
    SEEN,
    THRESHOLD,
    UNHELD,
    UNITS,
    USABLE,
    WORST,
    WOULD_REFUSE,
    Gauge,
    Reading,
    read_book,
    read_evidence,
    read_pools,
    read_prices,
    read_troubles,
    read_unit_costs,
)
from modelservice.domain.specs import ServiceName
from modelservice.domain.tariff import Offer, Tariff, unknown
from modelservice.domain.thresholds import Crossing
from modelservice.domain.unitcost import Minute, Tally
from modelservice.domain.utilization import PoolUse

from tests.unit.domain.costbooks import AUGUST, JULY, NOW, book_of
from tests.unit.domain.specs import pool

PEAKS = {"team/monthly": 20_000_000}
USE = PoolUse("cpu", "USD", 2, 8_000_000, 3_000_000)
TALLIES = {ServiceName("team", name): Tally((Minute(NOW, 36_000, 1000),)) for name in ("chat", "gone")}
MONTHLY = ("team/monthly", "USD")
OFFERS = {"OnDemand": Offer(4_000_000, "list", 2, NOW - 60, NOW + 60), "Spot": Offer(1, "list", 3, NOW - 90)}
PRICED_POOL = replace(pool(), tariff=Tariff(OFFERS, {"OnDemand": 4_000_000, "Spot": 1}, known_until=NOW + 600))


def crossed() -> Book:
    """A book with a threshold that is soon reached, one that is in force, and one that is undone."""
    book = book_of()
    seen = (Crossing("soon", "", NOW), Crossing("most", "", NOW, NOW), Crossing("over", "", NOW, NOW, NOW))
    return replace(book, accounts=(replace(book.accounts[1], crossings=seen),))


def values(readings: list[Reading], gauge: Gauge) -> dict[tuple[str, ...], int]:
    return {reading.labels: reading.value for reading in readings if reading.gauge is gauge}


def test_the_readings_are_the_figures_counted_by_hand() -> None:
    seen = list(read_book(book_of(), ["team/monthly"], NOW, PEAKS, {}))
    assert values(seen, LIMIT) == {(*MONTHLY, "Hard"): 100_000_000}
    assert values(seen, POSTED) == {MONTHLY: 27_350_278}
    assert values(seen, HELD) == values(seen, COMMITTED) == {MONTHLY: 4_110_000}
    assert values(seen, WORST) == {MONTHLY: 31_460_278}
    assert values(seen, AVAILABLE) == {MONTHLY: 68_539_722}
    assert values(seen, RATE) == {MONTHLY: 8_200_001}
    assert values(seen, PERIOD_START) == {("team/monthly",): JULY}
    assert values(seen, PERIOD_END) == {("team/monthly",): AUGUST}
    assert values(seen, UNITS) == {(): 3}
    assert values(seen, SEEN) == {(): NOW}
    assert values(seen, COST) == {
        (*MONTHLY, "team/chat", "a100", "Inference"): 22_100_000,
        (*MONTHLY, "team/chat", "a100", "Training"): 5_000_000,
        (*MONTHLY, "team/embed", "l4", "Inference"): 250_278,
    }
    assert values(seen, COST_BY_LABEL) == {
        (*MONTHLY, "cost-center", "-"): 5_250_278,
        (*MONTHLY, "cost-center", "7"): 22_100_000,
        (*MONTHLY, "team", "-"): 5_250_000,
        (*MONTHLY, "team", "ads"): 278,
        (*MONTHLY, "team", "search"): 22_100_000,
    }


def test_what_is_lent_is_held_and_available() -> None:
    book = book_of()
    longer = [
        replace(one, hold_through=one.hold_through and book.time + one.terms.horizon + 7200)
        for one in book.placements.values()
    ]
    lent = replace(book, placements={one.name: one for one in longer})
    seen, before = (list(read_book(each, ["team/monthly"], NOW, PEAKS, {})) for each in (lent, recall(lent)))
    assert values(seen, AVAILABLE) == values(before, AVAILABLE)
    assert values(seen, COMMITTED) == values(before, COMMITTED) == values(before, HELD)
    assert values(seen, HELD)[MONTHLY] > values(before, HELD)[MONTHLY]


def test_the_forecast_is_that_of_the_status() -> None:
    told = forecast(book_of(), "team/monthly", NOW, 20_000_000)
    seen = list(read_book(book_of(), ["team/monthly"], NOW, PEAKS, {}))
    assert told is not None
    assert told.exhausts_at is not None
    assert values(seen, FORECAST_P50) == {MONTHLY: told.p50}
    assert values(seen, FORECAST_P90) == {MONTHLY: told.p90}
    assert values(seen, EXHAUSTED) == {("team/monthly",): told.exhausts_at}
    enough = replace(book_of(), accounts=(replace(book_of().accounts[1], base=10**15),))
    assert values(list(read_book(enough, ["team/monthly"], NOW, PEAKS, {})), EXHAUSTED) == {}


def test_what_requests_cost_is_shown_for_services_in_the_book_of_which_it_is_known() -> None:
    seen = list(read_unit_costs(book_of(), {**TALLIES, ServiceName("team", "embed"): Tally()}))
    assert values(seen, PER_THOUSAND) == {("team/chat", "USD"): 10_000}


def test_nodes_are_compared_with_what_is_charged_for_them() -> None:
    seen = list(read_pools([USE]))
    assert values(seen, NODES) == {("cpu",): 2}
    assert values(seen, NODES_RATE) == {("cpu", "USD"): 8_000_000}
    assert values(seen, CHARGED_RATE) == {("cpu", "USD"): 3_000_000}


def test_the_figures_are_those_of_the_book_whatever_the_time_is() -> None:
    early, late = (list(read_book(book_of(), ["team/monthly"], now, PEAKS, {})) for now in (NOW, NOW + 900))
    ahead = {FORECAST_P50, FORECAST_P90, EXHAUSTED}
    assert [one for one in early if one.gauge not in ahead] == [one for one in late if one.gauge not in ahead]


def test_a_policy_that_is_gone_or_has_no_account_yet_has_no_reading() -> None:
    assert {reading.gauge for reading in read_book(book_of(), [], NOW, PEAKS, {})} == {UNITS, SEEN}
    assert {reading.gauge for reading in read_book(book_of(), ["team/new"], NOW, PEAKS, {})} == {UNITS, SEEN}


def test_the_next_period_takes_over_at_its_start() -> None:
    book = book_of()
    july = book.accounts[1]
    both = replace(book, accounts=(july, replace(july, start=AUGUST, end=AUGUST + 86_400, base=7, lines=())))
    assert values(list(read_book(both, ["team/monthly"], AUGUST - 1, PEAKS, {})), LIMIT) == {
        (*MONTHLY, "Hard"): 100_000_000
    }
    after = list(read_book(both, ["team/monthly"], AUGUST, PEAKS, {}))
    assert values(after, LIMIT) == {(*MONTHLY, "Hard"): 7}
    assert values(after, POSTED) == {MONTHLY: 0}


def test_a_threshold_that_was_reached_is_shown_until_the_period_ends() -> None:
    found = values(list(read_book(crossed(), ["team/monthly"], AUGUST - 1, PEAKS, {})), THRESHOLD)
    assert found == {("team/monthly", "most"): 1, ("team/monthly", "over"): 0}


def test_troubles_name_whom_they_concern() -> None:
    denial = Denial("team/chat", "team/monthly", "Rate", 2, 1, "USD", 3)
    seen = list(
        read_troubles([denial], [replace(denial, policy="team/trial")], {"team/embed": 1}, usable=False, frozen=True)
    )
    assert values(seen, REFUSED) == {("team/monthly", "team/chat", "Rate"): 3}
    assert values(seen, WOULD_REFUSE) == {("team/trial", "team/chat", "Rate"): 3}
    assert values(seen, UNHELD) == {("team/embed",): 1}
    assert values(seen, USABLE) == {(): 0}
    assert values(seen, FROZEN) == {(): 1}


def test_the_evidence_is_what_each_period_of_the_book_has_cost_before_corrections() -> None:
    book = book_of()
    july = book.accounts[1]
    seen = list(read_evidence(book, "uid/ns"))
    period = ("uid/ns", *MONTHLY, str(july.start), str(july.end))
    assert values(seen, LEDGER_SPENT)[period] == book.posted(july) - july.adjustments
    assert values(seen, LEDGER_RATE)[period] == 8_200_001
    assert values(seen, LEDGER_TIME) == {("uid/ns",): NOW}


def test_every_gauge_has_a_reading_with_its_labels() -> None:
    denial = Denial("team/chat", "team/monthly", "Rate", 2, 1, "USD", 3)
    seen = [
        *read_book(crossed(), ["team/monthly"], NOW, PEAKS, {}),
        *read_evidence(book_of(), "uid/ns"),
        *read_troubles([denial], [denial], {"team/chat": 1}, usable=True),
        *read_prices([PRICED_POOL], NOW),
        *read_pools([USE]),
        *read_unit_costs(book_of(), TALLIES),
    ]
    assert {reading.gauge for reading in seen} == set(GAUGES)
    assert all(len(reading.labels) == len(reading.gauge.labels) for reading in seen)


def test_prices_are_shown_with_the_age_and_the_end_that_their_rows_give_them() -> None:
    seen = list(read_prices([PRICED_POOL, pool("fixed"), replace(pool("lost"), tariff=unknown("row 2 is wrong"))], NOW))
    assert values(seen, PRICE) == {
        ("cpu", "USD", "OnDemand"): 4_000_000,
        ("cpu", "USD", "Spot"): 1,
        ("fixed", "USD", "OnDemand"): 4_000_000,
    }
    assert values(seen, PRICED) == {("cpu",): 1, ("fixed",): 1, ("lost",): 0}
    assert values(seen, PRICE_AGE) == {("cpu",): 90}
    assert values(seen, PRICE_END) == {("cpu",): NOW + 600}
