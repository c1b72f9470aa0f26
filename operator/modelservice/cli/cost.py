"""`modelservice cost`: what the budgets have spent and hold, read from the book of the operator."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelservice import __version__
from modelservice.adapters.kube import Kube, LoginFailed, login
from modelservice.domain.book import Account, Book
from modelservice.domain.codec import DamagedBookError, decode, decode_page
from modelservice.domain.costs import (
    CURRENT,
    SERVICE,
    Denial,
    Phase,
    Statement,
    complete,
    concerning,
    draw_up,
    parse_by,
    pools_in,
    select,
)
from modelservice.domain.forecast import Basis, Forecast
from modelservice.domain.money import parse_amount
from modelservice.domain.prices import ON_DEMAND
from modelservice.domain.times import parse_time
from modelservice.domain.utilization import PoolUse, charged, pools_of
from modelservice.kit.errors import ApiError, Forbidden, NotFound
from modelservice.ports import KubeClient, Object
from modelservice.render.costpage import page
from modelservice.render.costtext import as_csv, as_json, tables

WRONG_USE = 2
STDOUT = Path("-")


class NoReport(Exception):
    """There is nothing to report; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Everything that was read: statements of all periods, what is refused, the use of the pools, the server's time."""

    statements: tuple[Statement, ...]
    denials: tuple[Denial, ...]
    uses: tuple[PoolUse, ...]
    now: int


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    parser = commands.add_parser(
        "cost",
        help="what the budgets have spent and hold, by service, pool, role or label",
        description="Print what the budgets have spent and hold. Pods that two budgets pay for stand under both.",
    )
    parser.add_argument("-n", "--namespace", default="", metavar="NS", help="only budgets of this namespace")
    parser.add_argument("--policy", default="", metavar="NAME", help="only the budget of this name, or NAMESPACE/NAME")
    parser.add_argument(
        "--period",
        default=CURRENT,
        metavar="P",
        help="current (default), previous, all, a month (2026-07) or a day (2026-07-10) in UTC",
    )
    parser.add_argument(
        "--by",
        default=SERVICE.name,
        metavar="B",
        help="service (default), pool, role or label:KEY, a label of services",
    )
    parser.add_argument("-o", "--output", choices=["table", "json", "csv"], default="table", help="default: table")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page for a browser; - is stdout")
    parser.add_argument(
        "--system-namespace",
        default="modelservice-system",
        metavar="NS",
        help="the operator's namespace, where the book is (default: modelservice-system)",
    )
    parser.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="default: the pod's ServiceAccount, else KUBECONFIG or ~/.kube/config",
    )


