import json
from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain.book import Book, Unit
from modelservice.domain.codec import DamagedBookError, decode, decode_page, encode, encode_page, page_name
from modelservice.domain.endurance import recall
from modelservice.domain.funding import drain
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, advance, close, prove, seal, set_policies
from modelservice.domain.prices import Billing, BillingStart
from modelservice.domain.thresholds import Crossing

from tests.unit.domain.books import MONTH_END, NOW, TEAM, WORK, admitted, opened, policy, terms
from tests.unit.domain.costbooks import book_of, page_of


def lived_in() -> Book:
    book = admitted(opened(policy(max_rate=10**6), of=terms(billing=Billing(60, minimum=600))), "a", "b", "c", "d")
    book = prove(prove(book, "a", NOW + 1, "node-1"), "b", NOW, "node.with.dots-2", NOW + 20)
    book = drain(prove(book, "d", NOW, "node-1"), WORK, ["b"])
    return close(advance(book, NOW + 900), "d", NOW + 10)


def through_json(book: Book) -> dict[str, Any]:
    value = json.loads(json.dumps(encode(book)))
    assert isinstance(value, dict)
    return value


def test_a_book_survives_its_json() -> None:
    book = lived_in()
    assert decode(through_json(book)) == book


def test_a_pod_without_payer_and_a_sealed_account_survive_too() -> None:
    free = admitted(opened(of=terms(payers=())), "a")
    assert decode(through_json(free)) == free
    book = prove(admitted(opened(at=MONTH_END - 100), "a"), "a", MONTH_END - 100, "n")
    book = seal(set_policies(advance(book, MONTH_END + SEAL_AFTER_SECONDS), [policy()]))
    assert decode(through_json(book)) == book


def test_the_thresholds_of_an_account_survive() -> None:
    book = lived_in()
    seen = (Crossing("most", "Actual", NOW, NOW + 1, NOW + 2), Crossing("soon", "Committed", NOW))
    crossed = replace(book, accounts=tuple(replace(account, crossings=seen) for account in book.accounts))
    assert decode(through_json(crossed)) == crossed
    assert through_json(crossed)["accounts"][0]["thresholds"] == [
        {"name": "most", "wording": "Actual", "since": NOW, "reached": NOW + 1, "undone": NOW + 2},
        {"name": "soon", "wording": "Committed", "since": NOW},
    ]


def test_from_when_a_placement_is_billed_survives() -> None:
    running = admitted(opened(of=terms(billing=Billing(60, begins=BillingStart.RUNNING))), "a")
    assert decode(through_json(running)) == running
    assert "from" not in through_json(lived_in())["placements"][0]["billing"]


def test_labels_survive_with_the_costs_under_them() -> None:
    assert decode(through_json(book_of())) == book_of()


def test_nothing_stored_is_the_empty_book() -> None:
    assert decode({}) == Book()
    assert decode(through_json(Book())) == Book()


def test_placements_without_pods_are_not_written() -> None:
    assert encode(opened())["placements"] == []


def test_equal_books_give_equal_bytes() -> None:
    one, other = admitted(opened(), "a", "b"), admitted(opened(), "b", "a")
    assert json.dumps(encode(one)) == json.dumps(encode(other))


def test_a_unit_takes_about_sixty_bytes() -> None:
    units = {f"7d1c2a34-9f00-4b1e-8a55-{n:012d}": Unit(NOW, "pool-a-17") for n in range(1000)}
    book = opened()
    empty = len(json.dumps(encode(admitted(book, "a")), separators=(",", ":")))
    placement = book.placements[WORK]
    full = Book(NOW, book.accounts, {WORK: type(placement)(WORK, placement.terms, NOW + 3600, units)})
    assert (len(json.dumps(encode(full), separators=(",", ":"))) - empty) / 1000 < 65


@pytest.mark.parametrize("figure", ["posted", "held", "endurance"])
def test_a_book_whose_figures_contradict_its_rows_is_damaged(figure: str) -> None:
    value = through_json(lent(lived_in()))
    value["accounts"][0][figure] -= 1
    with pytest.raises(DamagedBookError, match=f"contradicts itself: team/monthly from .* states {figure} "):
        decode(value)


def test_what_is_held_beyond_the_horizon_is_written_as_endurance() -> None:
    book = lived_in()
    assert "endurance" not in encode(book)["accounts"][0]
    longer = lent(book)
    (row, *_) = encode(longer)["accounts"]
    (account, *_) = longer.accounts
    assert (
        row["endurance"]
        == row["held"] - longer.committed(account)
        == longer.worst(account) - recall(longer).worst(account)
    )
    assert decode(through_json(longer)) == longer


def lent(book: Book) -> Book:
    """The book with the hold of its placement a day longer."""
    placement = book.placements[WORK]
    assert placement.hold_through is not None
    return book.with_placement(replace(placement, hold_through=book.time + placement.terms.horizon + 86_400))


@pytest.mark.parametrize(
    "value",
    [
        {"time": 1, "accounts": [{"policy": "a/b"}]},
        {"time": 1, "placements": [{"name": "a/b", "units": {"u": "yesterday"}}]},
        {"time": 1, "accounts": 7},
        {"time": 1, "placements": ["x"]},
    ],
)
def test_a_book_that_cannot_be_read_is_damaged(value: dict[str, Any]) -> None:
    with pytest.raises(DamagedBookError, match="cannot be read"):
        decode(value)


def test_a_page_keeps_one_account_under_the_name_of_its_policy_and_period() -> None:
    book = prove(admitted(opened(at=MONTH_END - 100), "a"), "a", MONTH_END - 100, "n")
    book = seal(set_policies(advance(book, MONTH_END + SEAL_AFTER_SECONDS), [policy()]))
    account = book.accounts[0]
    page = encode_page(book, account)
    assert page_name(account) == f"team.monthly.{account.start}"
    assert page_name(account, 2) == f"team.monthly.{account.start}-2"
    assert page_name(replace(account, policy="team")) == f"team.{account.start}"
    assert (page["policy"], page["posted"], page["sealed"]) == (TEAM, 100, True)
    assert page["lines"] == [{"service": "team/chat", "role": "Inference", "pool": "cpu", "closed": 100, "adjusted": 0}]
    assert "held" not in page


def test_a_page_survives_its_json_and_one_that_contradicts_itself_is_refused() -> None:
    page = page_of()
    value = json.loads(json.dumps(encode_page(Book(), page)))
    assert decode_page(value) == page
    wrongs: tuple[dict[str, Any], ...] = (
        {"posted": 1},
        {"sealed": False},
        {"lines": [{}]},
        {"start": None, "lines": None},
    )
    for wrong in wrongs:
        with pytest.raises(DamagedBookError):
            decode_page({**value, **wrong})
    del value["posted"]
    with pytest.raises(DamagedBookError, match="cannot be read"):
        decode_page(value)
