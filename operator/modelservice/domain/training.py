"""One training run: which attempt is next, what an ended one means, when the run is over.

A finished run is never run again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

INTERRUPTED_EXIT = 75
"""Exit code of a process that was told to stop and has saved its state."""
FIRST_REST_SECONDS = 10
LONGEST_REST_SECONDS = 600
MESSAGE_BYTES = 4096
MOST_METRICS = 32
LONGEST_SENTENCE = 1024

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DECIMAL = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?")
_REVISION = re.compile(r"[A-Za-z0-9._:/@+-]{0,128}")
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")


class Outcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Published:
    """The model that an attempt left: where on the output claim, the digest of its manifest, its size in bytes.

    Of a model that was downloaded `path` is the address and `revision` what lay there.
    """

    path: str
    digest: str
    size_bytes: int
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of the latest run; kept in the status.

    `attempt` is the newest that was started, 0 before the first.

    Every attempt that ended without a model is a failure or an interruption, so their sum is the number of ended ones.
    """

    run: str = ""
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    outcome: Outcome | None = None
    message: str = ""
    out_of_memory: bool = False
    metrics: Mapping[str, str] = field(default_factory=dict)
    published: Published | None = None
    started_at: int | None = None
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How the pod of an attempt ended.

    `exit_code` is None when no container reported one; `disrupted` when the cluster took the pod (eviction,
    preemption, node shutdown) or it is not there any more.
    """

    exit_code: int | None = None
    disrupted: bool = False
    out_of_memory: bool = False
    message: str = ""
    started_at: int | None = None
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The Job of one attempt as it is now; `ending` is None while it goes on."""

    number: int
    started_at: int | None = None
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A termination message that follows the contract."""

    outcome: str
    message: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
    artifact: Published | None = None


class BadReport(ValueError):
    """A termination message that does not follow the contract; the text says how."""


def advance_run(
    record: Record, run: str, backoff_limit: int, attempts: Mapping[int, Attempt], output: str, now: int
) -> Record:
    """Take in what has happened to the attempts of a run; they publish below the path `output` of the claim."""
    if record.run != run:
        record = Record(run=run)
    record = replace(record, attempt=max([record.attempt, *attempts]))
    while record.outcome is None:
        number = record.failures + record.interruptions + 1
        attempt = attempts.get(number)
        if attempt is not None and attempt.started_at is not None and record.started_at is None:
            record = replace(record, started_at=attempt.started_at)
        if attempt is None and record.attempt < number:
            break
        ending = Ending(disrupted=True) if attempt is None else attempt.ending
        if ending is None:
            break
        record = _judge(record, ending, number, backoff_limit, output, now)
    return record


def next_attempt(record: Record) -> int | None:
    """The number of the attempt that should be there, None when the run is over."""
    return None if record.outcome is not None else record.failures + record.interruptions + 1


def resting(record: Record, attempts: Mapping[int, Attempt], now: int) -> bool:
    """Whether the next attempt is not started yet, since the last one stopped itself a moment ago.

    The rest doubles with each interruption, so that a command which does nothing but stop neither spends without end
    nor fills the cluster with Jobs. What the cluster has taken is started again at once.
    """
    last = attempts.get(record.failures + record.interruptions)
    ending = last.ending if last is not None else None
    if ending is None or ending.disrupted or ending.exit_code != INTERRUPTED_EXIT or ending.finished_at is None:
        return False
    doublings = min(record.interruptions - 1, 16)
    return now < ending.finished_at + min(FIRST_REST_SECONDS << doublings, LONGEST_REST_SECONDS)


def _judge(record: Record, ending: Ending, number: int, limit: int, output: str, now: int) -> Record:
    started = record.started_at if record.started_at is not None else ending.started_at
    record = replace(record, started_at=started)
    said = ""
    if ending.message:
        try:
            report = parse_report(ending.message)
        except BadReport as bad:
            said = _bounded(ending.message) if ending.exit_code else f"The process ended with 0 but {bad}"
        else:
            if ending.exit_code == 0 and report.outcome == "Succeeded":
                return _finish(record, report, ending, number, output, now)
            said = report.message
    elif ending.exit_code == 0:
        said = "The process ended with 0 but left no termination message, so that its model is not known."
    if ending.disrupted or (ending.exit_code == INTERRUPTED_EXIT and not ending.out_of_memory):
        return replace(record, interruptions=record.interruptions + 1, message=said or _interruption(ending, number))
    return _fail(record, ending, number, limit, said, now)


def _finish(record: Record, report: Report, ending: Ending, number: int, output: str, now: int) -> Record:
    where = f"{output}/{record.run}/{number}"
    artifact = report.artifact
    if artifact is None or not f"/{artifact.path.strip('/')}".endswith(f"/{where}"):
        place = artifact.path if artifact else "nowhere"
        said = f"The termination message says that the model is {place}, and it should be below {where}."
        return _fail(record, ending, number, 0, said, now)
    return replace(
        record,
        outcome=Outcome.SUCCEEDED,
        message=report.message,
        metrics=report.metrics,
        published=replace(artifact, path=where),
        finished_at=ending.finished_at if ending.finished_at is not None else now,
    )


def _fail(record: Record, ending: Ending, number: int, limit: int, said: str, now: int) -> Record:
    failures = record.failures + 1
    code = "without an exit code" if ending.exit_code is None else f"with exit code {ending.exit_code}"
    what = f"Attempt {number} was killed because it used more memory than its limit" if ending.out_of_memory else ""
    what = what or f"Attempt {number} ended {code}"
    record = replace(
        record,
        failures=failures,
        message=_bounded(f"{what}: {said}" if said else f"{what}; see the log of its pod."),
        out_of_memory=ending.out_of_memory,
    )
    if failures <= limit:
        return record
    finished = ending.finished_at if ending.finished_at is not None else now
    return replace(record, outcome=Outcome.FAILED, finished_at=finished)


def _interruption(ending: Ending, number: int) -> str:
    if ending.exit_code == INTERRUPTED_EXIT:
        return f"Attempt {number} stopped after saving its state; the next one goes on from it."
    return f"Attempt {number} lost its pod; that does not count as a failure."


def parse_report(text: str) -> Report:
    """Read a termination message strictly; raises BadReport."""
    if len(text.encode()) > MESSAGE_BYTES:
        raise BadReport(f"its termination message is longer than {MESSAGE_BYTES} bytes.")
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadReport("its termination message is not JSON.") from None
    if not isinstance(document, dict) or document.get("version") != 1 or not isinstance(document.get("outcome"), str):
        raise BadReport("its termination message is not of version 1 with an outcome.")
    message = document.get("message", "")
    if not isinstance(message, str):
        raise BadReport("the message in its termination message is not a text.")
    return Report(
        document["outcome"], _bounded(message), _metrics(document), artifact=_artifact(document.get("artifact"))
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _metrics(document: Mapping[str, Any]) -> dict[str, str]:
    metrics = document.get("metrics", {})
    if not isinstance(metrics, dict) or len(metrics) > MOST_METRICS:
        raise BadReport(f"the metrics in its termination message are not an object of at most {MOST_METRICS} figures.")
    for name, value in metrics.items():
        if not _METRIC.fullmatch(name) or not isinstance(value, str) or not _DECIMAL.fullmatch(value):
            raise BadReport(f"the metric {name[:40]!r} in its termination message is not a decimal string.")
    return metrics


def _artifact(value: Any) -> Published | None:
    if value is None:
        return None
    match value:
        case {"path": str(path), "digest": str(digest), "bytes": int(size)} if (
            _DIGEST.fullmatch(digest) and 0 <= size <= 2**53 and path and ".." not in path.split("/")
        ):
            revision = value.get("revision", "")
            if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
                raise BadReport("the revision in its termination message is not one word.")
            return Published(path, digest, size, revision)
    raise BadReport("the artifact in its termination message has no path, digest (sha256:...) and bytes.")


def _bounded(text: str) -> str:
    clean = " ".join(text.split())
    return clean if len(clean) <= LONGEST_SENTENCE else clean[: LONGEST_SENTENCE - 3] + "..."
