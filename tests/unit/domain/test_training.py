"""Attempts of a training run: what is a failure, when the run is over, and what a termination message must say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain.training import (
    Attempt,
    BadReport,
    Ending,
    Outcome,
    Record,
    advance_run,
    next_attempt,
    parse_report,
    resting,
)

NOW = 5_000
RUN = "abcd1234"
DIGEST = "sha256:" + "0" * 64


def report(number: int = 1, outcome: str = "Succeeded", **more: Any) -> str:
    artifact = {"path": f"/mnt/output/models/m/{RUN}/{number}", "digest": DIGEST, "bytes": 42}
    return json.dumps({"version": 1, "outcome": outcome, "artifact": artifact, "metrics": {"loss": "0.037"}, **more})


def took_in(record: Record, limit: int, *endings: Ending | None) -> Record:
    attempts = {number: Attempt(number, NOW, ending) for number, ending in enumerate(endings, start=1)}
    return advance_run(record, RUN, limit, attempts, "models/m", NOW)


DONE = Ending(exit_code=0, message=report(), finished_at=NOW)
FAILED = Ending(exit_code=1)
OOM = Ending(exit_code=137, out_of_memory=True)
KILLED = Ending(exit_code=137)
EVICTED = [Ending(143, disrupted=True), Ending(137, disrupted=True), Ending(disrupted=True), Ending(disrupted=True)]


def test_a_run_without_attempts_wants_the_first() -> None:
    assert next_attempt(took_in(Record(), 3)) == 1


def test_a_finished_attempt_gives_the_artifact_the_metrics_and_the_times() -> None:
    record = took_in(Record(), 0, DONE)
    assert record.outcome is Outcome.SUCCEEDED
    assert record.metrics == {"loss": "0.037"}
    assert record.published is not None
    assert (record.published.path, record.published.size_bytes) == (f"models/m/{RUN}/1", 42)
    assert (record.started_at, record.finished_at) == (NOW, NOW)
    assert next_attempt(record) is None


@pytest.mark.parametrize("ending", [*EVICTED, Ending(75, message=report(outcome="Interrupted"))])
def test_what_the_cluster_takes_and_what_was_saved_in_time_is_no_failure(ending: Ending) -> None:
    record = took_in(Record(), 0, ending)
    assert (record.failures, record.interruptions, record.outcome) == (0, 1, None)
    assert next_attempt(record) == 2


def test_four_preemptions_and_then_success_is_success() -> None:
    record = took_in(Record(), 3, *EVICTED, Ending(0, message=report(5)))
    assert (record.outcome, record.failures, record.interruptions) == (Outcome.SUCCEEDED, 0, 4)


@pytest.mark.parametrize("ending", [OOM, KILLED, FAILED])
def test_a_failure_counts_and_the_attempts_end(ending: Ending) -> None:
    assert took_in(Record(), 3, *[ending] * 3).outcome is None
    record = took_in(Record(), 3, *[ending] * 4)
    assert (record.outcome, record.failures) == (Outcome.FAILED, 4)
    assert record.out_of_memory == ending.out_of_memory


def test_failures_between_preemptions_end_the_run_at_the_fourth() -> None:
    record = took_in(Record(), 3, FAILED, EVICTED[0], FAILED, EVICTED[0], FAILED, EVICTED[0], FAILED)
    assert (record.outcome, record.failures, record.interruptions) == (Outcome.FAILED, 4, 3)


def test_out_of_memory_is_no_interruption_even_with_the_exit_code_of_one() -> None:
    assert took_in(Record(), 0, Ending(75, out_of_memory=True)).outcome is Outcome.FAILED


def test_an_attempt_is_counted_once_however_often_it_is_seen() -> None:
    record = took_in(Record(), 3, FAILED)
    assert took_in(took_in(record, 3, FAILED), 3, FAILED).failures == 1


def test_an_attempt_whose_job_is_gone_while_it_ran_counts_as_interrupted() -> None:
    record = advance_run(Record(RUN, attempt=1), RUN, 3, {}, "models/m", NOW)
    assert (record.interruptions, next_attempt(record)) == (1, 2)


@pytest.mark.parametrize("endings", [[DONE], [FAILED] * 4])
def test_a_run_that_is_over_stays_over_when_its_jobs_are_deleted(endings: list[Ending]) -> None:
    record = took_in(Record(), 3, *endings)
    assert advance_run(record, RUN, 3, {}, "models/m", NOW + 999) == record


def test_another_spec_is_another_run() -> None:
    record = advance_run(took_in(Record(), 3, DONE), "ffff0000", 3, {}, "models/m", NOW)
    assert (record.run, record.outcome, next_attempt(record)) == ("ffff0000", None, 1)


def test_what_a_failed_process_said_is_kept() -> None:
    said = report(outcome="Failed", message="no rows in the data set")
    record = took_in(Record(), 0, Ending(1, message=said))
    assert record.message == "Attempt 1 ended with exit code 1: no rows in the data set"
    plain = took_in(Record(), 0, Ending(1, message="Traceback:\n  boom"))
    assert plain.message.endswith("Traceback: boom")


def test_exit_0_without_a_good_message_is_a_failure_that_says_so() -> None:
    assert "left no termination message" in took_in(Record(), 0, Ending(0)).message
    assert "not JSON" in took_in(Record(), 0, Ending(0, message="{")).message
    elsewhere = report().replace("models/m", "models/other")
    record = took_in(Record(), 3, Ending(0, message=elsewhere))
    assert record.outcome is Outcome.FAILED
    assert "models/other" in record.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "outcome": "Succeeded"}',
        '{"version": 1}',
        '{"version": 1, "outcome": "Succeeded", "message": 3}',
        report(metrics={"loss": 0.037}),
        report(metrics={"loss": "NaN"}),
        report(metrics={"a b": "1"}),
        report(metrics={f"m{n}": "1" for n in range(33)}),
        report(metrics=[]),
        report(artifact={"path": "/x", "digest": "md5:0", "bytes": 1}),
        report(artifact={"path": "/x/../y", "digest": DIGEST, "bytes": 1}),
        report(artifact={"path": "/x", "digest": DIGEST, "bytes": -1}),
        report(artifact="x"),
        '{"version": 1, "outcome": "Succeeded", "metrics": {"loss": NaN}}',
        report(message="x" * 5000),
        "[" * 4000,
    ],
)
def test_a_message_that_breaks_the_contract_is_refused(text: str) -> None:
    with pytest.raises(BadReport):
        parse_report(text)


SAVED = Ending(75, message=report(outcome="Interrupted"), finished_at=NOW)


@pytest.mark.parametrize(("times", "rest"), [(1, 10), (2, 20), (3, 40), (7, 600), (100, 600)])
def test_after_a_command_that_stops_itself_again_and_again_the_next_attempt_waits_longer(times: int, rest: int) -> None:
    attempts = {number: Attempt(number, NOW, SAVED) for number in range(1, times + 1)}
    record = advance_run(Record(), RUN, 0, attempts, "models/m", NOW)
    assert record.interruptions == times
    assert resting(record, attempts, NOW + rest - 1)
    assert not resting(record, attempts, NOW + rest)


@pytest.mark.parametrize("ending", [FAILED, *EVICTED, replace(SAVED, disrupted=True)])
def test_after_a_failure_or_what_the_cluster_took_the_next_attempt_does_not_wait(ending: Ending) -> None:
    attempts = {1: Attempt(1, NOW, replace(ending, finished_at=NOW))}
    assert not resting(advance_run(Record(), RUN, 3, attempts, "models/m", NOW), attempts, NOW)
