"""Requests per second and latency of the serving worker beside its peers, in one run on one machine.

    .venv-workers/bin/python -m tests.bench.serving [--models mlp] [--peers mosec,kserve] [--seconds 1] [--rounds 4]

Prints a JSON object a line. Every server gets the same rows over keep-alive connections. All are started once; each
round goes through all of them, and while one is measured the others are stopped in their tracks. Medians of the rounds
count, and a ratio has the 95 % interval of the rounds' own ratios. A peer is shown at its best setting for each
concurrency: no batching, or windows of 1 and 5 ms (BentoML: its adaptive batches); KServe's SDK does not batch in its
process. Settings that the first round shows to be far behind are not measured again.
In the same rounds the engine computes batches as large as the concurrency without a server: the machine's own limit.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.figures import report
from tests.bench.loadgen import Round, measure
from tests.bench.processes import Processes
from tests.bench.servers import (
    ENVIRONMENTS,
    OWN,
    RIVALS,
    PeerError,
    Server,
    make_environment,
    make_requests,
    start,
)

CONCURRENCIES = (1, 16, 64)
WARM_SECONDS = 0.5
FAR_BEHIND = 0.9
LONGER = {"mlp": 1.0, "encoder": 1.5}

# Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom.
T_POINTS = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


Rounds = dict[tuple[str, str, int], list[Round]]


@dataclass(frozen=True)
class Contender:
    """A server that runs with one setting of its batches."""

    server: Server
    batching: str
    port: int
    processes: Processes
    requests: list[bytes]

    def worth_measuring(self, found: Rounds, concurrency: int) -> bool:
        """Whether the first round leaves it open that this setting is the server's best."""
        rounds = found[self.server.name, self.batching, concurrency]
        if not rounds:
            return True
        firsts = [found[self.server.name, batching, concurrency][:1] for batching in self.server.batchings]
        return rounds[0].rate >= FAR_BEHIND * max(each.rate for first in firsts for each in first)

    def measure(self, found: Rounds, concurrency: int, seconds: float) -> bool:
        """Add one round, with the machine to itself; False when the server fails, and then it counts no more."""
        self.processes.thaw()
        try:
            measure(self.port, self.requests, concurrency, seconds / 10)
            measured = measure(self.port, self.requests, concurrency, seconds)
            if not measured.latencies:
                raise RuntimeError(f"none of {measured.failures} requests was answered with 200")
        except (OSError, RuntimeError) as error:
            print(f"left out: {self.server.name} (batching {self.batching}) failed: {error!r}", file=sys.stderr)
            for each in CONCURRENCIES:
                found.pop((self.server.name, self.batching, each), None)
            return False
        finally:
            self.processes.freeze()
        found[self.server.name, self.batching, concurrency].append(measured)
        return True


def start_all(stack: ExitStack, model: Path, peers: Sequence[tuple[Server, Path]], seed: int) -> list[Contender]:
    """Every server with every setting, each warmed and stopped in its tracks; what does not start is said."""
    contenders = []
    for server, environment in peers:
        for batching in server.batchings:
            try:
                port, processes = stack.enter_context(start(server, environment, model, batching))
                requests = make_requests(server, model.stem, seed)
                measure(port, requests, 16, WARM_SECONDS)
            except (PeerError, OSError, RuntimeError) as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            processes.freeze()
            contenders.append(Contender(server, batching, port, processes, requests))
    return contenders


def compare(model: Path, peers: Sequence[tuple[Server, Path]], options: argparse.Namespace) -> None:
    """Measure all servers with one model, and report ours beside each peer's best and beside the engine alone."""
    found: Rounds = defaultdict(list)
    limits: dict[int, list[float]] = defaultdict(list)
    seconds = options.seconds * LONGER[model.stem]
    forward = load_forward(model)
    with ExitStack() as stack:
        contenders = start_all(stack, model, [(OWN, Path()), *peers], options.seed)
        for _ in range(options.rounds):
            for concurrency in CONCURRENCIES:
                limits[concurrency].append(forward(concurrency, seconds / 2))
                for contender in list(contenders):
                    if contender.worth_measuring(found, concurrency) and not contender.measure(
                        found, concurrency, seconds
                    ):
                        contenders.remove(contender)
    for concurrency in CONCURRENCIES:
        report_forward(model.stem, concurrency, found[OWN.name, "0", concurrency], limits[concurrency], options.seed)
        for server, _ in peers:
            if any(contender.server is server for contender in contenders):
                report_peer(model.stem, concurrency, server, found, options.seed)


