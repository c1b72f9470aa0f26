"""`modelservice plan` from files, as a person sees it."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelservice.cli.main import main

HERE = Path(__file__).parent
PLANS = HERE / "plans"
REPO = HERE.parents[2]
LLAMA = REPO / "tests/manifests/facts/llama-3.1-8b.json"
TOLD = ["--model", f"chat={LLAMA}", "--model", f"team/embed={PLANS / 'embed.json'}", "--load", "chat=60"]
AT = ["--at", "2026-07-10T12:00:00Z"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        status = main(["plan", *map(str, words)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((PLANS / name).read_text()) if one]


def write(path: Path, *objects: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    return path


def service(run: Run, name: str, *words: object) -> dict[str, Any]:
    """The proposal of one service, from the document."""
    status, out, err = run(*words, "-o", "json", *AT)
    assert (status, err) == (0, "")
    found: dict[str, Any] = next(one for one in json.loads(out)["services"] if one["service"] == name)
    return found


def test_the_table_is_the_one_that_is_kept_beside_this_test(run: Run) -> None:
    status, out, err = run("-f", PLANS, *TOLD, *AT)
    assert (status, err) == (0, "")
    assert out == (PLANS / "table.txt").read_text()
    assert max(map(len, out.splitlines())) <= 100


def test_the_document_is_the_one_that_is_kept_beside_this_test(run: Run) -> None:
    status, out, err = run("-f", PLANS, *TOLD, *AT, "-o", "json")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads((PLANS / "expected" / "plan.json").read_text())


def test_every_service_of_the_examples_is_planned_without_a_cluster(run: Run) -> None:
    status, out, err = run("-f", REPO / "examples", "-o", "json")
    assert (status, err) == (0, "")
    planned = {one["service"]: one for one in json.loads(out)["services"]}
    there = {
        f"{body['metadata'].get('namespace', 'default')}/{body['metadata']['name']}"
        for path in (REPO / "examples").rglob("*.yaml")
        for body in yaml.safe_load_all(path.read_text())
        if body and body.get("kind") == "ModelService"
    }
    assert {"quickstart/autoencoder", "budget-tour/chat"} <= there == set(planned)
    assert planned["quickstart/autoencoder"]["chosen"] == {"pool": "cpu", "purchase": "OnDemand"}


def test_memory_against_capacity_decides_and_says_why(run: Run) -> None:
    alone = service(run, "team/chat", "-f", PLANS)
    assert alone["model"].startswith("unknown, pvc://models/llama-3.1-8b is not here")
    assert [line["memoryUnknown"] for line in alone["options"] if line["rank"] == 1] == ["the model is not known"]
    told = service(run, "team/chat", "-f", PLANS, *TOLD)
    chosen = told["options"][0]
    assert (chosen["pool"], chosen["fit"], chosen["memory"]["source"]) == ("l4", "Roomy", "Config")
    assert chosen["memory"]["likely"] < chosen["memoryAvailable"] == int(22 * 2**30 * 0.9)
    assert chosen["sequences"] == 1
    large = service(run, "team/large", "-f", PLANS, *TOLD)
    assert large["chosen"] is None
    assert large["problem"] == "No pool fits."
    assert "4 devices would hold it, ask for nvidia.com/gpu: 4" in large["options"][1]["why"]


def test_c40_a_pool_whose_processors_lack_the_format_is_left_out_and_the_user_told_what_to_write(run: Run) -> None:
    embed = service(run, "team/embed", "-f", PLANS, *TOLD)
    assert embed["chosen"] == {"pool": "cpu-new", "purchase": "OnDemand"}
    why = {line["pool"]: line["why"] for line in embed["options"]}
    assert why["cpu-old"] == "lacks avx512_bf16 or amx_bf16 or bf16, which a model in BF16 is computed with"
    assert (
        "The operator does not look at the model yet and would take cpu-old: "
        "set inference.placement.pools to [cpu-new]." in embed["notes"]
    )


def test_c29_a_slice_of_several_nodes_serves_no_replica(run: Run) -> None:
    chat = service(run, "team/chat", "-f", PLANS, *TOLD)
    why = next(line["why"] for line in chat["options"] if line["pool"] == "v5e")
    assert why == "has slices of 4 nodes (4x4, 4 chips a node), and a replica is served on one node"


def test_a_run_whose_model_is_known_is_told_what_each_way_to_train_takes(run: Run, tmp_path: Path) -> None:
    tuned = next(one for one in documents("team.yaml") if one["metadata"]["name"] == "tuned")
    tuned["spec"]["training"]["resourcesPerNode"]["requests"]["nvidia.com/gpu"] = "4"
    (tmp_path / "platform.yaml").write_text((PLANS / "platform.yaml").read_text())
    write(tmp_path / "tuned.yaml", tuned)
    told = service(run, "team/tuned", "-f", tmp_path, "--model", f"tuned={LLAMA}")["notes"][-1]
    assert told == (
        "Training takes on each of 4 devices of 22 GiB by ZeRO 3, one sequence of 2,048 tokens at a time: "
        "Full 34.13 GiB, LoRA 8.11 GiB, QLoRA 5.7 GiB."
    )
    assert not any("Training takes" in note for note in service(run, "team/tuned", "-f", tmp_path)["notes"])


def test_a_load_gives_the_replicas_that_the_operator_would_take(run: Run) -> None:
    def expected(work: str) -> int:
        levels = service(run, "team/chat", "-f", PLANS, "--load", f"team/chat={work}")["levels"]
        found: int = levels[1]["replicas"]
        return found

    assert [expected(work) for work in ("0", "27", "28", "54.5", "1000")] == [1, 1, 2, 3, 6]
    levels = service(run, "team/chat", "-f", PLANS)["levels"]
    assert [level["replicas"] for level in levels] == [1, 4, 6], "halfway without one"


def test_pools_of_the_platform_take_the_place_of_those_beside_the_services(run: Run, tmp_path: Path) -> None:
    pool = next(one for one in documents("platform.yaml") if one["kind"] == "ComputePool")
    other = write(tmp_path / "pools.yaml", {**pool, "metadata": {"name": "theirs"}})
    chat = service(run, "team/chat", "-f", PLANS, "--pools", other)
    assert {line["pool"] for line in chat["options"]} == {"theirs"}
    budgets = write(
        tmp_path / "more.yaml", {**documents("team.yaml")[1], "metadata": {"name": "more", "namespace": "team"}}
    )
    chat = service(run, "team/chat", "-f", PLANS, "--pools", budgets)
    assert len({line["pool"] for line in chat["options"]}) == 6, "a file without pools takes none away"
    assert chat["payers"] == ["team/money", "team/more"]


def priced(tmp_path: Path, **spec: Any) -> Path:
    """The team's files with one pool of l4, changed."""
    objects = [one for one in documents("platform.yaml") if one.get("metadata", {}).get("name") in ("l4", "vllm")]
    objects[0]["spec"].update(spec)
    write(tmp_path / "platform.yaml", *objects)
    (tmp_path / "team.yaml").write_text((PLANS / "team.yaml").read_text())
    return tmp_path


