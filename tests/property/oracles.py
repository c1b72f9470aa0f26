"""What must hold for every stored book, computed from its JSON and the world's truth without the ledger's code."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from tests.property.world import SCALE, TENTHS, Pod, World

Row = dict[str, Any]


class Violation(AssertionError):
    """An invariant does not hold; the text begins with its name."""


def charge(rate: int, start: int, end: int) -> int:
    """Exact cost, rounded up."""
    return (rate * max(0, end - start) + 3599) // 3600


class Figures:
    """The sums of one stored book."""

    def __init__(self, book: Row) -> None:
        self.time: int = book["time"]
        self.accounts = {(row["policy"], row["start"]): row for row in book["accounts"]}
        self.records: list[Row] = book["placements"]
        self.units: dict[str, Row] = {uid: record for record in self.records for uid in record["units"]}
        self.worst: dict[tuple[str, int], int] = {}
        self.nominal: dict[tuple[str, int], int] = {}
        self.posted: dict[tuple[str, int], int] = {}
        self.gross: dict[tuple[str, int], int] = {}
        self.by_service: dict[tuple[str, int, str], int] = defaultdict(int)
        for key, account in self.accounts.items():
            closed = sum(line["closed"] for line in account["lines"])
            adjusted = sum(line["adjusted"] for line in account["lines"])
            for line in account["lines"]:
                self.by_service[*key, line["service"]] += line["closed"] + line["adjusted"]
            self.worst[key] = self.nominal[key] = self.posted[key] = closed + adjusted
            self.gross[key] = closed
            if not account.get("sealed"):
                self._add_units(key, account)

    def _add_units(self, key: tuple[str, int], account: Row) -> None:
        for record in self.records:
            rate = record["rates"].get(account["policy"])
            if rate is None:
                continue
            for text in record["units"].values():
                start = max(int(text.partition("@")[0]), account["start"])
                worst = charge(rate, start, min(account["end"], self.end_max(record)))
                self.worst[key] += worst
                self.nominal[key] += charge(rate, start, min(account["end"], self.hold_end(record)))
                self.by_service[*key, record["service"]] += worst
                if "@" in text:
                    posted = charge(rate, start, min(account["end"], self.time))
                    self.posted[key] += posted
                    self.gross[key] += posted

    def hold_end(self, record: Row) -> int:
        """Until when a record's pods are held; nothing is held for those that only advisory policies count."""
        if "holdThrough" not in record:
            return self.time
        billing = record["billing"]
        stopping = max(billing["stop"], billing["minimum"])
        return int(record["holdThrough"] + billing["late"] + stopping + billing["tail"])

    def end_max(self, record: Row) -> int:
        """The same, seen from the book's time."""
        return max(self.hold_end(record), self.time)

    def rate(self, policy: str) -> int:
        """Sum of the rates of all units."""
        return sum(record["rates"].get(policy, 0) * len(record["units"]) for record in self.records)


