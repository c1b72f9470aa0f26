"""A book with hand-computed costs: two budgets, three open pods, and the page of the month before.

At ``NOW``, 10.5 of 31 days into July 2026, the monthly budget has spent 27.350278 and holds 4.11 of 100.00 USD::

    chat   Inference a100   closed 20.00, taken back 1.50; one pod at 3.60 an hour for an hour: 3.60
                            a pod that is not seen bound yet: posts nothing
    chat   Training  a100   closed 5.00
    embed  Inference l4     closed 0.25; one pod at 1.000001 an hour for a second: 0.000278 (rounded up)

The service chat has the labels team=search and cost-center=7, and had none when its training ended; embed has team=ads,
and had none before its open pod.

The pods of chat can live until 1980 s from now: 5.58 and 2.08 at most, so 4.06 is held for them. That of embed can for
180 s: 0.050278 at most, so 0.05.
"""

from datetime import UTC, datetime

from modelservice.domain.book import Account, Book, Line, Placement, Terms, Unit
from modelservice.domain.prices import Billing

UNITS = 1_000_000
JUNE = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
JULY = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
AUGUST = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp())
TODAY = int(datetime(2026, 7, 11, tzinfo=UTC).timestamp())
NOW = TODAY + 12 * 3600
SEARCH = (("cost-center", "7"), ("team", "search"))
BILLING = Billing(stop=60, late=120)


def book_of(team: str = "team") -> Book:
    """The book of the team's namespace."""
    monthly, daily = f"{team}/monthly", f"{team}/daily"
    chat = Terms(
        f"{team}/chat", "Inference", "a100", "USD", {monthly: 3_600_000, daily: 3_600_000}, BILLING, labels=SEARCH
    )
    embed = Terms(f"{team}/embed", "Inference", "l4", "USD", {monthly: 1_000_001}, BILLING, labels=(("team", "ads"),))
    lines = (
        Line(f"{team}/chat", "Inference", "a100", 20 * UNITS, -UNITS * 3 // 2, SEARCH),
        Line(f"{team}/chat", "Training", "a100", 5 * UNITS),
        Line(f"{team}/embed", "Inference", "l4", UNITS // 4),
    )
    return Book(
        time=NOW,
        accounts=(
            Account(daily, TODAY, TODAY + 86_400, "USD", 50 * UNITS),
            Account(monthly, JULY, AUGUST, "USD", 100 * UNITS, lines=lines),
        ),
        placements={
            f"{team}/chat-1": Placement(
                f"{team}/chat-1", chat, NOW + 1800, {"seen": Unit(NOW - 3600, "node"), "new": Unit(NOW - 100)}
            ),
            f"{team}/embed-1": Placement(f"{team}/embed-1", embed, NOW, {"one": Unit(NOW - 1, "node")}),
        },
    )


def page_of(team: str = "team") -> Account:
    """June of the monthly budget: 9.75 of 90.00 USD."""
    line = Line(f"{team}/chat", "Inference", "a100", 10 * UNITS, -UNITS // 4)
    return Account(f"{team}/monthly", JUNE, JULY, "USD", 90 * UNITS, sealed=True, lines=(line,))
