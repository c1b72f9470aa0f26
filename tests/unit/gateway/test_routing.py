from __future__ import annotations

from collections.abc import Collection

import pytest
from modelservice.gateway import routing
from modelservice.gateway.refusals import Refused
from modelservice.gateway.routing import Route
from modelservice.kit.objects import Ref


class Names:
    """llm in two namespaces, embed in one, and one whose name is v1."""

    known = (Ref("team-a", "llm"), Ref("team-b", "llm"), Ref("team-a", "embed"), Ref("team-b", "v1"))

    def __contains__(self, ref: Ref) -> bool:
        return ref in self.known

    def namespaces(self, name: str) -> Collection[str]:
        return [ref.namespace for ref in self.known if ref.name == name]


def route(host: str, target: str, method: str = "POST") -> Route | None:
    return routing.by_host_or_path(routing.read_target(method, host, target), Names())


@pytest.mark.parametrize(
    "host",
    [
        "llm.team-a",
        "llm.team-a:80",
        "LLM.Team-A",
        "llm.team-a.",
        "llm.team-a.svc",
        "llm.team-a.svc.cluster.local",
        "llm.team-a.svc.cluster.local:8080",
        "llm.team-a.models.example.com",
    ],
)
def test_a_host_of_name_and_namespace_tells_the_service_and_leaves_the_path(host: str) -> None:
    assert route(host, "/v2/models/m/infer?x=1") == Route(Ref("team-a", "llm"), "/v2/models/m/infer?x=1")


@pytest.mark.parametrize("host", ["", "gateway.modelservice-system", "10.0.0.7:8000", "[::1]:8000", "localhost"])
@pytest.mark.parametrize(
    ("target", "passed"),
    [
        ("/team-a/llm/v2/models/m/infer", "/v2/models/m/infer"),
        ("/team-a/llm/v1/embeddings?a=/b/c", "/v1/embeddings?a=/b/c"),
        ("/team-a/llm/", "/"),
        ("/team-a/llm", "/"),
        ("/team-a/llm?q=1", "/?q=1"),
        ("/team-a/llm//x", "//x"),
        ("/team-a/llm/%2e%2e/x", "/%2e%2e/x"),
    ],
)
def test_a_path_that_begins_with_namespace_and_name_tells_the_service_and_loses_them(
    host: str, target: str, passed: str
) -> None:
    assert route(host, target) == Route(Ref("team-a", "llm"), passed)


def test_a_target_in_absolute_form_names_its_own_host() -> None:
    assert route("other", "http://llm.team-b:80/v2?a=1") == Route(Ref("team-b", "llm"), "/v2?a=1")
    assert route("other", "http://llm.team-b") == Route(Ref("team-b", "llm"), "/")


def test_a_name_alone_is_a_host_while_one_namespace_has_it() -> None:
    assert route("embed", "/v2") == Route(Ref("team-a", "embed"), "/v2")
    with pytest.raises(Refused, match=r"2 namespaces have a service llm; ask for the host llm.<namespace>"):
        route("llm", "/v2")


def test_a_path_comes_before_a_name_alone() -> None:
    assert route("llm", "/team-b/llm/v2") == Route(Ref("team-b", "llm"), "/v2")


@pytest.mark.parametrize("target", ["/", "/team-a", "/team-a/unknown/v2", "/v2/models/llm/infer", "/team-c/llm/x"])
def test_what_names_no_service_has_no_route(target: str) -> None:
    assert route("gateway", target) is None


@pytest.mark.parametrize("target", ["*", "llm.team-a:80", "http://[::1/x", "mailto:x"])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(Refused) as caught:
        route("llm.team-a", target)
    assert caught.value.status == 400


def model(path: str, name: str) -> Route:
    asked = routing.read_target("POST", "gateway", path)
    assert routing.is_by_model(asked)
    return routing.by_model(asked, name, Names())


def test_the_model_of_an_openai_body_is_the_name_of_a_service() -> None:
    assert model("/v1/embeddings", "embed") == Route(Ref("team-a", "embed"), "/v1/embeddings")


def test_a_model_that_two_namespaces_serve_is_refused_with_what_to_say() -> None:
    with pytest.raises(Refused, match=r"2 namespaces have a service llm; say which by the base URL /<namespace>/v1"):
        model("/v1/chat/completions", "llm")


def test_a_base_url_with_a_namespace_chooses_between_two_models_of_a_name() -> None:
    assert model("/team-b/v1/chat/completions?x=1", "llm") == Route(Ref("team-b", "llm"), "/v1/chat/completions?x=1")


@pytest.mark.parametrize(("path", "name"), [("/v1/completions", "none"), ("/team-b/v1/completions", "embed")])
def test_an_unknown_model_is_not_found(path: str, name: str) -> None:
    with pytest.raises(Refused) as caught:
        model(path, name)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_a_service_that_is_called_v1_is_reached_by_its_path() -> None:
    assert route("gateway", "/team-b/v1/v2/models/m/infer") == Route(Ref("team-b", "v1"), "/v2/models/m/infer")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("POST", "/v2/models/m/infer"), ("POST", "/v1"), ("POST", "/a/b/v1/x")]
)
def test_only_a_post_to_a_route_of_openai_is_told_by_its_body(method: str, path: str) -> None:
    assert not routing.is_by_model(routing.read_target(method, "gateway", path))


def test_the_model_is_read_from_the_body() -> None:
    assert routing.read_model(b'{"messages": [], "model": "llm"}') == "llm"


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[1]", b"{}", b'{"model": 3}', b'{"model": ""}', b"\xff", b"[" * 100_000]
)
def test_a_body_without_a_model_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        routing.read_model(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "target",
    [
        "/v2/models/m/infer",
        "/v2/models/m/versions/3/infer",
        "/v2/models/m/generate_stream",
        "/v1/chat/completions?stream=1",
        "/v1/embeddings",
        "/v1/models/m:predict",
        "/v1/audio/transcriptions",
    ],
)
def test_a_post_to_a_route_of_inference_wakes(target: str) -> None:
    assert routing.wakes("POST", target)
    assert not routing.wakes("GET", target)


@pytest.mark.parametrize(
    "target",
    ["/", "/v2", "/v2/health/ready", "/v2/models/m", "/v2/models/m/infer/more", "/v1/models", "/metrics", "/x"],
)
def test_a_post_elsewhere_wakes_nothing(target: str) -> None:
    assert not routing.wakes("POST", target)
