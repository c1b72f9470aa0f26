"""Time, limits and evidence in the book. Operations here and in ``funding`` take a book and give the next one.

A reconcile calls them in this order and writes the result with the resourceVersion of its read:

1. ``advance`` to the ``Date`` of the book's GET; only then LIST the pods, so that all evidence is newer;
2. ``endurance.recall``: money that is lent is free again;
3. ``set_policies``: limits and the accounts of this period and, near its end, of the next;
4. evidence of the LIST: ``prove`` for pods seen bound, ``close`` for proven ends, ``release`` for pods that the
   operator deleted before they were ever bound;
5. ``seal`` accounts of ended periods; ``collect`` those whose page is already stored;
6. ``funding.drain`` for pods that the LIST shows no more or being deleted (to renew them would pay for what is not
   there), ``funding.place`` for every workload (its terms as of now), ``funding.drain`` for pods that shall stop;
7. ``funding.renew`` every placement, then ``funding.admit`` new pods, then ``endurance.lend`` what is left;
8. when ``differs`` says so: encode and PUT, within ``WRITE_SECONDS`` of the GET (``may_write``);
9. remove gates of the admitted pods for which ``funding.may_ungate`` holds.

A conflict or an expired deadline discards everything and starts again at the GET.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .book import HORIZON_SECONDS, Account, Book, CostKey, Enforcement, Line, Placement, Terms, Unit
from .carryover import leave_unused, settle_debts
from .limits import DEBTS_ONLY, CarryOver, Override, lapse_extras, renew_extras
from .money import cost
from .periods import Period, Span, Window
from .priorities import Priority
from .scope import Scope
from .thresholds import Threshold

WRITE_SECONDS = 30
"""A write is given up this long after its read, since a conflict check orders writes but does not date them."""
LOOKAHEAD_SECONDS = 6 * 3600
"""Accounts are open this far ahead, however many periods that are: longer than the horizon and any overrun together."""
GAIN_SECONDS = 60
LASTING_SECONDS = 2 * 3600
SEAL_AFTER_SECONDS = 3600
"""Time for late evidence after a period's end."""
MOST_LABELLINGS = 12
"""How often the labels of a service may change in a period for its costs to be kept apart by them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a budget asks for.

    ``name`` is ``namespace/name``, or only the name for one of the cluster; ``limit`` is in micro-units per period,
    ``max_rate`` in micro-units per hour. ``soft_limit``, in micro-units per period, is only reported on. Each pod
    is paid ``horizon`` seconds ahead. ``shares`` are the least parts of the limit that classes have, in millionths.
    ``thresholds`` say what happens on the way to the limit.
    """

    name: str
    currency: str
    limit: int
    period: Period | Window
    max_rate: int | None = None
    scope: Scope = field(default_factory=Scope)
    enforcement: Enforcement = Enforcement.HARD
    soft_limit: int | None = None
    horizon: int = HORIZON_SECONDS
    override: Override | None = None
    carry_over: CarryOver = DEBTS_ONLY
    shares: Mapping[Priority, int] = field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()

    @property
    def binds(self) -> bool:
        """Whether it refuses what it has no money for."""
        return self.enforcement is Enforcement.HARD


def advance(book: Book, date: int) -> Book:
    """Move money time to the Date of the book's read; it never goes back."""
    return replace(book, time=max(book.time, date))


def set_policies(book: Book, policies: Iterable[Policy]) -> Book:
    """Store the limits of the policies and open their accounts from the last one on, without gaps.

    The first account of a policy counts from now on, also when its period has begun before: what ran until then is not
    in it. Accounts of policies that are gone stay until they are sealed, so that a policy made anew finds its spending.
    A changed calendar or zone counts from the end of the last account on. The currency of an account never changes: a
    policy made anew in another one leaves the limit of an open account as it was. An override counts in the accounts
    that begin before its end, and in none any more when its time is over. What a period leaves to others is decided by
    its policy at its end.
    """
    accounts = {account.key: _lapsed(account, book.time) for account in book.accounts}
    for policy in policies:
        for account in book.accounts_of(policy.name):
            if account.end > book.time and account.currency == policy.currency:
                accounts[account.key] = _as_asked(account, policy, book.time)
        new = not book.accounts_of(policy.name)
        for span in _missing_spans(book, policy):
            account = Account(policy.name, span.start, span.end, policy.currency, policy.limit)
            if new and span.start < book.time:
                account = replace(account, since=book.time)
            accounts[account.key] = _as_asked(account, policy, book.time)
    return settle_debts(replace(book, accounts=tuple(accounts[key] for key in sorted(accounts))))


