"""The charts of the cost page as inline SVG; colours come from the page's classes, so that they follow its scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from modelservice.domain.costs import Phase, Statement
from modelservice.domain.money import MICROS, format_amount
from modelservice.render.markup import Content, Markup, element

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HOUR, DAY = 3600, 86_400
_STEPS = (HOUR, 3 * HOUR, 6 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY)
WIDTH, LEFT, RIGHT = 720, 92, 16
PLOT = WIDTH - LEFT - RIGHT
MOST_PERIODS = 12
MOST_TICKS = 8
HALF_LABEL = 30


def say_amount(micros: int) -> str:
    """Grouped by thousands; rounded to cents from one unit of the currency on, exact below."""
    if abs(micros) < MICROS:
        return format_amount(micros)
    cents = (abs(micros) + 5000) // 10_000
    return f"{'-' if micros < 0 else ''}{cents // 100:,}.{cents % 100:02d}"


def say_day(time: int) -> str:
    """The date in UTC: 10 Jul 2026."""
    at = datetime.fromtimestamp(time, UTC)
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def say_moment(time: int) -> str:
    """Date and minute in UTC."""
    return f"{say_day(time)}, {datetime.fromtimestamp(time, UTC):%H:%M} UTC"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps values of ``[low, high]`` to positions from ``first`` to ``last``."""

    low: int
    high: int
    first: float
    last: float

    def at(self, value: int) -> float:
        return self.first + (value - self.low) * (self.last - self.first) / max(1, self.high - self.low)


def stack(statement: Statement) -> Markup:
    """The limit as one bar: spent, held and what is left; a mark where an even pace would be now."""
    whole = max(statement.limit, statement.spent + statement.held, 1)
    scale = _Scale(0, whole, 0.0, float(WIDTH))
    edge = scale.at(statement.spent)
    full = scale.at(statement.spent + statement.held)
    parts: list[Content] = [
        element("rect", x=0, y=8, width=WIDTH, height=22, rx=4, class_="left"),
        element("rect", x=0, y=8, width=max(edge, 0.0), height=22, rx=4, class_="spent"),
        element("rect", x=edge, y=8, width=max(full - edge, 0.0), height=22, class_="held"),
    ]
    if statement.phase is Phase.OPEN:
        pace = scale.at(statement.paced)
        parts.append(element("line", x1=pace, x2=pace, y1=2, y2=36, class_="mark"))
    if whole > statement.limit:
        limit = scale.at(statement.limit)
        parts.append(element("line", x1=limit, x2=limit, y1=2, y2=36, class_="over"))
    return _figure(38, "Spent, held and left of the limit", parts)


