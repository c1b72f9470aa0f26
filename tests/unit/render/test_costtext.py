import csv
import io
import json
from dataclasses import replace

import pytest
from modelservice.domain.book import CostKey, Enforcement
from modelservice.domain.costs import POOL, ROLE, SERVICE, By, Denial, Statement, draw_up, select
from modelservice.domain.forecast import Basis, Forecast
from modelservice.domain.limits import Extra, Override
from modelservice.domain.money import parse_amount
from modelservice.domain.utilization import PoolUse
from modelservice.render.costtext import NOTHING, as_csv, as_json, column, share, shorten, tables
from modelservice.render.texttable import WIDTH

from tests.unit.domain.costbooks import AUGUST, JULY, NOW, UNITS, book_of, page_of

TEAM, LONG = By("label:team", "team"), By(f"label:{'d' * 253}/{'k' * 63}", f"{'d' * 253}/{'k' * 63}")
DENIAL = Denial("team/chat", "team/monthly", "Rate", 3_600_000, 250_000, "USD", 2)
HELPED = replace(DENIAL, fits=3, pool="spot", elsewhere=1, affordable_at=AUGUST)


def monthly() -> tuple[Statement, ...]:
    return select(draw_up(book_of(), [page_of()], NOW), policy="monthly")


def test_a_label_is_a_column_in_every_format() -> None:
    by = TEAM
    assert "LABEL:TEAM  SPENT USD   SHARE  HELD USD\nsearch" in tables(monthly(), [], by)
    (row, *_) = json.loads(as_json(monthly(), [], by, NOW))["statements"][0]["rows"]
    assert row == {"label:team": "search", "spent": "22.10", "held": "4.06"}
    (row, *_) = csv.DictReader(io.StringIO(as_csv(monthly(), by)))
    assert (row["label:team"], row["spent"]) == ("search", "22.10")


def test_a_forecast_is_told_in_every_format() -> None:
    known = Forecast(40 * UNITS, 60 * UNITS, AUGUST - 86_400, Basis.CURRENT_RATE)
    july = replace(monthly()[0], forecast=known)
    text = " ".join(tables([july], [], SERVICE).split())
    assert (
        "forecast: 40.00 by the end (p50), 60.00 USD at most (p90); the limit is reached on 2026-07-31T00:00:00Z then; "
        "basis CurrentRate"
    ) in text
    row = {"p50": "40.00", "p90": "60.00", "basis": "CurrentRate", "exhaustsAt": "2026-07-31T00:00:00Z"}
    assert json.loads(as_json([july], [], SERVICE, NOW))["statements"][0]["forecast"] == row
    (first, *_) = csv.DictReader(io.StringIO(as_csv([july], SERVICE)))
    assert (first["forecast_p50"], first["forecast_p90"]) == ("40.00", "60.00")


def test_what_is_not_foreseen_is_shown_as_nothing_and_never_as_zero() -> None:
    assert "forecast" not in tables(monthly(), [], SERVICE)
    assert json.loads(as_json(monthly(), [], SERVICE, NOW))["statements"][0]["forecast"] is None
    (first, *_) = csv.DictReader(io.StringIO(as_csv(monthly(), SERVICE)))
    assert (first["forecast_p50"], first["forecast_p90"]) == ("", "")


def test_what_requests_cost_is_a_column_where_it_is_known() -> None:
    july = replace(monthly()[0], per_thousand={"team/chat": 27_777})
    assert tables([july], [], SERVICE).endswith(
        "SERVICE     SPENT USD   SHARE  HELD USD  PER 1,000 REQUESTS\n"
        "team/chat   27.100000   99.1%      4.06            0.027777\n"
        "team/embed   0.250278    0.9%      0.05\n"
        "TOTAL       27.350278  100.0%      4.11\n"
    )
    rows = json.loads(as_json([july], [], SERVICE, NOW))["statements"][0]["rows"]
    assert [row.get("perThousandRequests") for row in rows] == ["0.027777", None]
    lines = csv.DictReader(io.StringIO(as_csv([july], SERVICE)))
    assert [line["per_thousand_requests"] for line in lines] == ["0.027777", ""]


