"""The cost report as one page of HTML: no script, nothing from elsewhere, in the reader's light or dark scheme."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from modelservice.domain.costs import POOL, ROLE, SERVICE, By, Denial, Phase, Statement
from modelservice.domain.money import format_amount
from modelservice.domain.utilization import PoolUse
from modelservice.render.charts import burn_down, history, say_amount, say_day, say_moment, stack
from modelservice.render.costtext import (
    NOTHING,
    column,
    say_extras,
    say_forecast,
    say_help,
    say_per_thousand,
    say_terms,
    share,
)
from modelservice.render.markup import Content, Markup, element
from modelservice.render.style import STYLE

_PHASES = {
    Phase.AHEAD: "has not begun",
    Phase.OPEN: "in progress",
    Phase.CLOSING: "over, late evidence is awaited",
    Phase.SEALED: "final",
}
_BLOCKED = {"Rate": "The hourly rate would be exceeded.", "Limit": "Too little of the limit is left."}


def page(
    chosen: Sequence[Statement],
    past: Iterable[Statement],
    denials: Iterable[Denial],
    now: int,
    uses: Sequence[PoolUse] = (),
) -> str:
    """The whole document: one section for each chosen statement; ``past`` has other periods of their policies.

    ``uses`` says for the pools what their nodes cost and what is charged for them.
    """
    known, refused = list(past), list(denials)
    sections: list[Content] = [_section(each, [p for p in known if p.policy == each.policy]) for each in chosen]
    body = element(
        "main",
        element("h1", "What our models cost"),
        element("p", f"As of {say_moment(now)}, from the operator's book.", class_="quiet"),
        sections or element("p", NOTHING),
        _refusals(refused),
        _nodes(uses) if uses else [],
        _notes(),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "What our models cost"),
        element("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def _section(statement: Statement, periods: Sequence[Statement]) -> Markup:
    title = f"{say_day(statement.start)} to {say_day(statement.end)} (UTC), {_PHASES[statement.phase]}"
    charts: list[Content] = [stack(statement), _legend(statement)]
    if statement.phase is Phase.OPEN:
        charts += [element("h3", "What is left of the limit"), burn_down(statement), _burn_legend(statement)]
    tables = [
        _table(statement, SERVICE, "Cost by service"),
        element("div", _table(statement, POOL, "Cost by pool"), _table(statement, ROLE, "Cost by role"), class_="pair"),
    ]
    over = [element("h3", "Period by period"), history(periods), _history_legend()] if len(periods) > 1 else []
    told = [*say_terms(statement), *say_extras(statement), *say_forecast(statement)]
    return element(
        "section",
        element("h2", statement.policy),
        element("p", title, class_="quiet"),
        element("p", _summary(statement), class_="summary"),
        [element("p", f"{line[0].upper()}{line[1:]}", class_="quiet") for line in told],
        _tiles(statement),
        charts,
        tables,
        over,
    )


def _summary(statement: Statement) -> str:
    money = statement.currency
    used = f"{say_amount(statement.spent)} {money} ({share(statement.spent, statement.limit)})"
    begin = f"Of {say_amount(statement.limit)} {money}, {used}"
    if statement.phase is not Phase.OPEN:
        return f"{begin} were spent." if statement.phase is Phase.SEALED else f"{begin} are spent."
    if not statement.rate:
        return f"{begin} are spent. Nothing runs at the moment."
    begin += f" are spent and {say_amount(statement.held)} {money} are set aside for pods that run."
    mode = f"pods go on, since the budget's enforcement is {statement.enforcement}."
    if statement.available < 0:
        then = "nothing new is started." if statement.binds else mode
        return f"{begin} That is {say_amount(-statement.available)} {money} above the limit: {then}"
    rate, until = f"{say_amount(statement.rate)} {money} an hour", statement.lasts_until()
    if until is None:
        return f"{begin} At the present {rate} it will be {say_amount(statement.spent_by_end())} {money} in the end."
    then = "pods are stopped before it." if statement.binds else mode
    return f"{begin} At the present {rate} the limit is reached on {say_moment(until)}; {then}"


def _tiles(statement: Statement) -> Markup:
    figures = [
        ("Limit", statement.limit, "may be spent in this period"),
        ("Spent", statement.spent, f"{share(statement.spent, statement.limit)} of the limit"),
        ("Held", statement.held, "set aside for running pods"),
        ("Available", statement.available, "above the limit" if statement.available < 0 else "can start more pods"),
    ]
    if statement.phase is Phase.OPEN:
        figures.append(("Rate", statement.rate, "an hour, all running pods"))
    tiles = (
        element(
            "div",
            element("dt", f"{name}, {statement.currency}"),
            element("dd", element("strong", say_amount(amount))),
            element("dd", note, class_="quiet"),
        )
        for name, amount, note in figures
    )
    return element("dl", tiles, class_="tiles")


def _table(statement: Statement, by: By, title: str) -> Markup:
    entries = statement.entries(by)
    dearest = max([1, *(entry.spent for entry in entries)])
    spending = _grouped([*(entry.spent for entry in entries), statement.spent])
    holding = _grouped([*(entry.held for entry in entries), statement.held])
    known = any(entry.per_thousand is not None for entry in entries)
    each: list[list[str]] = [[say_per_thousand(entry)] if known else [] for entry in entries]
    figures = (
        f"Spent {statement.currency}",
        "Share",
        f"Held {statement.currency}",
        *(["Per 1,000 requests"] if known else []),
    )
    rows = [
        element(
            "tr",
            element("th", entry.name, scope="row"),
            element("td", _bar(entry.spent, dearest), class_="bar"),
            _numbers(spent, share(entry.spent, statement.spent), held, *cost),
        )
        for entry, spent, held, cost in zip(entries, spending, holding, each, strict=False)
    ]
    total = _numbers(spending[-1], share(statement.spent, statement.spent), holding[-1], *([""] if known else []))
    foot = element("tr", element("th", "Total", scope="row"), element("td", class_="bar"), total)
    table = element(
        "table",
        element(
            "thead",
            element("tr", _head(by.name.capitalize()), element("th", class_="bar"), _head(*figures, kind="number")),
        ),
        element("tbody", rows),
        element("tfoot", foot),
    )
    return element("div", element("h3", title), element("div", table, class_="wide"))


def _head(*names: str, kind: str = "name") -> list[Content]:
    return [element("th", name, scope="col", class_=kind) for name in names]


def _bar(part: int, whole: int) -> Markup:
    width = f"{max(0, part) * 1000 // whole / 10}%"
    return element("div", class_="meter", style=f"width:{width}")


def _grouped(amounts: Sequence[int]) -> list[str]:
    """Exact amounts of one column with thousands apart."""
    return [re.sub(r"\B(?=(?:\d{3})+\.)", ",", text) for text in column(amounts)]


def _numbers(*texts: str) -> list[Content]:
    return [element("td", text, class_="number") for text in texts]


def _refusals(denials: Sequence[Denial]) -> Content:
    if not denials:
        return element("section", element("h2", "Refused"), element("p", "Everything that is wanted is paid for."))
    head = (
        _head("Service"),
        _head("Pods", kind="number"),
        _head("Budget", "Why"),
        _head("Needs", "Has", kind="number"),
        _head("What helps"),
    )
    rows = (
        element(
            "tr",
            element("th", denial.service, scope="row"),
            element("td", str(denial.pods), class_="number"),
            element("td", denial.policy),
            element("td", _BLOCKED.get(denial.blocked_by, denial.blocked_by)),
            _numbers(
                f"{format_amount(denial.need)} {denial.currency}", f"{format_amount(denial.have)} {denial.currency}"
            ),
            element("td", say_help(denial)),
        )
        for denial in denials
    )
    table = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", rows),
    )
    return element(
        "section",
        element("h2", "Refused"),
        element("p", "Pods that are wanted and not started:"),
        element("div", table, class_="wide"),
    )


def _nodes(uses: Sequence[PoolUse]) -> Markup:
    head = (
        _head("Pool"),
        _head("Ready nodes", "Nodes cost an hour", "The book charges", "Not charged", kind="number"),
    )
    rows = (
        element(
            "tr",
            element("th", use.pool, scope="row"),
            _numbers(
                str(use.nodes),
                f"{format_amount(use.costs)} {use.currency}",
                f"{format_amount(use.charged)} {use.currency}",
                share(use.uncharged, use.costs),
            ),
        )
        for use in uses
    )
    told = (
        "What the ready nodes cost now at the on-demand price, and what of it is charged to budgets. The rest is idle."
    )
    return element(
        "section",
        element("h2", "Book against nodes"),
        element("p", told),
        element(
            "div",
            element("table", element("thead", element("tr", head)), element("tbody", rows)),
            class_="wide",
        ),
    )


def _key(kind: str, text: str) -> Markup:
    return element("li", element("span", class_=f"key {kind}"), text)


def _legend(statement: Statement) -> Markup:
    keys = [_key("spent", "spent"), _key("held", "held"), _key("left", "available")]
    if statement.phase is Phase.OPEN:
        keys.append(_key("mark", f"an even pace would be at {say_amount(statement.paced)} {statement.currency}"))
    if statement.available < 0:
        keys.append(_key("over", "the limit"))
    return element("ul", keys, class_="legend")


def _burn_legend(statement: Statement) -> Markup:
    band = [] if statement.forecast is None else [_key("band", "forecast, from p50 to p90")]
    return element(
        "ul",
        _key("known", "from the start until now; only both ends are known"),
        _key("ahead", "if the present rate stays" if statement.forecast is None else "forecast, p50"),
        band,
        _key("pace", "an even pace"),
        _key("held", "held"),
        class_="legend",
    )


def _history_legend() -> Markup:
    return element(
        "ul",
        _key("spent", "final"),
        _key("spent unfinished", "not final"),
        _key("mark", "limit of the period"),
        class_="legend",
    )


def _notes() -> Markup:
    return element(
        "footer",
        element(
            "p", "Spent is what pods have cost so far at the prices of their pools, the dearest that a pool allows."
        ),
        element("p", "Held is the most that running pods can still cost before they are paid for again or stopped."),
        element("p", "A pod that two budgets pay for stands under both, so budgets are not added up."),
        element("p", "Not in it: traffic, disks, load balancers, idle nodes, taxes."),
        class_="quiet",
    )
