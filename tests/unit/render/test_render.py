"""Manifests: gated, confined, named so that nothing collides, and never different for equal decisions."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain.demand import Scaling
from modelservice.domain.gateways import Gateways
from modelservice.domain.prices import Billing
from modelservice.domain.specs import (
    Artifact,
    ClaimPath,
    Download,
    Drain,
    Engine,
    Inference,
    Json,
    Model,
    Pool,
    Probes,
    Role,
    Runtime,
    Service,
    ServiceName,
    Training,
    Workload,
)
from modelservice.render.deployment import deployment, deployment_name, fetcher_of
from modelservice.render.hashing import hash8, placement_id, revision_id, run_id
from modelservice.render.job import job, job_name
from modelservice.render.service import service as address
from modelservice.render.service import stand_in
from modelservice.render.variables import expand

from tests.unit.domain.specs import gpu_pool, pool, runtime, workload

ARTIFACT = Artifact(ClaimPath("models", "llm/v1"))
TRAINED = Training(
    workload(command=("python", "train.py"), args=("--epochs", "3")), ClaimPath("models", "out"), "files"
)
SERVED = Inference(workload(), 1, 3, Scaling("RPS", 10, 300))


def service(name: str = "chat", inference: Inference | None = SERVED, training: Training | None = None) -> Service:
    model = Model(ClaimPath("models", "llm/v1"))
    return Service(ServiceName("ns", name), "uid-1", 1, False, model, inference, training)


def identity(spec: Inference = SERVED, used: Pool | None = None, artifact: Artifact = ARTIFACT, **engine: Any) -> str:
    used, run = used or pool(), runtime(**engine)
    return placement_id(spec, run, run.engines[used.accelerator], artifact, used, "OnDemand")


def rendered(used: Pool | None = None, spec: Inference = SERVED) -> dict[str, Any]:
    used = used or pool()
    return deployment(service(inference=spec), spec, runtime(), used, ARTIFACT, "abcd1234", 2)


def downloaded(artifact: Artifact, used: Pool | None = None, spec: Inference = SERVED) -> dict[str, Any]:
    used = used or pool()
    return deployment(service(inference=spec), spec, runtime(), used, artifact, "abcd1234", 2, "worker:1")


def fetcher(obj: dict[str, Any]) -> dict[str, Any]:
    (found,) = obj["spec"]["template"]["spec"]["initContainers"]
    made: dict[str, Any] = found
    return made


def main(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def attempt(number: int = 1) -> dict[str, Any]:
    return job(service(training=TRAINED), TRAINED, runtime(Role.TRAINING), pool(), "OnDemand", "ffff0000", number)


def test_a_pod_is_gated_and_in_its_pool_and_the_labels_say_whose_it_is() -> None:
    made = rendered(pool(tolerations=({"key": "modelservice.dev/pool", "operator": "Exists"},)))
    template = made["spec"]["template"]
    assert template["spec"]["schedulingGates"] == [{"name": "modelservice.dev/budget"}]
    assert template["spec"]["nodeSelector"] == {"pool": "cpu"}
    assert template["spec"]["tolerations"] == [{"key": "modelservice.dev/pool", "operator": "Exists"}]
    assert template["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "modelservice",
        "modelservice.dev/name": "chat",
        "modelservice.dev/role": "Inference",
        "modelservice.dev/placement": "abcd1234",
        "modelservice.dev/revision": revision_id(SERVED, runtime(), runtime().engines["CPU"], ARTIFACT),
        "modelservice.dev/variant": "base",
        "modelservice.dev/pool": "cpu",
    }
    assert made["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


HUB = Artifact(Download("hf://org/tiny", "hub"))


@pytest.mark.parametrize("made", [rendered(), attempt(), downloaded(HUB)], ids=["Deployment", "Job", "download"])
def test_a_pod_passes_the_restricted_security_level(made: dict[str, Any]) -> None:
    spec = made["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert not any("hostPath" in volume for volume in spec["volumes"])


def test_replicas_share_one_address_and_drain_before_they_stop() -> None:
    made = address(service())
    assert made["spec"]["selector"] == {"modelservice.dev/name": "chat", "modelservice.dev/role": "Inference"}
    assert (made["spec"]["ports"][0]["port"], made["spec"]["ports"][0]["targetPort"]) == (80, "http")
    container = main(rendered())
    assert container["ports"][0] == {"name": "http", "containerPort": 8080, "protocol": "TCP"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    grace = rendered()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] < grace


@pytest.mark.parametrize(("stop", "grace"), [(0, 1), (16, 1), (30, 15), (120, 60), (9000, 60)])
def test_an_attempt_ends_by_itself_within_the_time_that_its_pool_is_paid_for(stop: int, grace: int) -> None:
    made = job(
        service(training=TRAINED), TRAINED, runtime(Role.TRAINING), pool(billing=Billing(stop)), "OnDemand", "f", 1
    )
    assert made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


@pytest.mark.parametrize(("stop", "grace", "requests"), [(30, 15, 5), (60, 45, 35), (75, 60, 50), (9000, 60, 50)])
def test_a_replica_knows_what_its_last_requests_have_of_the_time_that_its_pool_is_paid_for(
    stop: int, grace: int, requests: int
) -> None:
    made = rendered(pool(billing=Billing(stop)))
    assert made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace
    assert {"name": "MODELSERVICE_STOP_SECONDS", "value": str(requests)} in main(made)["env"]


def test_prometheus_finds_the_port_and_path_of_the_runtime() -> None:
    notes = rendered()["spec"]["template"]["metadata"]["annotations"]
    assert notes == {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"}


def test_weights_are_mounted_read_only_and_variables_say_where() -> None:
    made = rendered()
    env = {one["name"]: one["value"] for one in main(made)["env"]}
    assert (env["MODEL_NAME"], env["MODEL_PATH"], env["PORT"]) == ("chat", "/mnt/models/llm/v1", "8080")
    assert env.keys() == {"MODEL_NAME", "MODEL_PATH", "PORT", "MODELSERVICE_STOP_SECONDS"}
    volume = made["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]
    assert volume == {"claimName": "models", "readOnly": True}


def test_a_model_elsewhere_is_downloaded_before_the_engine_starts() -> None:
    made = downloaded(HUB)
    first = fetcher(made)
    assert (first["image"], first["args"]) == ("worker:1", ["fetch"])
    env = {one["name"]: one.get("value", one.get("valueFrom")) for one in first["env"]}
    assert env == {
        "MODELSERVICE_STORAGE_URI": "hf://org/tiny",
        "MODELSERVICE_MODEL_DIR": "/mnt/models/model",
        "MODELSERVICE_MODEL_REVISION": {
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['modelservice.dev/model-revision']"}
        },
        "MODELSERVICE_DOWNLOAD_PORT": "8080",
    }
    assert first["envFrom"] == [{"secretRef": {"name": "hub"}}]
    volume = made["spec"]["template"]["spec"]["volumes"][0]
    assert volume == {"name": "modelservice-weights", "emptyDir": {}}
    assert first["volumeMounts"] == [{"name": "modelservice-weights", "mountPath": "/mnt/models"}]
    assert main(made)["volumeMounts"] == [
        {"name": "modelservice-weights", "mountPath": "/mnt/models", "readOnly": True}
    ]
    assert {"name": "MODEL_PATH", "value": "/mnt/models/model"} in main(made)["env"]
    assert "envFrom" not in fetcher(downloaded(Artifact(Download("s3://models/chat"))))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("hf://org/tiny-GGUF/tiny-Q4.gguf", "/mnt/models/model/tiny-Q4.gguf"),
        ("https://example.com/a/model.pt2", "/mnt/models/model/model.pt2"),
        ("s3://models/chat.onnx/", "/mnt/models/model/chat.onnx"),
        ("https://example.com/a/model.tar.gz", "/mnt/models/model"),
        ("hf://org/tiny/model.safetensors", "/mnt/models/model"),
    ],
)
def test_the_engine_is_given_the_file_that_the_address_names_or_the_directory(uri: str, path: str) -> None:
    assert {"name": "MODEL_PATH", "value": path} in main(downloaded(Artifact(Download(uri))))["env"]


@pytest.mark.parametrize("used", [pool(), gpu_pool()], ids=["CPU", "GPU"])
@pytest.mark.parametrize(
    "pod",
    [
        workload(limits={"memory": "2Gi"}),
        workload(requests={"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}),
        workload(limits={"cpu": "2", "memory": "2Gi"}),
    ],
)
def test_a_download_asks_for_no_more_than_the_engine_and_takes_no_device(pod: Workload, used: Pool) -> None:
    made = downloaded(HUB, used, replace(SERVED, pod=pod))

    def asked(kind: str) -> tuple[Json, Json]:
        return fetcher(made)["resources"].get(kind, {}), main(made)["resources"].get(kind, {})

    for kind in ("requests", "limits"):
        download, engine = asked(kind)
        assert download == {name: amount for name, amount in engine.items() if name != "nvidia.com/gpu"}
    assert fetcher(made)["resources"]["requests"]


def test_code_of_the_model_is_fetched_and_run_only_when_that_is_allowed() -> None:
    made = downloaded(replace(HUB, remote_code=True))
    assert fetcher(made)["args"] == ["fetch", "--scripts"]
    assert {"name": "MODELSERVICE_REMOTE_CODE", "value": "Allow"} in main(made)["env"]
    assert not any(one["name"] == "MODELSERVICE_REMOTE_CODE" for one in main(downloaded(HUB))["env"])


def test_a_revision_that_becomes_known_changes_no_pod_and_the_deployment_tells_it() -> None:
    before, after = downloaded(HUB), downloaded(replace(HUB, revision="a" * 40, digest="sha256:1", size_bytes=7))
    assert before["spec"] == after["spec"]
    assert identity(artifact=HUB) == identity(artifact=replace(HUB, revision="a" * 40, digest="sha256:1"))
    told = after["metadata"]["annotations"]
    assert (told["modelservice.dev/model-revision"], told["modelservice.dev/model-bytes"]) == ("a" * 40, "7")
    assert "modelservice.dev/model-revision" not in before["metadata"]["annotations"]


def test_a_newer_operator_leaves_the_image_that_downloads_in_what_runs() -> None:
    assert fetcher_of(downloaded(HUB)) == "worker:1"
    assert fetcher_of(rendered()) == fetcher_of(None) == ""


def test_what_the_service_says_wins_and_our_variables_win_over_all() -> None:
    given = workload(
        image="mine:2",
        args=("--path=$(MODEL_PATH)", "$(HOME)", "$$(PORT)"),
        env=(
            {"name": "PORT", "value": "1"},
            {"name": "A", "value": "$(MODEL_NAME)!"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ),
    )
    container = main(rendered(spec=replace(SERVED, pod=given)))
    assert container["image"] == "mine:2"
    assert container["args"] == ["--path=/mnt/models/llm/v1", "$(HOME)", "$$(PORT)"]
    env = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    assert env["PORT"] == "8080"
    assert env["A"] == "chat!"
    assert env["B"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_an_accelerator_is_requested_and_limited_alike() -> None:
    container = main(rendered(gpu_pool()))
    assert container["image"] == "engine:gpu"
    assert container["resources"]["requests"]["nvidia.com/gpu"] == "1"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}


def engine(**more: Any) -> dict[str, Any]:
    """The container of a pod whose engine has these fields."""
    return main(by(runtime(engines={"CPU": Engine("engine:cpu", **more)})))


def by(run: Runtime, spec: Inference = SERVED, used: Pool | None = None) -> dict[str, Any]:
    return deployment(service(inference=spec), spec, run, used or pool(), ARTIFACT, "abcd1234", 2)


@pytest.mark.parametrize(
    ("used", "given", "devices", "threads"),
    [
        (pool(), workload(), "0", "1"),
        (pool(), workload(requests={"cpu": "3500m", "memory": "1Gi"}), "0", "3"),
        (pool(), workload(requests={"cpu": "100m", "memory": "1Gi"}), "0", "1"),
        (pool(), workload(limits={"cpu": "4"}), "0", "4"),
        (gpu_pool(), workload(), "1", "1"),
        (gpu_pool(), workload(requests={"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "4"}), "4", "2"),
    ],
)
def test_an_engine_learns_how_many_accelerators_and_threads_it_has(
    used: Pool, given: Workload, devices: str, threads: str
) -> None:
    words = ("--tensor-parallel-size=$(DEVICES)", "--threads=$(CPU_THREADS)")
    env = ({"name": "OMP_NUM_THREADS", "value": "$(CPU_THREADS)"},)
    run = runtime(engines={kind: Engine("engine:1", words, env) for kind in ("CPU", "GPU")})
    container = main(by(run, replace(SERVED, pod=given), used))
    assert container["args"] == [f"--tensor-parallel-size={devices}", f"--threads={threads}"]
    assert {"name": "OMP_NUM_THREADS", "value": threads} in container["env"]
    assert "DEVICES" not in {one["name"] for one in container["env"]}


def test_an_engine_may_be_started_by_a_program_of_the_image_that_is_not_its_entrypoint() -> None:
    assert "command" not in engine()
    assert engine(command=("vllm", "serve"))["command"] == ["vllm", "serve"]


def test_shared_memory_is_a_volume_in_memory_unless_the_user_mounts_one_there() -> None:
    run = runtime(engines={"CPU": Engine("engine:cpu", shared_memory="2Gi")})
    spec = by(run)["spec"]["template"]["spec"]
    assert spec["volumes"][1] == {"name": "modelservice-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    assert spec["containers"][0]["volumeMounts"][1] == {"name": "modelservice-shm", "mountPath": "/dev/shm"}
    own = replace(SERVED, pod=workload(volumes=({"name": "mine", "mountPath": "/dev/shm/", "emptyDir": {}},)))
    spec = by(run, own)["spec"]["template"]["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["modelservice-weights", "mine"]
    assert [one["name"] for one in spec["containers"][0]["volumeMounts"]] == ["modelservice-weights", "mine"]


def test_an_engine_is_asked_on_its_own_paths_how_it_is_and_has_its_own_time_to_load() -> None:
    container = main(by(runtime(probes=Probes("/health", "/ready", 600))))
    assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] == 600


@pytest.mark.parametrize("delay", [0, 30])
def test_a_drain_is_the_delay_before_the_signal_the_time_after_it_and_5_s_to_spare(delay: int) -> None:
    spec = by(runtime(drain=Drain(delay, 60)))["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == delay + 65
    sleep = {"preStop": {"sleep": {"seconds": delay}}} if delay else None
    assert spec["containers"][0].get("lifecycle") == sleep


def test_an_attempt_is_one_pod_that_nobody_repeats() -> None:
    made = attempt(2)
    assert made["metadata"]["name"] == "chat-ffff0000-2"
    spec = made["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["completionMode"]) == (0, 1, "Indexed")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    container = main(made)
    assert container["args"] == ["serve", "python", "train.py", "--epochs", "3"]
    assert container["workingDir"] == "/workspace"
    env = {one["name"]: one["value"] for one in container["env"]}
    assert env["MODELSERVICE_OUTPUT_DIR"] == "/mnt/output/out/ffff0000/2"
    assert (env["MODELSERVICE_RUN"], env["MODELSERVICE_ATTEMPT"]) == ("ffff0000", "2")
    volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
    assert volumes["modelservice-files"]["configMap"] == {"name": "files"}


def test_names_are_valid_short_enough_and_never_collide() -> None:
    longest = service("a" * 40)
    names = [deployment_name(longest, "abcd1234"), job_name(longest, "ffff0000", 10_000)]
    assert all(len(name) <= 63 and re.fullmatch(r"[a-z][-a-z0-9]*[a-z0-9]", name) for name in names)
    one = deployment_name(service("llm"), identity(used=pool("a100-spot")))
    other = deployment_name(service("llm-a100"), identity(used=pool("spot")))
    assert one != other


@pytest.mark.parametrize(
    "changed",
    [
        lambda: identity(replace(SERVED, pod=workload(image="other:1"))),
        lambda: identity(replace(SERVED, pod=workload(args=("x",)))),
        lambda: identity(replace(SERVED, pod=workload(requests={"cpu": "2", "memory": "1Gi"}))),
        lambda: identity(replace(SERVED, pod=workload(env=({"name": "A", "value": "1"},)))),
        lambda: identity(used=pool("other")),
        lambda: identity(used=pool(tolerations=({"key": "a"},))),
        lambda: identity(artifact=Artifact(ClaimPath("models", "llm/v2"))),
        lambda: identity(artifact=replace(ARTIFACT, digest="sha256:1")),
        lambda: identity(artifact=replace(ARTIFACT, remote_code=True)),
        lambda: identity(artifact=HUB),
        lambda: identity(engines={"CPU": Engine("engine:2", ("serve",))}),
        lambda: identity(port=9000),
        lambda: identity(probes=Probes("/health")),
        lambda: identity(drain=Drain(5, 60)),
        lambda: identity(engines={"CPU": replace(runtime().engines["CPU"], command=("x",))}),
        lambda: identity(engines={"CPU": replace(runtime().engines["CPU"], shared_memory="1Gi")}),
    ],
)
def test_what_a_pod_is_made_of_changes_its_placement(changed: Any) -> None:
    assert changed() != identity()


@pytest.mark.parametrize(
    "same",
    [
        lambda: identity(replace(SERVED, minimum=2, maximum=9, scaling=None)),
        lambda: identity(replace(SERVED, pod=workload(pools=("cpu",), accelerators=("CPU",)))),
        lambda: identity(used=pool(price=9_000_000, start_seconds=1)),
        lambda: identity(engines={"CPU": runtime().engines["CPU"], "GPU": Engine("other:1")}),
        lambda: identity(series={}),
    ],
)
def test_what_a_pod_is_not_made_of_does_not(same: Any) -> None:
    assert same() == identity()


def test_identities_and_manifests_of_this_release_are_those_of_the_releases_before() -> None:
    """If this fails, an upgrade would restart every model pod: keep the old identity, or raise LAYOUT knowingly."""
    assert identity() == "c0896214"
    assert run_id(TRAINED) == "e9df8ba0"
    assert hash8(rendered()["spec"]["template"]) == "5298d071"


def test_placement_limits_of_training_do_not_make_a_new_run() -> None:
    assert run_id(replace(TRAINED, backoff_limit=9)) == run_id(TRAINED)
    assert run_id(replace(TRAINED, pod=replace(TRAINED.pod, pools=("x",)))) == run_id(TRAINED)
    assert run_id(replace(TRAINED, pod=replace(TRAINED.pod, args=("x",)))) != run_id(TRAINED)


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_a_hash_does_not_depend_on_the_order_of_keys(order: tuple[str, ...]) -> None:
    assert hash8({key: [1, {"x": key}] for key in order}) == hash8(
        json.loads('{"a":[1,{"x":"a"}],"b":[1,{"x":"b"}],"c":[1,{"x":"c"}]}')
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$(B)", "$(B)"),
        ("$$(A)", "$$(A)"),
        ("$$$(A)", "$$1"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$(C)", "a$$(A)b"),
    ],
)
def test_variables_are_expanded_as_the_kubelet_does_and_foreign_ones_are_left_to_it(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "C": "a$(A)b"}) == expanded


def test_the_stand_in_leads_the_service_to_the_gateway_and_says_whose_it_is() -> None:
    made = stand_in(service(), Gateways(("10.0.0.1", "10.0.0.2"), 8000))
    labels = made["metadata"]["labels"]
    assert made["metadata"]["name"] == f"{service().name.name}-gateway"
    assert labels["kubernetes.io/service-name"] == address(service())["metadata"]["name"]
    assert labels["endpointslice.kubernetes.io/managed-by"] == "modelservice"
    assert made["ports"] == [{"name": address(service())["spec"]["ports"][0]["name"], "port": 8000, "protocol": "TCP"}]
    assert [one["addresses"] for one in made["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]
    assert made["metadata"]["ownerReferences"] == address(service())["metadata"]["ownerReferences"]
