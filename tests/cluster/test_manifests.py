"""What the API server itself says to good and bad manifests of ours, and what it shows of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from cluster import Cluster
from modelservice.api.fields import API_VERSION
from modelservice.api.kinds import KINDS
from modelservice.api.modelservice import ModelService
from modelservice.api.service_status import ModelServiceStatus
from modelservice.domain import codec
from modelservice.domain.book import Account, Book, Line, Placement, Terms, Unit
from modelservice.domain.prices import Billing
from pydantic.alias_generators import to_camel

from tests.cluster.rest import MERGE, TABLE, Object, Rest, connect, until

REPO = Path(__file__).resolve().parents[2]
BASE = f"/apis/{API_VERSION}"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "manifests"
PLURALS = {kind.name: kind.plural for kind in KINDS}
SCOPES = {kind.name: kind.scope for kind in KINDS}
STRICT = "fieldValidation=Strict"
DRY = f"?{STRICT}&dryRun=All"


def cases(folder: str) -> list[Any]:
    files = sorted((REPO / "tests/manifests" / folder).glob("*.yaml"))
    documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
    return [
        pytest.param(document, id=f"{document['kind']}-{document['metadata']['name']}"[:60]) for document in documents
    ]


def collection(kind: str, namespace: str = NAMESPACE) -> str:
    scope = f"/namespaces/{namespace}" if SCOPES[kind] == "Namespaced" else ""
    return f"{BASE}{scope}/{PLURALS[kind]}"


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Rest]:
    with connect(cluster.kubeconfig) as owner:
        rest = owner.person("operator", "system:masters", "modelservice:break-glass")
        for kind in KINDS:
            until(f"{kind.plural} to be served", partial(established, rest, kind.plural))
        rest.post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}).ok()
        yield rest
        rest.delete(f"/api/v1/namespaces/{NAMESPACE}").ok()


def established(rest: Rest, plural: str) -> bool:
    conditions = rest.get(f"{CRDS}/{plural}.modelservice.dev").ok().get("status", {}).get("conditions", [])
    seen = {item["type"]: item for item in conditions}
    assert "NonStructuralSchema" not in seen, seen["NonStructuralSchema"]["message"]
    return bool(seen.get("Established", {}).get("status") == "True")


@pytest.fixture
def make(api: Rest) -> Iterator[Any]:
    """Create an object and delete it after the test."""
    made: list[str] = []

    def create(document: Object) -> Object:
        kind = document["kind"]
        stored = api.post(f"{collection(kind)}?{STRICT}", {"apiVersion": API_VERSION, **document}).ok()
        made.append(f"{collection(kind)}/{stored['metadata']['name']}")
        return stored

    yield create
    for path in made:
        api.delete(path).ok()


@pytest.mark.parametrize("document", cases("good"))
def test_a_good_manifest_is_taken(api: Rest, document: Object) -> None:
    stored = api.post(collection(document["kind"]) + DRY, document).ok()
    kind = next(kind for kind in KINDS if kind.name == document["kind"])
    kind.model.model_validate(stored)


@pytest.mark.parametrize("document", cases("bad"))
def test_a_bad_manifest_is_refused_with_its_sentence(api: Rest, document: Object) -> None:
    sentence = document["metadata"]["annotations"]["expects"]
    reply = api.post(collection(document["kind"]) + DRY, document)
    assert reply.code in {400, 422}, reply.body
    assert sentence in reply.message


@pytest.mark.parametrize(("example", "least"), [("quickstart", 3), ("models", 2)])
def test_the_examples_are_taken_as_they_are(api: Rest, example: str, least: int) -> None:
    seen = 0
    for path in sorted((REPO / "examples" / example).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document.get("apiVersion") == API_VERSION:
                document["metadata"].pop("namespace", None)
                api.post(collection(document["kind"]) + DRY, document).ok()
                seen += 1
    assert seen >= least


SMALLEST: Object = {
    "kind": "ModelService",
    "metadata": {"name": "chat"},
    "spec": {
        "model": {"storageUri": "pvc://models/chat"},
        "inference": {"runtime": "engine", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
    },
}


def test_defaults_are_filled_in_and_nothing_else_is_touched(make: Any) -> None:
    spec = make(SMALLEST)["spec"]
    assert (spec.pop("suspend"), spec.pop("priority")) == (False, "Standard")
    assert spec["inference"].pop("minReplicas") == 1
    assert spec["model"].pop("remoteCode") == "Deny"
    assert spec == SMALLEST["spec"]


def test_the_name_rule_holds_for_generated_names_too(api: Rest) -> None:
    document = {**SMALLEST, "apiVersion": API_VERSION, "metadata": {"generateName": "a" * 38 + "-"}}
    reply = api.post(collection("ModelService") + DRY, document)
    assert reply.code == 422
    assert "metadata.name must not be longer than 40 characters" in reply.message


BUDGET: Object = {
    "kind": "BudgetPolicy",
    "metadata": {"name": "team"},
    "spec": {"currency": "USD", "limit": "5.00", "period": {"calendar": "Day", "timeZone": "UTC"}},
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"currency": "EUR"}, "currency must not change: make a policy with another name."),
        ({"period": {"calendar": "Month"}}, "period must not change, since what was spent belongs to it"),
        ({"limit": "0"}, "limit must be a decimal number above 0"),
    ],
)
def test_what_the_book_was_written_in_does_not_change(api: Rest, make: Any, change: Object, sentence: str) -> None:
    make(BUDGET)
    reply = api.patch(f"{collection('BudgetPolicy')}/team", {"spec": change}, MERGE)
    assert reply.code == 422
    assert sentence in reply.message


def test_a_limit_may_be_raised_and_a_rate_added(api: Rest, make: Any) -> None:
    make(BUDGET)
    stored = api.patch(f"{collection('BudgetPolicy')}/team", {"spec": {"limit": "7", "maxRatePerHour": "0.5"}}).ok()
    assert (stored["spec"]["limit"], stored["spec"]["maxRatePerHour"]) == ("7", "0.5")


CONDITION: Object = {
    "type": "Ready",
    "status": "False",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "reason": "BudgetExhausted",
    "message": "Needs 0.20 USD an hour, team/team has 0.05.",
}
STATUS: Object = {
    "observedGeneration": 1,
    "conditions": [CONDITION],
    "replicas": 3,
    "readyReplicas": 2,
    "desiredReplicas": 4,
    "fundedReplicas": 3,
    "url": "http://chat.manifests",
    "resolved": {
        "runtime": "engine",
        "runtimeReason": "engine serves onnx on CPU.",
        "modelFormat": "onnx",
        "image": "engine:1",
        "pool": "cpu",
        "purchase": "OnDemand",
        "revision": "2b3c4d5e",
    },
    "scaleToZero": {"parkedAt": "2026-01-01T00:00:00Z", "wakeRequestedAt": "2025-12-31T23:00:00Z"},
    "revisions": [
        {"revision": "2b3c4d5e", "stage": "Canary", "uri": "hf://org/tiny", "createdTime": "2026-01-01T00:00:00Z"},
        {"revision": "1a2b3c4d", "stage": "Serving", "uri": "hf://org/less", "servedTime": "2025-12-31T00:00:00Z"},
    ],
    "canary": {
        "revision": "2b3c4d5e",
        "placement": "3c4d5e6f",
        "percent": 10,
        "targetPercent": 20,
        "since": "2026-01-01T00:00:00Z",
        "message": "Too few requests to judge it.",
    },
    "training": {
        "run": "1a2b3c4d",
        "attempt": 2,
        "failures": 1,
        "interruptions": 0,
        "outcome": "Succeeded",
        "message": "Finished after 10 epochs.",
        "metrics": {"loss": "0.037"},
        "artifact": {"path": "pvc://models/chat/1a2b3c4d/2", "digest": "sha256:" + "0" * 64, "bytes": 4096},
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": "2026-01-01T00:01:00Z",
    },
    "cost": {"currency": "USD", "hourly": "0.15", "spent": "1.234567", "asOf": "2026-01-01T00:00:00Z"},
    "refusal": {
        "policy": "manifests/team",
        "blockedBy": "Rate",
        "need": "0.05",
        "have": "0",
        "currency": "USD",
        "replicas": 1,
        "kept": "0.60",
        "waiting": 1,
        "affordableAt": "2026-01-02T00:00:00Z",
        "fitsNow": {"replicas": 2, "pool": "small", "poolReplicas": 1},
    },
    "model": {
        "uri": "hf://org/tiny",
        "revision": "0123abcd",
        "digest": "sha256:1",
        "bytes": 91_200_000,
        "download": {
            "pod": "chat-0",
            "percent": 45,
            "doneBytes": 41_040_000,
            "totalBytes": 91_200_000,
            "bytesPerSecond": 10_000_000,
            "remainingSeconds": 6,
        },
    },
    "fundedUntil": "2026-01-01T01:00:00Z",
    "lastFailure": {
        "pod": "chat-0",
        "container": "engine",
        "reason": "ModelLoadFailed",
        "message": "No such file.",
        "exitCode": 3,
        "time": "2026-01-01T00:00:00Z",
    },
}


def test_a_full_status_is_stored_as_it_was_written_and_read_back_by_the_model(api: Rest, make: Any) -> None:
    assert STATUS.keys() == {to_camel(name) for name in ModelServiceStatus.model_fields}
    path = f"{collection('ModelService')}/chat"
    stored = api.put(f"{path}/status?{STRICT}", {**make(SMALLEST), "status": STATUS}).ok()
    assert stored["status"] == STATUS
    model = ModelService.model_validate(stored)
    assert model.status.model_dump(mode="json", by_alias=True, exclude_none=True) == STATUS


def test_a_status_beside_a_spec_is_not_taken(api: Rest, make: Any) -> None:
    stored = make({**SMALLEST, "status": STATUS})
    assert "status" not in stored
    changed = api.patch(f"{collection('ModelService')}/chat", {"status": {"replicas": 9}}).ok()
    assert "status" not in changed


def test_kubectl_get_shows_what_a_person_asks_first(api: Rest, make: Any) -> None:
    path = f"{collection('ModelService')}/chat"
    api.put(f"{path}/status", {**make(SMALLEST), "status": STATUS}).ok()
    table = api.get(path, accept=TABLE).ok()
    shown = {
        column["name"]: cell for column, cell in zip(table["columnDefinitions"], table["rows"][0]["cells"], strict=True)
    }
    assert {**shown, "Age": ""} == {
        "Name": "chat",
        "Ready": "False",
        "Reason": "BudgetExhausted",
        "Desired": 4,
        "Funded": 3,
        "Available": 2,
        "Pool": "cpu",
        "Cost/h": "0.15",
        "Age": "",
        "Revision": "0123abcd",
        "Download%": 45,
        "Spent": "1.234567",
        "URL": "http://chat.manifests",
        "Message": CONDITION["message"],
    }
    narrow = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert narrow[-1] == "Age"


def test_columns_of_a_budget_are_limit_spent_held_available_and_rate(api: Rest, make: Any) -> None:
    status = {
        "conditions": [{**CONDITION, "status": "True", "reason": "WithinBudget"}],
        "limit": "5",
        "spent": "1.25",
        "held": {"committed": "2", "endurance": "0.50"},
        "available": "1.75",
        "ratePerHour": "0.15",
        "period": {"name": "2026-01-01", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
        "asOf": "2026-01-01T06:00:00Z",
    }
    path = f"{collection('BudgetPolicy')}/team"
    assert api.put(f"{path}/status?{STRICT}", {**make(BUDGET), "status": status}).ok()["status"] == status
    table = api.get(path, accept=TABLE).ok()
    assert table["rows"][0]["cells"][:8] == ["team", "5.00", "1.25", "2", "1.75", "0.15", "True", "WithinBudget"]


def test_a_pool_shows_its_price_and_a_runtime_its_role(api: Rest, make: Any) -> None:
    good = [case.values[0] for case in cases("good")]
    pool, runtime = (next(item for item in good if item["kind"] == kind) for kind in ("ComputePool", "ModelRuntime"))
    make(runtime)
    prices = [{"type": "OnDemand", "perNodeHour": "0.8048", "source": "spec"}]
    status = {"resolved": {"prices": prices, "ceilingPerNodeHour": "0.8853"}}
    path = f"{collection('ComputePool')}/l4"
    api.put(f"{path}/status?{STRICT}", {**make(pool), "status": status}).ok()
    pools = api.get(path, accept=TABLE).ok()
    assert pools["rows"][0]["cells"][:5] == ["l4", "GPU", "nvidia-l4", "0.8048", "USD"]
    runtimes = api.get(f"{collection('ModelRuntime')}/vllm", accept=TABLE).ok()
    assert runtimes["rows"][0]["cells"][:3] == ["vllm", "Inference", "Plain"]


def book(units: int) -> Object:
    start = 1_767_225_600
    account = Account(
        "a/p", start, start + 86_400, "USD", 10**12, 10**9, lines=(Line("a/b", "Inference", "cpu", 5, -1),)
    )
    terms = Terms("a/b", "Inference", "cpu", "USD", {"a/p": 50_000}, Billing(60, 0, 0, 60))
    pods = {str(UUID(int=n)): Unit(start, f"node-{n % 50}" if n % 2 else None) for n in range(units)}
    placement = Placement("a/b-1a2b3c4d", terms, start + 3600, pods)
    return codec.encode(Book(start + 60, (account,), {placement.name: placement}))


@pytest.mark.parametrize("units", [1, 5000])
def test_the_book_is_stored_as_the_codec_writes_it_and_stays_small(make: Any, units: int) -> None:
    written = book(units)
    stored = make({"kind": "BudgetLedger", "metadata": {"name": "open"}, "book": written})
    assert stored["book"] == written
    assert codec.encode(codec.decode(stored["book"])) == written
    fields = str(stored["metadata"]["managedFields"])
    assert "f:units" not in fields
    assert len(fields) < 2000
