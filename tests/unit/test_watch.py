import itertools

import kopf
import pytest
from modelservice import watch
from modelservice.kit.cache import object_cache
from modelservice.kit.resync import Source
from modelservice.ports import RESOURCES, Connection

SOURCES = [
    Source("ModelService", object_cache(), lambda _obj, _priority: None),
    Source("Pod", object_cache(), lambda _obj, _priority: None, label_selector="mine=yes"),
]


async def nobody() -> Connection:
    raise AssertionError("no login is needed to register handlers")


def test_kopfs_finalizer_is_a_name_that_nobody_uses() -> None:
    finalizer = watch.settings(SOURCES).persistence.finalizer
    assert finalizer == "modelservice.dev/kopf-unused"
    assert finalizer != kopf.OperatorSettings().persistence.finalizer


def test_kopf_is_reduced_to_watching() -> None:
    settings = watch.settings(SOURCES)
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert settings.queueing.worker_limit is None
    assert settings.watching.chunk_size == 500
    assert settings.watching.server_timeout == 290
    assert settings.watching.client_timeout == 300
    assert settings.networking.request_timeout == 30
    assert settings.networking.connect_timeout == 5


def test_kopf_keeps_and_compares_no_copy_of_what_it_shows_us() -> None:
    storage = watch.settings(SOURCES).persistence.diffbase_storage
    body, patch = kopf.Body({"metadata": {"labels": {"a": "b"}}, "spec": {"big": ["x"] * 1000}}), kopf.Patch()
    assert storage.build(body=body) == {}
    storage.store(body=body, patch=patch, essence=kopf.BodyEssence())
    assert storage.fetch(body=body) is None
    assert not patch


def test_requests_of_the_watches_are_repeated_without_end_each_time_anew() -> None:
    backoffs = watch.settings(SOURCES).networking.error_backoffs
    assert not isinstance(backoffs, float)
    for _ in range(2):
        delays = list(itertools.islice(backoffs, 1000))
        assert 0.7 <= delays[0] <= 1.3
        assert all(21 <= delay <= 39 for delay in delays[5:])
    assert len(set(delays)) > 100


def test_selectors_reach_the_api_server() -> None:
    selectors = watch.settings(SOURCES).watching.label_selectors
    assert len(selectors) == 1
    assert selectors["", "v1", "pods"] == "mine=yes"


def test_there_is_one_event_handler_for_each_kind_and_no_other_handler() -> None:
    registry = watch.registry(SOURCES, nobody)
    handlers = registry._watching.get_all_handlers()
    watched = {(h.selector.group, h.selector.version, h.selector.any_name) for h in handlers if h.selector}
    assert watched == {("modelservice.dev", "v1alpha1", "modelservices"), ("", "v1", "pods")}
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "path"),
    [
        ("Pod", "", "", "/api/v1/pods"),
        ("Pod", "ns", "a", "/api/v1/namespaces/ns/pods/a"),
        ("Node", "", "n1", "/api/v1/nodes/n1"),
        ("Deployment", "ns", "", "/apis/apps/v1/namespaces/ns/deployments"),
        ("ComputePool", "ignored", "p", "/apis/modelservice.dev/v1alpha1/computepools/p"),
    ],
)
def test_kinds_have_their_place_in_the_api(kind: str, namespace: str, name: str, path: str) -> None:
    assert RESOURCES[kind].path(namespace, name) == path


def test_a_subresource_and_an_odd_name_are_part_of_the_path() -> None:
    assert RESOURCES["Pod"].path("ns", "a/../b", "status") == "/api/v1/namespaces/ns/pods/a%2F..%2Fb/status"
