"""The book and its sealed pages as the JSON of BudgetLedger objects.

``book`` of the object named ``open``::

    {"time": 1767225600,
     "accounts": [{"policy": "team/monthly", "start": .., "end": .., "currency": "USD", "limit": .., "maxRate": ..,
                   "sealed": true, "posted": .., "held": .., "endurance": ..,
                   "lines": [{"service": "team/chat", "role": "Inference", "pool": "a100",
                              "closed": .., "adjusted": ..}]}],
     "placements": [{"name": "team/chat-1a2b3c4d", "service": "team/chat", "role": "Inference", "pool": "a100",
                     "currency": "USD", "rates": {"team/monthly": ..}, "holdThrough": ..,
                     "billing": {"stop": .., "tail": .., "minimum": .., "late": .., "from": "Running"},
                     "units": {"<pod UID>": "<start>" or "<start>@<node>" or "<start>@<node>/<latest>"}}]}

All numbers are integers: seconds since the epoch, micro-units, micro-units per hour. ``maxRate``, ``sealed`` and
``holdThrough`` are left out when unset, and so is what is as usual: ``enforcement`` of an account when it is Hard,
``from`` of a billing when it is Ungate, ``horizon`` of a placement when it is 3600, and ``advisory``, its policies that
only count, when there are none, as well as ``labels`` of a placement and of a line, ``{"team": "search"}``.
An account has ``extras``, its overrides, when there were any: ``{"amount": .., "since": .., "until": ..,
"reason": .., "ended": ..}``, the last in force unless it has ``ended``; ``owed`` and ``saved`` when earlier periods
left a debt or unused money; ``carryOver``, ``{"overspend": .., "unused": ..}``, unless only debts are carried;
``since`` when the policy came after the begin of the period; ``thresholds``, those of which it remembers something:
``{"name": .., "wording": .., "since": .., "reached": .., "undone": ..}``; and ``base``, the amount of the policy, when
the limit is another one. ``limit``, ``posted``, ``held`` and ``endurance``, the part of what is held that may be taken
back (none: left out), follow from the rest: they let anybody check posted + held <= limit, and reading refuses a book
in which they do not fit. Placements without units are not written.

``page`` of the object named by ``page_name``: one account as above, sealed, without ``held``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .book import HORIZON_SECONDS, Account, Book, Enforcement, Labels, Line, Placement, Terms, Unit
from .limits import DEBTS_ONLY, CarryOver, Extra, Override, Overspend, Unused
from .prices import Billing, BillingStart
from .thresholds import Crossing

Json = Mapping[str, Any]
FIGURES = ("posted", "held", "endurance")


class DamagedBookError(ValueError):
    """The stored book contradicts itself; nothing may be admitted from it."""


def page_name(account: Account, copy: int = 1) -> str:
    """Name of the object that keeps the account when it is sealed: ``[<namespace>.]<policy>.<start>``.

    Two accounts share one only when they begin at the same time, as with a policy that was made anew with another
    calendar: the name of a namespace or of a budget of the cluster has no dot. The next copies have ``-2`` behind it,
    and so on.
    """
    name = f"{account.policy.replace('/', '.', 1)}.{account.start}"
    return name if copy == 1 else f"{name}-{copy}"


def encode(book: Book) -> dict[str, Any]:
    """The value of ``book``; equal books give equal JSON."""
    accounts = [_encode_account(account) | _figures(book, account) for account in book.accounts]
    placements = [_encode_placement(p) for _, p in sorted(book.placements.items()) if p.units]
    return {"time": book.time, "accounts": accounts, "placements": placements}


def encode_page(book: Book, account: Account) -> dict[str, Any]:
    """The value of ``page`` for a sealed account."""
    return _encode_account(account) | {"posted": book.posted(account)}


def decode(value: Json) -> Book:
    """Read the value of ``book``; an empty one gives the empty book. Raises DamagedBookError."""
    try:
        book = Book(
            time=value.get("time", 0),
            accounts=tuple(sorted(map(_decode_account, value.get("accounts", ())), key=lambda a: a.key)),
            placements={row["name"]: _decode_placement(row) for row in value.get("placements", ())},
        )
        stated = {(row["policy"], row["start"]): row for row in value.get("accounts", ())}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedBookError(f"the budget ledger cannot be read: {error!r}") from error
    for account in book.accounts:
        found = _figures(book, account)
        wrong = next((name for name in FIGURES if found.get(name, 0) != stated[account.key].get(name, 0)), None)
        if wrong is not None:
            raise DamagedBookError(
                f"the budget ledger contradicts itself: {account.policy} from {account.start} states {wrong} "
                f"{stated[account.key].get(wrong)}, its rows give {found.get(wrong, 0)}"
            )
    return book


def _figures(book: Book, account: Account) -> dict[str, int]:
    held = book.held(account)
    made = {"posted": book.posted(account), "held": held}
    endurance = held - book.committed(account)
    return made if endurance == 0 else made | {"endurance": endurance}


def decode_page(value: Json) -> Account:
    """Read the value of ``page``. Raises DamagedBookError."""
    try:
        account, stated = _decode_account(value), value["posted"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedBookError(f"the page of a budget cannot be read: {error!r}") from error
    found = account.closed + account.adjustments
    if not account.sealed or found != stated:
        raise DamagedBookError(
            f"the page of {account.policy} from {account.start} contradicts itself: it states {stated}, its rows give "
            f"{found}"
        )
    return account


def _encode_account(account: Account) -> dict[str, Any]:
    row: dict[str, Any] = {
        "policy": account.policy,
        "start": account.start,
        "end": account.end,
        "currency": account.currency,
        "limit": account.limit,
        "lines": [
            {
                "service": line.service,
                "role": line.role,
                "pool": line.pool,
                **({"labels": dict(line.labels)} if line.labels else {}),
                "closed": line.closed,
                "adjusted": line.adjusted,
            }
            for line in account.lines
        ],
    }
    if account.max_rate is not None:
        row["maxRate"] = account.max_rate
    if account.sealed:
        row["sealed"] = True
    if not account.binds:
        row["enforcement"] = account.enforcement.value
    if account.base != account.limit:
        row["base"] = account.base
    if account.extras:
        row["extras"] = [_encode_extra(extra) for extra in account.extras]
    if account.crossings:
        row["thresholds"] = [_encode_crossing(crossing) for crossing in account.crossings]
    if account.carry_over != DEBTS_ONLY:
        row["carryOver"] = {"overspend": account.carry_over.overspend.value, "unused": account.carry_over.unused.value}
    known = {"owed": account.owed or None, "saved": account.saved or None, "since": account.since}
    return row | {name: value for name, value in known.items() if value is not None}


def _encode_extra(extra: Extra) -> dict[str, Any]:
    override = extra.override
    row = {"amount": override.amount, "since": extra.since, "until": override.until, "reason": override.reason}
    return row if extra.ended is None else row | {"ended": extra.ended}


def _decode_extra(row: Json) -> Extra:
    return Extra(Override(row["amount"], row["until"], row["reason"]), row["since"], row.get("ended"))


def _encode_crossing(crossing: Crossing) -> dict[str, Any]:
    row: dict[str, Any] = {"name": crossing.name, "wording": crossing.wording, "since": crossing.since}
    times = {"reached": crossing.reached, "undone": crossing.undone}
    return row | {name: time for name, time in times.items() if time is not None}


def _decode_crossing(row: Json) -> Crossing:
    return Crossing(row["name"], row["wording"], row["since"], row.get("reached"), row.get("undone"))


def _decode_account(row: Json) -> Account:
    lines = (
        Line(r["service"], r["role"], r["pool"], r["closed"], r["adjusted"], _decode_labels(r))
        for r in row.get("lines", ())
    )
    carry = row.get("carryOver")
    account = Account(
        policy=row["policy"],
        start=row["start"],
        end=row["end"],
        currency=row["currency"],
        base=row.get("base", row["limit"]),
        max_rate=row.get("maxRate"),
        sealed=row.get("sealed", False),
        lines=tuple(lines),
        enforcement=Enforcement(row.get("enforcement", Enforcement.HARD)),
        extras=tuple(map(_decode_extra, row.get("extras", ()))),
        carry_over=DEBTS_ONLY if carry is None else CarryOver(Overspend(carry["overspend"]), Unused(carry["unused"])),
        owed=row.get("owed", 0),
        saved=row.get("saved", 0),
        since=row.get("since"),
        crossings=tuple(map(_decode_crossing, row.get("thresholds", ()))),
    )
    if account.limit != row["limit"]:
        raise ValueError(f"{account.policy} from {account.start} states the limit {row['limit']}, not {account.limit}")
    return account


def _encode_placement(placement: Placement) -> dict[str, Any]:
    terms, billing = placement.terms, placement.terms.billing
    row: dict[str, Any] = {
        "name": placement.name,
        "service": terms.service,
        "role": terms.role,
        "pool": terms.pool,
        "currency": terms.currency,
        "rates": dict(sorted(terms.rates.items())),
        "billing": {
            "stop": billing.stop,
            "tail": billing.tail,
            "minimum": billing.minimum,
            "late": billing.late,
        },
        "units": {uid: _encode_unit(unit) for uid, unit in sorted(placement.units.items())},
    }
    if billing.begins is not BillingStart.UNGATE:
        row["billing"]["from"] = billing.begins.value
    if terms.horizon != HORIZON_SECONDS:
        row["horizon"] = terms.horizon
    if terms.advisory:
        row["advisory"] = sorted(terms.advisory)
    if terms.labels:
        row["labels"] = dict(terms.labels)
    if placement.hold_through is not None:
        row["holdThrough"] = placement.hold_through
    return row


def _decode_labels(row: Json) -> Labels:
    return tuple(sorted(row.get("labels", {}).items()))


def _decode_placement(row: Json) -> Placement:
    billing = row["billing"]
    terms = Terms(
        service=row["service"],
        role=row["role"],
        pool=row["pool"],
        currency=row["currency"],
        rates=dict(row.get("rates", {})),
        billing=Billing(
            billing["stop"],
            billing["tail"],
            billing["minimum"],
            billing["late"],
            BillingStart(billing.get("from", BillingStart.UNGATE)),
        ),
        advisory=frozenset(row.get("advisory", ())),
        horizon=row.get("horizon", HORIZON_SECONDS),
        labels=_decode_labels(row),
    )
    units = {uid: _decode_unit(text) for uid, text in row["units"].items()}
    return Placement(row["name"], terms, row.get("holdThrough"), units)


def _encode_unit(unit: Unit) -> str:
    text = f"{unit.start}@{unit.node}" if unit.proven else str(unit.start)
    return text if unit.latest is None else f"{text}/{unit.latest}"


def _decode_unit(text: str) -> Unit:
    start, _, place = text.partition("@")
    node, _, latest = place.partition("/")
    return Unit(int(start), node or None, int(latest) if latest else None)
