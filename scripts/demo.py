"""`make demo`: train, serve, scale and budget one model on a local cluster, and show it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from cluster import REPO, SYSTEM, Cluster, StepFailed, condition, is_true
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
NAMESPACE, SERVICE, POLICY = "quickstart", "autoencoder", "team"
EPOCHS = 10


@dataclass(slots=True)
class Figures:
    """What the last two lines say."""

    api_to_answer: float = 0.0
    third_ready: float = 0.0
    loss: str = ""
    trained_in: float = 0.0
    load: dict[str, Any] = field(default_factory=dict)
    spent: str = ""


class Screen:
    """A live table on a terminal, and one line per change elsewhere."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.console = Console(highlight=False)
        self.live: Live | None = None
        self.last = ""

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as self.live:
            yield
        self.live = None

    def show(self) -> None:
        """Read the services and the policy, and redraw what changed."""
        service = self.cluster.get("modelservice", SERVICE, NAMESPACE)
        policy = self.cluster.get("budgetpolicy", POLICY, NAMESPACE)
        status = (service or {}).get("status") or {}
        budget = (policy or {}).get("status") or {}
        ready = condition(service, "Ready")
        cost = status.get("cost") or {}
        cells = [
            SERVICE,
            ready["reason"] or "Pending",
            f"{status.get('readyReplicas', 0)}/{status.get('desiredReplicas', 0)}",
            f"{cost.get('hourly', '0')} {cost.get('currency', '')}".strip(),
            budget.get("spent", "0"),
        ]
        if self.live is not None:
            table = Table("service", "state", "ready/wanted", "cost per hour", "spent")
            table.add_row(*cells)
            self.live.update(table)
        elif (line := "  ".join(cells)) != self.last:
            self.last = line
            self.say(f"      {time.strftime('%H:%M:%S')}  {line}")

    def wait(self, what: str, look: Callable[[], T | None], timeout: float) -> T:
        with self.watching():

            def shown() -> T | None:
                seen = look()
                self.show()
                return seen

            return self.cluster.wait(what, shown, timeout=timeout, every=0.3)


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def start(cluster: Cluster, screen: Screen) -> None:
    screen.say("[1/6] a local Kubernetes, Prometheus and the operator")
    began = time.monotonic()
    cluster.up()
    cluster.kubectl("apply", "-f", "examples/monitoring/prometheus.yaml")
    cluster.install()
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s")
    cluster.kubectl("-n", "monitoring", "rollout", "status", "deployment/prometheus", "--timeout=60s")
    screen.say(f"      up in {time.monotonic() - began:.0f} s")


