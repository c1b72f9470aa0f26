"""What the conditions of a ModelService say: one pure predicate for each type over the facts, and Ready to sum them up.

Every reason that may appear is in REASONS and in docs/reference/conditions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from modelservice.domain.asks import Refused, Unfunded
from modelservice.domain.book import Blocked, Refusal
from modelservice.domain.curbs import Curbed
from modelservice.domain.demand import Memory
from modelservice.domain.money import format_amount
from modelservice.domain.placement import Option, Selection
from modelservice.domain.progress import TOLD, Turnover, waiting
from modelservice.domain.relief import Relief
from modelservice.domain.times import format_time
from modelservice.domain.training import Outcome, Record

Status = Literal["True", "False", "Unknown"]

REASONS: Mapping[str, frozenset[str]] = {
    "Ready": frozenset({"Serving", "ScaledToZero", "WokenFromZero", "TrainingFinished", "Suspended", "Progressing"}),
    "ArtifactReady": frozenset({"Resolved", "NotDownloaded", "ClaimNotFound", "TrainingUnfinished"}),
    "HardwareSelected": frozenset(
        {
            "PoolSelected",
            "NoPoolFits",
            "RuntimeNotFound",
            "RuntimeUnsuitable",
            "RuntimeAmbiguous",
            "FormatUnknown",
            "Waiting",
        }
    ),
    "BudgetAdmitted": frozenset(
        {
            "Held",
            "Counted",
            "NoBudget",
            "NothingWanted",
            "BudgetExhausted",
            "MoneyReturning",
            "Displaced",
            "FloorUnfundable",
            "RateLimited",
            "ThresholdReached",
            "BudgetRequired",
            "CurrencyMismatch",
            "LedgerFull",
            "LedgerUnavailable",
            "Frozen",
            "UnheldPods",
        }
    ),
    "Available": frozenset(
        {
            "MinimumReplicasReady",
            "NameConflict",
            "DownloadFailed",
            "RemoteCodeDenied",
            "UnsupportedHardware",
            "ModelLoadFailed",
            "OutOfMemory",
            "PodsCrashing",
            "ImagePullFailed",
            "PodsPending",
            "Downloading",
            "PodsStarting",
            "NotStarted",
            "ScaledToZero",
            "WokenFromZero",
            "Suspended",
        }
    ),
    "Progressing": frozenset({"RollingOut", "Scaling", "WaitingForMoney", "RolloutComplete", "Suspended"}) | TOLD,
    "TrainingSucceeded": frozenset(
        {"Queued", "Starting", "Running", "Suspended", "Succeeded", "Failed", "OutOfMemory"}
    ),
    "ScalingActive": frozenset({"MetricsRead", "MetricsUnavailable"}),
}
"""The reasons of each condition; those of Ready besides are the reasons of the condition that it passes on."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of the state: metav1.Condition without times and generation."""

    type: str
    status: Status
    reason: str
    message: str

    def row(self, generation: int) -> dict[str, Any]:
        """The condition as a status holds it, seen at that generation of the spec."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "observedGeneration": generation,
        }


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a pod: `reason` is one of Available's, `message` a sentence."""

    pod: str
    reason: str
    message: str
    exit_code: int | None = None
    at: int | None = None
    container: str = "main"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a role cannot be rendered: a reason of HardwareSelected and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the conditions of one service are made from. Parts that do not apply are None or empty."""

    suspended: bool = False
    serves: bool = True
    trains: bool = False
    artifact: str = ""
    unsettled: bool = False
    downloading: str = ""
    missing_claim: str = ""
    problem: Problem | None = None
    selection: Selection | None = None
    option: Option | None = None
    payers: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    wanted: int = 0
    funded: int = 0
    training_held: int = 0
    refused: Refused | None = None
    expiring: Refusal | None = None
    unfunded: Unfunded | None = None
    relief: Relief | None = None
    curbed: Curbed | None = None
    unpaid: bool = False
    ledger_problem: str = ""
    frozen: str = ""
    unheld: tuple[str, ...] = ()
    conflict: str = ""
    minimum: int = 0
    parked_at: int | None = None
    woken_at: int | None = None
    ready: int = 0
    troubles: tuple[Trouble, ...] = ()
    leaving: int = 0
    arrived: int = 0
    run: Record | None = None
    attempt_running: bool = False
    attempt_queued: bool = False
    attempt_resting: bool = False
    scaling: Memory | None = None
    scaling_since: str = ""
    turnover: Turnover = field(default_factory=Turnover)


def judge(facts: Facts) -> tuple[Condition, ...]:
    """All conditions that apply, Ready first."""
    parts = tuple(condition for predicate in _CHAIN if (condition := predicate(facts)) is not None)
    return (_ready(facts, {part.type: part for part in parts}), *parts)


def _artifact_ready(facts: Facts) -> Condition | None:
    if facts.missing_claim:
        text = (
            f"The PersistentVolumeClaim {facts.missing_claim} does not exist in the namespace: "
            "create it or name another in storageUri."
        )
        return Condition("ArtifactReady", "False", "ClaimNotFound", text)
    if facts.unsettled:
        text = f"The first replica finds out what lies at {facts.artifact}; the others start when it has."
        return Condition("ArtifactReady", "Unknown", "NotDownloaded", text)
    if facts.artifact:
        return Condition("ArtifactReady", "True", "Resolved", f"The model is {facts.artifact}.")
    return Condition("ArtifactReady", "False", "TrainingUnfinished", "The training run has not published a model yet.")


def _hardware_selected(facts: Facts) -> Condition | None:
    if facts.problem is not None:
        return Condition("HardwareSelected", "False", facts.problem.reason, facts.problem.message)
    if facts.option is not None:
        option, others = facts.option, facts.selection.options if facts.selection else ()
        price = f"{format_amount(option.price)} {option.pool.currency}"
        beaten = [other for other in others if other.pool.name != option.pool.name]
        text = f"Pool {option.pool.name}, {option.purchase}, at {price} an hour for each pod"
        if beaten:
            text += f"; next is {beaten[0].pool.name} at {format_amount(beaten[0].price)} {beaten[0].pool.currency}"
        return Condition("HardwareSelected", "True", "PoolSelected", f"{text}.")
    if facts.selection is not None:
        return Condition("HardwareSelected", "False", "NoPoolFits", _no_pool(facts.selection))
    return Condition("HardwareSelected", "Unknown", "Waiting", "Hardware is chosen when the model is known.")


def _no_pool(selection: Selection) -> str:
    if not selection.rejections:
        return "There is no ComputePool: the platform team has to create one."
    reasons = "; ".join(f"{rejection.pool} {rejection.why}" for rejection in selection.rejections)
    return f"No ComputePool fits: {reasons}."


def _budget_admitted(facts: Facts) -> Condition | None:
    def no(reason: str, message: str, status: Status = "False") -> Condition:
        return Condition("BudgetAdmitted", status, reason, message)

    if facts.ledger_problem:
        return no("LedgerUnavailable", f"The book of budgets cannot be used: {facts.ledger_problem}", "Unknown")
    if facts.frozen:
        return no("Frozen", facts.frozen)
    if facts.unheld:
        pods = ", ".join(facts.unheld[:3])
        return no("UnheldPods", f"Money was not held before these pods ran: {pods}. They are in the book now.")
    if facts.unpaid:
        return no(
            "BudgetRequired",
            "No budget covers this service and one is required: ask your team lead for a BudgetPolicy.",
        )
    if facts.selection is not None and facts.selection.other_currency:
        reasons = "; ".join(f"{r.pool} {r.why}" for r in facts.selection.rejections if r.currency)
        return no("CurrencyMismatch", f"Money is never converted: {reasons}. Use one currency in pools and budgets.")
    return _short(facts) or _held(facts)


def _short(facts: Facts) -> Condition | None:
    if facts.curbed is not None:
        curb, pods = facts.curbed.curb, _count(facts.curbed.pods, "pod")
        text = (
            f"{pods} not wanted now: threshold {curb.threshold} of {curb.policy} was reached at "
            f"{format_time(curb.since)} and {curb.action} is in force until it is undone or the period ends."
        )
        return Condition("BudgetAdmitted", "False", "ThresholdReached", text)
    if facts.refused is not None:
        return _relieved(judge_refusal(facts.refused), facts.relief)
    if facts.expiring is not None:
        refused = Refused(facts.expiring, max(0, facts.wanted - facts.funded - facts.training_held))
        return _relieved(judge_refusal(refused), facts.relief)
    return None


def _relieved(refusal: Condition, relief: Relief | None) -> Condition:
    """A refusal of money with what helps."""
    if relief is None or refusal.reason in ("CurrencyMismatch", "LedgerFull"):
        return refusal
    now = []
    if relief.replicas:
        now.append(f"{_count(relief.replicas, 'replica')} can be paid for now")
    if relief.pool:
        now.append(f"{relief.pods} more could be in pool {relief.pool}")
    told = [" and ".join(now)] if now else []
    if relief.affordable_at is not None:
        told.append(f"there is enough for one more from {format_time(relief.affordable_at)} on")
    elif relief.never:
        told.append("no time is known from which there is enough for one more: ask for less, or have the budget raised")
    if not told:
        return refusal
    text = "; ".join(told)
    return replace(refusal, message=f"{refusal.message} {text[0].upper()}{text[1:]}.")


def _held(facts: Facts) -> Condition:
    if facts.wanted == 0:
        return Condition("BudgetAdmitted", "True", "NothingWanted", "No pod is wanted.")
    if facts.option is None and not facts.funded:
        return Condition("BudgetAdmitted", "True", "NothingWanted", "No pod is asked for before hardware is chosen.")
    if not facts.payers and facts.counters:
        counters = " and ".join(facts.counters)
        text = f"{_count(facts.wanted, 'pod')} counted by {counters}; no budget that refuses covers this service."
        return Condition("BudgetAdmitted", "True", "Counted", text)
    if not facts.payers:
        return Condition(
            "BudgetAdmitted", "True", "NoBudget", "No budget covers this service; spending is not limited."
        )
    payers = " and ".join(facts.payers)
    text = f"Money is held for {_count(facts.wanted, 'pod')} by {payers}"
    if (lack := facts.unfunded) is not None:
        text += (
            f"; to keep the fewest replicas until {format_time(lack.until)} {format_amount(lack.need)} {lack.currency} "
            f"more is needed and {lack.policy} has {format_amount(lack.have)} {lack.currency} left for it: raise its "
            "limit or lower minReplicas"
        )
    return Condition("BudgetAdmitted", "True", "FloorUnfundable" if lack else "Held", f"{text}.")


def judge_refusal(refused: Refused) -> Condition:
    """BudgetAdmitted of a service some of whose pods are refused."""
    why = refused.why
    what = f"{_count(refused.pods, 'pod')} refused" if refused.pods else "What runs goes on by break-glass alone"
    need, have = f"{format_amount(why.need)} {why.currency}", f"{format_amount(why.have)} {why.currency}"
    match why.blocked_by:
        case Blocked.RATE:
            reason = "RateLimited"
            text = (
                f"{what}: one more costs {need} an hour and {why.policy} has {have} an hour left below maxRatePerHour."
            )
        case Blocked.LIMIT:
            reason = "BudgetExhausted"
            text = f"{what}: one more needs {need} to be held and {why.policy} has {have} left in its period"
            kept = f", beside {format_amount(why.kept)} {why.currency} that it keeps for others" if why.kept else ""
            text += f"{kept}."
        case Blocked.CURRENCY:
            reason = "CurrencyMismatch"
            text = (
                f"{what}: {why.policy} is in {why.currency} and the pool is priced in another currency. "
                "Money is never converted."
            )
        case Blocked.LEDGER_FULL:
            reason = "LedgerFull"
            text = f"{what}: the book is full ({why.have} places left). Stop something, or use a second cluster."
    if refused.yielded:
        reason = "Displaced"
        text = f"{_count(refused.yielded, 'pod')} stopped for a service of a higher class. {text}"
    elif refused.waiting:
        reason = "MoneyReturning" if refused.waiting >= refused.pods else reason
        text += f" {_count(refused.waiting, 'pod')} will start once pods that are being stopped have ended."
    return Condition("BudgetAdmitted", "False", reason, text)


def _available(facts: Facts) -> Condition | None:
    if not facts.serves:
        return None
    if facts.conflict:
        return Condition("Available", "False", "NameConflict", facts.conflict)
    if facts.suspended:
        return Condition("Available", "False", "Suspended", "The service is suspended: spec.suspend is true.")
    if facts.parked_at is not None:
        text = f"Parked without a replica since {format_time(facts.parked_at)}; a request through the gateway wakes it."
        return Condition("Available", "False", "ScaledToZero", text)
    if facts.ready and facts.ready >= facts.minimum:
        text = f"{_count(facts.ready, 'replica')} ready, at least {facts.minimum} asked for."
        return Condition("Available", "True", "MinimumReplicasReady", text)
    if facts.troubles:
        worst = _worst(facts.troubles)
        return Condition("Available", "False", worst.reason, worst.message)
    return Condition("Available", "False", *_missing(facts))


def _missing(facts: Facts) -> tuple[str, str]:
    """Reason and message of replicas that are not ready although nothing is wrong with them."""
    wanted = _count(max(1, facts.minimum), "replica")
    if facts.woken_at is not None and facts.funded:
        at = format_time(facts.woken_at)
        return "WokenFromZero", f"Woken by a request at {at}; its first replica is starting."
    if facts.ready and facts.ready >= facts.funded:
        return "NotStarted", f"{facts.ready} of {wanted} ready; the other conditions say why not more."
    if facts.downloading:
        return "Downloading", f"{facts.ready} of {wanted} ready; {facts.downloading}."
    if facts.funded:
        return "PodsStarting", f"{facts.ready} of {wanted} ready; the others are starting."
    return "NotStarted", "No replica is started yet; the other conditions say why."


def _worst(troubles: tuple[Trouble, ...]) -> Trouble:
    return min(troubles, key=lambda each: (SEVERITY.index(each.reason), each.pod))


SEVERITY = (
    "DownloadFailed",
    "RemoteCodeDenied",
    "UnsupportedHardware",
    "ModelLoadFailed",
    "OutOfMemory",
    "PodsCrashing",
    "ImagePullFailed",
    "PodsPending",
)
"""What may be wrong with pods, the worst first."""


def _progressing(facts: Facts) -> Condition | None:
    if not facts.serves:
        return None
    if facts.suspended:
        return Condition("Progressing", "False", "Suspended", "The service is suspended: spec.suspend is true.")
    moving = facts.leaving or facts.turnover.raising
    if moving and facts.refused is not None and not facts.troubles:
        text = waiting(facts.leaving, facts.arrived, facts.wanted, facts.refused.why, facts.relief)
        return Condition("Progressing", "True", "WaitingForMoney", text)
    if (told := facts.turnover.told()) is not None:
        return Condition("Progressing", told.status, told.reason, told.message)
    if facts.leaving:
        text = (
            f"{facts.arrived} of {_count(facts.wanted, 'replica')} of the new placement ready; "
            f"{facts.leaving} of the previous one remain."
        )
        if facts.troubles:
            text = f"{text} {_worst(facts.troubles).message}"
        return Condition("Progressing", "True", "RollingOut", text)
    if facts.funded != facts.ready:
        return Condition(
            "Progressing", "True", "Scaling", f"{facts.ready} of {_count(facts.funded, 'funded replica')} ready."
        )
    return Condition("Progressing", "False", "RolloutComplete", f"{_count(facts.ready, 'replica')} as planned.")


def _training_succeeded(facts: Facts) -> Condition | None:
    if not facts.trains:
        return None
    run = facts.run or Record()

    def say(status: Status, reason: str, message: str) -> Condition:
        return Condition("TrainingSucceeded", status, reason, message)

    if run.outcome is Outcome.SUCCEEDED:
        figures = ", ".join(f"{name} {value}" for name, value in sorted(run.metrics.items()))
        return say("True", "Succeeded", f"Run {run.run} published its model{f' with {figures}' if figures else ''}.")
    if run.outcome is Outcome.FAILED:
        reason = "OutOfMemory" if run.out_of_memory else "Failed"
        return say("False", reason, f"Run {run.run} failed after {_count(run.failures, 'failure')}. {run.message}")
    if facts.suspended:
        return say("Unknown", "Suspended", "The service is suspended: spec.suspend is true.")
    number = run.failures + run.interruptions + 1
    if facts.attempt_running:
        return say("Unknown", "Running", f"Attempt {number} of run {run.run} is running.")
    if facts.attempt_queued:
        return say("Unknown", "Starting", f"Attempt {number} of run {run.run} is waiting for its node or image.")
    if facts.attempt_resting:
        text = f"Attempt {number} of run {run.run} is started a little later, since the last one stopped itself."
        return say("Unknown", "Queued", text)
    return say(
        "Unknown", "Queued", f"Attempt {number} of run {run.run} is not started yet; the other conditions say why."
    )


def _scaling_active(facts: Facts) -> Condition | None:
    if facts.scaling is None or facts.suspended:
        return None
    if facts.scaling.problem:
        since = f" since {facts.scaling_since}" if facts.scaling_since else ""
        text = f"The number of replicas is held at {facts.scaling.desired}{since}: {facts.scaling.problem}"
        return Condition("ScalingActive", "False", "MetricsUnavailable", text)
    return Condition("ScalingActive", "True", "MetricsRead", "The number of replicas follows the load.")


_CHAIN: tuple[Callable[[Facts], Condition | None], ...] = (
    _artifact_ready,
    _hardware_selected,
    _budget_admitted,
    _training_succeeded,
    _available,
    _progressing,
    _scaling_active,
)


def _ready(facts: Facts, parts: Mapping[str, Condition]) -> Condition:
    def ready(status: Status, reason: str, message: str) -> Condition:
        return Condition("Ready", status, reason, message)

    if facts.suspended:
        return ready("False", "Suspended", "The service is suspended: spec.suspend is true.")
    training = parts.get("TrainingSucceeded")
    if not facts.serves and training is not None and training.status == "True":
        return ready("True", "TrainingFinished", training.message)
    available = parts.get("Available")
    if available is not None and available.status == "True":
        return ready("True", "Serving", available.message)
    if facts.conflict and available is not None:
        return ready("False", available.reason, available.message)
    if available is not None and available.reason in ("ScaledToZero", "WokenFromZero") and _can_start(parts):
        return ready("True", available.reason, available.message)
    for kind in ("HardwareSelected", "TrainingSucceeded", "ArtifactReady", "BudgetAdmitted", "Available"):
        part = parts.get(kind)
        if part is None or part.status == "True" or (kind, part.reason) in _NOT_THE_CAUSE:
            continue
        return ready("False", part.reason, part.message)
    return ready("False", "Progressing", "The service is being set up.")


def _can_start(parts: Mapping[str, Condition]) -> bool:
    """Whether nothing is known that would keep a replica from starting when somebody asks."""
    return all(parts[kind].status != "False" for kind in ("ArtifactReady", "HardwareSelected", "BudgetAdmitted"))


_NOT_THE_CAUSE = {
    ("HardwareSelected", "Waiting"),
    ("ArtifactReady", "NotDownloaded"),
    ("ArtifactReady", "TrainingUnfinished"),
    ("TrainingSucceeded", "Queued"),
}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
