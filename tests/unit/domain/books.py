"""Small books for tests: one service, rates of one micro-unit per second, a policy per month in UTC."""

from datetime import UTC, datetime

from modelservice.domain.book import Book, Enforcement, Refusal, Terms
from modelservice.domain.funding import admit, place
from modelservice.domain.ledger import Policy, advance, set_policies
from modelservice.domain.limits import Override
from modelservice.domain.periods import Calendar, Period
from modelservice.domain.prices import Billing

TEAM = "team/monthly"
WORK = "team/chat-1"
SECOND = 3600
"""Rate of one micro-unit per second."""
LATE = 120
STOP = 60
NOW = int(datetime(2026, 7, 10, 12, tzinfo=UTC).timestamp())
MONTH_END = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp())
FOR_ONE = 3600 + LATE + STOP
"""What one pod holds when it is admitted."""


def policy(
    limit: int = 10**9,
    *,
    name: str = TEAM,
    max_rate: int | None = None,
    calendar: Calendar = Calendar.MONTH,
    enforcement: Enforcement = Enforcement.HARD,
    override: Override | None = None,
) -> Policy:
    return Policy(name, "USD", limit, Period(calendar, "UTC"), max_rate, enforcement=enforcement, override=override)


def terms(
    rate: int = SECOND,
    *,
    payers: tuple[str, ...] = (TEAM,),
    billing: Billing | None = None,
    advisory: tuple[str, ...] = (),
) -> Terms:
    rates, bills = dict.fromkeys(payers, rate), billing or Billing(STOP, late=LATE)
    return Terms("team/chat", "Inference", "cpu", "USD", rates, bills, frozenset(advisory))


def opened(*policies: Policy, at: int = NOW, of: Terms | None = None) -> Book:
    """A book with accounts and a placement without pods."""
    return sure(place(set_policies(advance(Book(), at), policies or (policy(),)), WORK, of or terms()))


def admitted(book: Book, *uids: str) -> Book:
    return sure(admit(book, WORK, uids))


def sure(result: Book | Refusal) -> Book:
    assert isinstance(result, Book), result
    return result


def worst(book: Book, name: str = TEAM, index: int = 0) -> int:
    return book.worst(book.accounts_of(name)[index])


def posted(book: Book, name: str = TEAM, index: int = 0) -> int:
    return book.posted(book.accounts_of(name)[index])
