"""`modelservice ledger`: what a person does with the book of budgets."""

from __future__ import annotations

import argparse

from modelservice import __version__
from modelservice.adapters.kube import Kube, login
from modelservice.controllers.bookkeeper import OPEN
from modelservice.domain.integrity import read_freeze
from modelservice.domain.times import format_time
from modelservice.kit.errors import ApiError, Conflict, Forbidden, NotFound
from modelservice.ports import KubeClient

MANAGER = "modelservice-ledger"
TRIES = 5


class Refused(Exception):
    """What was asked for was not done; the message says why in a sentence."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own commands."""
    parser = commands.add_parser("ledger", help="acknowledge that the book of budgets is frozen")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("acknowledge", help="end the freeze of the book once somebody has looked into it")
    for action in actions.choices.values():
        action.add_argument(
            "--system-namespace",
            default="modelservice-system",
            metavar="NS",
            help="the operator's namespace, where the book is (default: modelservice-system)",
        )
        action.add_argument("--kubeconfig", default="", metavar="FILE", help="instead of KUBECONFIG or ~/.kube/config")


async def run(arguments: argparse.Namespace) -> str:
    """Do what is asked for; returns what was done. Raises Refused and LoginFailed."""
    configuration = await login(arguments.kubeconfig)
    async with Kube(configuration, user_agent=f"modelservice-ledger/{__version__}") as kube:
        try:
            return await acknowledge(kube, arguments.system_namespace)
        except NotFound:
            raise Refused(
                f"There is no book in namespace {arguments.system_namespace}: name the operator's namespace by "
                "--system-namespace."
            ) from None
        except Forbidden as error:
            raise Refused(
                "You may not do this: it takes a member of the break-glass group who may get and update BudgetLedgers "
                f"in {arguments.system_namespace}. The API server said: {error}"
            ) from error
        except ApiError as error:
            raise Refused(f"The API server could not be asked, try again: {error}") from error


async def acknowledge(kube: KubeClient, namespace: str) -> str:
    """Let a frozen book go on as it is; returns what was seen and done. Raises Refused and what the API raises."""
    for _ in range(TRIES):
        found = (await kube.get("BudgetLedger", namespace, OPEN)).object
        freeze = read_freeze(found.pop("freeze", None))
        if freeze is None:
            return "The book is not frozen: there is nothing to acknowledge."
        try:
            await kube.replace(found, manager=MANAGER)
        except Conflict:
            continue
        return (
            f"The book was frozen since {format_time(freeze.since)}: {freeze.because} Pods are started again, and what "
            "no budget pays for is stopped."
        )
    raise Refused(f"The operator wrote the book {TRIES} times meanwhile, try again.")
