"""What the conditions say: each reason from the facts that cause it, and Ready from what is the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.asks import Refused, Unfunded
from modelservice.domain.book import Blocked, Refusal
from modelservice.domain.conditions import REASONS, Condition, Facts, Problem, Trouble, judge
from modelservice.domain.curbs import Curb, Curbed
from modelservice.domain.demand import Memory
from modelservice.domain.placement import Selection, select
from modelservice.domain.progress import Turnover
from modelservice.domain.relief import Relief
from modelservice.domain.rollout import Canary, Revision, Stance, State
from modelservice.domain.rollout import Record as Revisions
from modelservice.domain.thresholds import Action
from modelservice.domain.training import Outcome, Record

from tests.unit.domain.specs import NOW, USD, pool, runtime, workload

SELECTION = select(workload(), runtime(), [pool("cpu"), pool("dear", 9 * USD)], {})
RATE = Refusal(Blocked.RATE, "ns/team", USD, USD // 2, "USD")
LIMIT = Refusal(Blocked.LIMIT, "ns/team", 2 * USD, 0, "USD")
GOOD = Facts(
    artifact="pvc://models/m",
    selection=SELECTION,
    option=SELECTION.options[0],
    payers=("ns/team",),
    wanted=2,
    funded=2,
    minimum=1,
    ready=2,
)
STARTING = replace(GOOD, ready=0)
TRAINING = replace(GOOD, trains=True, artifact="", ready=0, funded=0, wanted=1, run=Record("r"))
DONE = Record("r", 1, outcome=Outcome.SUCCEEDED, metrics={"loss": "0.037"})
PARKED = replace(GOOD, wanted=0, funded=0, minimum=0, ready=0, parked_at=NOW)
WOKEN = replace(GOOD, wanted=1, funded=1, minimum=0, ready=0, woken_at=NOW)
LOST = Record("r", 1, failures=1, outcome=Outcome.FAILED, message="It said no.")


def trouble(reason: str) -> Facts:
    return replace(STARTING, troubles=(Trouble("p", reason, f"{reason} of p."),))


def refused(blocked: Blocked) -> Facts:
    return replace(GOOD, refused=Refused(replace(RATE, blocked_by=blocked), 1))


def revisions(state: State, message: str = "") -> Revisions:
    return Revisions((Revision("new", state=state, message=message), Revision("old", state=State.SERVING)))


def trying(canary: Canary) -> Turnover:
    return Turnover("new", replace(revisions(State.CANARY), canary=canary), Stance("old", "new", 1, "old"))


CASES: list[tuple[Facts, str, str, str, str]] = [
    (GOOD, "Ready", "True", "Serving", "2 replicas ready"),
    (replace(GOOD, suspended=True), "Ready", "False", "Suspended", "spec.suspend"),
    (replace(TRAINING, serves=False, run=DONE), "Ready", "True", "TrainingFinished", "loss 0.037"),
    (replace(STARTING, funded=0, serves=False), "Ready", "False", "Progressing", "being set up"),
    (GOOD, "ArtifactReady", "True", "Resolved", "pvc://models/m"),
    (replace(GOOD, missing_claim="models"), "ArtifactReady", "False", "ClaimNotFound", "PersistentVolumeClaim models"),
    (TRAINING, "ArtifactReady", "False", "TrainingUnfinished", "not published"),
    (GOOD, "HardwareSelected", "True", "PoolSelected", "Pool cpu, OnDemand, at 1.00 USD an hour"),
    (GOOD, "HardwareSelected", "True", "PoolSelected", "next is dear at 2.25 USD"),
    (
        replace(GOOD, option=None, selection=Selection((), ())),
        "HardwareSelected",
        "False",
        "NoPoolFits",
        "no ComputePool",
    ),
    (
        replace(GOOD, option=None, selection=select(workload(pools=("x",)), runtime(), [pool()], {})),
        "HardwareSelected",
        "False",
        "NoPoolFits",
        "cpu is not among placement.pools",
    ),
    (replace(GOOD, problem=Problem("RuntimeNotFound", "No.")), "HardwareSelected", "False", "RuntimeNotFound", "No."),
    (replace(GOOD, problem=Problem("RuntimeAmbiguous", "2.")), "HardwareSelected", "False", "RuntimeAmbiguous", "2."),
    (replace(GOOD, problem=Problem("FormatUnknown", "No.")), "HardwareSelected", "False", "FormatUnknown", "No."),
    (
        replace(GOOD, problem=Problem("RuntimeUnsuitable", "No.")),
        "HardwareSelected",
        "False",
        "RuntimeUnsuitable",
        "No.",
    ),
    (replace(GOOD, option=None, selection=None), "HardwareSelected", "Unknown", "Waiting", "when the model is known"),
    (GOOD, "BudgetAdmitted", "True", "Held", "2 pods by ns/team"),
    (replace(GOOD, payers=()), "BudgetAdmitted", "True", "NoBudget", "not limited"),
    (PARKED, "Available", "False", "ScaledToZero", "since 2026-01-01T06:00:00Z"),
    (PARKED, "Ready", "True", "ScaledToZero", "a request through the gateway wakes it"),
    (PARKED, "BudgetAdmitted", "True", "NothingWanted", "No pod"),
    (replace(PARKED, ledger_problem="It is away."), "Ready", "True", "ScaledToZero", "Parked"),
    (WOKEN, "Available", "False", "WokenFromZero", "by a request at 2026-01-01T06:00:00Z"),
    (WOKEN, "Ready", "True", "WokenFromZero", "first replica is starting"),
    (replace(WOKEN, ready=1), "Ready", "True", "Serving", "1 replica ready"),
    (replace(GOOD, minimum=3), "Available", "False", "NotStarted", "2 of 3 replicas ready; the other conditions"),
    (replace(GOOD, minimum=3, funded=3), "Available", "False", "PodsStarting", "the others are starting"),
    (replace(STARTING, unsettled=True), "ArtifactReady", "Unknown", "NotDownloaded", "finds out what lies at pvc://"),
    (
        replace(STARTING, downloading="p downloads hf://org/tiny"),
        "Available",
        "False",
        "Downloading",
        "0 of 1 replica ready; p downloads hf://org/tiny.",
    ),
    (trouble("DownloadFailed"), "Available", "False", "DownloadFailed", "DownloadFailed of p."),
    (trouble("RemoteCodeDenied"), "Available", "False", "RemoteCodeDenied", "RemoteCodeDenied of p."),
    (trouble("UnsupportedHardware"), "Available", "False", "UnsupportedHardware", "UnsupportedHardware of p."),
    (replace(TRAINING, training_held=1), "Available", "False", "NotStarted", "other conditions"),
    (replace(TRAINING, training_held=1), "Progressing", "False", "RolloutComplete", "0 replicas"),
    (replace(GOOD, option=None, funded=0), "BudgetAdmitted", "True", "NothingWanted", "before hardware is chosen"),
    (replace(GOOD, payers=(), counters=("ns/trial",)), "BudgetAdmitted", "True", "Counted", "counted by ns/trial"),
    (replace(GOOD, wanted=0), "BudgetAdmitted", "True", "NothingWanted", "No pod"),
    (refused(Blocked.LIMIT), "BudgetAdmitted", "False", "BudgetExhausted", "needs 1.00 USD to be held"),
    (refused(Blocked.RATE), "BudgetAdmitted", "False", "RateLimited", "1 pod refused: one more costs 1.00 USD an hour"),
    (replace(GOOD, expiring=LIMIT), "BudgetAdmitted", "False", "BudgetExhausted", "2.00 USD"),
    (
        replace(GOOD, refused=Refused(replace(LIMIT, kept=3 * USD), 1)),
        "BudgetAdmitted",
        "False",
        "BudgetExhausted",
        "has 0.00 USD left in its period, beside 3.00 USD that it keeps for others.",
    ),
    (
        replace(GOOD, refused=Refused(LIMIT, 2, waiting=2)),
        "BudgetAdmitted",
        "False",
        "MoneyReturning",
        "2 pods will start once pods that are being stopped have ended.",
    ),
    (replace(GOOD, refused=Refused(LIMIT, 2, waiting=1)), "BudgetAdmitted", "False", "BudgetExhausted", "1 pod will"),
    (
        replace(GOOD, refused=Refused(LIMIT, 3, yielded=2)),
        "BudgetAdmitted",
        "False",
        "Displaced",
        "2 pods stopped for a service of a higher class.",
    ),
    (
        replace(GOOD, unfunded=Unfunded("ns/team", 5 * USD, 2 * USD, "USD", 86400)),
        "BudgetAdmitted",
        "True",
        "FloorUnfundable",
        "until 1970-01-02T00:00:00Z 5.00 USD more is needed and ns/team has 2.00 USD left for it",
    ),
    (
        replace(GOOD, curbed=Curbed(Curb("ns/team", "most", Action.SCALE_TO_ZERO, 0), 2)),
        "BudgetAdmitted",
        "False",
        "ThresholdReached",
        "2 pods not wanted now: threshold most of ns/team was reached at 1970-01-01T00:00:00Z and ScaleToZero is in",
    ),
    (replace(GOOD, unpaid=True), "BudgetAdmitted", "False", "BudgetRequired", "ask your team lead"),
    (refused(Blocked.CURRENCY), "BudgetAdmitted", "False", "CurrencyMismatch", "never converted"),
    (
        replace(GOOD, option=None, selection=select(workload(), runtime(), [pool()], {"cpu": {"EUR"}})),
        "BudgetAdmitted",
        "False",
        "CurrencyMismatch",
        "cpu is priced in USD",
    ),
    (refused(Blocked.LEDGER_FULL), "BudgetAdmitted", "False", "LedgerFull", "a second cluster"),
    (replace(GOOD, ledger_problem="It is gone."), "BudgetAdmitted", "Unknown", "LedgerUnavailable", "It is gone."),
    (replace(GOOD, unheld=("p",), frozen="It is less."), "BudgetAdmitted", "False", "Frozen", "It is less."),
    (replace(GOOD, unheld=("p",)), "BudgetAdmitted", "False", "UnheldPods", "before these pods ran: p"),
    (GOOD, "Available", "True", "MinimumReplicasReady", "at least 1"),
    (replace(GOOD, conflict="Taken."), "Available", "False", "NameConflict", "Taken."),
    *((trouble(reason), "Available", "False", reason, "of p.") for reason in ("ModelLoadFailed", "OutOfMemory")),
    *((trouble(reason), "Available", "False", reason, "of p.") for reason in ("PodsCrashing", "ImagePullFailed")),
    (trouble("PodsPending"), "Available", "False", "PodsPending", "of p."),
    (STARTING, "Available", "False", "PodsStarting", "0 of 1 replica ready"),
    (replace(STARTING, funded=0), "Available", "False", "NotStarted", "other conditions"),
    (replace(GOOD, suspended=True), "Available", "False", "Suspended", "spec.suspend"),
    (replace(GOOD, leaving=1, arrived=1), "Progressing", "True", "RollingOut", "1 of 2 replicas of the new placement"),
    (
        replace(trouble("ImagePullFailed"), leaving=1, refused=Refused(RATE, 1)),
        "Progressing",
        "True",
        "RollingOut",
        "1 of the previous one remain. ImagePullFailed of p.",
    ),
    (
        replace(GOOD, leaving=2, refused=Refused(RATE, 1)),
        "Progressing",
        "True",
        "WaitingForMoney",
        "until there is money",
    ),
    (
        replace(GOOD, leaving=2, refused=Refused(RATE, 1), relief=Relief(1_800_000_000, never=False, replicas=0)),
        "Progressing",
        "True",
        "WaitingForMoney",
        "one more needs 1.00 USD an hour and ns/team has 0.50 USD an hour, enough from 2027-01-15T08:00:00Z on",
    ),
    (
        replace(GOOD, refused=Refused(LIMIT, 1), turnover=trying(Canary(0, 20, 10))),
        "Progressing",
        "True",
        "WaitingForMoney",
        "The canary waits until there is money for its replicas beside those that serve; one more needs 2.00 USD",
    ),
    (
        replace(GOOD, turnover=trying(Canary(0, 10, 10))),
        "Progressing",
        "True",
        "Canary",
        "new has 10 % of the requests",
    ),
    (replace(GOOD, turnover=trying(Canary(0, 20, 10))), "Progressing", "True", "Canary", "and gets 20 % once"),
    (
        replace(GOOD, turnover=trying(Canary(0, 10, 10, held="nothing is known"))),
        "Progressing",
        "True",
        "CanaryHeld",
        "Revision new stays at 10 % of the requests: nothing is known.",
    ),
    (
        replace(GOOD, turnover=Turnover("new", revisions(State.ROLLED_BACK, "It is slow."), Stance("old"))),
        "Progressing",
        "False",
        "RolledBack",
        "new was rolled back and gets no requests: It is slow. Revision old serves",
    ),
    (
        replace(GOOD, turnover=Turnover("new", revisions(State.STARTING), Stance("new", failing="It crashes."))),
        "Progressing",
        "False",
        "RolloutFailed",
        "Revision new does not get ready: It crashes. Revision old keeps serving",
    ),
    (
        replace(GOOD, turnover=Turnover("new", revisions(State.UNDONE), Stance("old", undone=True))),
        "Progressing",
        "False",
        "Undone",
        "Revision old serves in place of new",
    ),
    (STARTING, "Progressing", "True", "Scaling", "0 of 2 funded replicas ready"),
    (GOOD, "Progressing", "False", "RolloutComplete", "as planned"),
    (replace(GOOD, suspended=True), "Progressing", "False", "Suspended", "spec.suspend"),
    (TRAINING, "TrainingSucceeded", "Unknown", "Queued", "Attempt 1 of run r"),
    (replace(TRAINING, attempt_queued=True), "TrainingSucceeded", "Unknown", "Starting", "node or image"),
    (replace(TRAINING, attempt_running=True), "TrainingSucceeded", "Unknown", "Running", "is running"),
    (replace(TRAINING, suspended=True), "TrainingSucceeded", "Unknown", "Suspended", "spec.suspend"),
    (replace(TRAINING, run=DONE), "TrainingSucceeded", "True", "Succeeded", "loss 0.037"),
    (replace(TRAINING, run=LOST), "TrainingSucceeded", "False", "Failed", "It said no."),
    (
        replace(TRAINING, run=replace(LOST, out_of_memory=True)),
        "TrainingSucceeded",
        "False",
        "OutOfMemory",
        "1 failure",
    ),
    (replace(GOOD, scaling=Memory(2)), "ScalingActive", "True", "MetricsRead", "follows the load"),
    (
        replace(GOOD, scaling=Memory(2, problem="Gone."), scaling_since="noon"),
        "ScalingActive",
        "False",
        "MetricsUnavailable",
        "held at 2 since noon: Gone.",
    ),
]


def of(facts: Facts, kind: str) -> Condition:
    return next(condition for condition in judge(facts) if condition.type == kind)


@pytest.mark.parametrize(("facts", "kind", "status", "reason", "said"), CASES, ids=[f"{c[1]} {c[3]}" for c in CASES])
def test_facts_lead_to_a_status_a_reason_and_a_sentence(
    facts: Facts, kind: str, status: str, reason: str, said: str
) -> None:
    condition = of(facts, kind)
    assert (condition.status, condition.reason) == (status, reason)
    assert said in condition.message
    assert condition.message.endswith(".")


PASSED_ON: list[tuple[Facts, str, str]] = [
    (replace(PARKED, problem=Problem("RuntimeNotFound", "No.")), "RuntimeNotFound", "No."),
    (replace(PARKED, missing_claim="models"), "ClaimNotFound", "PersistentVolumeClaim models"),
    (replace(WOKEN, funded=0, refused=Refused(RATE, 1)), "RateLimited", "1 pod refused"),
    (replace(WOKEN, troubles=(Trouble("p", "PodsCrashing", "It."),)), "PodsCrashing", "It."),
    (replace(WOKEN, woken_at=None), "PodsStarting", "0 of 1 replica ready"),
]


@pytest.mark.parametrize(("facts", "reason", "part"), PASSED_ON, ids=[case[1] for case in PASSED_ON])
def test_at_zero_ready_still_passes_on_what_would_keep_a_replica_from_starting(
    facts: Facts, reason: str, part: str
) -> None:
    ready = judge(facts)[0]
    assert (ready.status, ready.reason) == ("False", reason)
    assert part in ready.message


def test_every_reason_has_a_case() -> None:
    tried = {(kind, reason) for _, kind, _, reason, _ in CASES}
    assert tried == {(kind, reason) for kind, reasons in REASONS.items() for reason in reasons}


@pytest.mark.parametrize("facts", [case[0] for case in CASES])
def test_ready_has_a_reason_of_its_own_or_of_another_condition(facts: Facts) -> None:
    ready, *parts = judge(facts)
    own = REASONS["Ready"]
    assert ready.reason in own or (ready.reason, ready.message) in {(part.reason, part.message) for part in parts}
    assert {part.reason for part in parts} <= frozenset().union(*REASONS.values())


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(TRAINING, attempt_running=True), "Running"),
        (replace(STARTING, unsettled=True, downloading="p downloads hf://org/tiny"), "Downloading"),
        (replace(STARTING, unsettled=True, refused=Refused(LIMIT, 1)), "BudgetExhausted"),
        (replace(TRAINING, run=LOST), "Failed"),
        (replace(TRAINING, refused=Refused(LIMIT, 1)), "BudgetExhausted"),
        (replace(STARTING, funded=0, missing_claim="x", option=None, selection=None), "ClaimNotFound"),
        (replace(STARTING, funded=0, option=None, selection=Selection((), ())), "NoPoolFits"),
        (replace(STARTING, funded=0, refused=Refused(RATE, 1)), "RateLimited"),
        (replace(GOOD, conflict="Taken.", ready=0), "NameConflict"),
        (trouble("ModelLoadFailed"), "ModelLoadFailed"),
    ],
)
def test_ready_passes_on_the_condition_that_is_the_cause(facts: Facts, reason: str) -> None:
    ready = of(facts, "Ready")
    assert (ready.status, ready.reason) == ("False", reason)


def test_a_service_that_answers_is_ready_although_the_budget_refuses_more() -> None:
    assert of(replace(GOOD, refused=Refused(RATE, 1)), "Ready").status == "True"


def test_conditions_that_do_not_apply_are_not_there() -> None:
    assert {one.type for one in judge(GOOD)} == REASONS.keys() - {"TrainingSucceeded", "ScalingActive"}
    assert "Available" not in {one.type for one in judge(replace(TRAINING, serves=False))}


@pytest.mark.parametrize(
    ("relief", "said"),
    [
        (
            Relief(1_785_542_400, never=False, replicas=2, pool="small", pods=1),
            (
                "2 replicas can be paid for now and 1 more could be in pool small; "
                "there is enough for one more from 2026-08-01T00:00:00Z on."
            ),
        ),
        (
            Relief(None, never=True, replicas=0),
            "No time is known from which there is enough for one more: ask for less, or have the budget raised.",
        ),
        (Relief(None, never=False, replicas=1), "1 replica can be paid for now."),
        (Relief(None, never=False, replicas=0), ""),
    ],
)
def test_a_refusal_of_money_says_what_helps(relief: Relief, said: str) -> None:
    for facts in (replace(GOOD, refused=Refused(RATE, 1)), replace(GOOD, expiring=LIMIT)):
        alone = of(facts, "BudgetAdmitted").message
        assert of(replace(facts, relief=relief), "BudgetAdmitted").message == f"{alone} {said}".strip()
    for blocked in (Blocked.CURRENCY, Blocked.LEDGER_FULL):
        other = refused(blocked)
        assert of(replace(other, relief=relief), "BudgetAdmitted") == of(other, "BudgetAdmitted")