def best(found: Rounds, server: Server, concurrency: int) -> tuple[str, list[Round]]:
    """The setting of a server with the highest rate, and its rounds."""
    settings = {batching: found[server.name, batching, concurrency] for batching in server.batchings}
    most = max(map(len, settings.values()))
    measured = {batching: rounds for batching, rounds in settings.items() if len(rounds) == most}
    return max(measured.items(), key=lambda item: rate_of(item[1]))


def rate_of(rounds: Sequence[Round]) -> float:
    return float(statistics.median(each.rate for each in rounds))


def report_peer(model: str, concurrency: int, server: Server, found: Rounds, seed: int) -> None:
    """Our rate, p50 and p99 beside those of a peer."""
    own = found[OWN.name, "0", concurrency]
    batching, rounds = best(found, server, concurrency)
    count = sum(len(each.latencies) for each in own)
    failures = sum(each.failures for each in rounds)
    setting = "no batching" if batching == "0" else f"window {batching} ms" if batching.isdigit() else batching
    peer = f"{server.name} ({setting}{f', {failures} failed' if failures else ''})"
    name = f"serving_{model}_c{concurrency}"
    interval = describe_interval([one.rate / other.rate for one, other in zip(own, rounds, strict=True)])
    report(f"{name}_rate", rate_of(own), "requests/s", (f"{peer}{interval}", rate_of(rounds)), count=count, seed=seed)
    for share in (0.50, 0.99):
        times = [statistics.median(each.percentile_ms(share) for each in part) for part in (own, rounds)]
        report(f"{name}_p{share * 100:.0f}", times[0], "ms", (peer, times[1]), count=count, seed=seed)


def report_forward(model: str, concurrency: int, own: Sequence[Round], limits: Sequence[float], seed: int) -> None:
    """Our rate beside the rows that the engine alone computes in a second."""
    interval = describe_interval([each.rate / limit for each, limit in zip(own, limits, strict=True)])
    limit = (f"forward passes of {concurrency} rows{interval}", statistics.median(limits))
    count = sum(len(each.latencies) for each in own)
    report(f"serving_{model}_c{concurrency}_of_forward", rate_of(own), "requests/s", limit, count=count, seed=seed)


def describe_interval(ratios: Sequence[float]) -> str:
    """Between which bounds the mean ratio of further rounds would lie; computed on logarithms, empty for one round."""
    if len(ratios) < 2:
        return ""
    logarithms = [math.log(ratio) for ratio in ratios]
    error = statistics.stdev(logarithms) / math.sqrt(len(ratios)) * T_POINTS[min(len(ratios) - 2, len(T_POINTS) - 1)]
    middle = statistics.mean(logarithms)
    return f", 95 % of ratios {math.exp(middle - error):.3f} to {math.exp(middle + error):.3f}"


def load_forward(model: Path) -> Callable[[int, float], float]:
    """A function that computes batches of so many rows for so many seconds and returns rows per second."""
    options: Any = importlib.import_module("modelservice_workers.serving.engines.source").LoadOptions
    load_model: Any = importlib.import_module("modelservice_workers.serving.model").load_model
    engine = load_model(model, options(1, max(CONCURRENCIES), frozenset())).engine

    def forward(rows: int, seconds: float) -> float:
        batch, passes = engine.example(rows), 0
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            engine.run(batch)
            passes += 1
        return passes * rows / elapsed

    return forward


def install(names: Sequence[str], environments: Path) -> list[tuple[Server, Path]]:
    """The peers with these names and their environments; those that cannot be installed are said and left out."""
    peers = []
    for server in RIVALS:
        if server.name in names:
            try:
                peers.append((server, make_environment(server.name, environments)))
            except PeerError as error:
                print(f"left out: {error}", file=sys.stderr)
    return peers


def main() -> None:
    """Write the models, start the servers, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mlp,encoder", help="mlp, encoder")
    parser.add_argument("--peers", default=",".join(server.name for server in RIVALS), help="names, or none")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="length of a measurement; 1.5 times that for the encoder"
    )
    parser.add_argument("--rounds", type=int, default=4, help="times that every server is measured")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="peers' packages")
    parser.add_argument("--install-only", action="store_true", help="make the peers' environments, measure nothing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    peers = install(options.peers.split(","), options.environments)
    if options.install_only:
        return
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, str(Path(__file__).parent / "benchmodels.py"), directory], check=True)
        for name in options.models.split(","):
            compare(Path(directory) / f"{name}.pt2", peers, options)


if __name__ == "__main__":
    main()
