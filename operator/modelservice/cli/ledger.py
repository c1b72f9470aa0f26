"""`modelservice ledger`: a copy of the book and its pages, one put back, and a frozen book let go on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelservice import __version__
from modelservice.adapters.kube import Kube, login
from modelservice.controllers.bookkeeper import OPEN
from modelservice.controllers.pages import ledger, page_of, store_page
from modelservice.domain.archive import Archive, Change, Unreadable, changes, read, write
from modelservice.domain.book import Account, Book
from modelservice.domain.codec import DamagedBookError, decode, encode
from modelservice.domain.integrity import raised, read_freeze
from modelservice.domain.ledger import advance
from modelservice.domain.times import format_time
from modelservice.kit.errors import ApiError, Conflict, Forbidden, NotFound
from modelservice.kit.objects import Object
from modelservice.ports import KubeClient

MANAGER = "modelservice-ledger"
TRIES = 5
STDIN = "-"


class Refused(Exception):
    """What was asked for was not done; the message says why in a sentence."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own commands."""
    parser = commands.add_parser("ledger", help="export and import the book of budgets, acknowledge that it is frozen")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("export", help="print the book and the pages of past periods as lines of JSON")
    bring = actions.add_parser("import", help="show what an export has beyond the cluster, and put that back")
    bring.add_argument("file", metavar="FILE", help="an export; - is stdin")
    bring.add_argument("--apply", action="store_true", help="do it; without it nothing is changed")
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
    """Do what is asked for; returns what to print. Raises Refused and LoginFailed."""
    namespace = arguments.system_namespace
    archive = _read_file(arguments.file) if arguments.action == "import" else None
    configuration = await login(arguments.kubeconfig)
    async with Kube(configuration, user_agent=f"modelservice-ledger/{__version__}") as kube:
        try:
            if archive is not None:
                return await put_back(kube, namespace, archive, apply=arguments.apply)
            return await (export if arguments.action == "export" else acknowledge)(kube, namespace)
        except NotFound:
            raise Refused(
                f"There is no book in namespace {namespace}: name the operator's namespace by --system-namespace."
            ) from None
        except Forbidden as error:
            raise Refused(
                "You may not do this: it takes the right to list BudgetLedgers, and to write them a member of the "
                f"break-glass group who may get, create and update them in {namespace}. The API server said: {error}"
            ) from error
        except DamagedBookError as error:
            raise Refused(f"The ledger in namespace {namespace} must be repaired first: {error}.") from error
        except ApiError as error:
            raise Refused(f"The API server could not be asked, try again: {error}") from error


async def export(kube: KubeClient, namespace: str) -> str:
    """The text of an export. Raises what the API raises, NotFound when there is no book."""
    stored, book, pages, date = await _read(kube, namespace)
    if "resourceVersion" not in stored["metadata"]:
        raise NotFound("there is no book")
    cluster = (await kube.get("Namespace", "", "kube-system")).object["metadata"]["uid"]
    pages.sort(key=lambda page: (page.policy, page.start, page.end, page.lines))
    return write(Archive(f"{cluster}/{namespace}", date, book, tuple(pages))).rstrip("\n")


async def put_back(kube: KubeClient, namespace: str, archive: Archive, *, apply: bool) -> str:
    """Show what an export has beyond the cluster and, to ``apply`` it, store that. Raises what the API raises."""
    for _ in range(TRIES):
        stored, book, pages, date = await _read(kube, namespace)
        made = changes(archive, book, pages, date)
        useful = [change for change in made if change.page or change.short]
        try:
            if apply:
                await _store(kube, namespace, stored, advance(book, date), useful)
        except Conflict:
            continue
        end = "Nothing is to be done." if not useful else "This was done." if apply else "To do this, add --apply."
        head = f"An export of {archive.ledger} from {format_time(archive.time)}:"
        return "\n".join([head, *(f"  {change.text}" for change in made), end])
    raise Refused(f"The operator wrote the book {TRIES} times meanwhile, try again.")


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


async def _read(kube: KubeClient, namespace: str) -> tuple[Object, Book, list[Account], int]:
    """The object of the book, without a version when there is none; the book, the pages and the server's time."""
    listing = await kube.list("BudgetLedger", namespace=namespace)
    stored = next((one for one in listing.items if one["metadata"]["name"] == OPEN), ledger(namespace, OPEN))
    pages = [page for one in listing.items if (page := page_of(one)) is not None]
    return stored, decode(stored.get("book") or {}), pages, listing.date


async def _store(kube: KubeClient, namespace: str, stored: Object, book: Book, useful: list[Change]) -> None:
    for change in useful:
        if change.page is not None:
            await store_page(kube, namespace, change.page)
    short = [change.short for change in useful if change.short is not None]
    if short:
        store = kube.replace if "resourceVersion" in stored["metadata"] else kube.create
        await store({**stored, "book": encode(raised(book, short))}, manager=MANAGER)


def _read_file(name: str) -> Archive:
    try:
        return read(sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"{name} cannot be read ({error.strerror}): name an export.") from error
    except UnicodeDecodeError:
        raise Refused(f"{name} cannot be used. It is no text: name an export.") from None
    except Unreadable as error:
        raise Refused(f"{name} cannot be used. {error}") from error