def _lapsed(account: Account, time: int) -> Account:
    if account.sealed or not account.extras:
        return account
    return replace(account, extras=lapse_extras(account.extras, account.end, time))


def _as_asked(account: Account, policy: Policy, time: int) -> Account:
    extras = renew_extras(account.extras, policy.override, account.start, account.end, time)
    base, max_rate, enforcement, carry_over = policy.limit, policy.max_rate, policy.enforcement, policy.carry_over
    same = (base, max_rate, enforcement) == (account.base, account.max_rate, account.enforcement)
    if same and carry_over == account.carry_over and extras == account.extras:
        return account
    return replace(account, base=base, max_rate=max_rate, enforcement=enforcement, carry_over=carry_over, extras=extras)


def _missing_spans(book: Book, policy: Policy) -> Iterable[Span]:
    own, current = book.accounts_of(policy.name), policy.period.span_at(book.time)
    if current is None:
        return
    last = own[-1].end if own else current.start
    if not any(policy.name in p.terms.rates and p.units for p in book.placements.values()):
        last = max(last, current.start)
    horizon = book.time + LOOKAHEAD_SECONDS
    while (span := policy.period.span_at(last)) is not None and max(last, span.start) < horizon:
        yield Span(max(last, span.start), span.end)
        last = span.end


def start_seen(list_date: int, billed_since: int) -> int:
    """Start to pass to ``prove``: a node's clock that runs ahead cannot move it beyond the Date of the list."""
    return min(billed_since, list_date)


def prove(book: Book, uid: str, since: int, node: str, latest: int | None = None) -> Book:
    """Record the evidence that a pod is bound to ``node`` and billed since ``since`` (see ``start_seen``).

    When the start is not known exactly, ``since`` is no later and ``latest`` no earlier than it: for a pod billed from
    its ungating they are the time of its admission and that of its binding, or of the list that shows it bound.
    The first evidence counts; a start before the admission counts from the admission.
    """
    placement = book.placement_of(uid)
    if placement is None or placement.units[uid].proven:
        return book
    start = max(placement.units[uid].start, since)
    if latest is not None and (latest <= start or not placement.terms.billing.minimum):
        latest = None
    return book.with_placement(replace(placement, units={**placement.units, uid: Unit(start, node, latest)}))


def end_seen(list_date: int, finished_at: int) -> int:
    """End to pass to ``close`` for a pod with a terminal phase: its kubelet's time, which is truncated to seconds."""
    return min(finished_at, list_date) + 1


def end_gone(placement: Placement, list_date: int, *, fused: bool) -> int:
    """End to pass to ``close`` for a pod that is proven gone.

    Proof of absence is a task of the caller: the pod is missing in a list made after the book's read, and its node is
    gone or has renewed its Lease since then (every node of the pool when the unit names none). ``fused`` says that
    something else than the operator has deleted pods at the end of their hold all the time: they did not live longer
    than they could.
    """
    end = list_date + 1
    if fused and placement.hold_through is not None:
        return min(end, placement.hold_through + placement.terms.billing.late + placement.terms.billing.stop)
    return end


def close(book: Book, uid: str, end: int) -> Book:
    """Bill a pod that provably ended at ``end`` (see ``end_seen`` and ``end_gone``) and drop its unit.

    Billed are at least the minimum from the latest time at which it can have begun, and the tail. What was posted
    beyond becomes an adjustment.
    """
    placement = book.placement_of(uid)
    return book if placement is None else close_all(book, placement.name, {uid: end})


def close_all(book: Book, record: str, ends: Mapping[str, int]) -> Book:
    """Close pods of one record, whose ends are given by UID; see ``close``."""
    placement = book.placements[record]
    ended = [(placement.units[uid], billed_until(placement, placement.units[uid], end)) for uid, end in ends.items()]
    return bill(book, placement.terms, ended).without_units(record, ends)


def billed_until(placement: Placement, unit: Unit, end: int) -> int:
    """Until when a pod is billed that ended at ``end``."""
    billing = placement.terms.billing
    begun = end if not unit.proven else unit.start if unit.latest is None else unit.latest
    if (unit.latest is not None or not unit.proven) and placement.hold_through is not None:
        begun = max(unit.start, min(begun, placement.hold_through + billing.late))
    # A kubelet cuts the fraction of a start off; the bound of a start that was never seen has none.
    least = begun + billing.minimum + int(unit.proven) if billing.minimum else 0
    return max(end, least) + billing.tail


