"""Requests per second and latency of the serving worker beside its peers, in one run on one machine.

    .venv-workers/bin/python -m tests.bench.serving [--models mlp] [--peers mosec,kserve] [--seconds 3] [--rounds 3]

Prints a JSON object a line. Every server gets the same rows over keep-alive connections, one process at a time; a round
goes once through all servers and windows, and medians of the rounds count. A peer is shown at its best window for each
concurrency: 0 (no batching), 1 or 5 ms; KServe's SDK does not batch in its process.
The encoder is also compared with the forward passes of the same engine without a server, in interleaved rounds.
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
from pathlib import Path

from tests.bench.figures import report
from tests.bench.loadgen import Round, measure
from tests.bench.servers import OWN, RIVALS, Server, make_environment, make_requests, start

CONCURRENCIES = (1, 16, 64)
WARM_SECONDS = 1.0

Key = tuple[str, int, int]


def run_round(
    model: Path, peers: list[tuple[Server, Path]], found: dict[Key, list[Round]], options: argparse.Namespace
) -> None:
    """Start every server with every window once and measure each concurrency."""
    for server, environment in peers:
        requests = make_requests(server, model.stem, options.seed)
        for window in server.windows_ms:
            with start(server, environment, model, window) as port:
                measure(port, requests, 16, WARM_SECONDS)
                for concurrency in CONCURRENCIES:
                    key = (server.name, window, concurrency)
                    found[key].append(measure(port, requests, concurrency, options.seconds))


def compare(model: Path, peers: list[tuple[Server, Path]], options: argparse.Namespace) -> None:
    """Measure all servers with one model and report ours beside each peer's best."""
    found: dict[Key, list[Round]] = defaultdict(list)
    for _ in range(options.rounds):
        run_round(model, [(OWN, Path()), *peers], found, options)
    for concurrency in CONCURRENCIES:
        own = found[OWN.name, 0, concurrency]
        count = sum(len(each.latencies) for each in own)
        for server, _ in peers:
            best = max(server.windows_ms, key=lambda window: rate_of(found[server.name, window, concurrency]))
            rounds = found[server.name, best, concurrency]
            failures = sum(each.failures for each in rounds)
            other = f"{server.name} (window {best} ms{f', {failures} failed' if failures else ''})"
            name = f"serving_{model.stem}_c{concurrency}"
            rates = rate_of(own), rate_of(rounds)
            report(f"{name}_rate", rates[0], "requests/s", (other, rates[1]), count=count, seed=options.seed)
            for share in (0.50, 0.99):
                times = [statistics.median(each.percentile_ms(share) for each in part) for part in (own, rounds)]
                figure = f"{name}_p{share * 100:.0f}"
                report(figure, times[0], "ms", (other, times[1]), count=count, seed=options.seed)


def rate_of(rounds: list[Round]) -> float:
    return float(statistics.median(each.rate for each in rounds))


def compare_with_forward(model: Path, options: argparse.Namespace) -> None:
    """The worker beside the engine alone, computing batches as large as the concurrency."""
    options_kind = importlib.import_module("modelservice_workers.serving.engines.source").LoadOptions
    load_model = importlib.import_module("modelservice_workers.serving.model").load_model
    engine = load_model(model, options_kind(1, 64, frozenset())).engine
    requests = make_requests(OWN, model.stem, options.seed)
    with start(OWN, Path(), model, 0) as port:
        measure(port, requests, 16, WARM_SECONDS)
        for concurrency in CONCURRENCIES:
            batch = engine.example(concurrency)
            ratios, rates, count = [], [], 0
            for _ in range(max(4, options.rounds)):
                began, passes = time.perf_counter(), 0
                while time.perf_counter() - began < options.seconds:
                    engine.run(batch)
                    passes += 1
                limit = passes * concurrency / (time.perf_counter() - began)
                served = measure(port, requests, concurrency, options.seconds)
                count += len(served.latencies)
                rates.append((served.rate, limit))
                ratios.append(served.rate / limit)
            own, limit = (statistics.median(column) for column in zip(*rates, strict=True))
            error = 1.96 * statistics.stdev(ratios) / math.sqrt(len(ratios))
            text = f"forward passes of {concurrency} rows, ratio +- {error:.3f} (95 %)"
            name = f"serving_{model.stem}_c{concurrency}_of_forward"
            report(name, own, "requests/s", (text, limit), count=count, seed=options.seed)


def main() -> None:
    """Write the models, start the servers, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mlp,encoder", help="mlp, encoder")
    parser.add_argument("--peers", default=",".join(server.name for server in RIVALS), help="names, or none")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=3, help="times that every server is started")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    peers = [(server, make_environment(server.name)) for server in RIVALS if server.name in options.peers.split(",")]
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, str(Path(__file__).parent / "benchmodels.py"), directory], check=True)
        for name in options.models.split(","):
            model = Path(directory) / f"{name}.pt2"
            compare(model, peers, options)
            if name == "encoder":
                compare_with_forward(model, options)


if __name__ == "__main__":
    main()
