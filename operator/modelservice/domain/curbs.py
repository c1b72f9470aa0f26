"""What thresholds that are reached do to the services that their budget pays for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from modelservice.domain.book import Account, Book, Enforcement
from modelservice.domain.ledger import Policy
from modelservice.domain.priorities import Priority
from modelservice.domain.thresholds import Action, Metric, follow

STEP_SECONDS = 600
"""Time for the pods of one class to stop and for their money to return, before the next higher class is next."""


@dataclass(frozen=True, slots=True)
class Curb:
    """An action that is in force for what a policy pays for, since a time and because of a threshold of it."""

    policy: str
    threshold: str
    action: Action
    since: int

    def most(self, wanted: int, there: int, minimum: int, priority: Priority, now: int) -> int:
        """So many replicas of a service may be wanted of which so many are there; `minimum` are its fewest.

        The lowest class is the first to be stopped, the others follow after ``STEP_SECONDS`` each. Shrinking leaves the
        highest class as it is, scaling to zero does not.
        """
        turn = now >= self.since + STEP_SECONDS * (len(Priority) - 1 - priority.rank)
        match self.action:
            case Action.STOP_SCALE_UP:
                return min(wanted, max(there, minimum))
            case Action.SHRINK_BY_PRIORITY if turn and priority is not Priority.CRITICAL:
                return min(wanted, minimum)
            case Action.SCALE_TO_ZERO if turn:
                return 0
        return wanted


@dataclass(frozen=True, slots=True)
class Curbed:
    """Pods of a service that are not started, or are stopped, because of a curb."""

    curb: Curb
    pods: int


def curb_replicas(
    curbs: Iterable[Curb], wanted: int, there: int, minimum: int, priority: Priority, now: int
) -> tuple[int, Curbed | None]:
    """How many replicas may be wanted under all curbs, and the strictest of them when that is fewer."""
    allowed, strictest = wanted, None
    for curb in curbs:
        most = curb.most(wanted, there, minimum, priority, now)
        if most < allowed:
            allowed, strictest = most, Curbed(curb, wanted - most)
    return allowed, strictest


def watch(book: Book, policies: Iterable[Policy], foreseen: Mapping[str, int]) -> Book:
    """Bring the accounts of the present periods up to date; `foreseen` is the p90 of their totals by policy."""
    accounts = {account.key: account for account in book.accounts}
    for policy in policies:
        account = book.account_at(policy.name, book.time)
        if account is None or (not policy.thresholds and not account.crossings):
            continue
        posted = book.posted(account)
        values = {Metric.ACTUAL: posted, Metric.COMMITTED: posted + book.committed(account)}
        if policy.name in foreseen:
            values[Metric.FORECAST] = foreseen[policy.name]
        crossings = follow(account.crossings, policy.thresholds, values, account.limit, book.time)
        if crossings != account.crossings:
            accounts[account.key] = replace(account, crossings=crossings)
    return book.with_accounts(tuple(accounts.values()))


def curbs(book: Book, policies: Iterable[Policy], now: int) -> Mapping[str, tuple[Curb, ...]]:
    """The actions that are in force, by policy; a budget on trial only says what it would do."""
    found = {}
    for policy in policies:
        account = book.account_at(policy.name, max(now, book.time))
        if account is not None and policy.enforcement is not Enforcement.DRY_RUN:
            found[policy.name] = tuple(_curbs(policy, account))
    return found


def _curbs(policy: Policy, account: Account) -> Iterable[Curb]:
    wordings = {threshold.name: threshold for threshold in policy.thresholds}
    for crossing in account.crossings:
        threshold = wordings.get(crossing.name)
        if threshold is None or threshold.wording != crossing.wording or not crossing.in_force:
            continue
        for action in threshold.actions:
            yield Curb(policy.name, crossing.name, action, crossing.reached or 0)
