"""From Deployments, pods and the status of a service to the revision that serves and the one that is tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelservice.controllers.gather import Draft, Rules, catalogue, prepare, snapshot
from modelservice.controllers.report import facts, status
from modelservice.controllers.world import World
from modelservice.domain.book import Book
from modelservice.domain.conditions import Condition, judge
from modelservice.domain.evidence import Evidence
from modelservice.domain.planner import ServicePlan, plan
from modelservice.domain.specs import ServiceName
from modelservice.domain.times import format_time
from modelservice.render.deployment import deployment

CHAT = ServiceName("ns", "chat")
START = 1_767_225_600


def named(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1", **more.pop("meta", {})}
    return {"kind": kind, "metadata": meta, **more}


class Still:
    """A clock that stands: the stories say what time it is."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return


@dataclass
class Story:
    """One service in a world without a cluster: `pass_by` plans, and does what controllers and kubelets would do."""

    rollout: dict[str, Any] = field(default_factory=dict)
    world: World = field(default_factory=lambda: World(Still()))
    service: dict[str, Any] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    now: int = START
    drafted: Draft | None = None
    planned: ServicePlan | None = None
    judged: dict[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inference = {
            "runtime": "engine",
            "image": "engine:1",
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            "minReplicas": 2,
            "rollout": self.rollout,
        }
        spec = {"model": {"storageUri": "pvc://models/chat"}, "inference": inference}
        meta = {"generation": 1, "annotations": {}}
        self.service = named("ModelService", "chat", "ns", meta=meta, spec=spec, apiVersion="modelservice.dev/v1alpha1")
        pool = {
            "currency": "USD",
            "accelerator": {"type": "CPU"},
            "node": {"cpu": "8", "memory": "16Gi"},
            "nodeSelector": {"pool": "cpu"},
            "purchaseOptions": [{"type": "OnDemand", "perNodeHour": "1"}],
        }
        engine = {"role": "Inference", "accelerators": [{"type": "CPU", "image": "engine:0"}]}
        self.world.caches.pools.observe(named("ComputePool", "cpu", spec=pool))
        self.world.caches.runtimes.observe(named("ModelRuntime", "engine", spec=engine))
        self.world.caches.claims.observe(named("PersistentVolumeClaim", "models", "ns"))
        self.world.caches.namespaces.observe(named("Namespace", "ns"))

    def edit(self, image: str) -> None:
        self.service["spec"]["inference"]["image"] = image
        self.service["metadata"]["generation"] += 1

    def annotate(self, **notes: str) -> None:
        self.service["metadata"]["annotations"] = {
            f"modelservice.dev/rollout-{key}": value for key, value in notes.items()
        }

    def pass_by(self, seconds: int = 0) -> Story:
        """Plan, carry it out at once, and let time pass."""
        self.world.saw_date(self.now)
        self.world.book = Book(time=self.now)
        listed = catalogue(self.world)
        self.world.pools = listed.pools
        draft = self.drafted = prepare(self.service, self.world, listed, lambda _: 2)
        made = plan(snapshot(self.world, listed, {CHAT: draft}, Rules()), self.now)
        self.planned = made.services[CHAT]
        self.carry_out(draft, self.planned)
        told = judge(facts(draft, self.planned, self.world, ""))
        self.judged = {one.type: one for one in told}
        self.service["status"] = status(self.service, draft, self.planned, self.world, told)
        for condition in self.service["status"]["conditions"]:
            condition["lastTransitionTime"] = format_time(self.now)
        self.now += seconds
        return self

    def carry_out(self, draft: Draft, own: ServicePlan) -> None:
        caches, service = self.world.caches, draft.service
        there = {child["metadata"]["name"]: child for child in caches.deployments.values()}
        option = own.option if draft.stance.main in ("", draft.revision) else own.beside
        if option is not None and draft.runtime is not None and draft.artifact is not None and service.inference:
            placement = draft.placements[option.pool.name]
            child = deployment(
                service, service.inference, draft.runtime, option.pool, draft.artifact, placement, 0, "fetch"
            )
            child["metadata"] |= {"uid": child["metadata"]["name"], "resourceVersion": "1"}
            child["metadata"]["creationTimestamp"] = format_time(self.now)
            there.setdefault(child["metadata"]["name"], child)
        for name, child in there.items():
            child["spec"]["replicas"] = own.counts.get(name, child["spec"]["replicas"])
            caches.deployments.observe(child)
            self.populate(child)

    def populate(self, child: dict[str, Any]) -> None:
        caches, name, template = self.world.caches, child["metadata"]["name"], child["spec"]["template"]
        own = [pod for pod in caches.pods.values() if pod["metadata"]["name"].startswith(f"{name}-")]
        for pod in own[child["spec"]["replicas"] :]:
            caches.pods.observe(pod, deleted=True)
        for number in range(len(own), child["spec"]["replicas"]):
            meta = {"labels": template["metadata"]["labels"], "creationTimestamp": format_time(self.now)}
            broken = template["spec"]["containers"][0]["image"] in self.broken
            at = format_time(self.now)
            ended = {"terminated": {"exitCode": 3, "finishedAt": at}}
            container = {"name": "main", "ready": not broken, "restartCount": int(broken)}
            container |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended} if broken else {}
            ready = {"type": "Ready", "status": "False" if broken else "True", "lastTransitionTime": at}
            seen = {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}
            spec = {"containers": template["spec"]["containers"], "nodeName": "n"}
            caches.pods.observe(named("Pod", f"{name}-{number}-{self.now}", "ns", meta=meta, spec=spec, status=seen))

    def stages(self) -> dict[str, str]:
        return {row["image"]: row["stage"] for row in self.service["status"]["revisions"]}

    def images(self) -> list[str]:
        return sorted(pod["spec"]["containers"][0]["image"] for pod in self.world.caches.pods.values())

    def settle(self, passes: int = 6) -> Story:
        for _ in range(passes):
            self.pass_by(11)
        return self


