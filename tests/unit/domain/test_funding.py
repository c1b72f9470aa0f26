from dataclasses import replace

import pytest
from modelservice.domain.book import HORIZON_SECONDS, Blocked, Book, Refusal, Terms, Unit
from modelservice.domain.funding import (
    LEAST_GAIN_SECONDS,
    MAX_UNITS,
    Wanted,
    admit,
    admit_all,
    drain,
    may_ungate,
    place,
    renew,
    solvent,
)
from modelservice.domain.ledger import advance, close, prove, set_policies
from modelservice.domain.periods import Window
from modelservice.domain.prices import Billing, Course

from tests.unit.domain.books import (
    FOR_ONE,
    LATE,
    MONTH_END,
    NOW,
    SECOND,
    STOP,
    TEAM,
    WORK,
    admitted,
    opened,
    policy,
    posted,
    sure,
    terms,
    worst,
)


def test_an_admitted_pod_is_held_through_the_horizon_and_its_overrun() -> None:
    book = admitted(opened(), "a")
    assert book.placements[WORK].hold_through == NOW + HORIZON_SECONDS
    assert worst(book) == FOR_ONE


def test_a_pod_that_the_limit_cannot_bear_is_refused_with_need_and_have() -> None:
    book = admitted(opened(policy(2 * FOR_ONE - 1)), "a")
    refusal = admit(book, WORK, ["b"])
    assert refusal == Refusal(Blocked.LIMIT, TEAM, FOR_ONE, FOR_ONE - 1, "USD", book.accounts[0].start)
    assert isinstance(admit(set_policies(book, [policy(2 * FOR_ONE)]), WORK, ["b"]), Book)


@pytest.mark.parametrize(("limit", "rate"), [(6 * FOR_ONE, None), (10**9, 6 * SECOND)], ids=["limit", "rate"])
@pytest.mark.parametrize("missing", [0, 1])
def test_all_pods_are_admitted_together_exactly_when_they_all_would_be_in_turns(
    limit: int, rate: int | None, missing: int
) -> None:
    other = "team/chat-2"
    short = policy(limit - missing, max_rate=None if rate is None else rate - missing)
    book = sure(place(opened(short), other, terms()))
    turns: Book | Refusal = book
    for number in range(3):
        for work in (WORK, other):
            turns = turns if isinstance(turns, Refusal) else admit(turns, work, [f"{work}-{number}"])
    together = admit_all(book, [Wanted(work, [f"{work}-{number}" for number in range(3)]) for work in (WORK, other)])
    assert together == (turns if isinstance(turns, Book) else None)
    assert (together is None) is bool(missing)


def test_the_rate_is_checked_before_the_money() -> None:
    book = admitted(opened(policy(FOR_ONE, max_rate=2 * SECOND - 1)), "a")
    refusal = admit(book, WORK, ["b"])
    assert refusal == Refusal(Blocked.RATE, TEAM, SECOND, SECOND - 1, "USD", book.accounts[0].start)


def test_gated_and_stopping_pods_count_against_the_rate_until_they_are_closed() -> None:
    book = admitted(opened(policy(max_rate=SECOND)), "a")
    draining = drain(book, WORK, ["a"])
    assert isinstance(admit(draining, WORK, ["b"]), Refusal)
    closed = close(draining, "a", NOW + 10)
    assert isinstance(admit(closed, WORK, ["b"]), Book)


def test_an_admission_shortens_no_hold() -> None:
    book = admitted(opened(), "a")
    longer = replace(book.placements[WORK], hold_through=NOW + 2 * HORIZON_SECONDS)
    assert admitted(book.with_placement(longer), "b").placements[WORK].hold_through == NOW + 2 * HORIZON_SECONDS


def test_a_gang_is_admitted_whole_or_not_at_all() -> None:
    book = opened(policy(3 * FOR_ONE))
    assert len(admitted(book, "a", "b", "c").placements[WORK].units) == 3
    refusal = admit(book, WORK, ["a", "b", "c", "d"])
    assert isinstance(refusal, Refusal)
    assert (refusal.need, refusal.have) == (4 * FOR_ONE, 3 * FOR_ONE)


def test_a_pod_is_admitted_once() -> None:
    book = admitted(opened(), "a")
    assert admitted(book, "a") == book
    drained = drain(book, WORK, ["a"])
    assert admitted(drained, "a") == drained


def test_every_policy_must_bear_a_pod() -> None:
    poor = policy(FOR_ONE - 1, name="team/poor")
    refusal = admit(opened(policy(), poor, of=terms(payers=(TEAM, "team/poor"))), WORK, ["a"])
    assert isinstance(refusal, Refusal)
    assert (refusal.policy, refusal.blocked_by) == ("team/poor", Blocked.LIMIT)


