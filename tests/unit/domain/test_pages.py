"""Pages of sealed periods, put together."""

from __future__ import annotations

from dataclasses import replace

from modelservice.domain.book import Account, Line
from modelservice.domain.pages import beyond, joined

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


def test_what_a_page_has_already_is_not_stored_again() -> None:
    bot, chat = Line("team/bot", "Inference", "cpu", 9, -9), Line("team/chat", "Inference", "cpu", 12, -4)
    assert beyond(PAGE, PAGE).lines == ()
    rest = beyond(replace(PAGE, lines=(bot, chat)), PAGE)
    assert rest.lines == (bot, Line("team/chat", "Inference", "cpu", 5, -3))
    assert beyond(rest, rest).lines == ()
    assert joined([PAGE, rest])["team/a", 0, 10].lines == (bot, chat)


def test_a_correction_never_makes_a_part_of_a_page_negative() -> None:
    less = replace(PAGE, lines=(Line("team/chat", "Inference", "cpu", 8, -7),))
    assert beyond(less, PAGE).lines == (Line("team/chat", "Inference", "cpu", 1, -1),)
    assert beyond(replace(PAGE, lines=(Line("team/chat", "Inference", "cpu", 7, -7),)), PAGE).lines == ()
    assert beyond(replace(PAGE, lines=(Line("team/chat", "Inference", "cpu", 9),)), PAGE).lines == (
        Line("team/chat", "Inference", "cpu", 2),
    )
