"""What a budget's status and Events say, pass after pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from modelservice.api.budgetpolicy import BudgetPolicy, BudgetPolicyStatus, ClusterBudgetPolicy
from modelservice.api.convert import policy_of
from modelservice.controllers.budget import Budgets
from modelservice.controllers.safeguards import Safeguards
from modelservice.controllers.world import World
from modelservice.domain.asks import Refused
from modelservice.domain.book import Blocked, Enforcement, Refusal
from modelservice.domain.curbs import watch
from modelservice.domain.ledger import advance, close, prove, seal, set_policies
from modelservice.domain.limits import Override
from modelservice.domain.money import format_amount
from modelservice.domain.rehearsal import Objection
from modelservice.domain.specs import ServiceName
from modelservice.domain.times import format_time
from modelservice.kit.objects import Key
from modelservice.kit.status import StatusWriter
from modelservice.ports import Answer

from tests.unit.domain.books import MONTH_END, NOW, WORK, admitted, opened, policy, terms

KEY = Key("BudgetPolicy", "team", "monthly")


class Ear:
    """Stores each status as the next version of the object."""

    async def replace_status(self, obj: dict[str, Any], *, manager: str) -> Answer:
        assert manager == "tests"
        version = str(int(obj["metadata"]["resourceVersion"]) + 1)
        return Answer({**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}, 0)


@dataclass
class Desk:
    """The time, and one policy with its controller; keeps the Events."""

    seconds: int = NOW
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(self)
        self.writer = StatusWriter(Ear(), manager="tests")
        self.unwatched = Safeguards(self.world, None, "system", ())  # type: ignore[arg-type]
        self.budgets = Budgets(self.world, self.writer, self, self.unwatched, self.world.caches.policies, BudgetPolicy)

    def monotonic(self) -> float:
        return float(self.seconds)

    def wall(self) -> float:
        return float(self.seconds)

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def emit(self, about: dict[str, Any], *, reason: str, message: str, warning: bool = False) -> None:
        assert warning is not reason.endswith("Undone")
        assert about["metadata"]["name"] == "monthly"
        self.told.append((reason, message))

    def write(self, **spec: Any) -> None:
        """A person writes the policy."""
        period = {"calendar": "Month", "timeZone": "UTC"}
        meta = {"namespace": "team", "name": "monthly", "uid": "u", "generation": 1, "resourceVersion": "1"}
        given = {"currency": "USD", "limit": "1.00", "period": period, **spec}
        self.world.caches.policies.observe({"kind": "BudgetPolicy", "metadata": meta, "spec": given})

    async def look(self, now: int) -> dict[str, Any]:
        """One pass; the status after it, which the schema takes."""
        self.seconds = now
        await self.budgets.reconcile(KEY)
        (stored,) = self.world.caches.policies.values()
        BudgetPolicyStatus.model_validate(stored["status"])
        status: dict[str, Any] = stored["status"]
        return status


def reasons(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def ready(status: dict[str, Any]) -> str:
    return next(str(one["message"]) for one in status["conditions"] if one["type"] == "Ready")


async def test_a_soft_limit_that_is_passed_is_told_once_in_each_period() -> None:
    desk = Desk()
    desk.write(softLimit="0.001")
    book = prove(admitted(opened(policy(10**6)), "a"), "a", NOW, "n")
    desk.world.book = book
    assert reasons(await desk.look(NOW + 900))["WithinSoftLimit"] == ("True", "NotPassed")
    for late in (1100, 1200):
        status = await desk.look(NOW + late)
        assert reasons(status) == {"Ready": ("True", "Funded"), "WithinSoftLimit": ("False", "SoftLimitPassed")}
    assert [reason for reason, _ in desk.told] == ["BudgetSoftLimitPassed"]
    assert "0.001 USD" in desk.told[0][1]
    desk.world.book = set_policies(advance(book, MONTH_END + 1), [policy(10**9)])
    assert reasons(await desk.look(MONTH_END + 900))["WithinSoftLimit"] == ("True", "NotPassed")
    await desk.look(MONTH_END + 1100)
    assert [reason for reason, _ in desk.told].count("BudgetSoftLimitPassed") == 2


async def test_the_forecast_is_written_with_the_figures_and_again_when_it_says_something_else() -> None:
    desk = Desk()
    desk.write(limit="4.00")
    book = prove(admitted(opened(policy(4 * 10**6)), "a"), "a", NOW, "n")
    desk.world.book, rest = book, MONTH_END - NOW
    first = (await desk.look(NOW + 60))["forecast"]
    assert first == {"p50": format_amount(rest), "p90": format_amount(rest), "basis": "CurrentRate"}
    desk.world.peaks = {"team/monthly": 2 * 3600}
    assert (await desk.look(NOW + 70))["forecast"] == first
    second = (await desk.look(NOW + 130))["forecast"]
    assert second["p90"] == format_amount(130 + 2 * (rest - 130))
    desk.world.peaks = {"team/monthly": 3 * 3600}
    third = (await desk.look(NOW + 140))["forecast"]
    assert third["p90"] == "4.00"
    assert third["exhaustsAt"] == format_time(NOW + 140 - (-(4 * 10**6 - 140) // 3))
    desk.world.book = None
    desk.world.book_problem = "It is away."
    assert (await desk.look(NOW + 150))["forecast"] == third


def objection(service: str, pods: int, have: int) -> Objection:
    why = Refusal(Blocked.LIMIT, "team/monthly", 2_000_000, have, "USD")
    return Objection(ServiceName("team", service), Refused(why, pods))


async def test_what_a_budget_on_trial_would_refuse_is_told_once_and_kept_with_its_first_figures() -> None:
    desk = Desk()
    desk.write(enforcement="DryRun")
    trial = policy(10**6, enforcement=Enforcement.DRY_RUN)
    desk.world.book = admitted(opened(trial, of=terms(advisory=("team/monthly",))), "a")
    assert "wouldRefuse" not in await desk.look(NOW)
    desk.world.objections = {"team/monthly": (objection("chat", 2, 500_000),)}
    first = await desk.look(NOW + 5)
    dated = replace(objection("chat", 2, 400_000), fits=3, affordable_at=NOW + 900)
    desk.world.objections = {"team/monthly": (dated,)}
    second = await desk.look(NOW + 70)
    (row,) = first["wouldRefuse"]
    assert (row["have"], row["fits"], row["since"]) == ("0.50", 0, format_time(NOW + 5))
    assert second["wouldRefuse"] == [{**row, "fits": 3, "affordableAt": format_time(NOW + 900)}]
    assert reasons(second)["Ready"] == ("False", "WouldRefuse")
    desk.world.objections = {"team/monthly": (objection("chat", 3, 400_000), objection("rank", 1, 0))}
    third = await desk.look(NOW + 80)
    assert [(row["service"], row["replicas"]) for row in third["wouldRefuse"]] == [("team/chat", 3), ("team/rank", 1)]
    assert [reason for reason, _ in desk.told] == ["BudgetWouldRefuse"] * 3
    desk.world.objections = {}
    last = await desk.look(NOW + 90)
    assert "wouldRefuse" not in last
    assert reasons(last)["Ready"] == ("True", "Funded")
    assert last["guarantee"]["level"] == "BestEffort"
    assert "Enforcement is DryRun: nothing is refused." in last["guarantee"]["becauseOf"]


async def test_an_override_is_told_when_it_begins_and_when_it_ends_and_not_for_each_period() -> None:
    desk, until = Desk(), MONTH_END + 3600
    asked = Override(500_000, until, "INC-12: the index is built anew")
    desk.write(override={"extraAmount": "0.50", "until": "2026-08-01T01:00:00Z", "reason": asked.reason})
    book = opened(policy(10**6))
    desk.world.book = book
    assert "override" not in await desk.look(NOW)
    for now in (NOW + 5, MONTH_END - 5, MONTH_END + 5):
        desk.world.book = book = set_policies(advance(book, now), [policy(10**6, override=asked)])
        status = await desk.look(now)
        assert (status["limit"], status["override"]["reason"]) == ("1.50", asked.reason)
    assert status["override"]["since"] == "2026-08-01T00:00:00Z"
    assert "of 1.50 USD (0.50 of it extra until 2026-08-01T01:00:00Z)" in status["conditions"][0]["message"]
    desk.world.book = set_policies(advance(book, until), [policy(10**6, override=asked)])
    for now in (until, until + 70):
        status = await desk.look(now)
        assert (status["limit"], "override" in status) == ("1.00", False)
    assert desk.told == [
        (
            "BudgetOverrideStarted",
            "0.50 USD may be spent beyond the limit until 2026-08-01T01:00:00Z: INC-12: the index is built anew",
        ),
        ("BudgetOverrideEnded", "The override is over: the limit of this period is 1.00 USD now."),
    ]


async def test_what_is_carried_over_stands_in_the_status_and_says_whether_it_may_change() -> None:
    desk = Desk()
    desk.write(limit="2.00", enforcement="Soft")
    asked = policy(2 * 10**6, enforcement=Enforcement.SOFT)
    book = prove(admitted(opened(asked, of=terms(advisory=("team/monthly",))), "a"), "a", NOW, "n")
    desk.world.book = book
    assert (await desk.look(NOW + 60))["adjustments"] == {"carried": "0.00", "carriedIs": "Final", "corrected": "0.00"}
    dear = policy(10**6, enforcement=Enforcement.SOFT)
    early = set_policies(advance(book, MONTH_END - 60), [dear])
    desk.world.book = late = set_policies(advance(early, MONTH_END + 60), [dear])
    debt = format_amount(MONTH_END - NOW - 10**6)
    status = await desk.look(MONTH_END + 60)
    assert status["adjustments"] == {"carried": f"-{debt}", "carriedIs": "Provisional", "corrected": "0.00"}
    assert f"of {status['limit']} USD ({debt} less for what was spent too much before)" in ready(status)
    corrected = close(seal(advance(late, MONTH_END + 3600)), "a", MONTH_END + 100)
    desk.world.book = corrected
    status = await desk.look(MONTH_END + 3600)
    assert status["adjustments"] == {"carried": f"-{debt}", "carriedIs": "Final", "corrected": "-0.0035"}


async def test_a_budget_says_until_when_pods_are_paid_what_the_period_costs_at_most_and_since_when_it_counts() -> None:
    desk = Desk()
    desk.write(limit="2.00")
    desk.world.book = opened(policy(2 * 10**6))
    empty = await desk.look(NOW)
    assert "fundedUntil" not in empty
    assert empty["period"]["countedSince"] == format_time(NOW)
    desk.world.book = prove(admitted(opened(policy(2 * 10**6)), "a"), "a", NOW, "n")
    status = await desk.look(NOW + 5)
    assert status["fundedUntil"] == format_time(NOW + 3600)
    assert status["guarantee"]["worstCasePeriodTotal"]["amount"] == "2.00"
    desk.world.book = None
    desk.world.book_problem = "It is away."
    away = await desk.look(NOW + 10)
    assert away["fundedUntil"] == status["fundedUntil"]
    assert "worstCasePeriodTotal" not in away["guarantee"]


async def test_a_threshold_is_told_when_it_is_reached_and_undone_and_stands_in_the_status() -> None:
    desk, threshold = Desk(), {"name": "most", "atPercent": 50, "actions": ["StopScaleUp", "Notify"]}
    silent = {"name": "silent", "atPercent": 50, "actions": ["ScaleToZero"]}
    desk.write(thresholds=[threshold, silent])
    (obj,) = desk.world.caches.policies.values()
    asked = replace(policy(10**6), thresholds=policy_of(BudgetPolicy.model_validate(obj)).thresholds)
    quiet = opened(asked)
    desk.world.book = quiet
    assert "appliedActions" not in await desk.look(NOW + 60)
    low = set_policies(advance(admitted(quiet, "a"), NOW + 60), [replace(asked, limit=7000)])
    desk.world.book = reached = watch(low, [asked], {})
    rows = (await desk.look(NOW + 70))["appliedActions"]
    since = format_time(NOW + 60)
    assert rows == [
        {"threshold": "most", "actions": ["Notify", "StopScaleUp"], "effect": "Applied", "since": since},
        {"threshold": "silent", "actions": ["ScaleToZero"], "effect": "Applied", "since": since},
    ]
    await desk.look(NOW + 80)
    desk.world.book = watch(advance(set_policies(reached, [asked]), NOW + 90), [asked], {})
    (row, _) = (await desk.look(NOW + 90))["appliedActions"]
    assert row == {**rows[0], "effect": "Undone", "undone": format_time(NOW + 90)}
    await desk.look(NOW + 100)
    assert [reason for reason, _ in desk.told] == ["BudgetThresholdReached", "BudgetThresholdUndone"]
    assert "Committed spending of team/monthly is at 50 % of 0.007 USD or more: threshold most is" in desk.told[0][1]
    assert "is below 50 % of 1.00 USD again: Notify and StopScaleUp is undone" in desk.told[1][1]


async def test_the_last_figures_stay_when_the_book_does_not_say_them_any_more() -> None:
    desk = Desk()
    desk.write(period={"window": {"from": "2026-07-10T00:00:00Z", "to": "2026-07-10T13:00:00Z"}})
    desk.world.book = prove(admitted(opened(policy(10**6)), "a"), "a", NOW, "n")
    before = await desk.look(NOW + 60)
    desk.world.book = opened(policy(1, name="other/one"))
    after = await desk.look(NOW + 7200)
    assert reasons(after)["Ready"] == ("False", "WindowOver")
    assert {name: after[name] for name in ("spent", "limit", "period")} == {
        name: before[name] for name in ("spent", "limit", "period")
    }
    assert [reason for reason, _ in desk.told] == ["BudgetWindowOver"]


async def test_a_budget_that_cannot_be_honoured_says_that_it_pays_for_nothing() -> None:
    desk = Desk()
    desk.write(period={"calendar": "Day", "timeZone": "Mars/Olympus"})
    desk.world.book = opened(policy(1, name="other/one"))
    status = await desk.look(NOW)
    assert reasons(status) == {"Ready": ("False", "Invalid")}
    assert "It pays for nothing" in status["conditions"][0]["message"]
    assert "It pays for nothing" in status["guarantee"]["becauseOf"]


async def test_a_budget_of_the_cluster_is_read_as_one() -> None:
    desk = Desk()
    cache = desk.world.caches.cluster_policies
    meta = {"name": "monthly", "uid": "u", "generation": 1, "resourceVersion": "1"}
    spec = {"currency": "USD", "limit": "1.00", "period": {"calendar": "Month", "timeZone": "UTC"}}
    cache.observe({"kind": "ClusterBudgetPolicy", "metadata": meta, "spec": spec})
    desk.world.book = opened(policy(10**6, name="monthly"), of=terms(payers=("monthly",)))
    assert WORK in desk.world.book.placements
    budgets = Budgets(desk.world, desk.writer, desk, desk.unwatched, cache, ClusterBudgetPolicy)
    await budgets.reconcile(Key("ClusterBudgetPolicy", "", "monthly"))
    (stored,) = cache.values()
    assert stored["status"]["limit"] == "1.00"
    assert stored["status"]["period"]["name"].startswith("monthly.")
