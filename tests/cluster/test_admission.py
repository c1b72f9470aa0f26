"""The gate, the labels and the book against people: what each may do on a cluster with the chart's rights and policies.

The operator does not run here. Its ServiceAccount is impersonated, so that its rights are those of the chart.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import Cluster

from tests.cluster.charted import FUSE, GATE, GATEWAY, LEDGER, NAME, SYSTEM, charted, pod, rendered
from tests.cluster.rest import JSON_PATCH, MERGE, STRATEGIC, Object, Reply, Rest, until

TEAM = "admission"
PODS = f"/api/v1/namespaces/{TEAM}/pods"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{TEAM}/deployments"
LEDGERS = f"/apis/modelservice.dev/v1alpha1/namespaces/{SYSTEM}/budgetledgers"
OWN_LEDGERS = f"/apis/modelservice.dev/v1alpha1/namespaces/{TEAM}/budgetledgers"

BORN = (
    "A pod with a label modelservice.dev/* must be created with the scheduling gate modelservice.dev/budget: "
    "money is held for it first. Run models through a ModelService, or leave the labels out."
)
KEPT = (
    "Only the operator takes the scheduling gate modelservice.dev/budget away, once money is held for the pod. "
    "`kubectl describe modelservice` says what it waits for."
)
LABELLED = "Only the operator adds, changes or removes labels modelservice.dev/* of a pod: they say who pays for it."
SIZED = (
    "A pod of a ModelService must not be resized in place: money was held for what it asks for now. "
    "Change the resources in the ModelService instead."
)
SPARED = (
    "Only members of the break-glass group modelservice:break-glass set or change annotations "
    "modelservice.dev/break-glass-* of a pod: they let it run without money. Use `modelservice ungate`."
)
FOREIGN = "The fuse deletes only pods with the label modelservice.dev/name: those of ModelServices."
BOOK = (
    "Only the operator writes BudgetLedgers: they are the book of what was spent. "
    "To change what may be spent, change the limit of a BudgetPolicy."
)


def workload(name: str, *, gated: bool, replicas: int = 1) -> Object:
    template = pod("", gated=gated)
    template["metadata"] = {"labels": {"app": name, NAME: "chat"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {key: template[key] for key in ("metadata", "spec")},
        },
    }


def refused(reply: Reply, sentence: str) -> None:
    assert reply.code == 403, reply.body
    assert sentence in reply.message


@pytest.fixture(scope="module")
def chart() -> list[Object]:
    return rendered()


@pytest.fixture(scope="module")
def owner(cluster: Cluster, chart: list[Object]) -> Iterator[Rest]:
    """The administrator, with the chart's rights and policies but no operator; they go with the module."""
    team = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}
    with charted(cluster, chart, team) as rest:
        bind(rest, "eve", "edit")
        bind(rest, "ada", "admin")
        bind(rest, "vic", "view")
        until("the aggregated rights", lambda: may(rest, "eve", "create", "modelservices"))
        yield rest


def bind(rest: Rest, user: str, role: str) -> None:
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body = {"metadata": {"name": user}, "subjects": [subject], "roleRef": reference}
    rest.post(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TEAM}/rolebindings", body).ok()


def may(rest: Rest, user: str, verb: str, resource: str, subresource: str = "") -> bool:
    attributes = {
        "namespace": TEAM,
        "verb": verb,
        "group": "modelservice.dev",
        "resource": resource,
        "subresource": subresource,
    }
    body = {"spec": {"resourceAttributes": attributes}}
    asked = rest.person(user).post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body).ok()
    return bool(asked["status"]["allowed"])


@pytest.fixture
def eve(owner: Rest) -> Rest:
    """A user with the role edit in the team's namespace."""
    return owner.person("eve")


@pytest.fixture
def operator(owner: Rest) -> Rest:
    return owner.person(
        f"system:serviceaccount:{SYSTEM}:modelservice", "system:serviceaccounts", "system:authenticated"
    )


@pytest.fixture(autouse=True)
def clean(owner: Rest) -> Iterator[None]:
    yield
    for path in (DEPLOYMENTS, PODS):
        owner.delete(f"{path}?gracePeriodSeconds=0&propagationPolicy=Background").ok()
    until("the namespace to be empty", lambda: not owner.get(PODS).ok()["items"])