def test_nodes_stand_against_what_is_charged_for_them() -> None:
    uses = [PoolUse("a100", "USD", 2, 8 * UNITS, 3 * UNITS), PoolUse("l4", "USD", 0, 0, UNITS // 4)]
    assert tables([], [], SERVICE, uses).endswith(
        "\n\n"
        "NODES NOW  READY  COST AN HOUR  CHARGED       NOT CHARGED\n"
        "a100           2          8.00     3.00  USD        62.5%\n"
        "l4             0          0.00     0.25  USD            -\n"
    )
    (row, _) = json.loads(as_json([], [], SERVICE, NOW, uses))["pools"]
    assert row == {
        "pool": "a100",
        "currency": "USD",
        "readyNodes": 2,
        "nodesPerHour": "8.00",
        "chargedPerHour": "3.00",
        "notCharged": "62.5%",
    }


def test_a_table_reads_as_people_expect() -> None:
    assert tables(monthly(), [DENIAL], SERVICE) == (
        "team/monthly  2026-07-01T00:00:00Z - 2026-08-01T00:00:00Z  Open\n"
        "limit 100.00 USD, spent 27.350278, held 4.11, available 68.539722, rate 8.200001 an hour\n"
        "\n"
        "SERVICE     SPENT USD   SHARE  HELD USD\n"
        "team/chat   27.100000   99.1%      4.06\n"
        "team/embed   0.250278    0.9%      0.05\n"
        "TOTAL       27.350278  100.0%      4.11\n"
        "\n"
        "REFUSED    BUDGET        PODS  BY    NEED  HAVE\n"
        "team/chat  team/monthly     2  Rate  3.60  0.25  USD\n"
    )


def test_a_budget_that_only_counts_says_so() -> None:
    trial = replace(monthly()[0], enforcement=Enforcement.DRY_RUN)
    assert "enforcement DryRun" in " ".join(tables([trial], [], ROLE).split("\n"))
    assert json.loads(as_json([trial], [], ROLE, NOW))["statements"][0]["enforcement"] == "DryRun"


def test_overrides_of_a_period_are_told_with_their_time_and_reason() -> None:
    incident = Extra(Override(5 * UNITS, JULY + 7200, "incident 12"), JULY + 3600, JULY + 5400)
    long = Extra(Override(UNITS, AUGUST, "why " * 60), JULY + 9000)
    july = replace(monthly()[0], extras=(incident, long))
    text = tables([july], [], SERVICE)
    assert "override 5.00 USD, 2026-07-01T01:00:00Z - 2026-07-01T01:30:00Z: incident 12\n" in text
    assert max(map(len, text.splitlines())) <= WIDTH
    first, second = json.loads(as_json([july], [], SERVICE, NOW))["statements"][0]["overrides"]
    assert first == {
        "extraAmount": "5.00",
        "since": "2026-07-01T01:00:00Z",
        "until": "2026-07-01T02:00:00Z",
        "reason": "incident 12",
        "ended": "2026-07-01T01:30:00Z",
    }
    assert "ended" not in second


def test_a_budget_that_began_within_its_period_says_since_when_it_counts() -> None:
    july = replace(monthly()[0], since=JULY + 3600)
    said = "counted since 2026-07-01T01:00:00Z, when the budget began: earlier costs are not in it"
    assert f"\n{said}\n" in tables([july], [], SERVICE)
    assert json.loads(as_json([july], [], SERVICE, NOW))["statements"][0]["countedSince"] == "2026-07-01T01:00:00Z"
    assert "countedSince" not in as_json(monthly(), [], SERVICE, NOW)


def test_what_is_carried_over_is_told_in_words_and_as_one_figure() -> None:
    july = replace(monthly()[0], owed=12 * UNITS, saved=5 * UNITS)
    text = tables([july], [], SERVICE)
    assert "\ncarried over: 5.00 USD that earlier periods did not use, part of the limit\n" in text
    assert "\ncarried over: 12.00 USD that the period before spent too much, taken from the limit\n" in text
    assert json.loads(as_json([july], [], SERVICE, NOW))["statements"][0]["carried"] == "-7.00"
    assert "carried" not in tables(monthly(), [], SERVICE)


def test_without_a_statement_the_table_says_what_to_do() -> None:
    assert tables([], [], SERVICE) == f"{NOTHING}\n"


@pytest.mark.parametrize("by", [SERVICE, POOL, ROLE, TEAM, LONG])
def test_no_line_is_wider_than_a_terminal(by: By) -> None:
    team = "n" * 63
    long = replace(monthly()[0], policy=f"{team}/{'p' * 63}", limit=10**18 - 1)
    key = CostKey(f"{team}/{'s' * 253}", "Inference", "q" * 63, ((LONG.label, "v" * 63),))
    long = replace(long, spending={key: 10**17 + 1}, holding={key: 10**16 + 1}, rate=10**15 + 1)
    denial = replace(HELPED, service=key[0], policy=long.policy, need=10**12 + 1, have=10**12 + 1, pods=5000)
    denial = replace(denial, fits=5000, pool="q" * 63, elsewhere=5000)
    use = PoolUse("q" * 63, "USD", 10**6, 10**17 + 1, 10**17 + 1)
    long = replace(long, forecast=Forecast(10**17 + 1, 10**17 + 1, NOW, Basis.CURRENT_RATE))
    long = replace(long, per_thousand={key.service: 10**9 + 1})
    text = tables([long], [denial], by, [use])
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize("by", [SERVICE, POOL, ROLE, TEAM, LONG])
def test_the_rows_of_every_format_add_up_to_the_total(by: By) -> None:
    (july,) = monthly()
    rows = list(csv.DictReader(io.StringIO(as_csv([july], by))))
    (document,) = json.loads(as_json([july], [], by, NOW))["statements"]
    lines = tables([july], [], by).splitlines()[4:-1]
    for name, total in (("spent", july.spent), ("held", july.held)):
        assert sum(parse_amount(row[name]) for row in rows) == total
        assert sum(parse_amount(row[name]) for row in document["rows"]) == total == parse_amount(document[name])
    assert sum(parse_amount(line.split()[1]) for line in lines) == july.spent
    assert sum(parse_amount(line.split()[3]) for line in lines) == july.held


def test_json_has_everything_as_decimal_strings() -> None:
    document = json.loads(as_json(monthly(), [DENIAL], ROLE, NOW))
    assert document["asOf"] == "2026-07-11T12:00:00Z"
    assert document["refusals"] == [
        {
            "service": "team/chat",
            "policy": "team/monthly",
            "blockedBy": "Rate",
            "need": "3.60",
            "have": "0.25",
            "currency": "USD",
            "pods": 2,
        }
    ]
    (statement,) = document["statements"]
    assert statement["period"] == {"start": "2026-07-01T00:00:00Z", "end": "2026-08-01T00:00:00Z"}
    assert (statement["phase"], statement["available"], statement["ratePerHour"]) == ("Open", "68.539722", "8.200001")
    assert statement["rows"][1] == {"role": "Training", "spent": "5.00", "held": "0.00"}


def test_what_helps_a_service_that_is_refused_is_told_as_far_as_it_is_known() -> None:
    text = tables([], [HELPED, replace(DENIAL, service="team/embed")], ROLE)
    assert text.endswith("\nteam/chat: 3 fit now, 1 more in pool spot, one more from 2026-08-01T00:00:00Z on\n")
    helped, bare = json.loads(as_json([], [HELPED, DENIAL], ROLE, NOW))["refusals"]
    assert helped == {
        **bare,
        "fitsNow": {"replicas": 3, "pool": "spot", "poolReplicas": 1},
        "affordableAt": "2026-08-01T00:00:00Z",
    }
    assert as_json([], [replace(HELPED, pool="")], ROLE, NOW).count("pool") == 1


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 3, "33.3%"),
        (2, 3, "66.7%"),
        (1, 2000, "0.1%"),
        (1, 2001, "0.0%"),
        (3, 2, "150.0%"),
        (-1, 4, "-25.0%"),
        (0, 0, "-"),
    ],
)
def test_a_share_is_rounded_to_tenths_of_a_percent(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_a_name_that_is_too_long_keeps_its_two_ends() -> None:
    assert shorten("namespace/service", 17) == "namespace/service"
    assert shorten("namespace/service", 9) == "name…vice"
    assert len(shorten("x" * 300, 52)) == 52


def test_the_points_of_a_column_stand_below_each_other() -> None:
    assert column([UNITS, -1, 1_500_000]) == ["1.000000", "-0.000001", "1.500000"]
    assert column([]) == []
