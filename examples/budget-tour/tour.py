"""A tour of budgets on a cluster that has ModelService: what each step does is shown as a person would see it.

    python tour.py [--kubectl kubectl] [--system modelservice-system] [--html budget-tour.html]

It takes about a minute and a half, scales the operator to zero for some seconds of it, and removes what it made. You
need the rights of an administrator. On the local cluster of `make demo`:

    KUBECONFIG=.local/kubeconfig .venv/bin/python examples/budget-tour/tour.py --kubectl "bin/localcluster kubectl"
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
HERE = Path(__file__).parent
NAMESPACE, SERVICE = "budget-tour", "chat"
HORIZON_SECONDS = 300
WINDOW_SECONDS = 540
SPRINT_SECONDS = 12
GLASS_SECONDS = 8


class TourEnded(Exception):
    """Something did not come; the message says what."""


class Tour:
    """The cluster, and what has been said about it."""

    def __init__(self, kubectl: str, system: str) -> None:
        self.words = shlex.split(kubectl)
        self.system = system
        self.team = f"team-{datetime.now(UTC):%H%M%S}"

    def run(self, *words: str, stdin: str = "") -> str:
        """What a command prints; its last lines end the tour when it fails."""
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise TourEnded((done.stderr or done.stdout).strip()[-500:])
        return done.stdout

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """The same for a command of kubectl."""
        return self.run(*self.words, *words, stdin=stdin)

    def read(self, kind: str, name: str = "", *words: str) -> dict[str, Any]:
        """An object of the tour's namespace, or a list."""
        names = [name] if name else []
        found: dict[str, Any] = json.loads(self.kubectl("-n", NAMESPACE, "get", kind, *names, *words, "-o", "json"))
        return found

    def show(self, *words: str) -> None:
        """Print a command of kubectl and what it says."""
        say(f"$ kubectl -n {NAMESPACE} {' '.join(words)}", self.kubectl("-n", NAMESPACE, *words).rstrip())

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Change an object and say so."""
        text = json.dumps({"spec": spec}, separators=(",", ":"))
        say(f"$ kubectl -n {NAMESPACE} patch {kind} {name} --type merge -p '{text}'")
        self.kubectl("-n", NAMESPACE, "patch", kind, name, "--type", "merge", "-p", text)

    def replicas(self, count: int) -> None:
        """Ask for so many replicas."""
        self.patch("msvc", SERVICE, {"inference": {"minReplicas": count}})

    def budget(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The status of a budget, and its condition Ready."""
        status = self.read("mbp", name).get("status") or {}
        return status, condition(status, "Ready")

    def sentence(self, reason: str) -> str:
        """Wait until the service's money stands so; what it says about it."""

        def seen() -> str | None:
            found = condition(self.read("msvc", SERVICE).get("status") or {}, "BudgetAdmitted")
            return str(found["message"]) if found["reason"] == reason else None

        return wait(f"BudgetAdmitted {reason}", seen)

    def ready(self, count: int) -> None:
        """Wait until so many replicas are ready, and no others are there."""

        def seen() -> bool:
            status = self.read("msvc", SERVICE).get("status") or {}
            return (status.get("readyReplicas"), status.get("replicas")) == (count, count)

        wait(f"{count} replicas", seen)

    def pods(self) -> list[dict[str, Any]]:
        """The service's pods that are not being deleted."""
        items = self.read("pods", "", "-l", f"modelservice.dev/name={SERVICE}")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of that type, an empty one before it is reported."""
    return next((c for c in status.get("conditions") or () if c["type"] == kind), {"reason": "", "message": ""})


def wait(what: str, look: Callable[[], T | None], seconds: float = 90) -> T:
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while True:
        if seen := look():
            return seen
        if time.monotonic() > deadline:
            raise TourEnded(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.3)


def say(*lines: str) -> None:
    """Print lines, those of commands indented."""
    for line in lines:
        print("\n".join(f"    {one}".rstrip() for one in line.splitlines()), flush=True)


def step(title: str) -> None:
    """Print the title of the next step."""
    print(f"\n{title}", flush=True)


def later(seconds: int) -> str:
    """The time so many seconds from now, as the API writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def policy(name: str, limit: str, enforcement: str, seconds: int) -> dict[str, Any]:
    """A budget for a window that begins now."""
    return {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "BudgetPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "currency": "USD",
            "limit": limit,
            "enforcement": enforcement,
            "period": {"window": {"from": later(0), "to": later(seconds)}},
            "admission": {"horizonSeconds": HORIZON_SECONDS},
        },
    }