def test_an_editor_cannot_start_a_labelled_pod_without_the_gate(eve: Rest) -> None:
    refused(eve.post(PODS, pod("chat", gated=False)), BORN)


@pytest.mark.parametrize("label", ["modelservice.dev/role", "modelservice.dev/anything"])
def test_any_label_of_ours_makes_the_gate_necessary(eve: Rest, label: str) -> None:
    refused(eve.post(PODS, pod("chat", gated=False, labels={label: "x"})), BORN)


def test_another_gate_does_not_count_as_ours(eve: Rest) -> None:
    other = pod("chat")
    other["spec"]["schedulingGates"] = [{"name": "example.com/other"}]
    refused(eve.post(PODS, other), BORN)


def test_a_pod_of_nobodys_model_is_none_of_our_business(eve: Rest) -> None:
    eve.post(PODS, pod("plain", gated=False, labels={"app": "x"})).ok()
    eve.patch(f"{PODS}/plain", {"metadata": {"labels": {"app": "y"}}}).ok()


def test_an_editor_cannot_take_the_gate_away_by_any_kind_of_write(eve: Rest) -> None:
    made = eve.post(PODS, pod("chat")).ok()
    path = f"{PODS}/chat"
    refused(eve.patch(path, [{"op": "remove", "path": "/spec/schedulingGates"}], JSON_PATCH), KEPT)
    refused(eve.patch(path, [{"op": "remove", "path": "/spec/schedulingGates/0"}], JSON_PATCH), KEPT)
    refused(eve.patch(path, {"spec": {"schedulingGates": None}}, MERGE), KEPT)
    without = {"spec": {"schedulingGates": [{"$patch": "delete", "name": GATE}]}}
    refused(eve.patch(path, without, STRATEGIC), KEPT)
    made["spec"].pop("schedulingGates")
    refused(eve.put(path, made), KEPT)
    assert eve.get(path).ok()["spec"]["schedulingGates"] == [{"name": GATE}]


def test_taking_gate_and_labels_away_at_once_is_refused_too(eve: Rest) -> None:
    eve.post(PODS, pod("chat")).ok()
    both = {"metadata": {"labels": {NAME: None}}, "spec": {"schedulingGates": None}}
    refused(eve.patch(f"{PODS}/chat", both), KEPT)


def test_an_editor_cannot_add_change_or_remove_our_labels(eve: Rest) -> None:
    eve.post(PODS, pod("chat")).ok()
    for value in ("other", None):
        refused(eve.patch(f"{PODS}/chat", {"metadata": {"labels": {NAME: value}}}), LABELLED)
    refused(eve.patch(f"{PODS}/chat", {"metadata": {"labels": {"modelservice.dev/pool": "cheap"}}}), LABELLED)
    eve.post(PODS, pod("plain", gated=False, labels={})).ok()
    refused(eve.patch(f"{PODS}/plain", {"metadata": {"labels": {NAME: "chat"}}}), LABELLED)


def test_labels_and_annotations_that_are_not_ours_stay_free(eve: Rest) -> None:
    eve.post(PODS, pod("chat")).ok()
    changed = {"metadata": {"labels": {"team": "x"}, "annotations": {"note": "y"}}}
    assert eve.patch(f"{PODS}/chat", changed).ok()["metadata"]["labels"] == {NAME: "chat", "team": "x"}
    eve.delete(f"{PODS}/chat?gracePeriodSeconds=0").ok()


def test_not_even_the_administrator_relabels_or_resizes_without_breaking_the_glass(owner: Rest) -> None:
    owner.post(PODS, pod("chat")).ok()
    relabel = {"metadata": {"labels": {NAME: "other"}}}
    refused(owner.patch(f"{PODS}/chat", relabel), LABELLED)
    refused(owner.patch(f"{PODS}/chat/status", relabel), LABELLED)
    resize = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "8"}}}]}}
    refused(owner.patch(f"{PODS}/chat/resize", resize, STRATEGIC), SIZED)


