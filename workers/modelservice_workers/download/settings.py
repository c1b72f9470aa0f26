"""Options of `modelservice-worker fetch`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelservice_workers.common.errors import SettingsError
from modelservice_workers.download.addresses import Address, parse_address


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What to fetch, where to, and how; sizes in bytes, port 0 serves no metrics."""

    address: Address
    target: Path
    revision: str
    cache: Path | None
    limit_bytes: int
    parallel: int
    port: int
    scripts: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override] # raising never returns either
        raise SettingsError(f"fetch: {message}.")


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> FetchSettings:
    """Read the options, each of which has a variable; raises SettingsError."""
    parser = _Parser(prog="modelservice-worker fetch", description="Fetch a model into a directory.")

    def option(name: str, variable: str, text: str, default: str = "") -> None:
        value = environment.get(variable, default)
        parser.add_argument(name, default=value, help=f"{text} ({variable})", required=not value and default == "!")

    option("--uri", "MODELSERVICE_STORAGE_URI", "hf://, s3://, gs://, http(s):// or file:// address of the model", "!")
    option("--target", "MODELSERVICE_MODEL_DIR", "directory that appears when the model is whole", "!")
    option("--revision", "MODELSERVICE_MODEL_REVISION", "revision that an earlier fetch reported, to be kept to")
    option("--cache", "MODELSERVICE_MODEL_CACHE", "directory that the pods of a node share")
    option("--limit-bytes", "MODELSERVICE_MODEL_LIMIT_BYTES", "most bytes that a model may have", str(1 << 40))
    option("--parallel", "MODELSERVICE_DOWNLOAD_PARALLEL", "files fetched at a time", "4")
    option("--port", "MODELSERVICE_DOWNLOAD_PORT", "port of the progress' metrics, 0 for none", "0")
    parser.add_argument("--scripts", action="store_true", help="keep Python files, for a model that runs its own code")
    found = parser.parse_args(arguments)
    if "!" in (found.uri, found.target):
        raise SettingsError("fetch needs --uri and --target.")
    return FetchSettings(
        parse_address(found.uri),
        Path(found.target),
        found.revision,
        Path(found.cache) if found.cache else None,
        _whole("--limit-bytes", found.limit_bytes, 1),
        _whole("--parallel", found.parallel, 1),
        _whole("--port", found.port, 0),
        found.scripts,
    )


def _whole(name: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise SettingsError(f"fetch: {name} must be a whole number from {least}, not {text!r}.")
    return int(text)
