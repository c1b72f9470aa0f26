from typing import Any

import pytest
from modelservice.api.budgetpolicy import BudgetPolicy
from modelservice.api.convert import policy_of
from modelservice.domain.periods import Calendar, Period, Window


def budget(**spec: Any) -> BudgetPolicy:
    given = {"currency": "USD", "limit": "5.00", "period": {"calendar": "Day", "timeZone": "UTC"}, **spec}
    return BudgetPolicy.model_validate({"metadata": {"name": "team", "namespace": "ns"}, "spec": given})


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
