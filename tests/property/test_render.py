"""Manifests of any service: names that fit, no two alike, the same for equal decisions."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from modelservice.domain.placement import select
from modelservice.domain.prices import Billing
from modelservice.domain.specs import (
    Artifact,
    ClaimPath,
    Drain,
    Inference,
    Json,
    Role,
    Service,
    ServiceName,
    Training,
    Workload,
)
from modelservice.render.deployment import deployment, deployment_name
from modelservice.render.hashing import placement_id, run_id
from modelservice.render.job import job
from modelservice.render.service import service as address
from modelservice.render.variables import expand

from tests.unit.domain.specs import pool, runtime

names = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
env: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"name": st.from_regex(r"[A-Z_][A-Z0-9_]{0,10}", fullmatch=True), "value": words}
)
pods = st.builds(
    Workload,
    runtime=st.just("engine"),
    requests=st.just({"cpu": "1", "memory": "1Gi"}),
    image=st.none() | st.just("mine:1"),
    command=st.tuples(words),
    args=st.lists(words, max_size=3).map(tuple),
    env=st.lists(env, max_size=3, unique_by=lambda one: one["name"]).map(tuple),
)
CHAT = Workload("engine", {"cpu": "1", "memory": "1Gi"})
CPU, ENGINE, TRAINER = pool(), runtime(), runtime(Role.TRAINING)
ARTIFACT = Artifact(ClaimPath("models", "m"), "sha256:1")


def of(name: str, pod: Workload) -> tuple[Service, Inference, Training]:
    spec, training = Inference(pod, 1, 1), Training(pod, ClaimPath("models", "out"))
    return Service(ServiceName("ns", name), "u", 1, False, None, spec, training), spec, training


def identity(spec: Inference) -> str:
    return placement_id(spec, ENGINE, ENGINE.engines["CPU"], ARTIFACT, CPU, "OnDemand")


@given(names, pods, st.integers(1, 10_000))
def test_names_and_labels_fit_kubernetes(name: str, pod: Workload, attempt: int) -> None:
    service, spec, training = of(name, pod)
    made = [
        deployment(service, spec, ENGINE, CPU, ARTIFACT, identity(spec), 1),
        job(service, training, TRAINER, CPU, "OnDemand", run_id(training), attempt),
        address(service),
    ]
    for obj in made:
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", obj["metadata"]["name"])
        assert all(len(value) <= 63 for value in obj["metadata"]["labels"].values())


@given(names, pods)
def test_the_variables_of_modelservice_cannot_be_overridden_and_each_is_there_once(name: str, pod: Workload) -> None:
    service, spec, _ = of(name, pod)
    made = deployment(service, spec, ENGINE, CPU, ARTIFACT, "00000000", 1)
    variables = made["spec"]["template"]["spec"]["containers"][0]["env"]
    assert len({one["name"] for one in variables}) == len(variables)
    values = {one["name"]: one.get("value") for one in variables}
    assert (values["MODEL_NAME"], values["MODEL_PATH"], values["PORT"]) == (name, "/mnt/models/m", "8080")


drains = st.none() | st.builds(Drain, st.integers(0, 300), st.integers(1, 3600))
overrides: st.SearchStrategy[Json] = st.builds(
    lambda value: {"name": "MODELSERVICE_STOP_SECONDS", "value": value}, st.sampled_from(["1", "86400", ""])
)


@given(st.integers(0, 200) | st.integers(0, 7200), drains, st.lists(overrides, max_size=2))
def test_a_replica_has_its_delay_what_its_last_requests_may_take_and_5_s_and_its_pool_pays_for_all(
    stop: int, drain: Drain | None, given_env: list[Json]
) -> None:
    """The worker computes no request for longer than MODELSERVICE_STOP_SECONDS, less a delay of its own."""
    used, run, pod = pool(billing=Billing(stop)), runtime(drain=drain), replace(CHAT, env=tuple(given_env))
    service, spec, _ = of("chat", pod)
    made = deployment(service, spec, run, used, ARTIFACT, "00000000", 1)["spec"]["template"]["spec"]
    (main,) = made["containers"]
    delay = main.get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})["preStop"]["sleep"]["seconds"]
    (requests,) = (int(one["value"]) for one in main["env"] if one["name"] == "MODELSERVICE_STOP_SECONDS")
    grace = made["terminationGracePeriodSeconds"]
    assert requests >= 1
    assert grace >= delay + requests + 5
    chosen = select(pod, run, [used], {})
    assert bool(chosen.options) == (grace + 15 <= stop)
    assert all(f"is paid for {stop} s of stopping" in one.why for one in chosen.rejections)


@given(names, pods)
def test_a_manifest_is_json_and_the_same_for_the_same_decision(name: str, pod: Workload) -> None:
    service, spec, _ = of(name, pod)
    first = json.dumps(deployment(service, spec, ENGINE, CPU, ARTIFACT, "00000000", 1))
    assert json.dumps(deployment(service, spec, ENGINE, CPU, ARTIFACT, "00000000", 1)) == first


@given(names, names, pods, pods)
def test_two_placements_share_a_name_only_when_they_are_the_same(
    one: str, other: str, first: Workload, second: Workload
) -> None:
    left, left_spec, _ = of(one, first)
    right, right_spec, _ = of(other, second)
    if deployment_name(left, identity(left_spec)) == deployment_name(right, identity(right_spec)):
        assert (one, first.args, first.env, first.image) == (other, second.args, second.env, second.image)


@given(words, words)
def test_expansion_puts_a_value_in_as_it_is(before: str, value: str) -> None:
    plain = before.replace("$", "")
    assert expand(f"{plain}$(A){plain}", {"A": value}).replace("$$", "$") == f"{plain}{value}{plain}"


@given(words)
def test_a_text_without_our_variables_is_left_alone(text: str) -> None:
    assert expand(text, {"MODEL_NAME": "x"}) == text.replace("$(MODEL_NAME)", "x")