def test_a_deployment_that_makes_ungated_pods_gets_none_and_is_told_why(eve: Rest) -> None:
    eve.post(DEPLOYMENTS, workload("bare", gated=False)).ok()

    def told() -> str:
        conditions = eve.get(f"{DEPLOYMENTS}/bare").ok().get("status", {}).get("conditions", [])
        return next((str(item["message"]) for item in conditions if item["type"] == "ReplicaFailure"), "")

    assert BORN in until("the Deployment to say what failed", told)
    assert eve.get(PODS).ok()["items"] == []


def test_controllers_make_gated_pods_and_clean_them_up(eve: Rest) -> None:
    eve.post(DEPLOYMENTS, workload("chat", gated=True, replicas=3)).ok()
    until("three gated pods", lambda: len(eve.get(PODS).ok()["items"]) == 3)
    eve.patch(f"{DEPLOYMENTS}/chat", {"spec": {"replicas": 1}}).ok()
    until("one gated pod", lambda: len(eve.get(PODS).ok()["items"]) == 1)
    eve.delete(f"{DEPLOYMENTS}/chat?propagationPolicy=Foreground").ok()
    until("no pod", lambda: not eve.get(PODS).ok()["items"])


def test_a_job_makes_gated_pods_and_its_finalizer_goes_with_it(eve: Rest) -> None:
    jobs = f"/apis/batch/v1/namespaces/{TEAM}/jobs"
    template = pod("")
    template["metadata"] = {"labels": {NAME: "chat", "modelservice.dev/role": "Training"}}
    template["spec"]["restartPolicy"] = "Never"
    spec = {"backoffLimit": 0, "template": {key: template[key] for key in ("metadata", "spec")}}
    eve.post(jobs, {"metadata": {"name": "train"}, "spec": spec}).ok()
    until("the gated pod of the Job", lambda: len(eve.get(PODS).ok()["items"]) == 1)
    eve.delete(f"{jobs}/train?propagationPolicy=Background").ok()
    until("no pod", lambda: not eve.get(PODS).ok()["items"])


def test_the_operator_lets_a_pod_start_with_the_rights_of_the_chart_and_the_kubelet_reports_on_it(
    owner: Rest, operator: Rest, eve: Rest
) -> None:
    eve.post(PODS, pod("chat")).ok()
    version = operator.get(f"{PODS}/chat").ok()["metadata"]["resourceVersion"]
    ungate = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "remove", "path": "/spec/schedulingGates"},
    ]
    operator.patch(f"{PODS}/chat", ungate, JSON_PATCH).ok()
    operator.patch(f"{PODS}/chat", {"metadata": {"labels": {"modelservice.dev/variant": "base"}}}).ok()
    node = {"metadata": {"name": "admission-node"}}
    owner.post("/api/v1/nodes", node).ok()
    try:
        target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "chat"}}
        scheduler = owner.person("system:kube-scheduler", "system:authenticated")
        scheduler.post(f"{PODS}/chat/binding", {**target, "target": {"kind": "Node", "name": "admission-node"}}).ok()
        kubelet = owner.person("system:node:admission-node", "system:nodes", "system:authenticated")
        report = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        until(
            "the node authorizer to know the pod",
            lambda: kubelet.patch(f"{PODS}/chat/status", report, STRATEGIC).code == 200,
        )
        assert eve.get(f"{PODS}/chat").ok()["status"]["phase"] == "Running"
        refused(eve.patch(f"{PODS}/chat", {"metadata": {"labels": {NAME: None}}}), LABELLED)
        operator.delete(f"{PODS}/chat?gracePeriodSeconds=0").ok()
    finally:
        owner.delete("/api/v1/nodes/admission-node").ok()


def test_the_break_glass_group_may_start_a_pod_by_hand(owner: Rest) -> None:
    hero = owner.person("hero", "system:masters", "modelservice:break-glass")
    hero.post(PODS, pod("chat")).ok()
    hero.patch(f"{PODS}/chat", {"spec": {"schedulingGates": None}}).ok()
    hero.post(PODS, pod("now", gated=False)).ok()


