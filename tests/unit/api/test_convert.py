from dataclasses import replace
from typing import Any

import pytest
from modelservice.api.budgetpolicy import BudgetPolicy, ClusterBudgetPolicy
from modelservice.api.convert import closed_policy_of, policy_of, service_of
from modelservice.api.modelservice import ModelService
from modelservice.domain.book import Enforcement
from modelservice.domain.limits import CarryOver, Override, Overspend, Unused
from modelservice.domain.periods import Calendar, Period, Window
from modelservice.domain.priorities import Priority
from modelservice.domain.scope import Operator, Requirement, Scope, Selector
from modelservice.domain.thresholds import Action, Metric, Threshold

DAILY = {"currency": "USD", "limit": "5.00", "period": {"calendar": "Day", "timeZone": "UTC"}}


def budget(**spec: Any) -> BudgetPolicy:
    return BudgetPolicy.model_validate({"metadata": {"name": "team", "namespace": "ns"}, "spec": {**DAILY, **spec}})


def cluster_budget(**spec: Any) -> ClusterBudgetPolicy:
    return ClusterBudgetPolicy.model_validate({"metadata": {"name": "platform"}, "spec": {**DAILY, **spec}})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"calendar": "Hour", "timeZone": "UTC"}, Period(Calendar.HOUR, "UTC")),
        ({"calendar": "Week", "timeZone": "UTC", "startDay": 7}, Period(Calendar.WEEK, "UTC", 7)),
        (
            {"calendar": "Year", "timeZone": "Europe/London", "startDay": 6, "startMonth": 4},
            Period(Calendar.YEAR, "Europe/London", 6, 4),
        ),
        ({"window": {"from": "1970-01-01T02:00:00+02:00", "to": "1970-01-01T00:01:40Z"}}, Window(0, 100)),
    ],
)
def test_a_period_means_what_the_policy_says(written: dict[str, Any], meant: Period | Window) -> None:
    assert policy_of(budget(period=written)).period == meant


