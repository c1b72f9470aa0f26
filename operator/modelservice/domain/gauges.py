"""The figures of the book that Prometheus is shown, as integers; what is gone from the book has no reading."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from .book import Account, Book, CostKey
from .costs import By, Denial, group
from .forecast import Forecast, forecast
from .history import Series
from .integrity import facts_of
from .specs import Pool, ServiceName
from .unitcost import Tally, per_thousand
from .utilization import PoolUse


@dataclass(frozen=True, slots=True)
class Gauge:
    """One family of readings; money is read in micro-units and shown in units of its currency."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    money: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a gauge; ``labels`` are in the order of the gauge's."""

    gauge: Gauge
    labels: tuple[str, ...]
    value: int


_OWN = ("policy", "currency")

LIMIT = Gauge("budget_limit", "The limit of the budget's current period.", (*_OWN, "enforcement"), money=True)
POSTED = Gauge("budget_posted", "What the current period has cost so far.", _OWN, money=True)
HELD = Gauge("budget_held", "What open pods may still cost in the period: worst - posted.", _OWN, money=True)
COMMITTED = Gauge("budget_committed", "The part of what is held that no new pod can have.", _OWN, money=True)
WORST = Gauge("budget_worst", "The most that the period can cost with what runs now: posted + held.", _OWN, money=True)
AVAILABLE = Gauge(
    "budget_available", "What new pods can have; below zero after the limit was lowered.", _OWN, money=True
)
RATE = Gauge("budget_rate", "What all open pods cost per hour.", _OWN, money=True)
PERIOD_START = Gauge("budget_period_start_timestamp_seconds", "When the current period began.", ("policy",))
PERIOD_END = Gauge("budget_period_end_timestamp_seconds", "When the current period ends.", ("policy",))
FORECAST_P50 = Gauge(
    "budget_forecast_p50", "What the period will have cost: too high as likely as too low.", _OWN, True
)
FORECAST_P90 = Gauge("budget_forecast_p90", "What the period will hardly have cost more than.", _OWN, True)
EXHAUSTED = Gauge(
    "budget_forecast_exhausted_timestamp_seconds",
    "When spending that leads to budget_forecast_p90 reaches the limit; none when it does not in the period.",
    ("policy",),
)
COST = Gauge(
    "budget_cost",
    "What a service's pods have cost in the current period, by pool and role; the sum is budget_posted.",
    (*_OWN, "modelservice", "pool", "role"),
    money=True,
)
COST_BY_LABEL = Gauge(
    "budget_cost_by_label",
    "What the current period has cost, by one label of the services at a time; - stands for those without it.",
    (*_OWN, "label", "value"),
    money=True,
)
THRESHOLD = Gauge(
    "budget_threshold_in_force",
    "1 while the actions of a threshold that was reached in the current period are in force, 0 once they are undone.",
    ("policy", "threshold"),
)
REFUSED = Gauge(
    "budget_refused_pods",
    "Pods that are wanted and that the budget does not pay for.",
    ("policy", "modelservice", "blocked_by"),
)
WOULD_REFUSE = Gauge(
    "budget_would_refuse_pods",
    "Pods that a budget with enforcement DryRun would refuse.",
    ("policy", "modelservice", "blocked_by"),
)
PER_THOUSAND = Gauge(
    "cost_per_thousand_requests",
    "What 1,000 requests of the service cost in the last hour, while cost and requests were known.",
    ("modelservice", "currency"),
    money=True,
)
UNHELD = Gauge("budget_unheld_pods", "Running pods that were found without money held for them.", ("modelservice",))
UNITS = Gauge("book_units", "Pods in the book.")
SEEN = Gauge("book_timestamp_seconds", "When the operator looked at the book last, by the API server's clock.")
LEDGER_SPENT = Gauge(
    "ledger_spent",
    "What a period in the book has cost before corrections, which never falls: evidence for an operator that starts.",
    ("ledger", "policy", "currency", "period_start", "period_end"),
    money=True,
)
LEDGER_RATE = Gauge("ledger_rate", "What its open pods cost per hour.", LEDGER_SPENT.labels, money=True)
LEDGER_TIME = Gauge("ledger_timestamp_seconds", "When that was so, by the API server's clock.", ("ledger",))
FROZEN = Gauge("book_frozen", "1 while the book has lost something and nobody has acknowledged it.")
USABLE = Gauge("book_usable", "1 while the book can be read and written, 0 while nothing is started or renewed.")
PRICE = Gauge(
    "price_per_node_hour",
    "What a node of the pool costs per hour now, by the purchase option.",
    ("pool", "currency", "purchase"),
    money=True,
)
NODES = Gauge("pool_nodes", "Ready nodes of the pool.", ("pool",))
NODES_RATE = Gauge(
    "pool_nodes_rate",
    "What the ready nodes of the pool cost per hour at the on-demand price.",
    ("pool", "currency"),
    True,
)
CHARGED_RATE = Gauge(
    "pool_charged_rate",
    "What the book charges per hour for the pods in the pool; what pool_nodes_rate is above it pays for idle nodes.",
    ("pool", "currency"),
    True,
)
PRICED = Gauge("pool_priced", "1 while the price of the pool is known, 0 while nothing new starts in it.", ("pool",))
PRICE_AGE = Gauge(
    "price_age_seconds", "For how long the oldest price in force of the pool has been valid, by its row.", ("pool",)
)
PRICE_END = Gauge(
    "price_end_timestamp_seconds", "When the on-demand prices of the pool end; none where they have no end.", ("pool",)
)