def test_c14_spot_that_is_dearer_than_on_demand_is_told_by_how_much(run: Run, tmp_path: Path) -> None:
    prices = [{"type": "OnDemand", "perNodeHour": "1.356"}, {"type": "Spot", "perNodeHour": "1.56"}]
    files = priced(tmp_path, purchaseOptions=prices, node={"devices": 1, "cpu": "12", "memory": "48Gi"})
    chat = service(run, "team/chat", "-f", files)
    assert chat["chosen"] == {"pool": "l4", "purchase": "OnDemand"}
    spot = next(line for line in chat["options"] if line["purchase"] == "Spot")
    assert (spot["rank"], spot["perHour"]) == (None, "1.56")
    assert spot["why"] == "costs 0.204 USD more an hour than OnDemand, which alone is bought"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("l4,Spot,13.69,USD,,,FIN-03", "the OnDemand price is missing, there is only row 2 (Spot, 13.69 USD)"),
        ("l4,OnDemand,-1,USD,,,list", "row 2"),
        ("l4,OnDemand,0,USD,,,list", "row 2"),
        ("l4,OnDemand,NaN,USD,,,list", "row 2"),
        ('l4,OnDemand,"1,39",USD,,,list', "row 2"),
    ],
)
def test_c13_a_row_that_cannot_be_believed_makes_no_option(run: Run, tmp_path: Path, rows: str, why: str) -> None:
    files = priced(tmp_path)
    objects = list(yaml.safe_load_all((files / "platform.yaml").read_text()))
    del objects[0]["spec"]["purchaseOptions"]
    objects[0]["spec"]["priceTable"] = {"configMapRef": {"name": "prices"}}
    head = "pool,type,per_node_hour,currency,valid_from,valid_to,source"
    table = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "prices"}, "data": {}}
    write(files / "platform.yaml", *objects, {**table, "data": {"prices.csv": f"{head}\n{rows}\n"}})
    chat = service(run, "team/chat", "-f", files)
    assert chat["chosen"] is None
    assert chat["options"][0]["why"].startswith("has no usable price: ")
    assert why in chat["options"][0]["why"]
    write(files / "platform.yaml", *objects)
    missing = service(run, "team/chat", "-f", files)["options"][0]["why"]
    assert missing == "has no usable price: the ConfigMap prices with its price table is not among the files"


