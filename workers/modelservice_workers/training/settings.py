"""Settings of the training launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import SettingsError

OUTPUT_VARIABLE: Final = "MODELSERVICE_OUTPUT_DIR"

_LINEAGE_VARIABLES: Final = {
    "run": "MODELSERVICE_RUN",
    "attempt": "MODELSERVICE_ATTEMPT",
    "service": "MODELSERVICE_SERVICE",
    "namespace": "MODELSERVICE_NAMESPACE",
}


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Where the result is published, and where it comes from."""

    output: Path
    lineage: Mapping[str, str]


def read_train_settings(environment: Mapping[str, str]) -> TrainSettings:
    """Read the variables that the operator sets; raises SettingsError."""
    output = environment.get(OUTPUT_VARIABLE)
    if not output or not Path(output).is_absolute():
        raise SettingsError(f"{OUTPUT_VARIABLE} is {output or 'not set'}; it must be an absolute path.")
    lineage = {key: value for key, name in _LINEAGE_VARIABLES.items() if (value := environment.get(name))}
    return TrainSettings(Path(output), lineage)