def try_it(tour: Tour) -> None:
    """DryRun: everything runs, and the budget says what it would refuse."""
    step("1. A budget on trial (DryRun): three replicas, 12 USD, one cent a second for each")
    tour.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s")
    tour.kubectl("apply", "-f", str(HERE / "base.yaml"))
    tour.kubectl("apply", "-f", "-", stdin=json.dumps(policy(tour.team, "12.00", "DryRun", WINDOW_SECONDS)))
    tour.ready(3)

    def objections() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = tour.budget(tour.team)[0].get("wouldRefuse") or []
        return found

    (row,) = wait("the budget's objection", objections)
    tour.show("get", "mbp")
    say(f"All three run. Hard would refuse {row['replicas']}: one more needs {row['need']}, {row['have']} is left.")


def let_it_bind(tour: Tour) -> None:
    """Hard: money is held for what runs, and what there is no money for is not started."""
    step("2. Two are enough, so let it bind (Hard)")
    tour.replicas(2)
    wait("the third pod to be paid off", lambda: tour.budget(tour.team)[0]["ratePerHour"] == "72.00")
    tour.patch("mbp", tour.team, {"enforcement": "Hard"})
    say(tour.sentence("Held"))
    step("3. A third replica again: refused, before it is a pod")
    tour.replicas(3)
    say(tour.sentence("BudgetExhausted"))
    if tour.pods()[2:]:
        raise TourEnded("a pod was made for which there is no money")


def override(tour: Tour) -> None:
    """More money until a time, for a reason."""
    step("4. More money for ten minutes, for a reason (override)")
    extra = {"until": later(600), "extraAmount": "10.00", "reason": "INC-12: the index is built anew"}
    tour.patch("mbp", tour.team, {"override": extra})
    tour.ready(3)
    wait("the limit with it", lambda: tour.budget(tour.team)[0]["limit"] == "22.00")
    tour.show("get", "msvc")
    events = tour.read("events", "", "--field-selector=reason=BudgetOverrideStarted")["items"]
    say(*(event["message"] for event in events))


def boundary(tour: Tour) -> None:
    """The end of a period, to the second, with pods that run across it."""
    step(f"5. A period ends while the pods run on: a second budget that only counts, for {SPRINT_SECONDS} s")
    sprint = policy(f"sprint{tour.team[4:]}", "100.00", "Soft", SPRINT_SECONDS)
    name, end = sprint["metadata"]["name"], sprint["spec"]["period"]["window"]["to"]
    tour.kubectl("apply", "-f", "-", stdin=json.dumps(sprint))
    final = wait("the end of the window", lambda: bills(tour, end))
    now = wait("three more seconds", lambda: bills(tour, later(-1)) if later(-4) > end else None)
    if now[name] != final[name] or float(now[tour.team]) <= float(final[tour.team]):
        raise TourEnded(f"the budgets say {final} at the end of {name}, and {now} later")
    say(f"It ended at {end} with {now[name]} USD and stays there. {tour.team} pays on: {now[tour.team]} USD by now.")


def bills(tour: Tour, time_: str) -> dict[str, str] | None:
    """What each budget has spent, by its name; None until that time."""
    document = json.loads(tour.run(*modelservice("cost"), *where(tour), "--period=all", "-o", "json"))
    spent = {one["policy"].partition("/")[2]: one["spent"] for one in document["statements"]}
    return spent if document["asOf"] >= time_ else None