def test_each_period_that_a_hold_touches_must_bear_its_part() -> None:
    begin = MONTH_END - 1000
    book = set_policies(opened(policy(FOR_ONE), at=begin), [policy(FOR_ONE)])
    tight = Book(book.time, (book.accounts[0], replace(book.accounts[1], base=FOR_ONE - 1001)), book.placements)
    refusal = admit(tight, WORK, ["a"])
    assert refusal == Refusal(Blocked.LIMIT, TEAM, FOR_ONE - 1000, FOR_ONE - 1001, "USD", MONTH_END)


def test_a_period_without_account_bears_nothing() -> None:
    book = opened(at=MONTH_END - 1000)
    refusal = admit(Book(book.time, book.accounts[:1], book.placements), WORK, ["a"])
    assert isinstance(refusal, Refusal)
    assert (refusal.period_start, refusal.have) == (MONTH_END, 0)


@pytest.mark.parametrize(
    ("opens", "closes", "need", "missing_from"),
    [
        (1000, 10**6, 1000, 0),
        (-1000, FOR_ONE - 10, 10, FOR_ONE - 10),
        (-1000, -1, FOR_ONE, 0),
    ],
)
def test_outside_of_its_window_a_budget_pays_for_nothing(opens: int, closes: int, need: int, missing_from: int) -> None:
    window = replace(policy(), period=Window(NOW + opens, NOW + closes))
    refusal = admit(opened(window), WORK, ["a"])
    assert refusal == Refusal(Blocked.LIMIT, TEAM, need, 0, "USD", NOW + missing_from)


def test_a_hold_is_renewed_to_the_end_of_a_window_and_no_further() -> None:
    window = replace(policy(), period=Window(NOW - 1000, NOW + FOR_ONE + 500))
    book = advance(admitted(opened(window), "a"), NOW + 3000)
    renewed = sure(renew(book, WORK))
    assert renewed.placements[WORK].end_max(renewed.time) == NOW + FOR_ONE + 500
    assert isinstance(renew(advance(renewed, NOW + 3900), WORK), Refusal)


def test_a_pod_that_no_policy_pays_for_is_in_the_book_without_an_end() -> None:
    book = admitted(opened(of=terms(payers=())), "a")
    assert book.placements[WORK].hold_through is None
    assert may_ungate(book, "a", NOW)
    assert renew(advance(book, NOW + 10**6), WORK) == advance(book, NOW + 10**6)


def test_another_currency_than_the_budgets_is_refused() -> None:
    refusal = place(opened(), "team/other", replace(terms(), currency="EUR"))
    assert refusal == Refusal(Blocked.CURRENCY, TEAM, currency="USD")


def test_a_full_ledger_refuses() -> None:
    book = opened()
    crowd = replace(book.placements[WORK], units={f"u{n}": Unit(NOW) for n in range(MAX_UNITS)})
    assert admit(book.with_placement(crowd), WORK, ["x"]) == Refusal(Blocked.LEDGER_FULL, "", 1, 0)