def report(options: argparse.Namespace) -> int:
    """Print or write what is asked for; returns the exit status."""
    logging.getLogger().addHandler(logging.NullHandler())  # the sentence of an error is enough
    try:
        select((), period=options.period)
        parse_by(options.by)
        costs = asyncio.run(_read(options))
        chosen = select(costs.statements, namespace=options.namespace, policy=options.policy, period=options.period)
        _put_out(options, costs, chosen)
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    except (NoReport, LoginFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _put_out(options: argparse.Namespace, costs: Costs, chosen: tuple[Statement, ...]) -> None:
    by, denials = parse_by(options.by), concerning(costs.denials, chosen)
    uses = pools_of(costs.uses, pools_in(each for each in chosen if each.phase is Phase.OPEN))
    if options.html is not None:
        policies = {statement.policy for statement in chosen}
        past = tuple(s for s in costs.statements if s.policy in policies)
        _put_page(options.html, page(chosen, past, denials, costs.now, uses))
    elif options.output == "json":
        print(as_json(chosen, denials, by, costs.now, uses), end="")
    elif options.output == "csv":
        print(as_csv(chosen, by), end="")
    else:
        print(tables(chosen, denials, by, uses), end="")


def _put_page(path: Path, text: str) -> None:
    if path == STDOUT:
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NoReport(f"{path} cannot be written ({error.strerror}): choose another file.") from error
    print(f"Wrote {path}.")


async def _read(options: argparse.Namespace) -> Costs:
    async with Kube(await login(options.kubeconfig), user_agent=f"modelservice-cost/{__version__}") as kube:
        return await collect(kube, options.system_namespace, options.namespace)


async def collect(kube: KubeClient, system_namespace: str, namespace: str) -> Costs:
    """Read the book with its pages in one list, and the refusals in the services' statuses; raises NoReport."""
    try:
        ledgers = await kube.list("BudgetLedger", namespace=system_namespace)
        services = await kube.list("ModelService", namespace=namespace)
        policies = [*await _visible(kube, "BudgetPolicy", namespace), *await _visible(kube, "ClusterBudgetPolicy")]
        pools = await _visible(kube, "ComputePool")
    except Forbidden as error:
        raise NoReport(
            f"You may not read what is needed ({error.message}): ask for the Role modelservice-costs in namespace "
            f"{system_namespace} and for the right to list ModelServices, or name one namespace by -n."
        ) from error
    except NotFound as error:
        raise NoReport("This cluster does not know BudgetLedgers: install the chart of ModelService first.") from error
    except ApiError as error:
        raise NoReport(f"The cluster does not answer ({error.message}): check --kubeconfig and try again.") from error
    try:
        book, pages = _book(ledgers.items, system_namespace)
    except DamagedBookError as error:
        raise NoReport(f"The book in namespace {system_namespace} must be repaired first: {error}.") from error
    drawn = draw_up(book, pages, ledgers.date)
    statements = complete(drawn, dict(_forecasts(policies)), dict(_unit_costs(services.items)))
    return Costs(statements, _denials(services.items), tuple(_uses(pools, book)), ledgers.date)


async def _visible(kube: KubeClient, kind: str, namespace: str = "") -> list[Object]:
    """All objects of a kind; none for a reader who may not list them, since the report is good without them."""
    try:
        return (await kube.list(kind, namespace=namespace)).items
    except Forbidden:
        return []


def _forecasts(policies: Iterable[Object]) -> Iterator[tuple[tuple[str, int], Forecast]]:
    """What the statuses foresee, by policy and start of the period."""
    for policy in policies:
        meta, status = policy["metadata"], policy.get("status") or {}
        told, start = status.get("forecast"), parse_time((status.get("period") or {}).get("start"))
        if told is not None and start is not None:
            name = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]
            amounts = (parse_amount(told["p50"]), parse_amount(told["p90"]))
            yield (name, start), Forecast(*amounts, parse_time(told.get("exhaustsAt")), Basis(told["basis"]))


def _unit_costs(services: Iterable[Object]) -> Iterator[tuple[tuple[str, str], int]]:
    """What 1,000 requests cost, by service and currency, where the status says it."""
    for service in services:
        meta, cost = service["metadata"], (service.get("status") or {}).get("cost") or {}
        if "perThousandRequests" in cost:
            name = f"{meta['namespace']}/{meta['name']}"
            yield (name, cost["currency"]), parse_amount(cost["perThousandRequests"])


def _uses(pools: Iterable[Object], book: Book) -> Iterator[PoolUse]:
    """What the nodes of the pools cost and what is charged for them, where the price is known."""
    for pool in pools:
        status, name = pool.get("status") or {}, pool["metadata"]["name"]
        prices = {one["type"]: one["perNodeHour"] for one in (status.get("resolved") or {}).get("prices", ())}
        if ON_DEMAND in prices:
            nodes = status.get("nodes", 0)
            costs = parse_amount(prices[ON_DEMAND]) * nodes
            yield PoolUse(name, pool["spec"]["currency"], nodes, costs, charged(book, name))


def _book(ledgers: list[Object], namespace: str) -> tuple[Book, list[Account]]:
    books = [ledger["book"] for ledger in ledgers if "book" in ledger]
    if not books:
        raise NoReport(
            f"There is no book in namespace {namespace}: name the operator's namespace by --system-namespace, or start "
            "the operator."
        )
    return decode(books[0]), [decode_page(ledger["page"]) for ledger in ledgers if "page" in ledger]


def _denials(services: list[Object]) -> tuple[Denial, ...]:
    found = []
    for service in services:
        refusal = (service.get("status") or {}).get("refusal")
        if refusal is not None:
            meta, fits = service["metadata"], refusal.get("fitsNow") or {}
            found.append(
                Denial(
                    service=f"{meta['namespace']}/{meta['name']}",
                    policy=refusal["policy"],
                    blocked_by=refusal["blockedBy"],
                    need=parse_amount(refusal["need"]),
                    have=parse_amount(refusal["have"]),
                    currency=refusal["currency"],
                    pods=refusal["replicas"],
                    fits=fits.get("replicas"),
                    pool=fits.get("pool", ""),
                    elsewhere=fits.get("poolReplicas", 0),
                    affordable_at=parse_time(refusal.get("affordableAt")),
                )
            )
    return tuple(sorted(found, key=lambda each: each.service))