def test_only_the_break_glass_group_says_that_a_pod_runs_without_money(owner: Rest, eve: Rest) -> None:
    until_ = {"modelservice.dev/break-glass-until": "2100-01-01T00:00:00Z"}
    born = pod("born")
    born["metadata"]["annotations"] = until_
    refused(eve.post(PODS, born), SPARED)
    eve.post(PODS, pod("chat")).ok()
    refused(eve.patch(f"{PODS}/chat", {"metadata": {"annotations": until_}}), SPARED)
    refused(owner.patch(f"{PODS}/chat", {"metadata": {"annotations": until_}}), SPARED)
    hero = owner.person("hero", "system:masters", "modelservice:break-glass")
    hero.patch(f"{PODS}/chat", {"metadata": {"annotations": until_}}).ok()
    longer = {"modelservice.dev/break-glass-until": "2200-01-01T00:00:00Z"}
    refused(eve.patch(f"{PODS}/chat", {"metadata": {"annotations": longer}}), SPARED)
    refused(eve.patch(f"{PODS}/chat", {"metadata": {"annotations": None}}), SPARED)
    eve.patch(f"{PODS}/chat", {"metadata": {"annotations": {"mine": "x"}}}).ok()


def test_the_fuse_deletes_only_pods_of_ours(owner: Rest, eve: Rest) -> None:
    fuse = owner.person(FUSE)
    eve.post(PODS, pod("plain", gated=False, labels={"app": "x"})).ok()
    eve.post(PODS, pod("bare", gated=False, labels={})).ok()
    eve.post(PODS, pod("chat")).ok()
    refused(fuse.delete(f"{PODS}/plain"), FOREIGN)
    refused(fuse.delete(f"{PODS}/bare"), FOREIGN)
    fuse.delete(f"{PODS}/chat").ok()
    refused(fuse.delete(PODS), "cannot deletecollection resource")
    owner.delete(f"{PODS}/plain").ok()


@pytest.mark.parametrize(
    ("verb", "group", "resource", "name", "allowed"),
    [
        ("list", "", "pods", "", True),
        ("delete", "", "pods", "", True),
        ("patch", "", "pods", "", False),
        ("create", "", "pods", "", False),
        ("get", "", "secrets", "", False),
        ("get", "modelservice.dev", "budgetledgers", "open", True),
        ("get", "modelservice.dev", "budgetledgers", "other", False),
        ("update", "modelservice.dev", "budgetledgers", "open", False),
        ("update", "coordination.k8s.io", "leases", "modelservice-fuse", True),
        ("update", "coordination.k8s.io", "leases", "modelservice-operator", False),
        ("list", "modelservice.dev", "modelservices", "", False),
    ],
)
def test_what_the_fuse_may_do(owner: Rest, verb: str, group: str, resource: str, name: str, *, allowed: bool) -> None:
    attributes = {"namespace": SYSTEM, "verb": verb, "group": group, "resource": resource, "name": name}
    body = {"spec": {"resourceAttributes": attributes}}
    asked = owner.person(FUSE).post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body).ok()
    assert asked["status"]["allowed"] is allowed


@pytest.mark.parametrize("user", ["vic", "eve", "ada"])
def test_nobody_in_a_team_may_write_a_ledger(owner: Rest, user: str) -> None:
    reply = owner.person(user).post(OWN_LEDGERS, LEDGER)
    refused(reply, f'User "{user}" cannot create resource "budgetledgers" in API group "modelservice.dev"')


