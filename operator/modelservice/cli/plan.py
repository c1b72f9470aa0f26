"""`modelservice plan`: where services would go, what they would cost and who would pay, from files alone."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from modelservice.api.convert import policy_of, pool_of, runtime_of, service_of, tariff_of
from modelservice.cli.manifests import Found, Manifests, Mistaken, read_manifests
from modelservice.domain.catalogue import Catalogue
from modelservice.domain.modelfacts import ModelFacts, declared, read_facts
from modelservice.domain.outlook import Given
from modelservice.domain.pricetable import Table, parse_table
from modelservice.domain.proposal import propose
from modelservice.domain.specs import Service, ServiceName
from modelservice.domain.times import parse_time
from modelservice.render.plantext import as_json, tables

WRONG_USE = 2
TABLE_KEY = "prices.csv"
INSPECT_SECONDS = 60
INSPECTOR = "modelservice-worker"

T = TypeVar("T")


class NoPlan(Exception):
    """There is no plan; the message says what to do."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    parser = commands.add_parser(
        "plan",
        help="where the services of some files would go, what they would cost and who would pay; needs no cluster",
        description="Read ModelServices, ComputePools, ModelRuntimes and budgets from files and say what the operator "
        "would do with them: ranked options with the memory they need, the cost of a month, and whether budgets pay.",
    )
    parser.add_argument(
        "-f", "--files", type=Path, required=True, metavar="DIR", help="a directory with manifests, or one file"
    )
    parser.add_argument(
        "--pools",
        type=Path,
        metavar="FILE",
        help="more files: pools of the platform, used instead of DIR's, runtimes, budgets",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="SERVICE=PATH",
        help="the model of a service: a directory, a file, or what modelservice-worker inspect -o json wrote of it",
    )
    parser.add_argument(
        "--load",
        action="append",
        default=[],
        metavar="SERVICE=WORK",
        help="the expected load of a service in its scaleMetric: requests in flight, or requests a second",
    )
    parser.add_argument("--budget-required", action="store_true", help="as the setting budget.required of the operator")
    parser.add_argument(
        "--at", default="", metavar="TIME", help="the time whose prices and periods count, RFC 3339 (default: now)"
    )
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")


def run(options: argparse.Namespace) -> int:
    """Print the plan; returns the exit status."""
    try:
        now = _time(options.at)
        paths = [options.files, *([options.pools] if options.pools is not None else [])]
        manifests = read_manifests(paths)
        if options.pools is not None:
            _prefer_pools(manifests, options.files)
        listed, given = _convert(manifests, options, now)
    except (Mistaken, NoPlan) as error:
        print(error, file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    outlook = propose(listed, given, now)
    print(as_json(outlook) if options.output == "json" else tables(outlook), end="")
    return 0


def _time(text: str) -> int:
    if not text:
        return int(time.time())
    try:
        found = parse_time(text)
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"{text!r} is not a time: write one such as 2026-07-01T00:00:00Z.")
    return found


def _prefer_pools(manifests: Manifests, files: Path) -> None:
    """Leave out the pools of the directory where others are given."""
    pools = {found.key: _below(found.path, files) for found, _ in manifests.of("ComputePool")}
    if not all(pools.values()):
        for key in (key for key, inside in pools.items() if inside):
            del manifests.objects[key]


def _below(path: Path, directory: Path) -> bool:
    return path == directory or directory in path.parents


def _convert(manifests: Manifests, options: argparse.Namespace, now: int) -> tuple[Catalogue, Given]:
    """Everything as the decisions see it; raises Mistaken, and ValueError for wrong options."""
    tables_, faults = _tables(manifests), list[str]()

    def convert(kind: str, into: Callable[[Any], T]) -> list[T]:
        made = []
        for found, read in manifests.of(kind):
            try:
                made.append(into(read))
            except ValueError as error:
                faults.append(f"{found.at()}: {kind} {found.key[2]}: {str(error).rstrip('.')}.")
        return made

    pools = convert("ComputePool", lambda obj: pool_of(obj, tariff_of(obj, tables_, now)))
    runtimes = convert("ModelRuntime", runtime_of)
    policies = [*convert("BudgetPolicy", policy_of), *convert("ClusterBudgetPolicy", policy_of)]
    services = convert("ModelService", service_of)
    faults += [fault for found, read in manifests.of("ModelService") if (fault := _contradiction(found, read))]
    if faults:
        raise Mistaken("\n".join(faults))
    listed = Catalogue({one.name: one for one in pools}, {one.name: one for one in runtimes}, tuple(policies))
    namespaces = {
        found.key[2]: {str(k): str(v) for k, v in (found.body["metadata"].get("labels") or {}).items()}
        for found, _ in manifests.of("Namespace")
    }
    names = [service.name for service in services]
    loads = {name: _load(text) for name, text in _pairs("--load", options.load, names).items()}
    headers = {name: _look(Path(text)) for name, text in _pairs("--model", options.model, names).items()}
    facts = {**_declared(services), **headers}
    return listed, Given(tuple(services), namespaces, facts, loads, options.budget_required)


