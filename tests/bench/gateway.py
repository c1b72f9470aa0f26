"""Requests per second and latency of the worker directly, through the gateway and through nginx, in one run.

    PYTHONPATH=operator:scripts .venv-workers/bin/python -m tests.bench.gateway [--seconds 2] [--rounds 3]

All three stand all the time, one process each, and rounds go through them in turn; medians of the rounds count. What
the gateway and nginx compute for a request (`processor`) depends least on what else the machine does. Without
nginx (the package of that name) its figures are left out. Then: how many bytes of memory a held request takes, and how
even three rules spread requests over replicas, which needs no server.
Prints a JSON object a line.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from modelservice.gateway.balance import Replica, Track, Turns
from modelservice.gateway.objects import Address

from tests.bench.figures import report
from tests.bench.loadgen import Round, measure
from tests.bench.servers import OWN, REPOSITORY, free_port, make_requests, start

READY, PARKED = "ready", "parked"
CONCURRENCIES = (1, 16, 64, 256)
WARM_SECONDS = 0.5
HELD = 1000

NGINX = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  upstream worker {{ server 127.0.0.1:{worker}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


@contextmanager
def gateway(worker: int) -> Iterator[tuple[int, int]]:
    """The gateway in the operator's environment; gives its port and process id."""
    program = [str(REPOSITORY / ".venv/bin/python"), "-m", "tests.bench.gatewayprogram", str(worker), READY, PARKED]
    env = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}
    with subprocess.Popen(program, env=env, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


@contextmanager
def nginx(program: str, worker: int, directory: Path) -> Iterator[tuple[int, int]]:
    """nginx with one process that works, as a reverse proxy that keeps its connections; gives port and process id."""
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX.format(directory=directory, worker=worker, port=port))
    command = [program, "-c", str(configuration), "-p", str(directory), "-e", str(directory / "nginx.log")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and process.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                sys.exit(f"nginx did not start: {(directory / 'nginx.log').read_text()[-1000:]}")
            yield port, process.pid
        finally:
            process.terminate()


def processor_seconds(process: int) -> float:
    """What a process and its children have computed so far."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if process in (int(path.parent.name), int(fields[1])):
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def compare(ports: dict[str, int], processes: dict[str, int], options: argparse.Namespace) -> None:
    """Measure all in turn and report the gateway beside each of the others; `processes` are of those in between."""
    requests = [
        one.replace(b"Host: bench", f"Host: {READY}.bench".encode()) for one in make_requests(OWN, "mlp", options.seed)
    ]
    found: dict[tuple[str, int], list[Round]] = defaultdict(list)
    computed: dict[tuple[str, int], float] = defaultdict(float)
    for port in ports.values():
        measure(port, requests, 16, WARM_SECONDS)
    for _ in range(options.rounds):
        for concurrency in CONCURRENCIES:
            for name, port in ports.items():
                before = processor_seconds(processes[name]) if name in processes else 0.0
                found[name, concurrency].append(measure(port, requests, concurrency, options.seconds))
                if name in processes:
                    computed[name, concurrency] += processor_seconds(processes[name]) - before
    for concurrency in CONCURRENCIES:
        own = found["gateway", concurrency]
        count = sum(len(each.latencies) for each in own)
        for name in (name for name in ports if name != "gateway"):
            other = found[name, concurrency]
            failed = sum(each.failures for each in (*own, *other))
            told = name + (f" ({failed} failed)" if failed else "")
            figure = f"gateway_c{concurrency}"
            rates = [statistics.median(each.rate for each in rounds) for rounds in (own, other)]
            report(f"{figure}_rate", rates[0], "requests/s", (told, rates[1]), count=count, seed=options.seed)
            for share in (0.50, 0.99):
                times = [statistics.median(each.percentile_ms(share) for each in rounds) for rounds in (own, other)]
                report(f"{figure}_p{share * 100:.0f}", times[0], "ms", (told, times[1]), count=count, seed=options.seed)
            if name in processes:
                costs = [
                    1000 * computed[one, concurrency] / sum(len(each.latencies) for each in found[one, concurrency])
                    for one in ("gateway", name)
                ]
                report(f"{figure}_processor", costs[0], "ms", (told, costs[1]), count=count, seed=options.seed)


def hold(port: int, process: int, seed: int) -> None:
    """How much memory of the gateway's process so many held requests take."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, HELD + 200), hard))
    request = make_requests(OWN, "mlp", seed)[0].replace(b"Host: bench", f"Host: {PARKED}.bench".encode())
    with ExitStack() as stack:
        for number in range(HELD + HELD // 10):
            if number == HELD // 10:  # what is taken once is there by now
                before = settled(process)
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(request)
        taken = (settled(process) - before) / HELD
    report("gateway_held_request", taken, "bytes", ("its own bytes", len(request)), count=HELD, seed=seed)


def settled(process: int) -> float:
    """Resident bytes of a process, once they do not grow any more."""
    path, last = Path(f"/proc/{process}/statm"), -1.0
    while (now := int(path.read_text().split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))) != last:
        last = now
        time.sleep(1.0)
    return now


Rule = Callable[[Sequence[Replica]], Replica]


def spread(replicas: int, rule: Rule, source: random.Random) -> tuple[float, float]:
    """Open requests at the fullest replica over their mean (99th percentile), and microseconds for a choice.

    Four requests are open for each replica, and each takes a random, exponential time.
    """
    pool = [Replica(Address("10.0.0.1", number), Track.STABLE) for number in range(replicas)]
    ends: list[tuple[float, Replica]] = []
    peaks, spent, now = [], 0.0, 0.0
    for _ in range(20_000):
        began = time.perf_counter()
        chosen = rule(pool)
        spent += time.perf_counter() - began
        chosen.in_flight += 1
        ends.append((now + source.expovariate(1), chosen))
        if len(ends) >= 4 * replicas:
            first = min(range(len(ends)), key=lambda at: ends[at][0])
            now, done = ends.pop(first)
            done.in_flight -= 1
            peaks.append(max(one.in_flight for one in pool) / 4)
    return sorted(peaks)[int(0.99 * len(peaks))], spent / 20_000 * 1e6


def balance(seed: int) -> None:
    """The rule of the gateway beside two choices at random and one."""
    for replicas in (2, 16, 128):
        source, turns = random.Random(seed), Turns()
        rules: dict[str, Rule] = {
            "least": turns.take,
            "two choices": lambda pool, source=source: min(source.sample(pool, 2), key=lambda one: one.in_flight),  # type: ignore[misc]
            "random": source.choice,
        }
        found = {name: spread(replicas, rule, source) for name, rule in rules.items()}
        for name in ("two choices", "random"):
            figure = f"gateway_balance_{replicas}"
            report(f"{figure}_fullest", found["least"][0], "of mean", (name, found[name][0]), count=20_000, seed=seed)
            report(f"{figure}_choice", found["least"][1], "us", (name, found[name][1]), count=20_000, seed=seed)


def main() -> None:
    """Write the model, start the servers, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    balance(options.seed)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        subprocess.run([sys.executable, str(Path(__file__).parent / "benchmodels.py"), name], check=True)
        worker, _ = stack.enter_context(start(OWN, Path(), directory / "mlp.pt2", "0"))
        own, process = stack.enter_context(gateway(worker))
        ports, processes = {"worker directly": worker, "gateway": own}, {"gateway": process}
        if program := shutil.which("nginx"):
            ports["nginx"], processes["nginx"] = stack.enter_context(nginx(program, worker, directory))
        else:
            print("nginx is not installed, so its figures are left out: apt-get install nginx", file=sys.stderr)
        compare(ports, processes, options)
        hold(own, process, options.seed)


if __name__ == "__main__":
    main()
