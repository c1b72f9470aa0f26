"""One attempt of a training run: stage, run, publish, report."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from modelservice_workers.common.artifacts import StoredArtifact
from modelservice_workers.common.errors import ArtifactError, SettingsError
from modelservice_workers.common.termination import ArtifactReference, TerminationMessage, write_termination
from modelservice_workers.training.metrics_file import ReportedMetrics, read_metrics
from modelservice_workers.training.process import FORWARDED_SIGNALS, CommandNotStartedError, ProcessEnd, run_command
from modelservice_workers.training.publish import find_published, make_staging, publish
from modelservice_workers.training.settings import OUTPUT_VARIABLE, TrainSettings, read_train_settings

EXIT_SUCCEEDED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 75
EXIT_NOT_STARTED: Final = 127

_SIGNAL_EXIT_BASE: Final = 128

_log = logging.getLogger(__name__)


def launch(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one training attempt, write the termination message and return the exit code.

    0: the artifact is published. 75: the command stopped after a checkpoint. Otherwise it failed.
    Raises SettingsError when there is nothing to run or nowhere to publish.
    """
    if not command:
        raise SettingsError("There is no training command; write it after --, as in: train -- python train.py.")
    settings = read_train_settings(environment)
    try:
        code, message = _attempt(command, settings, environment)
    except Exception as error:  # noqa: BLE001 - the operator needs a message whatever happened
        _log.exception("The launcher failed")
        text = f"The training launcher failed: {type(error).__name__}: {error}"
        code, message = EXIT_FAILED, TerminationMessage("Failed", text)
    _log.log(logging.INFO if code == EXIT_SUCCEEDED else logging.ERROR, "%s. %s", message.outcome, message.message)
    write_termination(message, environment)
    return code


def _attempt(
    command: Sequence[str], settings: TrainSettings, environment: Mapping[str, str]
) -> tuple[int, TerminationMessage]:
    try:
        published = find_published(settings.output)
        if published is not None:
            text = f"{settings.output} was already published by an earlier try of this attempt."
            return EXIT_SUCCEEDED, _succeeded(settings, published, read_metrics(settings.output), text)
        staging = make_staging(settings.output)
    except ArtifactError as error:
        return EXIT_FAILED, TerminationMessage("Failed", str(error))
    try:
        return _run_in(staging, command, settings, environment)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_in(
    staging: Path, command: Sequence[str], settings: TrainSettings, environment: Mapping[str, str]
) -> tuple[int, TerminationMessage]:
    child_environment = {"PYTHONUNBUFFERED": "1", **environment, OUTPUT_VARIABLE: str(staging)}
    try:
        end = run_command(command, child_environment)
    except CommandNotStartedError as error:
        return EXIT_NOT_STARTED, TerminationMessage("Failed", str(error))
    reported = read_metrics(staging)
    if end.code == EXIT_INTERRUPTED:
        text = f"The command stopped after a checkpoint (exit code {EXIT_INTERRUPTED})."
        return EXIT_INTERRUPTED, TerminationMessage("Interrupted", text, metrics=reported.values)
    if end.code != EXIT_SUCCEEDED:
        return _describe_failure(end)
    try:
        stored = publish(staging, settings.output, settings.lineage)
    except ArtifactError as error:
        return EXIT_FAILED, TerminationMessage("Failed", str(error))
    reported = read_metrics(settings.output)
    return EXIT_SUCCEEDED, _succeeded(settings, stored, reported, reported.complaint)


def _succeeded(
    settings: TrainSettings, stored: StoredArtifact, reported: ReportedMetrics, text: str
) -> TerminationMessage:
    reference = ArtifactReference(str(settings.output), stored.digest, stored.size_bytes)
    return TerminationMessage("Succeeded", text, reference, reported.values)


def _describe_failure(end: ProcessEnd) -> tuple[int, TerminationMessage]:
    if end.code < 0:
        code = _SIGNAL_EXIT_BASE - end.code
        sentence = f"The command was ended by {signal.Signals(-end.code).name}"
        if -end.code in FORWARDED_SIGNALS:
            sentence += f"; one that saves a checkpoint and exits with {EXIT_INTERRUPTED} is continued"
    else:
        code = end.code
        sentence = f"The command failed with exit code {end.code}"
    last = f": {end.last_error_line}" if end.last_error_line else " and wrote no error."
    return code, TerminationMessage("Failed", sentence + last)