def test_not_even_the_administrator_writes_changes_or_deletes_the_book(owner: Rest, operator: Rest) -> None:
    refused(owner.post(LEDGERS, LEDGER), BOOK)
    operator.post(LEDGERS, LEDGER).ok()
    refused(owner.patch(f"{LEDGERS}/open", {"book": {"time": 1}}), BOOK)
    refused(owner.put(f"{LEDGERS}/open", {**operator.get(f"{LEDGERS}/open").ok(), "book": {"time": 1}}), BOOK)
    refused(owner.delete(f"{LEDGERS}/open"), BOOK)
    refused(owner.delete(LEDGERS), BOOK)
    book = operator.get(f"{LEDGERS}/open").ok()
    operator.put(f"{LEDGERS}/open", {**book, "book": {"time": 2, "accounts": [], "placements": []}}).ok()
    refused(operator.delete(f"{LEDGERS}/open"), "never the book")
    line = {"service": "team/chat", "role": "Inference", "pool": "cpu", "closed": 5}
    page = {"policy": "team/a", "start": 0, "end": 9, "currency": "USD", "limit": 9, "sealed": True, "posted": 5}
    meta = {**LEDGER["metadata"], "name": "team.a.0"}
    old = {key: value for key, value in LEDGER.items() if key != "book"}
    operator.post(LEDGERS, {**old, "metadata": meta, "page": {**page, "lines": [line]}}).ok()
    refused(owner.delete(f"{LEDGERS}/team.a.0"), BOOK)
    operator.delete(f"{LEDGERS}/team.a.0").ok()
    owner.person("hero", "system:masters", "modelservice:break-glass").delete(f"{LEDGERS}/open").ok()


def test_the_operator_writes_a_book_only_in_its_own_namespace(operator: Rest) -> None:
    refused(operator.post(OWN_LEDGERS, LEDGER), "cannot create resource")


def test_a_namespace_that_is_deleted_takes_its_ledgers_along(owner: Rest) -> None:
    owner.post("/api/v1/namespaces", {"metadata": {"name": "short-lived"}}).ok()
    hero = owner.person("hero", "system:masters", "modelservice:break-glass")
    hero.post(LEDGERS.replace(SYSTEM, "short-lived"), LEDGER).ok()
    owner.delete("/api/v1/namespaces/short-lived").ok()
    until("the namespace to be gone", lambda: owner.get("/api/v1/namespaces/short-lived").code == 404)


@pytest.mark.parametrize(
    ("user", "verb", "resource", "answer"),
    [
        ("vic", "list", "modelservices", "yes"),
        ("vic", "get", "budgetpolicies", "yes"),
        ("vic", "create", "modelservices", "no"),
        ("eve", "create", "modelservices", "yes"),
        ("eve", "delete", "modelservices", "yes"),
        ("eve", "update", "modelservices/status", "no"),
        ("eve", "get", "budgetpolicies", "yes"),
        ("ada", "update", "clusterbudgetpolicies", "no"),
        ("eve", "update", "budgetpolicies", "no"),
        ("ada", "create", "modelservices", "yes"),
        ("ada", "update", "budgetpolicies", "yes"),
        ("ada", "update", "budgetpolicies/status", "no"),
        ("ada", "get", "budgetledgers", "yes"),
        ("ada", "update", "budgetledgers", "no"),
        ("ada", "create", "computepools", "no"),
    ],
)
def test_who_may_do_what_with_our_kinds(owner: Rest, user: str, verb: str, resource: str, answer: str) -> None:
    name, _, subresource = resource.partition("/")
    assert may(owner, user, verb, name, subresource) is (answer == "yes")


@pytest.mark.parametrize("secret", ["secrets", "configmaps", "serviceaccounts/token", "pods/exec"])
@pytest.mark.parametrize("verb", ["get", "list", "create"])
def test_the_operator_reaches_nothing_private(operator: Rest, secret: str, verb: str) -> None:
    resource, _, subresource = secret.partition("/")
    for namespace in (TEAM, SYSTEM):
        price_tables = (namespace, verb, secret) == (SYSTEM, "get", "configmaps")
        attributes = {"namespace": namespace, "verb": verb, "resource": resource, "subresource": subresource}
        body = {"spec": {"resourceAttributes": attributes}}
        asked = operator.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body).ok()
        assert asked["status"]["allowed"] is price_tables


@pytest.mark.parametrize("name", ["modelservice", "modelservice-fuse"])
def test_our_own_pods_are_admitted_where_the_restricted_level_is_enforced(
    owner: Rest, chart: list[Object], name: str
) -> None:
    (deployment,) = [i for i in chart if i["kind"] == "Deployment" and i["metadata"]["name"] == name]
    template = deployment["spec"]["template"]
    pods = PODS.replace(TEAM, SYSTEM)
    body = {"metadata": {**template["metadata"], "name": "ours"}, "spec": template["spec"]}
    owner.post(f"{pods}?dryRun=All", body).ok()
    root = {**template["spec"], "securityContext": {}}
    refused(owner.post(f"{pods}?dryRun=All", {**body, "spec": root}), "violates PodSecurity")