@pytest.mark.parametrize(
    ("period", "sentence"),
    [
        ({"calendar": "Day", "timeZone": "Mars/Olympus"}, "'Mars/Olympus' is not an IANA time zone"),
        ({"window": {"from": "1970-01-01T00:00:01Z", "to": "1970-01-01T00:00:01.9Z"}}, "ends before it begins"),
    ],
)
def test_a_period_that_cannot_be_honoured_is_refused_with_a_sentence(period: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        policy_of(budget(period=period))


def test_a_budget_that_cannot_be_honoured_pays_for_nothing() -> None:
    closed = closed_policy_of(budget(period={"calendar": "Day", "timeZone": "Mars/Olympus"}))
    assert (closed.name, closed.limit, closed.period) == ("ns/team", 5_000_000, Window(0, 1))


@pytest.mark.parametrize("mode", Enforcement)
def test_a_budget_is_enforced_as_the_policy_says_and_hard_when_it_says_nothing(mode: Enforcement) -> None:
    assert policy_of(budget(enforcement=mode.value)).enforcement is mode
    assert policy_of(budget()).enforcement is Enforcement.HARD


def test_amounts_are_read_exactly_and_what_is_absent_bounds_nothing() -> None:
    given = policy_of(budget(limit="0.000001", softLimit="0.5", maxRatePerHour="130"))
    assert (given.limit, given.soft_limit, given.max_rate) == (1, 500_000, 130_000_000)
    assert (policy_of(budget()).soft_limit, policy_of(budget()).max_rate) == (None, None)


def test_shares_of_classes_are_read_in_millionths_and_the_class_of_a_service_is_standard_unless_it_says() -> None:
    shares = [{"priority": "Batch", "minShare": "0.25"}, {"priority": "Critical", "minShare": "1"}]
    assert policy_of(budget(classes=shares)).shares == {Priority.BATCH: 250_000, Priority.CRITICAL: 1_000_000}
    assert policy_of(budget()).shares == {}
    spec: dict[str, Any] = {
        "model": {"storageUri": "pvc://models/a"},
        "inference": {"runtime": "r", "resources": {"requests": {}}},
    }

    def priority(**more: str) -> Priority:
        meta = {"name": "chat", "namespace": "ns"}
        return service_of(ModelService.model_validate({"metadata": meta, "spec": {**spec, **more}})).priority

    assert (priority(), priority(priority="Critical")) == (Priority.STANDARD, Priority.CRITICAL)


def test_a_threshold_is_undone_below_what_it_is_reached_at_unless_it_says_lower_and_acts_mildest_first() -> None:
    full = {
        "name": "most",
        "metric": "Forecast",
        "atPercent": 95,
        "forSeconds": 60,
        "clearBelowPercent": 80,
        "actions": ["ScaleToZero", "Notify", "ShrinkByPriority", "StopScaleUp"],
    }
    given = policy_of(budget(thresholds=[{"name": "half", "atPercent": 50}, full])).thresholds
    assert given == (
        Threshold("half", Metric.COMMITTED, at=50, clear_below=50),
        Threshold("most", Metric.FORECAST, at=95, clear_below=80, sustained=60, actions=tuple(Action)),
    )


def test_an_override_ends_at_an_instant_whatever_its_zone() -> None:
    given = {"until": "1970-01-01T02:00:01.5+01:00", "extraAmount": "0.5", "reason": "a demo"}
    assert policy_of(budget(override=given)).override == Override(500_000, 3601, "a demo")
    assert policy_of(budget()).override is None


def test_debts_are_carried_over_and_unused_money_is_not_unless_the_policy_says_otherwise() -> None:
    assert policy_of(budget()).carry_over == CarryOver(Overspend.CARRY, Unused.NONE)
    assert policy_of(budget(carryOver={})).carry_over == CarryOver(Overspend.CARRY, Unused.NONE)
    given = policy_of(budget(carryOver={"overspend": "Forget", "unused": "All"}))
    assert given.carry_over == CarryOver(Overspend.FORGET, Unused.ALL)


@pytest.mark.parametrize("until", ["2026-07-01T00:00:00", "2026-02-30T00:00:00Z"])
def test_an_override_whose_end_is_no_instant_is_not_honoured(until: str) -> None:
    with pytest.raises(ValueError, match=r"zone|day"):
        policy_of(budget(override={"until": until, "extraAmount": "1", "reason": "a demo"}))


def test_pods_are_paid_an_hour_ahead_unless_the_policy_says_otherwise() -> None:
    asked: list[dict[str, Any]] = [{}, {"admission": {}}, {"admission": {"horizonSeconds": 300}}]
    horizons = [policy_of(budget(**more)).horizon for more in asked]
    assert horizons == [3600, 3600, 300]


def test_a_budget_of_a_namespace_reaches_no_further_and_one_of_the_cluster_everywhere() -> None:
    own, everywhere = policy_of(budget()), policy_of(cluster_budget())
    assert (own.name, own.scope) == ("ns/team", Scope(frozenset({"ns"})))
    assert (everywhere.name, everywhere.scope) == ("platform", Scope())


def test_a_scope_means_what_the_policy_says() -> None:
    services = {
        "matchLabels": {"model": "chat"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["free", "trial"]}],
    }
    parts = {"services": services, "roles": ["Training"], "pools": ["a100"]}
    meant = Scope(
        services=Selector(
            (Requirement("model", Operator.IN, ("chat",)), Requirement("tier", Operator.NOT_IN, ("free", "trial")))
        ),
        roles=frozenset({"Training"}),
        pools=frozenset({"a100"}),
    )
    everywhere = {**parts, "namespaces": ["a", "b"], "namespaceSelector": {"matchLabels": {"team": "search"}}}
    assert policy_of(budget(scope=parts)).scope == replace(meant, namespaces=frozenset({"ns"}))
    assert policy_of(cluster_budget(scope=everywhere)).scope == replace(
        meant,
        namespaces=frozenset({"a", "b"}),
        namespace_selector=Selector((Requirement("team", Operator.IN, ("search",)),)),
    )


def test_a_budget_of_a_namespace_cannot_reach_into_others() -> None:
    assert policy_of(budget(scope={"namespaces": ["other"]})).scope == Scope(frozenset({"ns"}))