class Oracle:
    """Follows the stored books of a world; raises Violation."""

    def __init__(self, world: World, windows: dict[str, tuple[int, int]] | None = None) -> None:
        self.world = world
        self.windows = windows or {}
        self.book = Figures({"time": 0, "accounts": [], "placements": []})
        self.since = world.now
        self.books = 0
        self.gone: set[str] = set()
        self.first_start: dict[str, int] = {}
        self.paid_to: dict[str, int] = {}
        self.top_rate: dict[str, int] = defaultdict(int)
        self.pages: dict[tuple[str, int], Row] = {}
        self.charges: dict[tuple[str, int, str], int] = {}
        self.bounds: dict[tuple[str, int], int] = {}
        self.observed = 0
        self.limits: dict[tuple[str, int], int] = {}
        self.exempt: set[tuple[str, int]] = set()
        self.over: dict[tuple[str, str, int], int] = {}
        world.on_store.append(self.observe)

    def observe(self, world: World) -> None:
        """Check a newly stored book, and the time up to it under the one before."""
        self.check_time()
        before, book = self.book, Figures(world.stored)
        self.books += 1
        self._solvency(before, book)
        self._figures(book)
        self._monotone(before, book)
        self._periods(before, book)
        self._evidence(before, book)
        self._commitments(before, book)
        self.book, self.since = book, world.now

    def check_time(self) -> None:
        """I2 and I3 for the time since the last check, and true spend within what the book holds."""
        world, book = self.world, self.book
        for pod in world.pods.values():
            if pod.gated or pod.uid in self.gone:
                continue
            self._coverage(pod, book)
        for when, uid in world.ungated_log[self.observed :]:
            if uid not in book.units:
                raise Violation(f"I3 precedence: {uid} was ungated at {when} without a unit in the stored book")
        self.observed = len(world.ungated_log)
        self._true_spend(book)
        self.since = world.now

    def _coverage(self, pod: Pod, book: Figures) -> None:
        since = pod.billed_since
        if since is None:
            return
        start, end = max(since, self.since), self.world.now if pod.ended is None else min(pod.ended, self.world.now)
        if end <= start:
            if pod.ended is not None and pod.ended <= self.since:
                self.gone.add(pod.uid)
            return
        record = book.units.get(pod.uid)
        spared = pod.spared_until is not None
        if record is None and spared:
            return
        if record is None:
            raise Violation(f"I2 coverage: {pod.uid} is billed in [{start}, {end}) and in no unit")
        if not spared and "holdThrough" in record and book.end_max(record) * TENTHS < end:
            raise Violation(f"I2 coverage: {pod.uid} lives at {end}, held to {book.end_max(record) * TENTHS}")
        for policy in pod.workload.policies:
            rate = record["rates"].get(policy, 0)
            if rate < max(pod.workload.true_rate(start), pod.workload.true_rate(end - 1)):
                raise Violation(f"I2 coverage: {pod.uid} is held at {rate}, its true price is higher")

    def spared(self) -> set[str]:
        """The policies that pay for pods that a person has spared: their limits are not promised."""
        pods = (pod for pod in self.world.pods.values() if pod.spared_until is not None)
        return {policy for pod in pods for policy in pod.workload.policies}

    def _true_spend(self, book: Figures) -> None:
        spared = self.spared()
        for key, account in book.accounts.items():
            start, end = account["start"] * TENTHS, min(account["end"] * TENTHS, self.world.now)
            true: dict[str, int] = defaultdict(int)
            for pod in self.world.pods.values():
                if pod.bound is None or pod.spared_until is not None:
                    continue
                if account["policy"] in pod.workload.policies:
                    true[pod.workload.service] += self._true_cost(pod, key, start, end)
            if "enforcement" in account:
                continue
            if sum(true.values()) > self.limits[key] * SCALE and key not in self.exempt and key[0] not in spared:
                raise Violation(f"I1 solvency: {key} truly spent more than the limit {self.limits[key]}")
            counted = {r["service"] for r in book.records if account["policy"] in r.get("advisory", ())}
            for service, spent in true.items():
                if service not in counted and spent > book.by_service[*key, service] * SCALE:
                    raise Violation(
                        f"I2 coverage: {service} truly spent {spent / SCALE:.0f} in {key}, "
                        f"the book has {book.by_service[*key, service]}"
                    )

    def _true_cost(self, pod: Pod, key: tuple[str, int], start: int, end: int) -> int:
        """The scaled cost of a pod in an account so far, remembered once it is over."""
        if (cost := self.over.get((pod.uid, *key))) is not None:
            return cost
        until, cost = pod.billed_until(), pod.true_cost(start, end)
        if until is not None and until <= self.world.now:
            self.over[pod.uid, *key] = cost
        return cost

    def _solvency(self, before: Figures, book: Figures) -> None:
        """Worst <= limit, without what is posted past the end of a hold while the proof of the pod's end is awaited."""
        spared = self.spared()
        for key, account in book.accounts.items():
            nominal, limit = book.nominal[key], account["limit"]
            self.limits[key] = max(self.limits.get(key, 0), limit)
            old = before.accounts.get(key)
            if "enforcement" in account or (old is not None and "enforcement" in old):
                # What it spent while it did not bind it did not bound; once it binds, its worst may not rise any more.
                self.exempt.add(key)
                continue
            if nominal <= limit or account["policy"] in spared:
                continue
            if nominal > before.nominal.get(key, 0) and self._dearer(before, book, account["policy"]):
                self.exempt.add(key)
                continue
            if (
                old is not None
                and nominal <= before.nominal[key]
                and (limit < old["limit"] or before.nominal[key] > old["limit"])
            ):
                continue
            raise Violation(f"I1 solvency: {key} has worst {nominal} above its limit {limit}")

    def _dearer(self, before: Figures, book: Figures, policy: str) -> bool:
        """Whether a price rose in this book, or a policy begins to bind for pods that run: that rise is the truth."""
        for uid, record in book.units.items():
            old = before.units.get(uid)
            if old is None:
                continue
            binds = policy in old.get("advisory", ()) and policy not in record.get("advisory", ())
            if binds or record["rates"].get(policy, 0) > old["rates"].get(policy, 0):
                return True
        return False

    def _figures(self, book: Figures) -> None:
        for key, account in book.accounts.items():
            if account["posted"] != book.posted[key] or account["posted"] + account["held"] != book.worst[key]:
                raise Violation(f"I10 conservation: the figures of {key} are not the sum of its rows")

    def _monotone(self, before: Figures, book: Figures) -> None:
        if book.time < before.time:
            raise Violation("I5 monotone: money time went back")
        for key, gross in before.gross.items():
            if key in book.gross and book.gross[key] < gross:
                raise Violation(f"I5 monotone: posted of {key} fell from {gross} to {book.gross[key]}")
            sealed = before.accounts[key].get("sealed", False)
            if key not in book.accounts and gross and not (sealed and key in self.world.pages):
                raise Violation(f"I7 periods: {key} left the book without a page")
            if sealed and key in book.accounts and book.accounts[key]["lines"] != before.accounts[key]["lines"]:
                raise Violation(f"I7 periods: sealed {key} changed")

    def _periods(self, before: Figures, book: Figures) -> None:
        for (policy, start), account in book.accounts.items():
            if self.bounds.setdefault((policy, start), account["end"]) != account["end"]:
                raise Violation(f"I7 periods: the end of {policy} from {start} moved")
        starts = sorted(self.bounds)
        for (policy, start), (other, following) in pairwise(starts):
            if policy == other and self.bounds[policy, start] > following:
                raise Violation(f"I7 periods: accounts of {policy} overlap at {following}")

    def _evidence(self, before: Figures, book: Figures) -> None:
        now = self.world.now
        for uid, record in before.units.items():
            billing = record["billing"]
            self.paid_to[uid] = now // TENTHS + 2 + billing["minimum"] + billing["tail"]
            if uid in book.units:
                continue
            pod = self.world.pods[uid]
            if pod.bound is not None and pod.ended is None:
                raise Violation(f"I4 evidence: {uid} left the book while it lives")
            if pod.bound is None and pod.exists:
                raise Violation(f"I4 evidence: {uid} left the book while it can still start")
        for uid, record in book.units.items():
            start = int(record["units"][uid].partition("@")[0])
            self.first_start.setdefault(uid, start)
            since = self.world.pods[uid].billed_since
            if uid not in before.units and since is not None and start * TENTHS > since:
                raise Violation(f"I2 coverage: {uid} is billed since {since} and was taken in from {start} on")
            same = uid in before.units and before.units[uid]["rates"] == record["rates"]
            if (
                same
                and start > int(before.units[uid]["units"][uid].partition("@")[0])
                and start * TENTHS > (since or 0)
            ):
                raise Violation(f"I2 coverage: {uid} is billed since {since}, its unit starts at {start}")
            for rate in record["rates"].values():
                self.top_rate[uid] = max(self.top_rate[uid], rate)

    def _commitments(self, before: Figures, book: Figures) -> None:
        """What is held through the horizon is not taken back at the same price."""
        for uid, record in book.units.items():
            old = before.units.get(uid)
            if old is None or old["rates"] != record["rates"] or "holdThrough" not in old:
                continue
            committed = min(old["holdThrough"], book.time + old.get("horizon", 3600))
            if record.get("holdThrough", committed) < committed:
                raise Violation(f"I2 coverage: {uid} was paid through {committed}, which was taken back")

    def check_totals(self, pages: dict[tuple[str, int], Row]) -> None:
        """I6 when everything has ended: each pod is paid for once, no less than the truth and within its life."""
        accounts = {**pages, **self.book.accounts}
        booked = sum(line["closed"] + line["adjusted"] for row in accounts.values() for line in row["lines"])
        true, most = 0, 0
        for pod in self.world.pods.values():
            payers = len(pod.workload.policies)
            known = pod.billed_since is not None and (pod.spared_until is None or pod.uid in self.first_start)
            for policy in pod.workload.policies if known else ():
                start, end = self.windows.get(policy, (0, self.world.now // TENTHS + 10**5))
                true += pod.true_cost(start * TENTHS, end * TENTHS)
            if pod.uid in self.first_start:
                most += payers * (charge(self.top_rate[pod.uid], self.first_start[pod.uid], self.paid_to[pod.uid]) + 9)
        if booked * SCALE < true:
            raise Violation(f"I6 cursors: {booked} booked, {true / SCALE:.0f} truly spent")
        if booked > most:
            raise Violation(f"I6 cursors: {booked} booked, no more than {most} could have been")
