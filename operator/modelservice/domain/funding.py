"""Funding of pods in the book: terms, drains, renewals and admissions. When to call them: see ``ledger``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from .book import Blocked, Book, Placement, Refusal, Terms, Unit
from .ledger import WRITE_SECONDS, bill
from .prices import STEADY, Course

LEAST_GAIN_SECONDS = 60
"""A renewal that gains less is refused: it is not worth a write."""
MAX_UNITS = 5000
"""More pods would make the book too large for one object."""

Key = tuple[str, int]
"""Policy and start of the period: what names an account."""
Keep = Callable[[Placement], Mapping[Key, int]]
"""What has to stay in each account, in micro-units, when a placement becomes as it is given."""


def place(book: Book, workload: str, terms: Terms, course: Course = STEADY) -> Book | Refusal:
    """Let the terms hold for the workload's pods from now on; needed before ``admit``.

    Other terms than before cut each proven unit at money time: the part before is billed as it was agreed. For unproven
    units the dearer of both terms counts until they are proven. A hold that the new rates cannot pay is shortened, at
    most to money time; a rise that remains is the truth and may leave accounts insolvent. Draining pods, whose end may
    be in the past already, follow dearer terms only, and those under which money must be held for the first time.
    A policy that only counts is left out when its account is in another currency.

    ``course`` tells which part of a rise is still to come. Pods whose accounts cannot bear it, and draining ones, get
    the dearest rate that they can meet before their end; ``renew`` and ``admit`` then ask for the terms once more.
    """
    for policy in list(terms.rates):
        account = book.account_at(policy, book.time)
        if account is None or account.currency == terms.currency:
            continue
        if policy not in terms.advisory:
            return Refusal(Blocked.CURRENCY, policy, currency=account.currency)
        terms = replace(terms, rates={name: rate for name, rate in terms.rates.items() if name != policy})
    if workload not in book.placements:
        book = book.with_placement(Placement(workload, terms, book.time if terms.binding else None))
    for placement in list(book.records(workload)):
        if not placement.draining:
            book = _follow(book, placement, terms, course)
            continue
        met = _met(terms, course, book.time, placement.end_max(book.time))
        if _dearer(met, placement.terms) or (placement.hold_through is None and terms.binding):
            book = _follow(book, placement, met, course)
    return book


def _follow(book: Book, placement: Placement, terms: Terms, course: Course) -> Book:
    """Bring the terms to the placement, or as much of a rise and of its hold as the accounts bear."""
    agreed, old = _agreed(placement, terms), placement.terms
    if agreed == old:
        return book
    cut, name, hold = _cut(book, placement), placement.name, placement.hold_through
    if terms.binding:
        hold = book.time if hold is None else hold
    full = _with_terms(book, cut, name, terms, hold)
    if not terms.binding or hold is None or not placement.units or _unbearable(book, full) is None:
        return full
    same = replace(agreed, rates=old.rates) == old and agreed.rates.keys() == old.rates.keys()
    if same and placement.hold_through is not None and not _dearer(agreed, old):
        return book  # A pod that is billed in two parts is rounded up twice: the dearer rate stays until there is room.
    overrun = agreed.billing.overrun

    def shortened(end: int) -> Book:
        return _with_terms(book, cut, name, _met(terms, course, book.time, end + overrun), end)

    def bearable(end: int) -> bool:
        return _unbearable(book, shortened(end)) is None

    return shortened(largest(min(hold, book.time), hold, bearable))


def _cut(book: Book, placement: Placement) -> Book:
    """Bill its proven pods through money time, so that other rates can follow."""
    units, proven = dict(placement.units), {uid: unit for uid, unit in placement.units.items() if unit.proven}
    for uid, unit in proven.items():
        begun = unit.start if unit.latest is None else unit.latest
        units[uid] = Unit(max(book.time, unit.start), unit.node, begun)
    book = bill(book, placement.terms, [(unit, book.time) for unit in proven.values()])
    return book.with_placement(replace(placement, units=units))


def _with_terms(book: Book, cut: Book, name: str, terms: Terms, hold: int | None) -> Book:
    """The book with other terms of a placement; ``cut`` is the same book with its pods billed through money time."""
    old = book.placements[name].terms
    agreed = _agreed(book.placements[name], terms)
    base = book if replace(agreed, advisory=old.advisory, horizon=old.horizon) == old else cut
    return base.with_placement(
        replace(base.placements[name], terms=agreed, hold_through=hold if terms.binding else None)
    )


def _unbearable(before: Book, after: Book) -> Refusal | None:
    """The first account that binds and that the step takes above its limit, or further above it."""
    for was, account in zip(before.accounts, after.accounts, strict=True):
        need, have = after.worst(account) - before.worst(was), before.free(was)
        if account.binds and need > max(have, 0):
            return Refusal(Blocked.LIMIT, account.policy, need, max(have, 0), account.currency, account.start)
    return None


def _met(terms: Terms, course: Course, start: int, end: int) -> Terms:
    """The terms at the dearest rate that is in force within ``[start, end)``."""
    most = course.dearest(start, end)
    if most is None:
        return terms
    return replace(terms, rates={policy: min(rate, most) for policy, rate in terms.rates.items()})


def _dearer(terms: Terms, other: Terms) -> bool:
    return any(rate > other.rates.get(policy, 0) for policy, rate in terms.rates.items())


def _agreed(placement: Placement, terms: Terms) -> Terms:
    """The terms with what its pods bring along: the longer billing times and, until they are proven, dearer rates."""
    old = placement.terms
    if placement.units:
        terms = replace(terms, billing=old.billing.widened(terms.billing))
    if not all(unit.proven for unit in placement.units.values()):
        policies = {**old.rates, **terms.rates}
        rates = {name: max(old.rates.get(name, 0), terms.rates.get(name, 0)) for name in policies}
        terms = replace(terms, rates=rates, advisory=terms.advisory | old.advisory.difference(terms.rates))
    return terms


def _raise(book: Book, workload: str, terms: Terms | None) -> Book | Refusal:
    """Let dearer terms hold for a workload, if its accounts bear them; see ``place``."""
    placement = book.placements[workload]
    if terms is None or terms.currency != placement.terms.currency:
        return book
    paid = {policy: rate for policy, rate in terms.rates.items() if policy in placement.terms.rates}
    wanted = replace(terms, rates=paid)
    if not _dearer(wanted, placement.terms):
        return book
    raised = _with_terms(book, _cut(book, placement), workload, wanted, placement.hold_through)
    return _unbearable(book, raised) or raised


def drain(book: Book, workload: str, uids: Collection[str]) -> Book:
    """Move pods that are to be stopped into a record of their own, whose hold stays as it is and is not renewed."""
    placement = book.placements.get(workload)
    if placement is None:
        return book
    leaving = {uid: unit for uid, unit in placement.units.items() if uid in uids}
    if not leaving:
        return book
    taken = {record.name for record in book.records(workload)}
    name = next(f"{workload}~{n}" for n in range(1, len(taken) + 2) if f"{workload}~{n}" not in taken)
    staying = {uid: unit for uid, unit in placement.units.items() if uid not in leaving}
    book = book.with_placement(replace(placement, units=staying))
    return book.with_placement(replace(placement, name=name, units=leaving))


def due(placement: Placement, time: int) -> bool:
    """Whether its pods are to be paid for longer: less than half of the horizon is left."""
    hold = placement.hold_through
    return hold is not None and bool(placement.units) and hold - time < placement.terms.horizon // 2


def renew(
    book: Book,
    workload: str,
    terms: Terms | None = None,
    *,
    through: int | None = None,
    keep: Keep | None = None,
    wholly: bool = False,
) -> Book | Refusal:
    """Pay the workload's pods through the horizon when they are ``due``, under the terms of ``place``.

    When money is short, for as long as it lasts, if not ``wholly``, and never longer than ``through``; a gain below
    ``LEAST_GAIN_SECONDS`` is refused, and the pods are to be stopped before ``hold_through``. What ``keep`` names is
    not used.
    """
    placement = book.placements.get(workload)
    if placement is None or placement.hold_through is None or not due(placement, book.time):
        return book
    hold, wanted = placement.hold_through, book.time + placement.terms.horizon
    least = max(hold, book.time) + LEAST_GAIN_SECONDS
    if through is not None and through < wanted:
        if through < least:
            return book
        wanted = through
    raised = _raise(book, workload, terms)
    if isinstance(raised, Refusal):
        return raised
    book, placement = raised, raised.placements[workload]
    free = _free(book, placement)
    full = replace(placement, hold_through=wanted)
    refusal = _shortfall(book, free, placement, full, keep)
    if refusal is None:
        return book.with_placement(full)

    def funded(end: int) -> bool:
        return _shortfall(book, free, placement, replace(placement, hold_through=end), keep) is None

    reached = hold if wholly else largest(hold, wanted, funded)
    if reached < least:
        return refusal
    return book.with_placement(replace(placement, hold_through=reached))


def admit(
    book: Book, workload: str, uids: Collection[str], terms: Terms | None = None, keep: Keep | None = None
) -> Book | Refusal:
    """Hold money for new pods of a workload through the horizon, under the terms of ``place``: all of them or none.

    Its placement is raised to the horizon with them. Every account that binds must bear the rise; rates are checked
    first. Pods that are in the book already are left as they are. What ``keep`` names is not used. Raises KeyError for
    a workload without ``place``.
    """
    placement = book.placements[workload]
    fresh = {uid: Unit(book.time) for uid in uids if book.placement_of(uid) is None}
    if not fresh:
        return book
    risen = _raise(book, workload, terms)
    if isinstance(risen, Refusal):
        return risen
    book, placement = risen, risen.placements[workload]
    for policy in placement.terms.binding:
        account = book.account_at(policy, book.time)
        if account is not None and account.max_rate is not None:
            need, have = placement.terms.rates[policy] * len(fresh), account.max_rate - book.rate(policy)
            if need > have:
                return Refusal(Blocked.RATE, policy, need, max(have, 0), account.currency, account.start)
    room = MAX_UNITS - sum(len(p.units) for p in book.placements.values())
    if len(fresh) > room:
        return Refusal(Blocked.LEDGER_FULL, "", len(fresh), max(room, 0))
    hold, through = placement.hold_through, book.time + placement.terms.horizon
    longer = placement if hold is None or hold >= through else replace(placement, hold_through=through)
    raised = longer.with_units(fresh)
    return _shortfall(book, _free(book, placement), placement, raised, keep) or book.with_placement(raised)


@dataclass(frozen=True, slots=True)
class Wanted:
    """New pods of one workload, and the terms under which they are asked for."""

    workload: str
    uids: Collection[str]
    terms: Terms | None = None


def admit_all(book: Book, wanted: Iterable[Wanted]) -> Book | None:
    """Admit the pods of several workloads if there is money for every one of them, None otherwise.

    Then it is the same book in whatever order they are admitted, for what each pod adds is no less than nothing: so
    this is what admitting them in turns comes to, without adding up after each of them.
    """
    for one in wanted:
        admitted = admit(book, one.workload, one.uids, one.terms)
        if isinstance(admitted, Refusal):
            return None
        book = admitted
    return book


def _free(book: Book, placement: Placement) -> dict[Key, int]:
    accounts = (account for policy in placement.terms.binding for account in book.accounts_of(policy))
    return {account.key: book.free(account) for account in accounts}


def _shortfall(
    book: Book, free: Mapping[Key, int], old: Placement, new: Placement, keep: Keep | None = None
) -> Refusal | None:
    """The first account that cannot bear the step to the new placement; a period without account bears nothing."""
    kept, end = keep(new) if keep is not None else {}, new.end_max(book.time)
    for policy in new.terms.binding:
        last = book.time
        for account in book.accounts_of(policy):
            if account.end <= book.time or account.sealed:
                continue
            if account.start > last and (unfunded := _rise(old, new, policy, last, account.start, book.time)):
                return Refusal(Blocked.LIMIT, policy, unfunded, 0, account.currency, last)
            need, free_here = _rise(old, new, policy, account.start, account.end, book.time), max(free[account.key], 0)
            have = max(free[account.key] - kept.get(account.key, 0), 0)
            if need > have:
                return Refusal(
                    Blocked.LIMIT, policy, need, have, account.currency, account.start, kept=free_here - have
                )
            last = account.end
        if end > last and (unfunded := _rise(old, new, policy, last, end, book.time)):
            return Refusal(Blocked.LIMIT, policy, unfunded, 0, new.terms.currency, last)
    return None


def _rise(old: Placement, new: Placement, policy: str, start: int, end: int, time: int) -> int:
    """What the policy has to bear within ``[start, end)`` beyond what it bears already; 0 when nothing."""
    return max(0, new.worst(policy, start, end, time) - old.worst(policy, start, end, time))


def solvent(book: Book, policies: Collection[str]) -> bool:
    """Whether every account of these policies bears its worst case."""
    return not any(account.policy in policies for account in book.insolvent())


def may_ungate(book: Book, uid: str, answer_date: int) -> bool:
    """Whether a stored write of our own lets the pod start.

    ``book`` is as it was written, ``answer_date`` the Date of the answer to the PUT.
    """
    placement = book.placement_of(uid)
    return (
        placement is not None
        and not placement.draining
        and answer_date - book.time <= WRITE_SECONDS
        and (placement.hold_through is None or answer_date < placement.hold_through)
        and solvent(book, placement.terms.binding)
    )


def largest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Largest number in ``[low, high]`` for which a condition that turns false once still holds; ``low`` if none."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
