"""What helps a service that is refused pods: the first time at which the money suffices, and what fits now.

The plan itself is asked: once more for each moment at which something is known to change (a period begins, unused
money is carried over, pods that are being stopped have ended, a price falls), as if all that runs went on until then;
and once more for now, with the refused pods in another pool that fits them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from modelservice.domain.book import Account, Book, Placement
from modelservice.domain.ledger import SEAL_AFTER_SECONDS, Policy, advance, bill, seal, set_policies
from modelservice.domain.limits import Unused
from modelservice.domain.placement import Option, Selection, price
from modelservice.domain.planner import Plan, ServicePlan, plan
from modelservice.domain.snapshot import ServiceView, Snapshot, Wish
from modelservice.domain.specs import Pool, ServiceName

MOST_MOMENTS = 16
"""So many of the next changes are looked at."""
MOST_POOLS = 3
"""So many other pools are tried, the cheapest ones."""


@dataclass(frozen=True, slots=True)
class Relief:
    """What helps a service that is refused pods.

    At `affordable_at` at the latest there is money for one more, if nothing else changes; None when no such time was
    found, and `never` when all known changes were looked at. Now `replicas` are paid for, and `pods` more could be in
    `pool`.
    """

    affordable_at: int | None
    never: bool
    replicas: int
    pool: str = ""
    pods: int = 0


def shortages(made: Plan) -> Mapping[ServiceName, tuple[int, int, tuple[str, ...]]]:
    """What a plan refuses and whom: another relief is to be found at once when that has changed, figures aside."""
    return {name: (own.desired, own.funded, _refusing(own)) for name, own in made.services.items() if _refusing(own)}


def _refusing(own: ServicePlan) -> tuple[str, ...]:
    whys = (own.refused.why if own.refused is not None else None, own.expiring)
    return tuple(f"{why.blocked_by} {why.policy}" for why in whys if why is not None)


def relieve(snapshot: Snapshot, made: Plan, now: int) -> Mapping[ServiceName, Relief]:
    """The relief of every service that the plan refuses something, or that it cannot pay for longer."""
    short = {name: own for name, own in made.services.items() if _refusing(own)}
    if not short:
        return {}
    moments = _moments(snapshot, short.values(), now)
    enough: dict[ServiceName, int] = {}
    for number, moment in enumerate(moments[:MOST_MOMENTS]):
        waiting = short.keys() - enough.keys()
        if not waiting:
            break
        later = plan(_at(snapshot, moments[: number + 1]), moment)
        enough.update({name: moment for name in waiting if _paid(later.services[name]) > _paid(short[name])})
    elsewhere = _elsewhere(snapshot, short, now)
    return {
        name: Relief(
            enough.get(name),
            name not in enough and len(moments) <= MOST_MOMENTS,
            own.funded,
            *elsewhere.get(name, ()),
        )
        for name, own in short.items()
    }


def _paid(own: ServicePlan) -> int:
    return own.funded + own.training_funded


def _moments(snapshot: Snapshot, short: Iterable[ServicePlan], now: int) -> Sequence[int]:
    """The times at which something is known to change for these services, in order."""
    names = {name for own in short for name in own.payers}
    moments = {time for pool in snapshot.pools.values() for time, _ in pool.tariff.cheaper}
    moments.update(p.end_max(snapshot.book.time) for p in snapshot.book.placements.values() if p.draining and p.units)
    for policy in snapshot.policies:
        if policy.name in names:
            moments.update(starts(policy, now))
            if policy.carry_over.unused is Unused.ALL:
                own = snapshot.book.accounts_of(policy.name)
                moments.update(account.end + SEAL_AFTER_SECONDS for account in own if not account.sealed)
    return sorted(time for time in moments if time > now)


def starts(policy: Policy, now: int) -> Iterable[int]:
    """When a window begins, and the next two periods."""
    span = policy.period.span_at(now)
    if span is not None:
        yield span.start
        yield span.end
        following = policy.period.span_at(span.end)
        if following is not None:
            yield following.end


def _at(snapshot: Snapshot, moments: Sequence[int]) -> Snapshot:
    """The same at the last of these: what runs has gone on until then, what was being stopped has ended."""
    book, moment = snapshot.book, moments[-1]
    placements: dict[str, Placement] = {}
    for record in book.placements.values():
        end = record.end_max(snapshot.book.time)
        if record.draining and end <= moment:
            book = bill(book, record.terms, [(unit, end) for unit in record.units.values()])
        else:
            placements[record.name] = record
    book = Book(book.time, book.accounts, placements)
    for time in moments:
        book = seal(_within_limits(snapshot.book, set_policies(advance(book, time), snapshot.policies)))
    pools = {name: _priced(pool, moment) for name, pool in snapshot.pools.items()}
    return replace(
        snapshot,
        book=book,
        pools=pools,
        services=tuple(_repriced(view, pools) for view in snapshot.services),
    )


def _within_limits(before: Book, after: Book) -> Book:
    """The later book without debts of periods that are over by then: a limit that binds stops pods before it."""
    known = {account.key: before.worst(account) for account in before.accounts}

    def spared(account: Account) -> Account:
        most = max(account.limit, account.base, known.get(account.key, 0))
        excess = after.worst(account) - most if account.binds and account.end <= after.time else 0
        return replace(account, base=account.base + excess) if excess > 0 else account

    return replace(after, accounts=tuple(spared(account) for account in after.accounts))


def _priced(pool: Pool, moment: int) -> Pool:
    tariff = next((tariff for time, tariff in reversed(pool.tariff.cheaper) if time <= moment), pool.tariff)
    return replace(pool, tariff=tariff)


def _repriced(view: ServiceView, pools: Mapping[str, Pool]) -> ServiceView:
    def again(wish: Wish | None) -> Wish | None:
        if wish is None:
            return None
        priced = [price(pools[one.pool.name], one.requests) for one in wish.selection.options]
        options = sorted(
            (one for one in priced if isinstance(one, Option)),
            key=lambda each: (each.pool.currency, each.price, each.pool.name),
        )
        return replace(wish, selection=replace(wish.selection, options=tuple(options)))

    return replace(view, inference=again(view.inference), training=again(view.training))


def _elsewhere(
    snapshot: Snapshot, short: Mapping[ServiceName, ServicePlan], now: int
) -> Mapping[ServiceName, tuple[str, int]]:
    """For each service the cheapest other pool that could take some of its refused replicas now, and how many."""
    found: dict[ServiceName, tuple[str, int]] = {}
    for rank in range(MOST_POOLS):
        views, tried = [], {}
        for view in snapshot.services:
            own = short.get(view.name)
            option = None if own is None or view.name in found else _other(view, own, rank)
            if own is None or view.inference is None or option is None:
                views.append(view)
                continue
            guest = ServiceName(view.name.namespace, f"{view.name.name}/elsewhere")
            tried[guest] = (view.name, option.pool.name)
            less = replace(view.inference, count=own.funded)
            workloads = {option.pool.name: f"{view.inference.workloads[option.pool.name]}/elsewhere"}
            more = Wish(Selection((option,), ()), workloads, own.desired - own.funded)
            views += [
                replace(view, inference=less),
                replace(view, name=guest, inference=more, training=None, deployed=()),
            ]
        if not tried:
            break
        made = plan(replace(snapshot, services=tuple(views)), now)
        for guest, (name, pool) in tried.items():
            if made.services[guest].funded:
                found[name] = (pool, made.services[guest].funded)
    return found


def _other(view: ServiceView, own: ServicePlan, rank: int) -> Option | None:
    """Another option than the planned one for the refused replicas."""
    if view.inference is None or own.option is None or own.desired <= own.funded:
        return None
    others = [option for option in view.inference.selection.options if option.pool.name != own.option.pool.name]
    return others[rank] if rank < len(others) else None