def revision(story: Story) -> str:
    return str(story.service["status"]["resolved"]["revision"])


def test_the_first_revision_serves_and_a_second_look_changes_nothing() -> None:
    story = Story().settle()
    assert story.stages() == {"engine:1": "Serving"}
    assert story.images() == ["engine:1"] * 2
    before = story.drafted
    assert story.pass_by(11).drafted == before


def test_a_new_revision_takes_over_and_the_old_one_is_kept_to_go_back_to() -> None:
    story = Story().settle()
    first = revision(story)
    story.edit("engine:2")
    assert story.pass_by(1).pass_by(1).images() == ["engine:1"] * 2 + ["engine:2"] * 2
    assert story.settle().images() == ["engine:2"] * 2
    assert story.stages() == {"engine:2": "Serving", "engine:1": "Retired"}
    assert story.planned is not None
    assert story.planned.leaving == ()
    story.annotate(undo=f"{revision(story)}/{first}")
    assert story.settle().images() == ["engine:1"] * 2
    assert story.judged["Progressing"].reason == "Undone"
    story.edit("engine:1")
    assert story.settle().stages()["engine:1"] == "Serving"
    assert story.judged["Progressing"].reason == "RolloutComplete"


def test_a_broken_revision_gets_nothing_and_a_newer_edit_replaces_it() -> None:
    story = Story(broken={"engine:2"}).settle()
    first = revision(story)
    story.edit("engine:2")
    assert story.settle().images() == ["engine:1"] * 2 + ["engine:2"]
    assert story.judged["Progressing"].reason == "RolloutFailed"
    assert story.drafted is not None
    assert story.drafted.stance.pinned == first
    story.edit("engine:3")
    assert story.settle().images() == ["engine:3"] * 2
    assert story.stages() == {"engine:3": "Serving", "engine:1": "Retired"}


def test_recreate_stops_the_old_replicas_first() -> None:
    story = Story({"strategy": "Recreate"}).settle()
    story.edit("engine:2")
    seen = [set(story.pass_by(11).images()) for _ in range(4)]
    assert {"engine:1", "engine:2"} not in seen
    assert seen[-1] == {"engine:2"}


def test_a_canary_starts_with_what_its_share_needs_and_waits_for_figures() -> None:
    story = Story({"canary": {"stepPercent": 50, "stepPeriodSeconds": 10}})
    story.settle().edit("engine:2")
    story.settle(3)
    assert story.service["status"]["canary"]["percent"] == 0
    story.world.evidence[CHAT] = Evidence(("", 0), {"gateway": {("stable", ("code", "200")): 1.0}})
    story.settle(2)
    assert story.images() == ["engine:1"] * 2 + ["engine:2"]
    assert story.service["status"]["canary"]["percent"] == 50
    assert story.judged["Progressing"].reason == "CanaryHeld"
    assert story.drafted is not None
    assert story.drafted.stance.beside == revision(story)
    own = revision(story)
    story.annotate(promote=own)
    assert story.settle().images() == ["engine:2"] * 2
    assert story.stages() == {"engine:2": "Serving", "engine:1": "Retired"}
    assert "canary" not in story.service["status"]
