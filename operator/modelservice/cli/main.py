"""`modelservice`: the entry points of the operator's image."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from modelservice import __version__, app
from modelservice.adapters.kube import LoginFailed
from modelservice.adapters.probes import CannotListen
from modelservice.adapters.telemetry import configure_logging
from modelservice.cli import cost, ledger, plan, rollout, ungate
from modelservice.cli.fuse import FuseProcess
from modelservice.cli.gateway import GatewayProcess
from modelservice.kit.leader import LeaseLost
from modelservice.settings import GatewaySettings, ProcessSettings, Settings, SettingsError

S = TypeVar("S", bound=ProcessSettings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed and worth another start, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="modelservice", description="Models as a service inside a budget.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the operator; settings come from MODELSERVICE_* in the environment")
    commands.add_parser("fuse", help="run the fuse, which stops pods that are not paid for when the operator does not")
    commands.add_parser("gateway", help="run the gateway, which passes requests on and wakes services that are parked")
    ungate.add_arguments(
        commands.add_parser("ungate", help="break-glass: let one pod run although no money is held for it")
    )
    commands.add_parser("version", help="print the version")
    cost.add_parser(commands)
    ledger.add_parser(commands)
    plan.add_parser(commands)
    rollout.add_parser(commands)
    parsed = parser.parse_args(arguments)
    match parsed.command:
        case "run":
            return serve("operator", Settings, app.run)
        case "fuse":
            return serve("fuse", Settings, lambda settings: FuseProcess(settings).run())
        case "gateway":
            return serve("gateway", GatewaySettings, lambda settings: GatewayProcess(settings).run())
        case "ungate" | "ledger" | "rollout" as once:
            return act({"ungate": ungate.run, "ledger": ledger.run, "rollout": rollout.run}[once](parsed))
        case "cost":
            return cost.report(parsed)
        case "plan":
            return plan.run(parsed)
        case _:
            print(__version__)
            return 0


def serve(what: str, kind: type[S], run: Callable[[S], Coroutine[object, object, None]]) -> int:
    """Run the operator, the fuse or the gateway until it is told to stop."""
    try:
        settings = kind.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_level, settings.log_format)
    try:
        asyncio.run(run(settings))
    except (app.Failed, LoginFailed, LeaseLost, CannotListen) as error:
        print(f"The {what} stops: {error}", file=sys.stderr)
        return 1
    return 0


def act(command: Coroutine[object, object, str]) -> int:
    """Do one thing and print what was done."""
    try:
        print(asyncio.run(command))
    except (ungate.Refused, ledger.Refused, rollout.Refused, LoginFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