def test_c13_memory_in_the_wrong_unit_is_refused(run: Run, tmp_path: Path) -> None:
    accelerator = {"type": "GPU", "resourceName": "nvidia.com/gpu", "memory": "80Mi"}
    status, out, err = run("-f", priced(tmp_path, accelerator=accelerator))
    assert (status, out) == (1, "")
    sentence = "accelerator.memory is 80Mi, and no device has less than 1Gi: write its memory, such as 22Gi."
    assert err == f"{tmp_path / 'platform.yaml'}:1: ComputePool l4: {sentence}\n"


HEAD = "apiVersion: modelservice.dev/v1alpha1\nkind: {}\nmetadata: {{name: x}}\nspec:\n"
SERVICE, POOL, BUDGET = HEAD.format("ModelService"), HEAD.format("ComputePool"), HEAD.format("BudgetPolicy")
NODE = "  accelerator: {type: CPU}\n  node: {cpu: '1', memory: 1Gi}\n  nodeSelector: {a: b}\n"
MODEL = "  model: {storageUri: 'pvc://a/b'}\n"
SERVED = "  inference:\n    runtime: r\n    resources: {requests: {cpu: '1', memory: 1Gi}}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("modelservice.dev: [", ":2: it is no YAML"),
        ("{{ .Values.x }} modelservice.dev", ":1: it is no YAML"),
        (f"{SERVICE}  model: {{}}\n", ":5: ModelService x: spec.model.storageUri: Field required."),
        (f"{POOL}  currency: usd\n{NODE}", ":5: ComputePool x: spec.currency: String should match pattern"),
        (
            f"{SERVICE}{MODEL}{SERVED}    maxReplica: 3\n",
            ":9: ModelService x: spec.inference.maxReplica is no field, remove it.",
        ),
        (
            f"{SERVICE}{MODEL}{SERVED}    minReplicas: 3\n    maxReplicas: 2\n",
            ":9: ModelService x: inference.minReplicas must not be above inference.maxReplicas.",
        ),
        (f"{SERVICE}{SERVED}", ":5: ModelService x: spec must have exactly one of model and training."),
        (f"{SERVICE}{MODEL}", ":5: ModelService x: spec must have inference, training or both."),
        (
            f"{BUDGET}  {{currency: USD, limit: '1', period: {{calendar: Day, timeZone: Mars/Olympus}}}}\n",
            ":1: BudgetPolicy x: 'Mars/Olympus' is not an IANA time zone",
        ),
        ("apiVersion: modelservice.dev/v1\nkind: ModelService\nmetadata: {name: x}\n", ":1: modelservice.dev/v1 Model"),
        ("apiVersion: modelservice.dev/v1alpha1\nkind: ModelService\n", ":1: ModelService: metadata.name is missing."),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(run: Run, tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{text}\n")
    status, out, err = run("-f", tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith(f"{path}{sentence}")
    assert len(err.splitlines()) == 1


def test_all_faults_are_told_at_once_and_an_object_that_stands_twice_is_one(run: Run, tmp_path: Path) -> None:
    files = priced(tmp_path)
    (files / "again.yaml").write_text((PLANS / "team.yaml").read_text())
    (files / "broken.yaml").write_text("modelservice.dev: [\n")
    status, _, err = run("-f", files)
    assert status == 1
    lines = err.splitlines()
    assert len(lines) == 7
    assert lines[0].startswith(f"{files / 'broken.yaml'}:2: it is no YAML")
    assert lines[1] == f"{files / 'team.yaml'}:1: Namespace team stands in {files / 'again.yaml'}:1 too, keep one."


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--load", "chat"], 2, "--load 'chat' says nothing: write --load SERVICE=VALUE."),
        (["--load", "chat=much"], 2, "'much' is no load: write a number such as 12 or 0.5."),
        (["--load", "gone=1"], 2, "--load 'gone' names no service: there are team/chat, team/embed, team/large"),
        (["--model", "chat=/nowhere"], 1, "/nowhere: it does not exist, name a model or what modelservice-worker"),
        (["--at", "soon"], 2, "'soon' is not a time: write one such as 2026-07-01T00:00:00Z."),
        (["--pools", "/nowhere"], 1, "/nowhere: it does not exist, name a file or a directory with manifests."),
    ],
)
def test_options_that_cannot_be_are_told(run: Run, words: list[str], status: int, sentence: str) -> None:
    got, out, err = run("-f", PLANS, *words)
    assert (got, out) == (status, "")
    assert err.startswith(sentence)
    assert len(err.splitlines()) == 1


def test_headers_are_read_by_the_program_of_the_workers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/modelservice-worker"
    program.parent.mkdir()
    run_module = f'PYTHONPATH={REPO / "workers"} exec {sys.executable} -m modelservice_workers.main "$@"'
    program.write_text(f"#!/bin/sh\n{run_module}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [1000], "data_offsets": [0, 2000]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(2000))
    embed = service(run, "team/embed", "-f", PLANS, "--model", f"embed={tmp_path}")
    assert embed["model"] == "1,000 parameters, 0 MiB of weights in BF16 (from its headers)"
    (tmp_path / "model.safetensors").write_bytes(b"")
    status, _, err = run("-f", PLANS, "--model", f"embed={tmp_path}")
    assert status == 1
    assert err.startswith(f"{tmp_path}: {tmp_path / 'model.safetensors'} is no safetensors file or is cut short")
    program.unlink()
    monkeypatch.setenv("PATH", str(program.parent))
    status, _, err = run("-f", PLANS, "--model", f"embed={tmp_path}")
    assert (status, "modelservice-worker, which reads headers, is not installed here" in err) == (1, True)
    (tmp_path / "facts.json").write_text("{}")
    status, _, err = run("-f", PLANS, "--model", f"embed={tmp_path / 'facts.json'}")
    assert (status, "no document of version 1" in err) == (1, True)


def test_files_without_a_service_say_so(run: Run, tmp_path: Path) -> None:
    assert run("-f", tmp_path) == (0, "There is no ModelService in these files: name a directory that has one.\n", "")