GAUGES = (
    LIMIT,
    POSTED,
    HELD,
    COMMITTED,
    WORST,
    AVAILABLE,
    RATE,
    PERIOD_START,
    PERIOD_END,
    FORECAST_P50,
    FORECAST_P90,
    EXHAUSTED,
    COST,
    COST_BY_LABEL,
    THRESHOLD,
    REFUSED,
    WOULD_REFUSE,
    PER_THOUSAND,
    UNHELD,
    UNITS,
    SEEN,
    LEDGER_SPENT,
    LEDGER_RATE,
    LEDGER_TIME,
    FROZEN,
    USABLE,
    PRICE,
    NODES,
    NODES_RATE,
    CHARGED_RATE,
    PRICED,
    PRICE_AGE,
    PRICE_END,
)


def read_book(
    book: Book, policies: Collection[str], now: int, peaks: Mapping[str, int], history: Mapping[str, Series]
) -> Iterator[Reading]:
    """The book's own figures, and those of the accounts in which the policies that exist are at ``now``.

    ``peaks`` are the rates that the services of each policy reach at most, ``history`` its hourly costs, for forecasts.
    """
    yield Reading(UNITS, (), sum(len(placement.units) for placement in book.placements.values()))
    yield Reading(SEEN, (), book.time)
    for policy in sorted(policies):
        account = book.account_at(policy, max(now, book.time))
        if account is not None:
            yield from _read_account(book, account)
            foreseen = forecast(book, policy, now, peaks.get(policy, 0), history.get(policy))
            if foreseen is not None:
                yield from _read_forecast((policy, account.currency), foreseen)


def read_evidence(book: Book, ledger: str) -> Iterator[Reading]:
    """What the book's periods have cost, for whoever must find out whether another book is that one or an older one."""
    yield Reading(LEDGER_TIME, (ledger,), book.time)
    for fact in facts_of(book):
        labels = (ledger, fact.policy, fact.currency, str(fact.start), str(fact.end))
        yield Reading(LEDGER_SPENT, labels, fact.spent)
        yield Reading(LEDGER_RATE, labels, fact.rate)