def train(cluster: Cluster, screen: Screen, figures: Figures) -> None:
    screen.say("[2/6] kubectl apply -k examples/quickstart: train a 10-20-10 network, then serve it")
    columns = (
        TextColumn("      epochs"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=screen.console)
    job = f"modelservice.dev/name={SERVICE},modelservice.dev/role=Training"
    with bar:
        task = bar.add_task("training", total=EPOCHS)

        def trained() -> dict[str, Any] | None:
            service = cluster.get("modelservice", SERVICE, NAMESPACE)
            seen = condition(service, "TrainingSucceeded")
            if seen["status"] == "False" and seen["reason"] == "Failed":
                raise StepFailed(f"training failed: {seen['message']}")
            log = cluster.kubectl("-n", NAMESPACE, "logs", "-l", job, "--tail=50", check=False)
            bar.update(task, completed=min(EPOCHS, sum(line.startswith("epoch") for line in log.splitlines())))
            return service if seen["status"] == "True" else None

        service = cluster.wait("the training run", trained, timeout=180)
        bar.update(task, completed=EPOCHS)
    training = service["status"]["training"]
    figures.loss = training["metrics"]["loss"]
    figures.trained_in = seconds(training["completionTime"]) - seconds(training["startTime"])
    screen.say(f"      trained: loss {figures.loss} after {figures.trained_in:.0f} s")


def answer(cluster: Cluster) -> dict[str, Any] | None:
    """One real answer of the model, or None while nothing serves yet."""
    row = [0.1] * 10
    body = {"inputs": [{"name": "input", "shape": [1, 10], "datatype": "FP32", "data": row}]}
    try:
        return cluster.post(NAMESPACE, SERVICE, f"/v2/models/{SERVICE}/infer", body)
    except StepFailed:
        return None


def serve(cluster: Cluster, screen: Screen, figures: Figures, applied: float) -> None:
    screen.say("[3/6] serve it")
    got = screen.wait("the first answer of the model", lambda: answer(cluster), timeout=120)
    figures.api_to_answer = time.monotonic() - applied
    screen.say(f"      first answer {figures.api_to_answer:.0f} s after the apply: {got['outputs'][0]['data'][:3]} ...")


def ready_replicas(cluster: Cluster) -> int:
    service = cluster.get("modelservice", SERVICE, NAMESPACE)
    return int(((service or {}).get("status") or {}).get("readyReplicas") or 0)


def refused(cluster: Cluster) -> str | None:
    service = cluster.get("modelservice", SERVICE, NAMESPACE)
    refusal = ((service or {}).get("status") or {}).get("refusal") or {}
    return str(condition(service, "BudgetAdmitted")["message"]) if refusal.get("blockedBy") == "Rate" else None


def scale(cluster: Cluster, screen: Screen, figures: Figures) -> None:
    screen.say("[4/6] real load from a pod: Prometheus sees it, the operator adds replicas")
    cluster.kubectl("apply", "-f", "examples/quickstart/load-job.yaml")

    def load_started() -> float | None:
        for pod in cluster.list("pods", NAMESPACE, "job-name=load"):
            for container in pod["status"].get("containerStatuses", []):
                state = container["state"]
                if began := (state.get("running") or state.get("terminated") or {}).get("startedAt"):
                    return seconds(began)
        return None

    began = screen.wait("the load to start", load_started, timeout=60)
    screen.wait("the third replica", lambda: ready_replicas(cluster) >= 3, timeout=120)
    figures.third_ready = time.time() - began
    screen.say(f"      3 replicas ready {figures.third_ready:.0f} s after the load began")
    message = screen.wait("the refusal of a fourth replica", lambda: refused(cluster), timeout=60)
    screen.say(f"[5/6] the budget refuses a fourth replica: {message}")
    if ready_replicas(cluster) > 3:
        raise StepFailed("four replicas run although the budget allows three")


def settle(cluster: Cluster, screen: Screen, figures: Figures) -> None:
    screen.say("[6/6] the load ends, the service shrinks again")

    def finished() -> bool:
        job = cluster.get("job", "load", NAMESPACE) or {}
        if (job.get("status") or {}).get("failed"):
            raise StepFailed("the load pod failed; see: kubectl -n quickstart logs job/load")
        return bool((job.get("status") or {}).get("succeeded"))

    screen.wait("the load to finish", finished, timeout=150)
    figures.load = json.loads(cluster.kubectl("-n", NAMESPACE, "logs", "job/load", "--tail=1"))
    if figures.load["errors"]:
        raise StepFailed(f"{figures.load['errors']} of {figures.load['requests']} requests failed: {figures.load}")

    def small() -> bool:
        service = cluster.get("modelservice", SERVICE, NAMESPACE)
        pods = cluster.list("pods", NAMESPACE, f"modelservice.dev/name={SERVICE},modelservice.dev/role=Inference")
        return len(pods) == 1 and is_true(service, "Ready")

    screen.wait("one replica again", small, timeout=120)
    figures.spent = str(((cluster.get("budgetpolicy", POLICY, NAMESPACE) or {}).get("status") or {})["spent"])


def spent_time(began: float) -> str:
    """Where the time went; setup leaves its seconds by kind of step, none where all was there."""
    setup: dict[str, float] = json.loads((REPO / ".local/logs/setup.json").read_text())
    download, build = (round(setup.get(kind, 0.0)) for kind in ("download", "build"))
    return f"time: download {download} s, build {build} s, run {time.monotonic() - began:.0f} s"


def last_lines(figures: Figures) -> tuple[str, str]:
    load = figures.load
    timed = f"api_to_answer_s={figures.api_to_answer:.1f} step_to_third_ready_s={figures.third_ready:.1f}"
    done = (
        f"trained loss={figures.loss} in {figures.trained_in:.0f}s",
        f"served {load['requests']} requests p95={load['p95_ms']}ms errors={load['errors']}",
        "scaled 1->3->1",
        "budget refused 1 replica",
        f"spent {figures.spent} USD",
    )
    return f"demo figures: {timed}", f"demo ok: {', '.join(done)}"


def main() -> int:
    cluster = Cluster(REPO / ".local")
    screen, figures, began = Screen(cluster), Figures(), time.monotonic()
    try:
        start(cluster, screen)
        applied = time.monotonic()
        cluster.kubectl("apply", "-k", "examples/quickstart")
        train(cluster, screen, figures)
        serve(cluster, screen, figures, applied)
        scale(cluster, screen, figures)
        settle(cluster, screen, figures)
    except (StepFailed, KeyboardInterrupt) as stop:
        screen.say(f"      the operator's log: bin/localcluster kubectl -n {SYSTEM} logs deployment/modelservice")
        screen.say(f"demo failed: {str(stop) or 'interrupted'}")
        return 1
    raise_rate = '{"spec":{"maxRatePerHour":"0.20"}}'
    kubectl = f"bin/localcluster kubectl -n {NAMESPACE}"
    screen.say(
        "\nThe cluster goes on running. Try next:\n"
        f"  {kubectl} get msvc,mbp\n"
        f"  {kubectl} describe msvc {SERVICE}\n"
        f"  {kubectl} patch mbp {POLICY} --type merge -p '{raise_rate}'\n"
    )
    for line in (spent_time(began), *last_lines(figures)):
        screen.say(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