def burn_down(statement: Statement) -> Markup:
    """What is left of the limit over the period, as far as it is known: its start, now, and the present rate."""
    left, floor = statement.limit - statement.spent, statement.limit - statement.spent - statement.held
    x = _Scale(statement.start, statement.end, float(LEFT), float(WIDTH - RIGHT))
    y = _Scale(min(0, floor), max(statement.limit, 1), 226.0, 24.0)
    now = x.at(statement.at)
    base = y.at(0)
    return _figure(
        262,
        "What is left of the limit over the period",
        [
            [_money_line(y, statement.limit * quarter // 4) for quarter in range(5)],
            [_time_tick(time, statement, x) for time in _ticks(statement)],
            element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis"),
            element(
                "line",
                x1=x.at(statement.start),
                y1=y.at(statement.limit),
                x2=x.at(statement.end),
                y2=base,
                class_="pace",
            ),
            element("line", x1=now, x2=now, y1=24, y2=226, class_="now"),
            element("text", "now", x=now, y=16, text_anchor="middle"),
            element("line", x1=x.at(statement.start), y1=y.at(statement.limit), x2=now, y2=y.at(left), class_="known"),
            _band(statement, x, y),
            element("line", x1=now, x2=now, y1=y.at(left), y2=y.at(floor), class_="heldline"),
            element("circle", cx=x.at(statement.start), cy=y.at(statement.limit), r=4, class_="spent"),
            element("circle", cx=now, cy=y.at(left), r=5, class_="spent"),
        ],
    )


def _band(statement: Statement, x: _Scale, y: _Scale) -> Content:
    """What will be left: between the likely and the cautious forecast, or the present rate where none is known."""
    now, left = statement.at, statement.limit - statement.spent
    foreseen, until = statement.forecast, statement.lasts_until()
    if foreseen is None:
        reached = statement.end if until is None else min(until, statement.end)
        rest = statement.limit - statement.spent_by_end() if until is None else min(0, left)
        return element("line", x1=x.at(now), y1=y.at(left), x2=x.at(reached), y2=y.at(rest), class_="ahead")
    floor = min(0, left, left - statement.held)
    likely, most = (max(floor, statement.limit - total) for total in (foreseen.p50, foreseen.p90))
    gone = min(max(now, statement.end if foreseen.exhausts_at is None else foreseen.exhausts_at), statement.end)
    even = statement.end if until is None or foreseen.p50 < statement.limit else min(max(now, until), statement.end)
    upper = [(now, left), (even, likely), (statement.end, likely)]
    lower = [(statement.end, most), (gone, most), (now, left)]
    points = " ".join(f"{x.at(time):.2f},{y.at(amount):.2f}" for time, amount in (*upper, *lower))
    line = element("line", x1=x.at(now), y1=y.at(left), x2=x.at(even), y2=y.at(likely), class_="ahead")
    return [element("polygon", points=points, class_="band"), line]


def _money_line(scale: _Scale, amount: int) -> Markup:
    level = scale.at(amount)
    line = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=level, y2=level, class_="grid")
    label = element("text", say_amount(amount), x=LEFT - 8, y=level + 4, text_anchor="end")
    return Markup(line + label)


def _ticks(statement: Statement) -> Sequence[int]:
    length = statement.end - statement.start
    step = next((step for step in _STEPS if length / step <= MOST_TICKS), length)
    return range(statement.start, statement.end + 1, step)


def _time_tick(time: int, statement: Statement, scale: _Scale) -> Markup:
    at, where = datetime.fromtimestamp(time, UTC), scale.at(time)
    label = f"{at:%H:%M}" if statement.end - statement.start <= 2 * DAY else f"{at.day} {MONTHS[at.month - 1]}"
    anchor = "end" if WIDTH - where < HALF_LABEL else "middle"
    mark = element("line", x1=where, x2=where, y1=226, y2=231, class_="axis")
    return Markup(mark + element("text", label, x=where, y=248, text_anchor=anchor))


def history(statements: Sequence[Statement]) -> Markup:
    """One bar for each period, at most the latest twelve; a line across it is its limit."""
    shown = sorted(statements, key=lambda each: each.start)[-MOST_PERIODS:]
    top = max([1, *(max(each.limit, each.spent) for each in shown)])
    y = _Scale(0, top, 186.0, 16.0)
    slot = PLOT / len(shown)
    width = min(56.0, slot * 0.6)
    parts: list[Content] = [_money_line(y, top * half // 2) for half in range(3)]
    for number, each in enumerate(shown):
        middle = LEFT + slot * (number + 0.5)
        level, limit = y.at(max(each.spent, 0)), y.at(each.limit)
        kind = "spent" if each.phase is Phase.SEALED else "spent unfinished"
        bar = element("rect", x=middle - width / 2, y=level, width=width, height=186.0 - level, class_=kind)
        cap = element("line", x1=middle - width / 2 - 4, x2=middle + width / 2 + 4, y1=limit, y2=limit, class_="mark")
        at = datetime.fromtimestamp(each.start, UTC)
        label = element("text", f"{at.day} {MONTHS[at.month - 1]}", x=middle, y=206, text_anchor="middle")
        parts += [bar, cap, label]
    return _figure(214, "Spent in each period", parts)


def _figure(height: int, label: str, parts: Content) -> Markup:
    return element("svg", parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)