def _read_account(book: Book, account: Account) -> Iterator[Reading]:
    own = (account.policy, account.currency)
    costs, worst = book.costs(account), book.worst(account)
    posted, committed = sum(costs.values()), book.committed(account)
    yield Reading(LIMIT, (*own, account.enforcement.value), account.limit)
    yield Reading(POSTED, own, posted)
    yield Reading(HELD, own, worst - posted)
    yield Reading(COMMITTED, own, committed)
    yield Reading(WORST, own, worst)
    yield Reading(AVAILABLE, own, account.limit - posted - committed)
    yield Reading(RATE, own, book.rate(account.policy))
    yield Reading(PERIOD_START, own[:1], account.start)
    yield Reading(PERIOD_END, own[:1], account.end)
    for crossing in account.crossings:
        if crossing.reached is not None:
            yield Reading(THRESHOLD, (account.policy, crossing.name), int(crossing.in_force))
    yield from _read_costs(own, costs)


def _read_forecast(own: tuple[str, str], foreseen: Forecast) -> Iterator[Reading]:
    yield Reading(FORECAST_P50, own, foreseen.p50)
    yield Reading(FORECAST_P90, own, foreseen.p90)
    if foreseen.exhausts_at is not None:
        yield Reading(EXHAUSTED, own[:1], foreseen.exhausts_at)


def read_pools(uses: Iterable[PoolUse]) -> Iterator[Reading]:
    """What nodes cost and what is charged for them, for the pools whose price is known."""
    for use in uses:
        yield Reading(NODES, (use.pool,), use.nodes)
        yield Reading(NODES_RATE, (use.pool, use.currency), use.costs)
        yield Reading(CHARGED_RATE, (use.pool, use.currency), use.charged)


def _read_costs(own: tuple[str, str], costs: Mapping[CostKey, int]) -> Iterator[Reading]:
    sums: dict[tuple[str, str, str], int] = {}
    for key, cost in costs.items():
        place = (key.service, key.pool, key.role)
        sums[place] = sums.get(place, 0) + cost
    for place, cost in sorted(sums.items()):
        yield Reading(COST, (*own, *place), cost)
    for label in sorted({name for key in costs for name, _ in key.labels}):
        for value, cost in sorted(group(costs, By(label, label)).items()):
            yield Reading(COST_BY_LABEL, (*own, label, value), cost)


def read_unit_costs(book: Book, tallies: Mapping[ServiceName, Tally]) -> Iterator[Reading]:
    """What requests cost, for the services of which that is known."""
    currencies = {one.terms.service: one.terms.currency for one in book.placements.values() if one.units}
    for name, tally in sorted(tallies.items()):
        cost = per_thousand(tally)
        if cost is not None and str(name) in currencies:
            yield Reading(PER_THOUSAND, (str(name), currencies[str(name)]), cost)


def read_prices(pools: Iterable[Pool], now: int) -> Iterator[Reading]:
    """The prices of the pools at ``now``; one that stands in a pool's spec has no age."""
    for pool in pools:
        yield Reading(PRICED, (pool.name,), int(not pool.tariff.problem))
        for name, offer in sorted(pool.tariff.offers.items()):
            yield Reading(PRICE, (pool.name, pool.currency, name), offer.price)
        begun = [offer.since for offer in pool.tariff.offers.values() if offer.since is not None]
        if begun:
            yield Reading(PRICE_AGE, (pool.name,), now - min(begun))
        if pool.tariff.known_until is not None:
            yield Reading(PRICE_END, (pool.name,), pool.tariff.known_until)


def read_troubles(
    denials: Iterable[Denial],
    objections: Iterable[Denial],
    unheld: Mapping[str, int],
    *,
    usable: bool,
    frozen: bool = False,
) -> Iterator[Reading]:
    """What budgets refuse and those on trial would, and for each service its pods that ran without a hold."""
    yield Reading(FROZEN, (), int(frozen))
    yield Reading(USABLE, (), int(usable))
    for gauge, rows in ((REFUSED, denials), (WOULD_REFUSE, objections)):
        for row in rows:
            yield Reading(gauge, (row.policy, row.service, row.blocked_by), row.pods)
    for service, count in sorted(unheld.items()):
        yield Reading(UNHELD, (service,), count)
