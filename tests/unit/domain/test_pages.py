"""Pages of sealed periods, put together."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.book import Account, Line
from modelservice.domain.pages import joined

PAGE = Account("team/a", 0, 10, "USD", 100, sealed=True, lines=(Line("team/chat", "Inference", "cpu", 7, -1),))


def test_pages_of_one_period_are_added_up_and_others_stand_by_themselves() -> None:
    second = replace(
        PAGE, lines=(Line("team/chat", "Inference", "cpu", 5, -2), Line("team/bot", "Inference", "cpu", 1))
    )
    longer, other = replace(PAGE, end=20), replace(PAGE, policy="team/b")
    made = joined([PAGE, second, longer, other])
    assert made["team/a", 0, 10].lines == (
        Line("team/bot", "Inference", "cpu", 1),
        Line("team/chat", "Inference", "cpu", 12, -3),
    )
    assert made["team/a", 0, 20] == longer
    assert made["team/b", 0, 10] == other
    assert len(made) == 3
