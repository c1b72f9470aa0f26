"""`modelservice`: the entry points of the operator's image."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from modelservice import __version__, app
from modelservice.adapters.kube import LoginFailed
from modelservice.adapters.telemetry import configure_logging
from modelservice.kit.leader import LeaseLost
from modelservice.settings import Settings, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed and worth another start, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="modelservice", description="Models as a service inside a budget.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the operator; settings come from MODELSERVICE_* in the environment")
    commands.add_parser("version", help="print the version")
    match parser.parse_args(arguments).command:
        case "run":
            return run()
        case _:
            print(__version__)
            return 0


def run() -> int:
    """Run the operator until it is told to stop."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_level, settings.log_format)
    try:
        asyncio.run(app.run(settings))
    except (app.Failed, LoginFailed, LeaseLost) as error:
        print(f"The operator stops: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