def test_a_hold_is_renewed_below_half_of_the_horizon() -> None:
    book = admitted(opened(), "a")
    still = advance(book, NOW + HORIZON_SECONDS // 2)
    assert renew(still, WORK) == still
    later = advance(book, NOW + HORIZON_SECONDS // 2 + 1)
    assert sure(renew(later, WORK)).placements[WORK].hold_through == later.time + HORIZON_SECONDS


def test_the_horizon_of_the_terms_says_how_far_ahead_a_pod_is_paid_and_when_again() -> None:
    book = admitted(opened(of=replace(terms(), horizon=600)), "a")
    assert book.placements[WORK].hold_through == NOW + 600
    assert worst(book) == 600 + LATE + STOP
    assert renew(advance(book, NOW + 300), WORK) == advance(book, NOW + 300)
    assert sure(renew(advance(book, NOW + 301), WORK)).placements[WORK].hold_through == NOW + 901


def test_another_horizon_cuts_nothing_and_takes_nothing_back() -> None:
    book = advance(prove(admitted(opened(), "a"), "a", NOW, "n"), NOW + 100)
    shorter = sure(place(book, WORK, replace(terms(), horizon=600)))
    assert shorter.placements[WORK].hold_through == NOW + HORIZON_SECONDS
    assert (shorter.accounts, shorter.placements[WORK].units) == (book.accounts, book.placements[WORK].units)
    longer = sure(renew(sure(place(shorter, WORK, terms())), WORK))
    assert longer.placements[WORK].hold_through == NOW + HORIZON_SECONDS


def test_a_renewal_reaches_as_far_as_the_money_and_a_small_gain_is_refused() -> None:
    later = NOW + 2000
    reached = advance(admitted(opened(policy(FOR_ONE + LEAST_GAIN_SECONDS)), "a"), later)
    refused = advance(admitted(opened(policy(FOR_ONE + LEAST_GAIN_SECONDS - 1)), "a"), later)
    book = sure(renew(reached, WORK))
    assert book.placements[WORK].hold_through == NOW + HORIZON_SECONDS + LEAST_GAIN_SECONDS
    assert worst(book) == book.accounts[0].limit
    refusal = renew(refused, WORK)
    assert isinstance(refusal, Refusal)
    assert (refusal.blocked_by, refusal.have) == (Blocked.LIMIT, LEAST_GAIN_SECONDS - 1)


def test_a_drained_pod_keeps_its_hold_and_is_not_renewed() -> None:
    book = drain(admitted(opened(), "a", "b"), WORK, ["a"])
    assert sorted(book.placements) == [WORK, f"{WORK}~1"]
    assert worst(book) == 2 * FOR_ONE
    later = sure(renew(advance(book, NOW + 3000), WORK))
    assert later.placements[f"{WORK}~1"].hold_through == NOW + HORIZON_SECONDS
    assert worst(later) == 2 * FOR_ONE + 3000


def test_pods_that_are_drained_one_after_another_have_records_of_their_own() -> None:
    book = admitted(opened(), "a", "b", "c")
    for uid in ("a", "b"):
        book = drain(book, WORK, [uid])
    assert sorted(book.placements) == [WORK, f"{WORK}~1", f"{WORK}~2"]
    book = drain(close(book, "a", NOW + 5), WORK, ["c"])
    assert sorted(book.placements) == [WORK, f"{WORK}~1", f"{WORK}~2"]
    assert drain(book, WORK, ["unknown"]) == book
    assert drain(book, "team/unknown", ["a"]) == book


def test_a_dearer_price_cuts_proven_pods_and_bills_the_past_as_agreed() -> None:
    book = prove(admitted(opened(), "a"), "a", NOW, "n")
    book = sure(place(advance(book, NOW + 1000), WORK, terms(2 * SECOND)))
    assert posted(book) == 1000
    assert worst(book) == 1000 + 2 * (FOR_ONE - 1000)
    assert posted(advance(book, NOW + 1500)) == 1000 + 2 * 500


def test_a_hold_that_a_dearer_price_makes_too_long_is_shortened() -> None:
    book = prove(admitted(opened(policy(FOR_ONE + 100)), "a"), "a", NOW, "n")
    book = sure(place(advance(book, NOW + 1000), WORK, terms(2 * SECOND)))
    assert worst(book) <= FOR_ONE + 100
    assert worst(book) > FOR_ONE + 98
    assert solvent(book, [TEAM])


def test_a_price_beyond_any_hold_is_booked_and_admits_nothing_more() -> None:
    book = prove(admitted(opened(policy(FOR_ONE)), "a"), "a", NOW, "n")
    book = sure(place(advance(book, NOW + 3500), WORK, terms(100 * SECOND)))
    assert book.placements[WORK].hold_through == book.time
    assert not solvent(book, [TEAM])
    assert isinstance(admit(book, WORK, ["b"]), Refusal)
    assert not may_ungate(book, "a", book.time)


def test_unproven_pods_are_held_at_the_dearer_of_two_terms_until_they_are_proven() -> None:
    book = sure(place(admitted(opened(of=terms(2 * SECOND)), "a"), WORK, terms(SECOND)))
    assert book.placements[WORK].terms.rates == {TEAM: 2 * SECOND}
    book = sure(place(prove(book, "a", NOW, "n"), WORK, terms(SECOND)))
    assert book.placements[WORK].terms.rates == {TEAM: SECOND}


def test_a_cheaper_rate_waits_when_billing_in_two_parts_would_cost_more_than_there_is() -> None:
    book = prove(admitted(opened(of=terms(7)), "a"), "a", NOW, "n")
    need = book.worst(book.accounts[0])

    def cheaper(limit: int, rate: int) -> Book:
        tight = replace(book, accounts=(replace(book.accounts[0], base=limit),))
        return sure(place(advance(tight, NOW + 2572), WORK, terms(rate)))

    assert cheaper(need, 6).insolvent() == ()
    assert cheaper(need, 6).placements[WORK].terms.rates[TEAM] == 7
    assert cheaper(need + 1, 6).placements[WORK].terms.rates[TEAM] == 6
    assert cheaper(need, 1).placements[WORK].terms.rates[TEAM] == 1


def test_draining_pods_follow_dearer_terms_only() -> None:
    book = drain(prove(admitted(opened(), "a"), "a", NOW, "n"), WORK, ["a"])
    cheaper, dearer = place(book, WORK, terms(SECOND - 1)), place(book, WORK, terms(SECOND + 1))
    assert sure(cheaper).placements[f"{WORK}~1"].terms == terms()
    assert sure(dearer).placements[f"{WORK}~1"].terms == terms(SECOND + 1)


OVER = NOW + FOR_ONE
"""When a pod that is admitted at NOW is over for sure."""


def rising(at: int, by: int = 3) -> tuple[Terms, Course]:
    """The terms under a price that will be so many times as high, and how it moves."""
    return terms(by * SECOND), Course(((NOW - 9000, SECOND), (at, by * SECOND)))


def test_a_rise_to_come_is_held_early_where_there_is_money_for_it() -> None:
    book = prove(admitted(opened(), "a"), "a", NOW, "n")
    book = sure(place(book, WORK, *rising(OVER)))
    assert book.placements[WORK].terms.rates == {TEAM: 3 * SECOND}


def test_pods_that_are_over_before_a_rise_keep_their_price_where_money_is_short() -> None:
    book = prove(admitted(opened(policy(2 * FOR_ONE)), "a"), "a", NOW, "n")
    book = sure(place(advance(book, NOW + 10), WORK, *rising(OVER)))
    assert (book.placements[WORK].terms, book.placements[WORK].hold_through) == (terms(), NOW + HORIZON_SECONDS)
    assert solvent(book, [TEAM])


def test_what_goes_on_beyond_a_rise_must_bear_the_dearer_price_first() -> None:
    book = prove(admitted(opened(policy(2 * FOR_ONE)), "a"), "a", NOW, "n")
    wanted, course = rising(OVER)
    short = sure(place(advance(book, NOW + 1850), WORK, wanted, course))
    refusal = Refusal(Blocked.LIMIT, TEAM, 2 * (FOR_ONE - 1850), FOR_ONE, "USD", book.accounts[0].start)
    assert renew(short, WORK, wanted) == admit(short, WORK, ["b"], wanted) == refusal
    enough = sure(place(advance(book, NOW + 1900), WORK, wanted, course))
    assert enough.placements[WORK].terms == wanted
    assert isinstance(renew(short, WORK), Book)


def test_a_hold_is_shortened_to_end_before_a_rise_that_it_cannot_pay() -> None:
    book = prove(admitted(opened(policy(2 * FOR_ONE - 1)), "a"), "a", NOW, "n")
    book = sure(place(book, WORK, *rising(OVER - 600, by=100)))
    assert book.placements[WORK].terms == terms()
    assert book.placements[WORK].end_max(NOW) == OVER - 600


def test_draining_pods_follow_a_rise_only_if_they_meet_it() -> None:
    book = drain(prove(admitted(opened(), "a"), "a", NOW, "n"), WORK, ["a"])
    assert sure(place(book, WORK, *rising(OVER))).placements[f"{WORK}~1"].terms == terms()
    assert sure(place(book, WORK, *rising(OVER - 1))).placements[f"{WORK}~1"].terms == terms(3 * SECOND)


def test_running_pods_keep_the_longer_of_two_stop_times() -> None:
    book = admitted(opened(), "a")
    book = sure(place(book, WORK, terms(billing=Billing(STOP // 2, tail=30, late=LATE))))
    assert book.placements[WORK].terms.billing == Billing(STOP, tail=30, late=LATE)


def test_a_policy_that_newly_matches_pays_from_its_own_start() -> None:
    book = prove(admitted(opened(), "a"), "a", NOW, "n")
    book = set_policies(advance(book, NOW + 1000), [policy(), policy(name="team/new")])
    book = sure(place(book, WORK, terms(payers=(TEAM, "team/new"))))
    assert (posted(book), posted(book, "team/new")) == (1000, 0)
    later = advance(book, NOW + 1100)
    assert (posted(later), posted(later, "team/new")) == (1100, 100)


def test_a_lowered_limit_refuses_any_rise_until_it_is_met() -> None:
    book = set_policies(admitted(opened(), "a"), [policy(FOR_ONE - 1)])
    assert not solvent(book, [TEAM])
    assert isinstance(admit(book, WORK, ["b"]), Refusal)
    assert isinstance(renew(advance(book, NOW + 2000), WORK), Refusal)


@pytest.mark.parametrize(
    ("answer", "uid", "may"),
    [(NOW, "a", True), (NOW + 30, "a", True), (NOW + 31, "a", False), (NOW, "b", False), (NOW, "c", False)],
)
def test_only_a_fresh_write_that_pays_for_a_pod_ungates_it(answer: int, uid: str, may: bool) -> None:  # noqa: FBT001 a column
    book = drain(admitted(opened(), "a", "b"), WORK, ["b"])
    assert may_ungate(book, uid, answer) is may


def test_an_insolvent_book_ungates_nothing() -> None:
    book = set_policies(admitted(opened(), "a"), [policy(FOR_ONE - 1)])
    assert not may_ungate(book, "a", NOW)