SERVICES = f"/apis/modelservice.dev/v1alpha1/namespaces/{TEAM}/modelservices"
WAKE = "modelservice.dev/wake-requested-at"
ONE_ANNOTATION = "The gateway changes nothing of a ModelService but the annotation modelservice.dev/wake-requested-at."
A_TIME = "The annotation modelservice.dev/wake-requested-at is a time in UTC, for example 2026-01-31T12:00:00Z."


def asleep(name: str) -> Object:
    inference = {
        "runtime": "engine",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "minReplicas": 0,
        "maxReplicas": 1,
        "scaling": {"scaleTarget": 1},
    }
    return {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "labels": {"team": "a"}, "annotations": {"kept": "yes"}},
        "spec": {"model": {"storageUri": "pvc://models/m"}, "inference": inference},
    }


@pytest.fixture
def gateway(owner: Rest) -> Iterator[Rest]:
    """The gateway's ServiceAccount, and a service that it may wake."""
    owner.post(SERVICES, asleep("chat")).ok()
    yield owner.person(GATEWAY, "system:serviceaccounts", "system:authenticated")
    owner.delete(f"{SERVICES}/chat").ok()


def woken(at: str, **more: Object) -> Object:
    return {"metadata": {"annotations": {WAKE: at}}, **more}


def test_the_gateway_asks_for_a_replica_by_one_annotation(gateway: Rest) -> None:
    for at in ("2026-07-10T12:00:00Z", "2026-07-10T12:05:00Z"):
        stored = gateway.patch(f"{SERVICES}/chat", woken(at)).ok()
        assert stored["metadata"]["annotations"] == {"kept": "yes", WAKE: at}
        assert stored["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"spec": {"suspend": True}}, id="the spec"),
        pytest.param({"spec": {"inference": {"maxReplicas": 9}}}, id="its replicas"),
        pytest.param({"metadata": {"labels": {"team": "b"}}}, id="a label"),
        pytest.param({"metadata": {"labels": None}}, id="all labels"),
        pytest.param({"metadata": {"finalizers": ["example.com/stuck"]}}, id="a finalizer"),
        pytest.param({"metadata": {"annotations": {"kept": "no"}}}, id="another annotation"),
        pytest.param({"metadata": {"annotations": {"kept": None}}}, id="the end of another annotation"),
        pytest.param({"metadata": {"annotations": {"new": "one"}}}, id="a new annotation"),
        pytest.param(woken("2026-07-10T12:00:00Z", spec={"suspend": True}), id="the spec beside it"),
        pytest.param(
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]}},
            id="an owner",
        ),
    ],
)
def test_the_gateway_changes_nothing_else(gateway: Rest, patch: Object) -> None:
    refused(gateway.patch(f"{SERVICES}/chat", patch), ONE_ANNOTATION)


@pytest.mark.parametrize("value", ["", "now", "2026-07-10", "x" * 1000, "2026-07-10T12:00:00Z\n"])
def test_the_gateway_writes_a_time_and_nothing_else_there(gateway: Rest, value: str) -> None:
    refused(gateway.patch(f"{SERVICES}/chat", woken(value)), A_TIME)


def test_the_gateway_makes_and_deletes_no_service_and_writes_no_status(gateway: Rest, owner: Rest) -> None:
    assert gateway.post(SERVICES, asleep("other")).code == 403
    assert gateway.delete(f"{SERVICES}/chat").code == 403
    assert gateway.patch(f"{SERVICES}/chat/status", {"status": {"observedGeneration": 7}}).code == 403
    stored = owner.get(f"{SERVICES}/chat").ok()
    assert gateway.put(f"{SERVICES}/chat", stored).code == 403


def test_people_change_services_as_before(gateway: Rest, eve: Rest) -> None:
    assert eve.patch(f"{SERVICES}/chat", {"spec": {"suspend": True}}).ok()["spec"]["suspend"] is True