def release(book: Book, uid: str) -> Book:
    """Drop at no cost a pod that was never bound and that the operator deleted with uid and resourceVersion.

    That deletion is the proof: while a gated pod exists, a paused writer may still remove its gate. Raises ValueError
    for a pod that has been seen bound.
    """
    placement = book.placement_of(uid)
    if placement is None:
        return book
    if placement.units[uid].proven:
        raise ValueError(f"pod {uid} was bound to a node: close it with the time of its end")
    return book.without_units(placement.name, {uid})


def seal(book: Book) -> Book:
    """Make accounts final that ended ``SEAL_AFTER_SECONDS`` ago and in which no unproven unit is held.

    Units that live on keep their start; what they cost in the sealed period moves into its lines. What the period has
    not used goes to the present one, where it is carried over.
    """
    book = settle_debts(book)
    accounts, final = {account.key: account for account in book.accounts}, []
    for account in book.accounts:
        waiting = any(
            account.policy in p.terms.rates and not unit.proven and unit.start < account.end
            for p in book.placements.values()
            for unit in p.units.values()
        )
        if not account.sealed and account.end + SEAL_AFTER_SECONDS <= book.time and not waiting:
            final.append(_sealed(book, account))
            accounts[account.key] = final[-1]
    if not final:
        return book
    return settle_debts(leave_unused(replace(book, accounts=tuple(accounts.values())), final))


def _sealed(book: Book, account: Account) -> Account:
    for placement in book.placements.values():
        units = [(unit, account.end) for unit in placement.units.values()]
        account = _charge(account, placement.terms, units, book.time)
    return replace(account, sealed=True)


def collect(book: Book, stored: Collection[tuple[str, int]]) -> Book:
    """Drop sealed accounts whose page is ``stored`` (account keys), and sealed ones in which nothing was spent.

    A page is stored from a book that was read with the account sealed, before the write that drops the account.
    """
    return replace(
        book,
        accounts=tuple(a for a in book.accounts if not (a.sealed and (a.key in stored or not a.lines))),
    )


def bill(book: Book, terms: Terms, ended: Collection[tuple[Unit, int]]) -> Book:
    """Move what units cost, each through its time, into the lines of the accounts that pay for them."""
    return book.with_accounts(tuple(_charge(account, terms, ended, book.time) for account in book.accounts))


def _charge(account: Account, terms: Terms, ended: Collection[tuple[Unit, int]], time: int) -> Account:
    rate = terms.rates.get(account.policy)
    if rate is None or account.sealed:
        return account
    bill = posted = 0
    for unit, until in ended:
        start = max(account.start, unit.start)
        each = cost(rate, start, min(account.end, until))
        bill += each
        posted += max(each, cost(rate, start, min(account.end, time)) if unit.proven else 0)
    if bill == 0 and posted == 0:
        return account
    lines = {line.key: line for line in account.lines}
    key = _line_key(lines, terms.key)
    line = lines.get(key, Line(*key[:3], labels=key.labels))
    lines[key] = replace(line, closed=line.closed + max(bill, posted), adjusted=line.adjusted + min(bill - posted, 0))
    return replace(account, lines=tuple(lines[key] for key in sorted(lines)))


def _line_key(lines: Collection[CostKey], key: CostKey) -> CostKey:
    """Where a cost is booked: without labels after so many changes of them that the book would swell."""
    alike = sum(other[:3] == key[:3] for other in lines if other.labels)
    return key if key in lines or alike < MOST_LABELLINGS else key._replace(labels=())


def may_write(seconds_since_read: float) -> bool:
    """Whether a write may still be sent, by a monotonic clock started before the book's GET was sent."""
    return seconds_since_read < WRITE_SECONDS


def differs(before: Book, after: Book) -> bool:
    """Whether the step between two books is worth a write.

    Time and placements without pods are not, nor is endurance alone, unless a hold gains more than ``GAIN_SECONDS`` by
    it and then lasts for more than ``LASTING_SECONDS``.
    """
    old, new = _occupied(before), _occupied(after)
    if before.accounts != after.accounts or old.keys() != new.keys():
        return True
    return any(_moved(old[name], placement, after.time) for name, placement in new.items())


def _moved(old: Placement, new: Placement, time: int) -> bool:
    hold, longer = old.hold_through, new.hold_through
    if hold is None or longer is None or replace(new, hold_through=hold) != old:
        return old != new
    if longer <= hold:
        return longer < min(hold, time + new.terms.horizon)
    due = hold - time < new.terms.horizon // 2
    return due or (longer - hold > GAIN_SECONDS and longer - time > LASTING_SECONDS)


def _occupied(book: Book) -> dict[str, Placement]:
    return {name: p for name, p in book.placements.items() if p.units}
