"""What the record of a performance says: the audit of every stored book, and the sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cluster import condition

from tests.proof.audit import Audit
from tests.proof.disturbances import OPERATOR
from tests.proof.history import GATE, NAME, Life, lives, seconds
from tests.proof.recorder import Recorder, Version
from tests.proof.statement import Key, Paid, Statement, read


@dataclass(frozen=True, slots=True)
class Promise:
    """The most that a period of a budget can cost, in micro-units, as it was told until that moment."""

    budget: str
    start: int
    end: int
    amount: int
    until: float


@dataclass(slots=True)
class Verdict:
    """The audit with what it compared; `end` is the last moment of the record."""

    audit: Audit
    lives: dict[str, Life]
    statements: list[Statement]
    end: float

    @classmethod
    def judge(cls, recorder: Recorder) -> Verdict:
        """Audit the whole record."""
        record = sorted(recorder.versions, key=lambda version: version.at)
        pods = lives(record)
        ledgers = [v for v in record if v.kind == "BudgetLedger" and "book" in v.object and not v.gone]
        statements = [read(version.object, version.at) for version in ledgers]
        audit = Audit(pods, _watching(record))
        end = record[-1].at
        audit.run(statements, _ungated(record), end)
        return cls(audit, pods, statements, end)

    def last_paid(self, life: Life) -> Paid:
        """The unit of a pod in the last book before its deletion was asked for."""
        asked = life.asked or 0
        return [one.units[life.uid] for one in self.statements if life.uid in one.units and one.time <= asked][-1]

    def promises(self, recorder: Recorder) -> Iterator[Promise]:
        """What each status of a budget said that its period can cost at most, until it said something else."""
        latest: dict[str, Promise] = {}
        for version in recorder.versions:
            if version.kind not in ("BudgetPolicy", "ClusterBudgetPolicy"):
                continue
            meta, status = version.object["metadata"], version.object.get("status") or {}
            name = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
            if (before := latest.pop(name, None)) is not None:
                yield replace(before, until=version.at)
            if (most := (status.get("guarantee") or {}).get("worstCasePeriodTotal")) is not None:
                period, amount = status["period"], round(Decimal(most["amount"]) * 1_000_000)
                latest[name] = Promise(name, seconds(period["start"]), seconds(period["end"]), amount, self.end)
        yield from latest.values()

    def spent(self, budget: str, start: int, end: int, until: float) -> int:
        """What the pods of a budget have truly cost in a period by that moment."""
        return sum(life.cost(start, end, until) for life in self.lives.values() if budget in life.policies)

    def totals(self) -> dict[Key, tuple[int, int, int]]:
        """By account: truly spent, booked, and the limit, in the last book that has it."""
        last = {key: account for statement in self.statements for key, account in statement.accounts.items()}
        return {
            key: (
                self.spent(key[0], key[1], a.end, self.end),
                a.posted,
                a.limit,
            )
            for key, a in sorted(last.items())
            if a.posted
        }


def _ungated(record: Sequence[Version]) -> dict[str, int]:
    """The version at which the gate of each pod of ours was gone."""
    found: dict[str, int] = {}
    for version in record:
        if version.kind != "Pod" or NAME not in (version.object["metadata"].get("labels") or {}):
            continue
        gates = [gate["name"] for gate in version.object["spec"].get("schedulingGates") or ()]
        if GATE not in gates:
            found.setdefault(version.uid, int(version.object["metadata"]["resourceVersion"]))
    return found


def _watching(record: Sequence[Version]) -> list[tuple[float, float]]:
    """From when until when each replica of the operator was ready and not told to stop."""
    wanted = dict(part.split("=") for part in OPERATOR.split(","))
    since: dict[str, float] = {}
    until: dict[str, float] = {}
    for version in record:
        if version.kind != "Pod" or not wanted.items() <= (version.object["metadata"].get("labels") or {}).items():
            continue
        ready = condition(version.object, "Ready")["status"] == "True"
        if ready:
            since.setdefault(version.uid, version.at)
        if version.gone or "deletionTimestamp" in version.object["metadata"]:
            until.setdefault(version.uid, version.at)
    return [(begun, until.get(uid, float("inf"))) for uid, begun in since.items()]
