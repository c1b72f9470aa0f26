"""What a period leaves to later ones: debts at once, unused money when the period is final."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.book import Account, Book, Enforcement, Refusal
from modelservice.domain.carryover import is_final
from modelservice.domain.codec import decode, encode, encode_page
from modelservice.domain.funding import admit
from modelservice.domain.ledger import (
    LOOKAHEAD_SECONDS,
    SEAL_AFTER_SECONDS,
    Policy,
    advance,
    close,
    collect,
    prove,
    seal,
    set_policies,
)
from modelservice.domain.limits import CarryOver, Override, Overspend, Unused
from modelservice.domain.periods import Calendar
from modelservice.domain.prices import Billing

from tests.unit.domain.books import FOR_ONE, LATE, MONTH_END, STOP, TEAM, WORK, admitted, opened, policy, terms

BEGIN = MONTH_END - LOOKAHEAD_SECONDS + 1
"""The first second in which the next month is open too."""
SEALED = MONTH_END + SEAL_AFTER_SECONDS
SAVE = CarryOver(unused=Unused.ALL)
NO_TIME = Billing(0, late=0)
FORGET = CarryOver(overspend=Overspend.FORGET)


def asked(limit: int, carry: CarryOver | None = None, *, mode: Enforcement = Enforcement.HARD) -> Policy:
    made = policy(limit, enforcement=mode)
    return made if carry is None else replace(made, carry_over=carry)


def at(book: Book, now: int, *policies: Policy) -> Book:
    return seal(set_policies(advance(book, now), policies))


def spent(amount: int, *policies: Policy, begin: int = BEGIN) -> Book:
    """A book in which a pod has cost so much in the month that is about to end."""
    counting = any(not one.binds for one in policies)
    book = opened(*policies, at=begin, of=terms(advisory=(TEAM,)) if counting else None)
    return close(prove(admitted(book, "a"), "a", begin, "n"), "a", begin + amount)


def carried(book: Book) -> list[tuple[int, int, int]]:
    """What each account owes and saves, and its limit."""
    return [(account.owed, account.saved, account.limit) for account in book.accounts]


def test_a_debt_is_foreseen_from_the_holds_and_lowers_the_next_limit_before_the_period_ends() -> None:
    book = admitted(opened(asked(2 * FOR_ONE), at=BEGIN), "a", "b")
    assert carried(book) == [(0, 0, 2 * FOR_ONE)] * 2
    lowered = at(book, BEGIN + 1, asked(FOR_ONE))
    assert carried(lowered) == [(0, 0, FOR_ONE), (FOR_ONE, 0, 0)]
    assert not is_final(lowered, lowered.accounts[1])


def test_a_debt_follows_what_the_period_really_costs_until_it_is_final() -> None:
    book = admitted(opened(asked(2 * FOR_ONE), at=BEGIN), "a", "b")
    book = prove(prove(book, "a", BEGIN, "n"), "b", BEGIN, "n")
    book = close(close(book, "a", BEGIN + FOR_ONE), "b", BEGIN + 50)
    ended = at(book, BEGIN + 100, asked(FOR_ONE))
    assert carried(ended) == [(0, 0, FOR_ONE), (50, 0, FOR_ONE - 50)]
    final = at(ended, SEALED, asked(FOR_ONE))
    assert carried(final) == carried(ended)
    assert is_final(final, final.accounts[1])
    assert carried(collect(final, {final.accounts[0].key})) == [(50, 0, FOR_ONE - 50)]


def test_what_is_owed_is_not_admitted() -> None:
    book = at(spent(100, asked(FOR_ONE)), BEGIN + 200, asked(90))
    later = at(book, MONTH_END, asked(FOR_ONE + 9))
    assert carried(later)[1] == (10, 0, FOR_ONE - 1)
    assert isinstance(admit(later, WORK, ["b"]), Refusal)
    assert isinstance(admit(at(book, MONTH_END, asked(FOR_ONE + 10)), WORK, ["b"]), Book)


def test_a_debt_above_the_next_limit_leaves_nothing_to_spend_and_the_rest_is_owed_later() -> None:
    hourly = replace(policy(100, calendar=Calendar.HOUR, enforcement=Enforcement.SOFT))
    begin = MONTH_END - LOOKAHEAD_SECONDS
    book = at(spent(350, hourly, begin=begin), begin + 3600, hourly)
    assert carried(book)[:5] == [(0, 0, 100), (250, 0, 0), (150, 0, 0), (50, 0, 50), (0, 0, 100)]


def test_unused_money_is_given_to_the_open_period_once_its_own_is_final() -> None:
    book = spent(100, asked(FOR_ONE, SAVE))
    for early in (MONTH_END - 1, MONTH_END, SEALED - 1):
        assert carried(at(book, early, asked(FOR_ONE, SAVE)))[1] == (0, 0, FOR_ONE)
    final = at(book, SEALED, asked(FOR_ONE, SAVE))
    assert carried(final)[1] == (0, FOR_ONE - 100, 2 * FOR_ONE - 100)
    again = at(collect(final, {final.accounts[0].key}), SEALED + 600, asked(FOR_ONE, SAVE))
    assert carried(again) == [(0, FOR_ONE - 100, 2 * FOR_ONE - 100)]
    assert isinstance(admit(final, WORK, ["b", "c"]), Refusal)
    assert isinstance(admit(at(book, SEALED, asked(FOR_ONE + 100, SAVE)), WORK, ["b", "c"]), Book)


def test_unused_hours_reach_the_hour_in_which_they_are_final_and_not_one_that_is_over() -> None:
    hourly = replace(policy(100, calendar=Calendar.HOUR), carry_over=SAVE)
    begin = MONTH_END - 10 * 3600
    book = opened(hourly, at=begin)
    for hour in range(1, 5):
        book = at(book, begin + hour * 3600, hourly)
    assert [account.saved for account in book.accounts[:5]] == [0, 0, 100, 100, 200]
    assert book.account_at(TEAM, book.time) == book.accounts[4]
    assert [account.sealed for account in book.accounts[:4]] == [True, True, True, False]


def test_a_late_cost_eats_what_was_not_used_before_it_is_given_on() -> None:
    book = prove(admitted(opened(asked(10**9, SAVE), at=MONTH_END - 600), "a"), "a", MONTH_END - 600, "n")
    over = at(book, MONTH_END + 900, asked(10**9, SAVE))
    late = at(close(over, "a", MONTH_END + 5), SEALED, asked(10**9, SAVE))
    assert carried(late)[1] == (0, 10**9 - 600, 2 * 10**9 - 600)


def test_hours_that_become_final_together_owe_what_they_really_cost() -> None:
    hourly = policy(1800, calendar=Calendar.HOUR)
    begin = MONTH_END - 10 * 3600
    book = prove(admitted(opened(hourly, at=begin + 1800, of=terms(billing=NO_TIME)), "a"), "a", begin + 1800, "n")
    away = set_policies(advance(book, begin + 7 * 3600), [hourly])
    assert away.accounts[2].owed == 1800
    back = seal(close(away, "a", begin + 3600))
    assert [back.posted(account) for account in back.accounts[:2]] == [1800, 0]
    assert [account.owed for account in back.accounts] == [0] * len(back.accounts)


@pytest.mark.parametrize(
    ("carry", "mode", "spending", "left"),
    [
        (None, Enforcement.HARD, 60, (0, 0)),
        (None, Enforcement.SOFT, 160, (60, 0)),
        (FORGET, Enforcement.SOFT, 160, (0, 0)),
        (SAVE, Enforcement.SOFT, 60, (0, 40)),
        (SAVE, Enforcement.SOFT, 160, (60, 0)),
        (SAVE, Enforcement.DRY_RUN, 60, (0, 0)),
        (SAVE, Enforcement.DRY_RUN, 160, (0, 0)),
    ],
)
def test_what_is_left_is_as_the_policy_says_and_a_trial_leaves_nothing(
    carry: CarryOver | None, mode: Enforcement, spending: int, left: tuple[int, int]
) -> None:
    wanted = asked(10**9 if mode is Enforcement.HARD else 100, carry, mode=mode)
    final = at(spent(spending, wanted), SEALED, wanted)
    assert carried(final)[1][:2] == left


def test_the_policy_at_the_end_of_a_period_decides_what_it_leaves() -> None:
    book = at(spent(100, asked(10**6)), MONTH_END - 1, asked(10**6, SAVE))
    final = at(book, SEALED, asked(10**6))
    assert carried(final)[1] == (0, 10**6 - 100, 2 * 10**6 - 100)
    other = at(at(spent(100, asked(10**6, SAVE)), MONTH_END - 1, asked(10**6)), SEALED, asked(10**6, SAVE))
    assert carried(other)[1] == (0, 0, 10**6)


def test_money_of_an_override_is_neither_owed_when_it_is_over_nor_left_when_it_is_unused() -> None:
    more = replace(asked(FOR_ONE, SAVE), override=Override(FOR_ONE, BEGIN + 8000, "a launch"))
    book = admitted(opened(more, at=BEGIN), "a", "b")
    book = prove(prove(book, "a", BEGIN, "n"), "b", BEGIN, "n")
    both = at(close(close(book, "a", BEGIN + 3000), "b", BEGIN + 3000), SEALED, asked(FOR_ONE, SAVE))
    assert (both.accounts[0].closed, carried(both)[1]) == (6000, (0, 0, FOR_ONE))
    none = at(close(close(book, "a", BEGIN + 10), "b", BEGIN + 10), SEALED, asked(FOR_ONE, SAVE))
    assert carried(none)[1] == (0, FOR_ONE - 20, 2 * FOR_ONE - 20)


def test_nothing_is_carried_into_another_currency() -> None:
    book = spent(100, asked(10**6, SAVE))
    euros = replace(asked(7, SAVE), currency="EUR")
    later = set_policies(advance(replace(book, accounts=book.accounts[:1]), MONTH_END), [euros])
    assert carried(seal(advance(later, SEALED))) == [(0, 0, 10**6), (0, 0, 7)]


def test_unused_money_of_a_policy_that_is_gone_is_lost() -> None:
    book = replace(spent(100, asked(10**6, SAVE)), accounts=spent(100, asked(10**6, SAVE)).accounts[:1])
    assert carried(at(book, SEALED)) == [(0, 0, 10**6)]


def test_a_debt_that_is_foreseen_does_not_change_with_time_alone() -> None:
    book = prove(admitted(opened(asked(2 * FOR_ONE), at=BEGIN), "a", "b"), "a", BEGIN, "n")
    lowered = at(book, BEGIN + 1, asked(10))
    owed = lowered.accounts[1].owed
    assert owed == 2 * FOR_ONE - 10
    past_every_hold = BEGIN + 3600 + LATE + STOP + 500
    assert at(lowered, past_every_hold, asked(10)).accounts == lowered.accounts
    soft = asked(10, mode=Enforcement.SOFT)
    counted = prove(admitted(opened(soft, at=BEGIN, of=terms(advisory=(TEAM,))), "a"), "a", BEGIN, "n")
    assert at(counted, BEGIN + 5000, soft).accounts == counted.accounts
    assert at(counted, MONTH_END, soft).accounts[1].owed == MONTH_END - BEGIN - 10


def test_what_is_carried_survives_the_json_and_stands_on_the_page() -> None:
    book = at(spent(160, asked(100, SAVE, mode=Enforcement.SOFT)), SEALED, asked(100, SAVE, mode=Enforcement.SOFT))
    assert decode(encode(book)).accounts == book.accounts
    row = encode(book)["accounts"][1]
    assert (row["limit"], row["base"], row["owed"]) == (40, 100, 60)
    assert row["carryOver"] == {"overspend": "Carry", "unused": "All"}
    own = Account(TEAM, 0, 9, "USD", 100, sealed=True, owed=160, saved=10)
    page = encode_page(book, own)
    assert (page["limit"], page["base"], page["owed"], page["saved"]) == (0, 100, 160, 10)
    assert "carryOver" not in page
