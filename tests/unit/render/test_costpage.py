"""The cost page: well formed, from one piece, with the book's figures, and with charts that stay inside their frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from modelservice.domain.book import Enforcement
from modelservice.domain.costs import Denial, Phase, Statement, draw_up, select
from modelservice.domain.forecast import Basis, Forecast
from modelservice.domain.limits import Extra, Override
from modelservice.domain.utilization import PoolUse
from modelservice.render.charts import MOST_PERIODS, WIDTH, burn_down, history, say_amount, say_moment, stack
from modelservice.render.costpage import page
from modelservice.render.markup import Markup, element

from tests.unit.domain.costbooks import JULY, NOW, UNITS, book_of, page_of

DENIAL = Denial("team/chat", "team/monthly", "Rate", 3_600_000, 250_000, "USD", 2)
EVERYTHING = draw_up(book_of(), [page_of()], NOW)


def july(**changes: object) -> Statement:
    (found,) = select(EVERYTHING, policy="monthly")
    return replace(found, **changes)  # type: ignore[arg-type]


def parse(text: str) -> ET.Element:
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 - our own page


def words(tree: ET.Element) -> str:
    return " ".join(" ".join(tree.itertext()).split())


def lines(chart: str, kind: str) -> list[dict[str, float]]:
    return [
        {key: float(value) for key, value in line.attrib.items() if key != "class"}
        for line in parse(chart).iter("line")
        if line.get("class") == kind
    ]


def positions(chart: str) -> Iterator[tuple[str, float]]:
    for part in parse(chart).iter():
        yield from (
            (key, float(part.attrib[key]))
            for key in part.attrib
            if key in {"x", "x1", "x2", "cx", "y", "y1", "y2", "cy"}
        )
        for point in part.attrib.get("points", "").split():
            yield from zip("xy", map(float, point.split(",")), strict=True)


def test_the_page_shows_the_figures_of_the_book_exactly() -> None:
    text = words(parse(page(select(EVERYTHING), EVERYTHING, [replace(DENIAL, fits=3)], NOW)))
    assert "As of 11 Jul 2026, 12:00 UTC" in text
    assert "team/chat 27.100000 99.1% 4.06 team/embed 0.250278 0.9% 0.05 Total 27.350278 100.0% 4.11" in text
    assert "Pool Spent USD Share Held USD a100 27.100000" in text
    assert "Role Spent USD Share Held USD Inference 22.350278" in text
    assert "team/chat 2 team/monthly The hourly rate would be exceeded. 3.60 USD 0.25 USD 3 fit now" in text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = page(select(EVERYTHING), EVERYTHING, [DENIAL], NOW)
    assert not re.search(r"https?:|//|@import|url\(|src=|<script|<link|javascript", text.replace("<!DOCTYPE", ""))
    assert {"light dark"} == {
        meta.get("content") for meta in parse(text).iter("meta") if meta.get("name") == "color-scheme"
    }
    assert "@media (prefers-color-scheme: dark)" in text


def test_names_are_text_and_never_markup() -> None:
    text = page([july(policy="<b>&'\"/x")], [], [replace(DENIAL, service="</style><script>")], NOW)
    assert "<b>" not in text
    assert "<script>" not in text
    assert "<b>&'\"/x" in words(parse(text))


def test_a_page_without_a_budget_says_what_to_do() -> None:
    text = words(parse(page([], [], [], NOW)))
    assert "choose another namespace, policy or period" in text
    assert "Everything that is wanted is paid for." in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "At the present 8.20 USD an hour the limit is reached on 11 Jul 2026, 20:51 UTC; pods are stopped before",
        ),
        ({"limit": 9000 * UNITS}, "At the present 8.20 USD an hour it will be 4,061.75 USD in the end."),
        ({"rate": 0, "holding": {}}, "are spent. Nothing runs at the moment."),
        ({"limit": 30 * UNITS}, "That is 1.46 USD above the limit: nothing new is started."),
        (
            {"limit": 30 * UNITS, "enforcement": Enforcement.SOFT},
            "1.46 USD above the limit: pods go on, since the budget's enforcement is Soft.",
        ),
        (
            {"enforcement": Enforcement.DRY_RUN},
            "on 11 Jul 2026, 20:51 UTC; pods go on, since the budget's enforcement is DryRun.",
        ),
        ({"phase": Phase.SEALED}, "Of 100.00 USD, 27.35 USD (27.4%) were spent."),
        ({"phase": Phase.CLOSING}, "Of 100.00 USD, 27.35 USD (27.4%) are spent."),
    ],
)
def test_the_first_sentence_says_how_the_budget_stands(changes: dict[str, object], sentence: str) -> None:
    assert sentence in words(parse(page([july(**changes)], [], [], NOW)))


def test_only_a_present_period_has_a_burn_down_and_only_several_make_a_history() -> None:
    assert "What is left of the limit" in page([july()], [july()], [], NOW)
    assert "What is left of the limit" not in page([july(phase=Phase.SEALED)], [july()], [], NOW)
    assert "Period by period" not in page([july()], [july()], [], NOW)
    assert "Period by period" in page([july()], EVERYTHING, [], NOW)


def test_the_burn_down_joins_only_what_is_known() -> None:
    chart = burn_down(july(limit=8000 * UNITS))
    (pace,), (known,), (ahead,), (held,) = (lines(chart, kind) for kind in ("pace", "known", "ahead", "heldline"))
    assert (pace["x1"], pace["y1"]) == (known["x1"], known["y1"])
    assert (known["x2"], known["y2"]) == (ahead["x1"], ahead["y1"]) == (held["x1"], held["y1"])
    assert known["x2"] == pytest.approx(pace["x1"] + (pace["x2"] - pace["x1"]) * 10.5 / 31, abs=0.01)
    fallen = (known["y2"] - known["y1"]) / (pace["y2"] - pace["y1"])
    assert fallen == pytest.approx(27.350278 / 8000, abs=1e-4)
    assert (ahead["y2"] - known["y1"]) / (pace["y2"] - pace["y1"]) == pytest.approx(4061.75 / 8000, abs=1e-4)


def band(chart: str) -> list[tuple[float, float]]:
    (polygon,) = (part for part in parse(chart).iter() if part.tag == "polygon")
    return [(float(x), float(y)) for x, y in (point.split(",") for point in polygon.attrib["points"].split())]


def test_a_forecast_is_a_band_from_now_to_what_it_leaves() -> None:
    foreseen = Forecast(4061 * UNITS, 6000 * UNITS, None, Basis.CURRENT_RATE)
    chart = burn_down(july(limit=8000 * UNITS, forecast=foreseen))
    (pace,), (known,), (ahead,) = (lines(chart, kind) for kind in ("pace", "known", "ahead"))
    start, _, likely, most, *_, back = band(chart)
    height = pace["y2"] - pace["y1"]
    assert start == back == pytest.approx((known["x2"], known["y2"]), abs=0.01)
    assert likely == (ahead["x2"], ahead["y2"])
    assert likely == pytest.approx((pace["x2"], pace["y1"] + height * 4061 / 8000), abs=0.01)
    assert most == pytest.approx((pace["x2"], pace["y1"] + height * 6000 / 8000), abs=0.01)


def test_a_forecast_that_uses_the_limit_up_stays_on_the_axis_from_then_on() -> None:
    foreseen = Forecast(60 * UNITS, 100 * UNITS, NOW + 86_400, Basis.CURRENT_RATE)
    (pace,) = lines(chart := burn_down(july(forecast=foreseen)), "pace")
    (ahead,) = lines(chart, "ahead")
    _, _, likely, most, gone, _ = band(chart)
    assert likely == (ahead["x2"], ahead["y2"])  # p50 leaves something, so it goes on to the end
    assert most == (pace["x2"], pace["y2"])
    assert gone == pytest.approx((pace["x1"] + (pace["x2"] - pace["x1"]) * 11.5 / 31, pace["y2"]), abs=0.01)


def test_the_page_says_what_requests_cost_where_that_is_known() -> None:
    text = words(parse(page([july(per_thousand={"team/chat": 27_777})], [], [], NOW)))
    assert "Per 1,000 requests team/chat 27.100000 99.1% 4.06 0.027777 team/embed 0.250278 0.9% 0.05 Total" in text
    assert "Per 1,000 requests" not in page([july()], [], [], NOW)


def test_the_page_says_what_is_foreseen_and_what_idle_nodes_cost() -> None:
    foreseen = Forecast(40 * UNITS, 60 * UNITS, None, Basis.CURRENT_RATE)
    use = PoolUse("a100", "USD", 2, 8 * UNITS, 3 * UNITS)
    text = words(parse(page([july(forecast=foreseen)], [], [], NOW, [use])))
    assert "Forecast: 40.00 by the end (p50), 60.00 USD at most (p90); basis CurrentRate" in text
    assert "forecast, from p50 to p90" in text
    assert "a100 2 8.00 USD 3.00 USD 62.5%" in text
    assert "Book against nodes" not in page([july()], [], [], NOW)


def test_a_rate_that_uses_the_limit_up_ends_on_the_axis_before_the_period_does() -> None:
    chart = burn_down(july())
    (pace,), (ahead,) = lines(chart, "pace"), lines(chart, "ahead")
    assert ahead["y2"] == pace["y2"]
    assert ahead["x2"] < pace["x2"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"limit": UNITS}, {"limit": 10**18}, {"rate": 10**15}, {"rate": 0}, {"spending": {}, "holding": {}, "rate": 0},
     {"forecast": Forecast(10**18, 10**18, NOW - 9, Basis.CURRENT_RATE), "limit": UNITS},
     {"forecast": Forecast(UNITS, 2 * UNITS, None, Basis.CURRENT_RATE)},
     {"end": NOW + 1}, {"start": NOW - 3600, "end": NOW + 3600}, {"end": NOW + 400 * 86_400}],
)  # fmt: skip
def test_no_chart_leaves_its_frame(changes: dict[str, object]) -> None:
    statement = july(**changes)
    for chart in (stack(statement), burn_down(statement), history([*EVERYTHING, statement])):
        height = float(parse(chart).attrib["viewBox"].split()[3])
        for key, value in positions(chart):
            assert 0 <= value <= (WIDTH if "x" in key else height), (key, value)


def test_the_history_shows_the_latest_periods_against_their_limits() -> None:
    month = 30 * 86_400
    periods = [july(start=NOW + n * month, end=NOW + (n + 1) * month, phase=Phase.SEALED) for n in range(20)]
    tree = parse(history([*periods, july()]))
    bars = [bar for bar in tree.iter("rect") if bar.get("class") == "spent"]
    assert len(bars) == MOST_PERIODS
    assert len(lines(history([*periods, july()]), "mark")) == MOST_PERIODS


def test_the_bar_of_a_limit_is_cut_where_spent_and_held_end() -> None:
    left, spent, held = parse(stack(july())).iter("rect")
    whole = float(left.attrib["width"])
    assert float(spent.attrib["width"]) / whole == pytest.approx(0.2735, abs=1e-4)
    assert float(held.attrib["x"]) == pytest.approx(float(spent.attrib["width"]), abs=0.01)
    assert float(held.attrib["width"]) / whole == pytest.approx(0.0411, abs=1e-4)


def test_amounts_are_rounded_to_cents_from_one_unit_on() -> None:
    assert [say_amount(micros) for micros in (0, 1, -250, 1_005_000, 1_234_567_890_123, -1_999_999)] == [
        "0.00",
        "0.000001",
        "-0.00025",
        "1.01",
        "1,234,567.89",
        "-2.00",
    ]


def test_markup_is_not_escaped_twice_and_all_else_is() -> None:
    inner = element("b", "1 < 2")
    assert inner == "<b>1 &lt; 2</b>"
    assert element("p", inner, [" & ", 3], class_='"') == '<p class="&quot;"><b>1 &lt; 2</b> &amp; 3</p>'
    assert element("line", x1=1.50, text_anchor="end") == '<line x1="1.5" text-anchor="end"/>'
    assert isinstance(inner, Markup)


def test_a_moment_is_told_in_utc() -> None:
    assert say_moment(NOW) == "11 Jul 2026, 12:00 UTC"


def test_what_is_carried_over_is_told() -> None:
    told = "Carried over: 5.00 USD that earlier periods did not use, part of the limit"
    assert told in words(parse(page([july(saved=5 * UNITS)], [], [], NOW)))


def test_an_override_is_told_as_it_was_written_and_is_no_markup() -> None:
    demo = july(extras=(Extra(Override(5 * UNITS, JULY + 60, "a <b>demo</b>"), JULY),))
    told = "Override 5.00 USD, 2026-07-01T00:00:00Z - 2026-07-01T00:01:00Z: a <b>demo</b>"
    assert told in words(parse(page([demo], [], [], NOW)))
