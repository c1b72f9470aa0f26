"""Kubernetes objects read as facts: pods, Deployments, attempts and what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from modelservice.controllers.observation import (
    attempt_of,
    deployed_of,
    gate_index,
    gateways_of,
    pod_of,
    trouble_of,
)
from modelservice.domain.gateways import Gateways
from modelservice.domain.snapshot import BreakGlass
from modelservice.domain.specs import Role, ServiceName
from modelservice.domain.training import Ending

AT = "2026-07-10T12:00:00Z"
LATER = "2026-07-10T12:00:30Z"
SECONDS = 1_783_684_800


def pod(status: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    labels = {
        "modelservice.dev/name": "chat",
        "modelservice.dev/role": "Inference",
        "modelservice.dev/placement": "abcd1234",
        **more.pop("labels", {}),
    }
    meta = {
        "name": "p",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": AT,
        "labels": labels,
    }
    spec = {
        "containers": [{"name": "main", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}],
        "nodeSelector": {"pool": "cpu"},
        **more.pop("spec", {}),
    }
    return {"metadata": {**meta, **more}, "spec": spec, "status": status or {}}


def container(
    restarts: int = 0, *, ready: bool = False, last: dict[str, Any] | None = None, **state: Any
) -> dict[str, Any]:
    return {
        "name": "main",
        "image": "i:1",
        "restartCount": restarts,
        "ready": ready,
        "state": state,
        "lastState": last or {},
    }


def with_container(phase: str = "Running", *conditions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"phase": phase, "containerStatuses": [container(**more)], "conditions": list(conditions)}


ENDED = {"exitCode": 1, "startedAt": AT, "finishedAt": LATER, "reason": "Error"}


def test_a_gated_pod_is_named_after_its_deployment_and_has_no_node() -> None:
    seen = pod_of(pod(spec={"schedulingGates": [{"name": "other"}, {"name": "modelservice.dev/budget"}]}))
    assert seen is not None
    assert (seen.service, seen.workload, seen.role) == (ServiceName("ns", "chat"), "ns/chat-abcd1234", Role.INFERENCE)
    assert (seen.gated, seen.node, seen.live, seen.created_at) == (True, None, True, SECONDS)
    assert (seen.requests, seen.selector) == ({"cpu": 500, "memory": 2**30}, {"pool": "cpu"})


def test_the_gate_is_found_among_others() -> None:
    assert gate_index(pod(spec={"schedulingGates": [{"name": "other"}, {"name": "modelservice.dev/budget"}]})) == 1
    assert gate_index(pod()) is None


def test_a_training_pod_is_named_after_its_job() -> None:
    labels = {"modelservice.dev/role": "Training", "modelservice.dev/run": "ffff0000", "modelservice.dev/attempt": "2"}
    seen = pod_of(pod(labels=labels))
    assert seen is not None
    assert seen.workload == "ns/chat-ffff0000-2"


def test_pods_without_our_labels_are_none_of_ours() -> None:
    assert pod_of(pod(labels={"modelservice.dev/role": "Other"})) is None


def asking(cpu: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("before", "cpu"),
    [
        ([], 2250),
        ([asking("1"), asking("2")], 2250),
        ([asking("3")], 3250),
        ([asking("1", restartPolicy="Always")], 3250),
        ([asking("1", restartPolicy="Always"), asking("2")], 3250),
        ([asking("1", restartPolicy="Always"), asking("4")], 5250),
        ([asking("4"), asking("1", restartPolicy="Always")], 4250),
    ],
)
def test_a_pod_asks_for_the_most_that_runs_at_once(before: list[dict[str, Any]], cpu: int) -> None:
    spec = {"containers": [asking("1"), asking("1")], "initContainers": before, "overhead": {"cpu": "250m"}}
    assert (seen := pod_of(pod(spec=spec))) is not None
    assert seen.requests == {"cpu": cpu}


def test_a_strange_quantity_is_more_than_any_node_has() -> None:
    strange = pod(spec={"containers": [{"resources": {"requests": {"cpu": "1e1"}}}]})
    assert (seen := pod_of(strange)) is not None
    assert seen.requests["cpu"] > 10**15


def test_a_pod_is_billed_from_the_start_of_its_first_container_and_after_a_restart_from_its_binding() -> None:
    first = pod_of(pod(with_container(running={"startedAt": LATER})))
    assert first is not None
    assert first.started_at == SECONDS + 30
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": AT}
    again = pod_of(pod(with_container("Running", bound, restarts=1, running={"startedAt": LATER})))
    assert again is not None
    assert again.started_at == SECONDS
    download = container(terminated={"exitCode": 0, "startedAt": AT, "finishedAt": LATER})
    fetched = pod_of(pod({**with_container(running={"startedAt": LATER}), "initContainerStatuses": [download]}))
    assert fetched is not None
    assert fetched.started_at == SECONDS, "a pod that downloads is billed"


def test_a_pod_has_ended_when_its_kubelet_says_so_of_every_container() -> None:
    over = pod_of(pod(with_container("Failed", terminated=ENDED), deletionTimestamp=AT))
    assert over is not None
    assert (over.terminal, over.finished_at, over.live) == (True, SECONDS + 30, False)
    lost = pod_of(pod({"phase": "Failed", "reason": "NodeShutdown"}))
    assert lost is not None
    assert (lost.terminal, lost.finished_at) == (True, None)
    leaving = pod_of(pod(with_container(running={"startedAt": AT}), deletionTimestamp=AT))
    assert leaving is not None
    assert (leaving.terminal, leaving.deleting) == (False, True)


def test_a_deployment_tells_its_pool_its_pods_and_how_many_are_ready() -> None:
    labels = {"modelservice.dev/placement": "abcd1234", "modelservice.dev/pool": "cpu"}
    meta = {"name": "chat-abcd1234", "creationTimestamp": AT, "labels": labels}
    template = {"spec": pod()["spec"]}
    seen = deployed_of(
        {"metadata": meta, "spec": {"replicas": 3, "template": template}, "status": {"readyReplicas": 2}}
    )
    assert (seen.placement, seen.pool, seen.replicas, seen.ready) == ("abcd1234", "cpu", 3, 2)
    assert seen.requests == {"cpu": 500, "memory": 2**30}


def job(*conditions: str, **more: Any) -> dict[str, Any]:
    meta = {"name": "j", "labels": {"modelservice.dev/attempt": "1"}, **more}
    return {"metadata": meta, "status": {"conditions": [{"type": kind, "status": "True"} for kind in conditions]}}


EVICTED = {"type": "DisruptionTarget", "status": "True"}
KILLED = {**ENDED, "exitCode": 137}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (with_container("Failed", EVICTED, terminated={**ENDED, "exitCode": 143}), (143, True, False)),
        (with_container("Failed", EVICTED, terminated=KILLED), (137, True, False)),
        ({"phase": "Failed", "reason": "NodeShutdown"}, (None, True, False)),
        (with_container("Failed", terminated={**KILLED, "reason": "OOMKilled"}), (137, False, True)),
        (with_container("Failed", terminated=KILLED), (137, False, False)),
        (with_container("Failed", terminated=ENDED), (1, False, False)),
    ],
)
def test_the_end_of_an_attempt_tells_disruption_from_failure(
    status: dict[str, Any], expected: tuple[int | None, bool, bool]
) -> None:
    ending = attempt_of(job("Failed"), [pod(status)]).ending
    assert ending is not None
    assert (ending.exit_code, ending.disrupted, ending.out_of_memory) == expected


def test_an_attempt_whose_pod_is_gone_was_disrupted_once_its_job_is_over() -> None:
    assert attempt_of(job(), []).ending is None
    assert attempt_of(job("Failed"), []).ending == Ending(disrupted=True)


def test_an_attempt_goes_on_while_its_pod_runs() -> None:
    seen = attempt_of(job(), [pod(with_container(running={"startedAt": AT}))])
    assert (seen.number, seen.started_at, seen.ending) == (1, SECONDS, None)


def said(**message: Any) -> dict[str, Any]:
    return {**ENDED, "message": json.dumps({"version": 1, **message})}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available.",
}


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        ({"phase": "Pending", "conditions": [UNSCHEDULABLE]}, "PodsPending", "0/1 nodes are available."),
        (
            with_container(waiting={"reason": "ErrImagePull", "message": "no such image"}),
            "ImagePullFailed",
            "image i:1",
        ),
        (with_container(waiting={"reason": "ImageInspectError", "message": "no entry"}), "ImagePullFailed", "no entry"),
        (with_container(waiting={"reason": "CreateContainerConfigError", "message": "x"}), "PodsCrashing", "set up"),
        (with_container(terminated=ENDED), "PodsCrashing", "exit code 1"),
        (
            with_container(waiting={"reason": "CrashLoopBackOff"}, last={"terminated": ENDED}, restarts=3),
            "PodsCrashing",
            "restarts so far: 3",
        ),
        (with_container(terminated={**KILLED, "reason": "OOMKilled"}), "OutOfMemory", "more memory"),
        (
            with_container(terminated=said(outcome="ModelLoadFailed", message="/mnt/models/x is missing.")),
            "ModelLoadFailed",
            "/mnt/models/x is missing.",
        ),
        (
            {"initContainerStatuses": [container(terminated=said(outcome="FetchFailed", message="a.pt is a pickle."))]},
            "DownloadFailed",
            "The model cannot be downloaded: a.pt is a pickle.",
        ),
        (
            with_container(terminated=said(outcome="UnsupportedHardware", message="No BF16 here.")),
            "UnsupportedHardware",
            "The model cannot run on the nodes of this pool: No BF16 here.",
        ),
        (
            with_container(terminated=said(outcome="RemoteCodeDenied", message="config.json names code.")),
            "RemoteCodeDenied",
            "The model needs model.remoteCode: Allow: config.json names code.",
        ),
        (
            with_container(terminated=said(outcome="Failed", message="port taken")),
            "PodsCrashing",
            "It said: port taken",
        ),
    ],
)
def test_what_keeps_a_pod_from_being_ready_is_told_in_a_sentence(
    status: dict[str, Any], reason: str, sentence: str
) -> None:
    trouble = trouble_of(pod(status))
    assert trouble is not None
    assert trouble.reason == reason
    assert sentence in trouble.message


def test_ready_starting_gated_and_leaving_pods_are_no_trouble() -> None:
    assert trouble_of(pod(with_container(ready=True, running={"startedAt": AT}, last={"terminated": ENDED}))) is None
    assert trouble_of(pod(with_container(waiting={"reason": "ContainerCreating"}))) is None
    assert (
        trouble_of(
            pod({"conditions": [UNSCHEDULABLE]}, spec={"schedulingGates": [{"name": "modelservice.dev/budget"}]})
        )
        is None
    )
    assert trouble_of(pod(with_container(terminated=ENDED), deletionTimestamp=AT)) is None


def test_a_training_pod_that_did_its_work_is_no_trouble_also_before_its_phase_says_so() -> None:
    training = {"labels": {"modelservice.dev/role": "Training"}}
    done = {**ENDED, "exitCode": 0}
    for phase in ("Running", "Succeeded"):
        assert trouble_of(pod(with_container(phase, terminated=done), **training)) is None
    assert trouble_of(pod(with_container(terminated=done))) is not None, "an engine that stops is a trouble"
    failed = trouble_of(pod(with_container("Running", terminated=ENDED), **training))
    assert failed is not None
    assert failed.exit_code == 1


@pytest.mark.parametrize(
    ("annotations", "decided"),
    [
        (None, None),
        ({"modelservice.dev/break-glass-reason": "x"}, None),
        ({"modelservice.dev/break-glass-until": "tomorrow"}, None),
        ({"modelservice.dev/break-glass-until": "2026-01-01T00:00:00"}, None),
        ({"modelservice.dev/break-glass-until": "2026-01-01T00:00:00Z"}, BreakGlass(1767225600)),
        (
            {
                "modelservice.dev/break-glass-until": "2026-01-01T01:00:00+01:00",
                "modelservice.dev/break-glass-reason": "x",
            },
            BreakGlass(1767225600, "x"),
        ),
    ],
)
def test_break_glass_counts_with_a_time_that_has_a_zone(
    annotations: dict[str, str] | None, decided: BreakGlass | None
) -> None:
    obj = pod()
    obj["metadata"]["annotations"] = annotations
    seen = pod_of(obj)
    assert seen is not None
    assert seen.break_glass == decided


def slice_of(*ready: str, namespace: str = "system", port: int = 8000, **more: Any) -> dict[str, Any]:
    """A slice of the gateway's Service with these ready endpoints and one that is going."""
    ends = [{"addresses": [address], "conditions": {"ready": True}} for address in ready]
    going = {"addresses": ["10.0.0.99"], "conditions": {"ready": False, "terminating": True}}
    labels = {"endpointslice.kubernetes.io/managed-by": more.pop("manager", "endpointslice-controller.k8s.io")}
    given = {"addressType": "IPv4", "ports": [{"name": "http", "port": port}], "endpoints": [*ends, going], **more}
    return {"metadata": {"namespace": namespace, "name": "gateway-x", "labels": labels}, **given}


def test_the_gateway_is_where_the_slices_of_its_service_say_and_only_in_the_operators_namespace() -> None:
    found = [
        slice_of("10.0.0.2", "10.0.0.1"),
        slice_of("10.0.0.3"),
        slice_of("10.6.6.6", namespace="team"),
        slice_of("10.7.7.7", manager="modelservice"),
        slice_of("fd00::1", addressType="IPv6"),
    ]
    assert gateways_of(found, "system") == Gateways(("10.0.0.1", "10.0.0.2", "10.0.0.3"), 8000)
    assert gateways_of([found[4]], "system") == Gateways(("fd00::1",), 8000, "IPv6")


@pytest.mark.parametrize(
    "slices",
    [[], [slice_of()], [slice_of("10.0.0.1", ports=[{"name": "other", "port": 1}])], [slice_of(endpoints=None)]],
    ids=["none", "none that is ready", "another port", "no endpoints"],
)
def test_there_is_no_gateway_while_none_takes_requests(slices: list[dict[str, Any]]) -> None:
    assert gateways_of(slices, "system") is None
