"""The command line of the worker image: `serve`, `train`, `fetch` and `inspect`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from modelservice_workers import __version__
from modelservice_workers.common.errors import (
    ArtifactError,
    HardwareError,
    RemoteCodeError,
    SettingsError,
    WorkerError,
)
from modelservice_workers.common.termination import ArtifactReference, Outcome, TerminationMessage, write_termination

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_MODEL_LOAD: Final = 3
EXIT_HARDWARE: Final = 4
EXIT_FETCH: Final = 5

_USAGE: Final = """\
usage: modelservice-worker serve [options]        serve the model at MODEL_PATH
       modelservice-worker train -- COMMAND ...   run a training command and publish its output
       modelservice-worker fetch [options]        fetch a model into a directory
       modelservice-worker inspect PATH [-o json] say what the headers of a model tell
       modelservice-worker --version
"""

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the command of the process's arguments and exit with its code."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    # The kernel ignores SIGTERM for PID 1 unless it is handled, and importing a server takes a moment.
    signal.signal(signal.SIGTERM, _stop_download if sys.argv[1:2] == ["fetch"] else _exit_at_once)
    code = run(sys.argv[1:], os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    # Torch's threads may not outlive the interpreter's end; nothing is left to clean up.
    os._exit(code)


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command; returns its exit code."""
    command, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    try:
        if command == "serve":
            return _serve(rest, environment)
        if command == "train":
            return _train(rest, environment)
        if command == "fetch":
            return _fetch(rest, environment)
        if command == "inspect":
            return _inspect(rest)
    except SettingsError as error:
        print(f"modelservice-worker: {error}", file=sys.stderr)
        return EXIT_USAGE
    if command == "--version":
        print(f"modelservice-worker {__version__}")
        return 0
    print(_USAGE, end="", file=sys.stdout if command in ("-h", "--help") else sys.stderr)
    return 0 if command in ("-h", "--help") else EXIT_USAGE


def _serve(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    from modelservice_workers.serving.server import serve  # noqa: PLC0415 - training needs no server
    from modelservice_workers.serving.settings import read_settings  # noqa: PLC0415

    try:
        serve(read_settings(arguments, environment))
    except ArtifactError as error:
        _log.error("%s", error)
        outcome: Outcome = "RemoteCodeDenied" if isinstance(error, RemoteCodeError) else "ModelLoadFailed"
        write_termination(TerminationMessage(outcome, str(error)), environment)
        return EXIT_MODEL_LOAD
    except HardwareError as error:
        _log.error("%s", error)
        write_termination(TerminationMessage("UnsupportedHardware", str(error)), environment)
        return EXIT_HARDWARE
    except SettingsError:
        raise
    except WorkerError as error:
        _log.error("%s", error)
        return EXIT_FAILED
    return 0


def _train(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    from modelservice_workers.training.launcher import launch  # noqa: PLC0415 - serving needs no launcher

    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    return launch(command, environment)


def _fetch(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    from modelservice_workers.download.fetching import fetch  # noqa: PLC0415 - the others need no object stores
    from modelservice_workers.download.settings import read_settings  # noqa: PLC0415

    settings = read_settings(arguments, environment)
    try:
        fetched = fetch(settings, lambda progress: _expose(progress.registry, settings.port))
    except ArtifactError as error:
        _log.error("%s", error)
        write_termination(TerminationMessage("FetchFailed", str(error)), environment)
        return EXIT_FETCH
    reference = ArtifactReference(fetched.address, fetched.digest, fetched.size_bytes, fetched.revision)
    write_termination(TerminationMessage("Succeeded", artifact=reference), environment)
    _log.info("%s is whole: %d bytes at %s.", fetched.address, fetched.size_bytes, fetched.revision)
    return 0


def _inspect(arguments: Sequence[str]) -> int:
    from modelservice_workers.inspection.inspecting import inspect  # noqa: PLC0415 - the others need no headers
    from modelservice_workers.inspection.text import describe  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="modelservice-worker inspect", description="Say what a model's headers tell.")
    parser.add_argument("path", type=Path, metavar="PATH", help="the directory of a model, or one file of weights")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")
    options = parser.parse_args(arguments)
    try:
        facts = inspect(options.path)
    except ArtifactError as error:
        print(f"modelservice-worker: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(json.dumps(facts.to_json(), indent=2) + "\n" if options.output == "json" else describe(facts), end="")
    return 0


def _expose(registry: CollectorRegistry, port: int) -> None:
    if port:
        start_http_server(port, registry=registry)


def _stop_download(_number: int, _frame: FrameType | None) -> None:
    """End without waiting for the connections; 0 would let the engine start on a model that is not there."""
    os._exit(128 + signal.SIGTERM)


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
