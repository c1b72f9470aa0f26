"""Errors that end a worker; each text is one sentence that tells its reader what to do."""

from __future__ import annotations

from typing import Final

_PLACE: Final = "Exception from "  # OpenVINO tells lines of its source first


class WorkerError(Exception):
    """Base of the errors that are shown to users as they are."""


class SettingsError(WorkerError):
    """A flag or variable holds a value that cannot be used."""


class ArtifactError(WorkerError):
    """A model artifact is missing, damaged, or not what its manifest says."""


class RemoteCodeError(ArtifactError):
    """The model cannot be loaded without code that it brings, and that may not run."""


class HardwareError(WorkerError):
    """The machine cannot do what the model needs, whatever is done to the artifact."""


def summarize(error: BaseException) -> str:
    """The first line of a library's error that says something, or the name of its kind."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.startswith(_PLACE)), type(error).__name__)