def fuse(tour: Tour) -> None:
    """Without an operator nothing starts, a person can break the glass, and the fuse ends what nobody pays for."""
    step("6. The operator is away (scaled to 0), and a pod is lost")
    deployment = ("deployment", "modelservice")
    replicas = json.loads(tour.kubectl("-n", tour.system, "get", *deployment, "-o", "json"))["spec"]["replicas"]
    tour.kubectl("-n", tour.system, "scale", *deployment, "--replicas=0")
    try:
        wait("the operator to be away", lambda: not operators(tour))
        lost = tour.pods()[0]["metadata"]["name"]
        say(f"$ kubectl -n {NAMESPACE} delete pod {lost}")
        tour.kubectl("-n", NAMESPACE, "delete", "pod", lost, "--wait=false")
        name = wait("the pod in its place", lambda: next((p["metadata"]["name"] for p in tour.pods() if gated(p)), ""))
        say(f"{name} is in its place and waits at its gate: nobody has held money for it.")
        step(f"7. A person breaks the glass for {GLASS_SECONDS} s; then the fuse ends what nobody pays for")
        with as_break_glass(tour) as kubeconfig:
            words = ("-n", NAMESPACE, name, "--until", later(GLASS_SECONDS), "--reason", "a demonstration")
            say(tour.run(*modelservice("ungate"), *words, "--kubeconfig", kubeconfig).rstrip())
        wait("the fuse", lambda: name not in {pod["metadata"]["name"] for pod in tour.pods()})
        say(f"The fuse has deleted {name}. {len([p for p in tour.pods() if not gated(p)])} pods are paid and run on.")
    finally:
        tour.kubectl("-n", tour.system, "scale", *deployment, f"--replicas={replicas}")
    tour.ready(3)
    say("The operator is back: it has held money for the third replica, which runs.")


def gated(pod: dict[str, Any]) -> bool:
    """Whether the pod waits for money."""
    return bool(pod["spec"].get("schedulingGates"))


def operators(tour: Tour) -> str:
    """The operator's pods."""
    selector = "app.kubernetes.io/name=modelservice,app.kubernetes.io/component=operator"
    return tour.kubectl("-n", tour.system, "get", "pods", "-l", selector, "-o", "name")


@contextmanager
def as_break_glass(tour: Tour) -> Iterator[str]:
    """A kubeconfig with which one is a member of the break-glass group."""
    person = ("--as=tour", "--as-group=system:masters", "--as-group=modelservice:break-glass")
    command = [*tour.words, "proxy", "--port=0", *person]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as proxy,
    ):
        try:
            line = proxy.stdout.readline() if proxy.stdout else ""
            server = f"http://{line.rpartition(' ')[2].strip()}"
            cluster, context = {"name": "x", "cluster": {"server": server}}, {"cluster": "x", "user": "x"}
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "users": [{"name": "x", "user": {}}],
                "contexts": [{"name": "x", "context": context}],
                "current-context": "x",
            }
            kubeconfig = Path(home) / "kubeconfig"
            kubeconfig.write_text(json.dumps(config))
            yield str(kubeconfig)
        finally:
            proxy.terminate()


def report(tour: Tour, page: Path) -> None:
    """What it cost, as a table and as a page for a browser."""
    step("8. What it cost (modelservice cost)")
    ours = (*modelservice("cost"), *where(tour), f"--policy={NAMESPACE}/{tour.team}", "--period=all")
    say(tour.run(*ours).rstrip(), tour.run(*ours, "--html", str(page)).rstrip())


def where(tour: Tour) -> tuple[str, ...]:
    """Which budgets the reports are about."""
    return ("-n", NAMESPACE, "--system-namespace", tour.system)


def modelservice(command: str) -> tuple[str, ...]:
    """A command of `modelservice`, from where this Python is installed if it is there."""
    beside = Path(sys.executable).with_name("modelservice")
    return (str(beside) if beside.exists() else "modelservice", command)


def main() -> int:
    """Walk through all steps; what was made goes at the end, also of a tour that ends early."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubectl", default="kubectl", help="the command, for example 'bin/localcluster kubectl'")
    parser.add_argument("--system", default="modelservice-system", help="the operator's namespace")
    parser.add_argument("--html", type=Path, default=Path("budget-tour.html"), help="where the report is written")
    options = parser.parse_args()
    tour, began = Tour(options.kubectl, options.system), time.monotonic()
    try:
        for part in (try_it, let_it_bind, override, boundary, fuse):
            part(tour)
        report(tour, options.html)
    except (TourEnded, subprocess.TimeoutExpired, KeyboardInterrupt) as end:
        print(f"\ntour ended early: {str(end) or 'interrupted'}", file=sys.stderr)
        return 1
    finally:
        tour.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        tour.kubectl("delete", "cpool,mrt", "budget-tour", "--ignore-not-found", "--wait=false")
    print(f"\ntour ok: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
