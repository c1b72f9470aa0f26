"""The chart as Helm renders it: rights, pod security, values that exist, and nothing that touches a model pod."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelservice.controllers.pricetables import KEY
from modelservice.domain.pricetable import parse_table
from modelservice.render.labels import GATEWAY
from modelservice.settings import GatewaySettings, Settings

REPO = Path(__file__).resolve().parents[3]
HELM = REPO / "bin/helm"
CHART = REPO / "charts/modelservice"
KUBERNETES = "1.36.3"
READ = {"get", "list", "watch"}
Object = dict[str, Any]


def helm(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *argv], capture_output=True, text=True, timeout=15, check=False)


def render(*values: str, name: str = "modelservice", api: bool = True) -> list[Object]:
    sets = [word for value in values for word in ("--set", value)]
    known = ["--api-versions", "modelservice.dev/v1alpha1/ModelRuntime"] if api else []
    done = helm("template", name, str(CHART), "-n", "modelservice-system", "--kube-version", KUBERNETES, *known, *sets)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    (found,) = [item for item in of_kind(objects, kind) if name in (None, item["metadata"]["name"])]
    return found


def rules(objects: list[Object]) -> list[tuple[str, Object]]:
    roles = of_kind(objects, "ClusterRole") + of_kind(objects, "Role")
    return [(role["metadata"]["name"], rule) for role in roles for rule in role["rules"]]


def grants(role: Object) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            found.setdefault(resource, set()).update(rule["verbs"])
    return found


@pytest.fixture(scope="module")
def default() -> list[Object]:
    return render()


def test_the_chart_passes_the_strict_lint() -> None:
    done = helm("lint", str(CHART), "--strict", "--kube-version", KUBERNETES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_role_has_a_wildcard(default: list[Object]) -> None:
    for name, rule in rules(default):
        assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]], name
        assert "nonResourceURLs" not in rule, name


def test_no_role_reaches_secrets_or_other_peoples_rights(default: list[Object]) -> None:
    reached = {resource.split("/")[0] for _, rule in rules(default) for resource in rule["resources"]}
    verbs = {verb for _, rule in rules(default) for verb in rule["verbs"]}
    assert reached.isdisjoint(
        {"secrets", "serviceaccounts", "roles", "clusterroles", "rolebindings", "clusterrolebindings"}
    )
    assert verbs.isdisjoint({"escalate", "bind", "impersonate", "approve", "sign"})
    assert not any(resource.startswith("pods/") for _, rule in rules(default) for resource in rule["resources"])


def test_the_operator_reads_what_people_write_and_writes_only_its_status(default: list[Object]) -> None:
    granted = grants(one(default, "ClusterRole", "modelservice-operator"))
    for kind in ("modelservices", "budgetpolicies", "clusterbudgetpolicies", "computepools", "modelruntimes"):
        assert granted[kind] == READ
    for kind in ("modelservices", "budgetpolicies", "clusterbudgetpolicies", "computepools"):
        assert granted[f"{kind}/status"] == {"update"}
    assert granted["budgetledgers"] == {"list"}
    assert granted["nodes"] == granted["namespaces"] == READ
    assert granted["pods"] == READ | {"patch", "delete"}


def test_the_book_is_written_and_pages_are_deleted_only_in_the_operators_namespace(default: list[Object]) -> None:
    role = one(default, "Role", "modelservice-book")
    assert role["metadata"]["namespace"] == "modelservice-system"
    assert grants(role)["budgetledgers"] == READ | {"create", "update", "delete"}
    assert one(default, "Role", "modelservice-heartbeats")["metadata"]["namespace"] == "kube-node-lease"
    writers = [
        name for name, rule in rules(default) if "budgetledgers" in rule["resources"] and not set(rule["verbs"]) <= READ
    ]
    assert writers == ["modelservice-book"]


def test_price_tables_are_read_only_in_the_operators_namespace(default: list[Object]) -> None:
    readers = [name for name, rule in rules(default) if "configmaps" in rule["resources"]]
    assert readers == ["modelservice-book"]
    assert grants(one(default, "Role", "modelservice-book"))["configmaps"] == {"get"}


def test_a_price_table_of_the_values_becomes_a_config_map_that_the_operator_can_parse(default: list[Object]) -> None:
    text = "pool,type,per_node_hour,currency,valid_from,valid_to,source\ncpu,OnDemand,0.20,USD,,,list\n"
    made = one(render(f"prices.csv={text.replace(',', chr(92) + ',')}"), "ConfigMap", "modelservice-prices")
    assert made["metadata"]["namespace"] == "modelservice-system"
    read = parse_table(made["data"][KEY])
    assert (read.faults, [row.price for row in read.rows["cpu"]]) == ({}, [200_000])
    assert of_kind(default, "ConfigMap") == []


def test_editors_write_services_and_only_admins_write_budgets(default: list[Object]) -> None:
    view, edit, admin = (one(default, "ClusterRole", f"modelservice-{name}") for name in ("view", "edit", "admin"))
    assert {verb for verbs in grants(view).values() for verb in verbs} == READ
    assert set(grants(edit)) == {"modelservices"}
    assert set(grants(admin)) == {"budgetpolicies"}
    for role, name in ((view, "view"), (edit, "edit"), (admin, "admin")):
        assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{name}"] == "true"


def test_without_aggregation_the_roles_of_people_stay_as_they_were() -> None:
    roles = of_kind(render("rbac.aggregate=false"), "ClusterRole")
    names = {"modelservice-fuse", "modelservice-gateway", "modelservice-operator"}
    assert {role["metadata"]["name"] for role in roles} == names


def test_the_fuse_has_an_account_of_its_own_with_the_least_rights(default: list[Object]) -> None:
    assert grants(one(default, "ClusterRole", "modelservice-fuse")) == {"pods": {"list", "delete"}}
    role = one(default, "Role", "modelservice-fuse")
    assert role["metadata"]["namespace"] == "modelservice-system"
    given = {(rule["resources"][0], *rule.get("resourceNames", ["*"])): rule["verbs"] for rule in role["rules"]}
    assert given == {
        ("budgetledgers", "open"): ["get"],
        ("leases", "modelservice-fuse"): ["get", "update"],
        ("leases", "*"): ["create"],
    }
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = one(default, kind, "modelservice-fuse")["subjects"]
        assert (subject["name"], subject["namespace"]) == ("modelservice-fuse", "modelservice-system")
    deployment = one(default, "Deployment", "modelservice-fuse")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["template"]["spec"]["serviceAccountName"] == "modelservice-fuse"
    assert deployment["template"]["spec"]["containers"][0]["args"] == ["fuse"]
    assert {account["metadata"]["name"] for account in of_kind(default, "ServiceAccount")} == {
        "modelservice",
        "modelservice-fuse",
        "modelservice-gateway",
    }


def test_the_policy_for_the_fuse_names_its_account() -> None:
    objects = render("fuse.serviceAccount.create=false", "fuse.serviceAccount.name=wire")
    policy = one(objects, "ValidatingAdmissionPolicy", "modelservice-fuse")["spec"]
    (condition,) = policy["matchConditions"]
    assert condition["expression"] == "request.userInfo.username == 'system:serviceaccount:modelservice-system:wire'"
    assert policy["failurePolicy"] == "Fail"
    names = [account["metadata"]["name"] for account in of_kind(objects, "ServiceAccount")]
    assert sorted(names) == ["modelservice", "modelservice-gateway"]


@pytest.mark.parametrize("values", [(), ("fuse.enabled=false",), ("gateway.enabled=false",)])
def test_the_operator_is_told_of_every_admission_policy_and_may_read_it(values: tuple[str, ...]) -> None:
    objects = render(*values)
    (container,) = one(objects, "Deployment", "modelservice")["spec"]["template"]["spec"]["containers"]
    told = next(v["value"] for v in container["env"] if v["name"] == "MODELSERVICE_ADMISSION_POLICIES").split()
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        assert sorted(told) == sorted(item["metadata"]["name"] for item in of_kind(objects, kind))
    rule = next(r for n, r in rules(objects) if "validatingadmissionpolicies" in r["resources"])
    assert (sorted(rule["resourceNames"]), rule["verbs"]) == (sorted(told), ["get"])


@pytest.mark.parametrize("part", ["fuse", "gateway"])
def test_without_a_part_nothing_of_it_is_installed(part: str) -> None:
    named = [item["metadata"]["name"] for item in render(f"{part}.enabled=false", "networkPolicy.enabled=true")]
    assert not any(name.endswith(part) for name in named)


def test_the_gateway_has_an_account_of_its_own_with_the_least_rights(default: list[Object]) -> None:
    granted = grants(one(default, "ClusterRole", "modelservice-gateway"))
    assert granted == {"modelservices": READ | {"patch"}, "endpointslices": READ}
    (subject,) = one(default, "ClusterRoleBinding", "modelservice-gateway")["subjects"]
    assert (subject["name"], subject["namespace"]) == ("modelservice-gateway", "modelservice-system")
    pod = one(default, "Deployment", "modelservice-gateway")["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["containers"][0]["args"]) == ("modelservice-gateway", ["gateway"])
    policy = one(default, "ValidatingAdmissionPolicy", "modelservice-gateway")["spec"]
    (condition,) = policy["matchConditions"]
    account = "system:serviceaccount:modelservice-system:modelservice-gateway"
    assert condition["expression"] == f"request.userInfo.username == '{account}'"
    assert policy["failurePolicy"] == "Fail"


def test_the_operator_finds_the_gateway_by_the_label_of_its_service_and_the_port_named_http(
    default: list[Object],
) -> None:
    service = one(default, "Service", "modelservice-gateway")
    assert service["metadata"]["labels"][GATEWAY] == "true"
    (port,) = service["spec"]["ports"]
    template = one(default, "Deployment", "modelservice-gateway")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {one["name"]: one["containerPort"] for one in template["spec"]["containers"][0]["ports"]}
    assert (port["name"], ports[port["targetPort"]]) == ("http", GatewaySettings().gateway_port)
    assert ports["http"] == GatewaySettings().http_port


def test_the_gateway_may_take_longer_to_end_than_its_requests(default: list[Object]) -> None:
    for objects, drain in ((default, 60), (render("gateway.drainTimeoutSeconds=300"), 300)):
        pod = one(objects, "Deployment", "modelservice-gateway")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        settings = GatewaySettings.from_environment(environment)
        assert {f"MODELSERVICE_{name.upper()}" for name in settings.model_fields_set} == environment.keys()
        assert settings.drain_timeout_seconds == drain
        grace = pod["terminationGracePeriodSeconds"]
        assert grace >= settings.drain_delay_seconds + settings.drain_timeout_seconds + 5


def test_the_network_policies_let_requests_into_the_gateway_only(tmp_path: Path, default: list[Object]) -> None:
    assert of_kind(default, "NetworkPolicy") == []
    made = render("networkPolicy.enabled=true")
    opened = {
        item["metadata"]["name"]: [port["port"] for rule in item["spec"]["ingress"] for port in rule["ports"]]
        for item in of_kind(made, "NetworkPolicy")
    }
    assert opened == {"modelservice": ["http"], "modelservice-gateway": ["http", "requests"]}
    callers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"networkPolicy": {"enabled": True, "callers": callers}}))
    done = helm("template", "modelservice", str(CHART), "--kube-version", KUBERNETES, "-f", str(values))
    policy = one([item for item in yaml.safe_load_all(done.stdout) if item], "NetworkPolicy", "modelservice-gateway")
    probes, requests = policy["spec"]["ingress"]
    assert ("from" in probes, requests["from"]) == (False, callers)


def test_the_examples_name_the_gateway_as_the_chart_does(default: list[Object]) -> None:
    documents = [
        document
        for path in sorted((REPO / "examples/gateway").iterdir())
        for document in yaml.safe_load_all(path.read_text())
    ]
    service = one(default, "Service", "modelservice-gateway")
    (port,) = service["spec"]["ports"]
    for route in of_kind(documents, "HTTPRoute"):
        assert route["metadata"]["namespace"] == service["metadata"]["namespace"]
        for rule in route["spec"]["rules"]:
            assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    (rule,) = one(documents, "Ingress")["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": service["metadata"]["name"], "port": {"name": port["name"]}}
    allowed = one(documents, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    pods = one(default, "Deployment", "modelservice-gateway")["spec"]["template"]["metadata"]["labels"]
    assert any(peer.get("podSelector", {}).get("matchLabels", {"": ""}).items() <= pods.items() for peer in allowed)


def test_cost_readers_may_list_the_book_and_the_services_and_no_more(tmp_path: Path, default: list[Object]) -> None:
    assert not [item for item in default if item["metadata"]["name"] == "modelservice-costs"]
    people: list[dict[str, str]] = [
        {"kind": "Group", "name": "finance"},
        {"kind": "ServiceAccount", "name": "reports", "namespace": "finance"},
    ]
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"rbac": {"costReaders": people}}))
    done = helm("template", "x", str(CHART), "-n", "sys", "--kube-version", KUBERNETES, "-f", str(values))
    assert done.returncode == 0, done.stderr
    objects = [document for document in yaml.safe_load_all(done.stdout) if document]
    role, cluster_role = (one(objects, kind, "x-modelservice-costs") for kind in ("Role", "ClusterRole"))
    assert role["metadata"]["namespace"] == "sys"
    assert grants(role) == {"budgetledgers": {"list"}}
    kinds = ("modelservices", "budgetpolicies", "clusterbudgetpolicies", "computepools")
    assert grants(cluster_role) == {kind: {"list"} for kind in kinds}
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        binding = one(objects, kind, "x-modelservice-costs")
        assert binding["roleRef"]["name"] == "x-modelservice-costs"
        assert [{k: v for k, v in who.items() if k != "apiGroup"} for who in binding["subjects"]] == people


@pytest.mark.parametrize(
    "reader", [{"kind": "Group"}, {"kind": "Team", "name": "a"}, {"kind": "ServiceAccount", "name": "a"}]
)
def test_a_cost_reader_that_nobody_can_be_is_refused(tmp_path: Path, reader: dict[str, str]) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"rbac": {"costReaders": [reader]}}))
    done = helm("template", "x", str(CHART), "--kube-version", KUBERNETES, "-f", str(values))
    assert "values don't meet the specifications of the schema" in done.stderr


@pytest.mark.parametrize("name", ["modelservice", "modelservice-fuse", "modelservice-gateway"])
def test_our_own_pods_meet_the_restricted_level(default: list[Object], name: str) -> None:
    pod = one(default, "Deployment", name)["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC", "volumes"}.isdisjoint(pod)
    assert pod["enableServiceLinks"] is False, "the names of Services must not become settings"
    assert {probe for probe in container if probe.endswith("Probe")} == {
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
    }


def test_the_environment_is_what_the_settings_read() -> None:
    objects = render(
        "cost.labels={team,a.b/c}",
        "prometheus.url=http://p:9090",
        "budget.required=true",
        "logLevel=DEBUG",
        "logFormat=Text",
    )
    for name in ("modelservice-fuse", "modelservice"):
        (container,) = one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable.get("value", "from-the-pod") for variable in container["env"]}
        settings = Settings.from_environment(environment)
        assert {f"MODELSERVICE_{name.upper()}" for name in settings.model_fields_set} == environment.keys()
    assert (settings.prometheus_url, settings.budget_required) == ("http://p:9090", True)
    assert settings.cost_labels == "team a.b/c"
    assert (settings.log_level, settings.log_format) == ("DEBUG", "Text")
    assert container["ports"][0]["containerPort"] == settings.http_port


def test_the_images_follow_the_version_of_the_chart_until_a_tag_is_set(default: list[Object]) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    tagged = render("image.tag=next", "runtimes.image.tag=other")
    for objects, operator, worker in ((default, version, version), (tagged, "next", "other")):
        for deployment in of_kind(objects, "Deployment"):
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            assert container["image"] == f"modelservice-operator:{operator}"
        ours = [one for one in of_kind(objects, "ModelRuntime") if one["metadata"]["name"].startswith("modelservice-")]
        images = {row["image"] for item in ours for row in item["spec"]["accelerators"]}
        assert (len(ours), images) == (4, {f"modelservice-worker:{worker}"})


def test_each_runtime_of_others_can_be_left_out_and_its_images_can_be_from_elsewhere() -> None:
    ours = {"modelservice-torch", "modelservice-torch-train"}
    for kept, left_out in (({"onnx", "vllm"}, {"openvino", "llamacpp"}), ({"openvino", "llamacpp"}, {"onnx", "vllm"})):
        values = ("crds.install=false", *(f"runtimes.{one}.enabled=false" for one in left_out))
        names = {item["metadata"]["name"] for item in of_kind(render(*values), "ModelRuntime")}
        assert {name.removeprefix("modelservice-") for name in names - ours} == kept
    moved = one(
        render("crds.install=false", "runtimes.vllm.images.tpu=mirror.example.com/tpu:1"), "ModelRuntime", "vllm"
    )
    images = {row["type"]: row["image"] for row in moved["spec"]["accelerators"]}
    assert images["TPU"] == "mirror.example.com/tpu:1"
    assert images["GPU"].startswith("vllm/vllm-openai:v")


def test_the_images_of_other_engines_are_pinned_to_a_version(default: list[Object]) -> None:
    for item in of_kind(default, "ModelRuntime"):
        for row in item["spec"]["accelerators"]:
            assert re.search(r":[^:/]*[0-9]+[^:/]*$", row["image"]), row["image"]


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1), (3, 1)])
def test_a_disruption_budget_comes_with_the_second_replica(replicas: int, budgets: int) -> None:
    objects = render(f"replicaCount={replicas}", f"gateway.replicaCount={replicas}")
    for name in ("modelservice", "modelservice-gateway"):
        assert one(objects, "Deployment", name)["spec"]["replicas"] == replicas
    assert len(of_kind(objects, "PodDisruptionBudget")) == 2 * budgets


def test_an_upgrade_of_the_operator_changes_no_object_that_a_model_pod_is_made_of(default: list[Object]) -> None:
    upgraded = render("image.tag=next", "prometheus.url=http://p:9090")
    changed = [(old["kind"], new["kind"]) for old, new in zip(default, upgraded, strict=True) if old != new]
    assert changed == [("Deployment", "Deployment")] * 3


def test_crds_are_installed_and_kept_unless_the_values_say_otherwise(default: list[Object]) -> None:
    crds = of_kind(default, "CustomResourceDefinition")
    assert len(crds) == len(list((REPO / "crds").iterdir()))
    assert {crd["metadata"]["annotations"]["helm.sh/resource-policy"] for crd in crds} == {"keep"}
    dropped = of_kind(render("crds.keep=false"), "CustomResourceDefinition")
    assert dropped == [yaml.safe_load(path.read_text()) for path in sorted((REPO / "crds").iterdir())]
    assert of_kind(render("crds.install=false"), "CustomResourceDefinition") == []


def test_runtimes_are_a_hook_only_while_the_cluster_does_not_know_their_kind(default: list[Object]) -> None:
    first = of_kind(render(api=False), "ModelRuntime")
    assert {item["metadata"]["name"] for item in first} == {
        "modelservice-torch",
        "modelservice-torch-train",
        "modelservice-onnx",
        "modelservice-openvino",
        "vllm",
        "llamacpp",
    }
    for item in first:
        assert item["metadata"]["annotations"] == {
            "helm.sh/hook": "post-install,post-upgrade",
            "meta.helm.sh/release-name": "modelservice",
            "meta.helm.sh/release-namespace": "modelservice-system",
        }
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert all("annotations" not in item["metadata"] for item in of_kind(default, "ModelRuntime"))
    assert of_kind(render("runtimes.install=false"), "ModelRuntime") == []


def test_the_policies_trust_the_account_and_the_group_of_the_values() -> None:
    objects = render("serviceAccount.create=false", "serviceAccount.name=robot", "breakGlass.group=sre:on-call")
    for policy in of_kind(objects, "ValidatingAdmissionPolicy"):
        if policy["metadata"]["name"].endswith(("-fuse", "-gateway")):
            continue
        text = json.dumps(policy)
        assert "system:serviceaccount:modelservice-system:robot" in text
        assert "'sre:on-call' in request.userInfo.groups" in text
        assert policy["spec"]["failurePolicy"] == "Fail"
    bindings = of_kind(objects, "ValidatingAdmissionPolicyBinding")
    assert [binding["spec"]["validationActions"] for binding in bindings] == [["Deny"]] * 4
    others = {"modelservice-fuse", "modelservice-gateway"}
    assert {account["metadata"]["name"] for account in of_kind(objects, "ServiceAccount")} == others
    subjects = [
        subject
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for item in of_kind(objects, kind)
        for subject in item["subjects"]
    ]
    assert {subject["name"] for subject in subjects} == {"robot", *others}


@pytest.mark.parametrize(
    ("value", "kind", "apart"),
    [
        ("metrics.podMonitor.enabled=true", "PodMonitor", set()),
        ("networkPolicy.enabled=true", "NetworkPolicy", {"gateway"}),
    ],
)
def test_what_is_optional_comes_when_asked_for(default: list[Object], value: str, kind: str, apart: set[str]) -> None:
    assert of_kind(default, kind) == []
    spec = one(render(value), kind, "modelservice")["spec"]
    chosen = spec.get("selector") or spec["podSelector"]
    (expression,) = chosen["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("app.kubernetes.io/component", "In")
    components = set()
    for deployment in of_kind(default, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert chosen["matchLabels"].items() <= labels.items()
        components.add(labels["app.kubernetes.io/component"])
    assert components - apart == set(expression["values"])


@pytest.mark.parametrize(
    "value",
    [
        "replicaCounts=2",
        "replicaCount=0",
        "image.tags=x",
        "prometheus.url=prometheus:9090",
        "logLevel=LOUD",
        "breakGlass.group=system:masters",
        "breakGlass.group=it's",
        "budget.required=perhaps",
        "fuse.replicas=2",
    ],
)
def test_a_value_that_nothing_reads_or_that_makes_no_sense_is_refused(value: str) -> None:
    done = helm("template", "x", str(CHART), "--kube-version", KUBERNETES, "--set", value)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_every_object_is_named_after_the_release() -> None:
    for item in render(name="blue", api=True):
        if item["kind"] not in {"CustomResourceDefinition", "ModelRuntime"}:
            assert item["metadata"]["name"].startswith("blue-modelservice"), item["kind"]
            assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "blue"