def _contradiction(found: Found, read: Any) -> str:
    """What the API server would refuse in a service that would be planned wrongly."""
    spec, name = read.spec, found.key[2]
    if (spec.model is None) == (spec.training is None):
        return f"{found.at(('spec',))}: ModelService {name}: spec must have exactly one of model and training."
    if spec.inference is None and spec.training is None:
        return f"{found.at(('spec',))}: ModelService {name}: spec must have inference, training or both."
    serving = spec.inference
    if serving is not None and serving.max_replicas is not None and serving.min_replicas > serving.max_replicas:
        where = found.at(("spec", "inference", "minReplicas"))
        return f"{where}: ModelService {name}: inference.minReplicas must not be above inference.maxReplicas."
    return ""


def _tables(manifests: Manifests) -> Mapping[str, Table | str]:
    """The price tables among the ConfigMaps; one that a pool names and that is not there makes its price unknown."""
    found: dict[str, Table | str] = {}
    for each, _ in manifests.of("ConfigMap"):
        text = (each.body.get("data") or {}).get(TABLE_KEY)
        if isinstance(text, str):
            found[each.key[2]] = parse_table(text)
    for _, pool in manifests.of("ComputePool"):
        if pool.spec.price_table is not None:
            name = pool.spec.price_table.config_map_ref.name
            found.setdefault(name, f"the ConfigMap {name} with its price table is not among the files")
    return found


def _pairs(option: str, given: Sequence[str], names: Iterable[ServiceName]) -> dict[ServiceName, str]:
    """What is told of services by name."""
    known = list(names)
    found = {}
    for pair in given:
        who, equals, what = pair.partition("=")
        named = [name for name in known if who in (str(name), name.name)]
        if not equals or not what:
            raise ValueError(f"{option} {pair!r} says nothing: write {option} SERVICE=VALUE.")
        if len(named) != 1:
            there = ", ".join(map(str, named or known)) or "none"
            raise ValueError(
                f"{option} {who!r} names {'several services' if named else 'no service'}: there are {there}."
            )
        found[named[0]] = what
    return found


def _load(text: str) -> Fraction:
    try:
        load = Fraction(text)
    except (ValueError, ZeroDivisionError):
        load = Fraction(-1)
    if load < 0:
        raise ValueError(f"{text!r} is no load: write a number such as 12 or 0.5.")
    return load


def _declared(services: Iterable[Service]) -> dict[ServiceName, ModelFacts]:
    return {one.name: declared(one.parameter_count) for one in services if one.parameter_count}


def _look(path: Path) -> ModelFacts:
    """Facts from a document, or from the headers of a model, which the program of the workers reads."""
    if not path.exists():
        raise NoPlan(
            f"{path}: it does not exist, name a model or what modelservice-worker inspect -o json wrote of it."
        )
    text = path.read_text(errors="replace") if path.is_file() and path.suffix == ".json" else _inspect(path)
    try:
        return read_facts(json.loads(text))
    except (ValueError, RecursionError) as error:
        told = error if not isinstance(error, json.JSONDecodeError) else "it is no JSON"
        raise NoPlan(f"{path}: {told}.") from None


def _inspect(path: Path) -> str:
    program = shutil.which(INSPECTOR)
    if program is None:
        raise NoPlan(
            f"{path}: {INSPECTOR}, which reads headers, is not installed here: run {INSPECTOR} inspect -o json where "
            "it is, and name the file that it gives."
        )
    command = [program, "inspect", str(path), "-o", "json"]
    try:
        done = subprocess.run(  # noqa: S603 - our own program; the path is one word of its command line
            command, capture_output=True, text=True, timeout=INSPECT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        raise NoPlan(f"{path}: {program} did not read its headers within {INSPECT_SECONDS} s.") from None
    if done.returncode == 0:
        return done.stdout
    told = done.stderr.strip().splitlines()
    raise NoPlan(f"{path}: {told[-1].removeprefix(f'{INSPECTOR}: ') if told else 'its headers cannot be read.'}")
