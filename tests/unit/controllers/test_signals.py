"""One set of queries for all engines, and one reading for all pods."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelservice.controllers.signals import assemble, assemble_downloads, queries, read, read_downloads
from modelservice.domain.downloads import Progress
from modelservice.kit.errors import Unavailable
from modelservice.ports import Sample

from tests.unit.domain.specs import runtime


def sample(value: float, pod: str = "a", at: float = 1000) -> Sample:
    return Sample({"namespace": "ns", "pod": pod}, value, at)


def test_there_are_six_queries_however_many_engines_there_are() -> None:
    vllm = runtime(series={"running": ("vllm:running",), "waiting": ("vllm:waiting",)})
    asked = queries([runtime(), vllm])
    assert asked.keys() == {"up", "scraped_at", "running", "waiting", "requests", "activity"}
    assert 'r_running{namespace!="",pod!=""}' in asked["running"]
    assert 'vllm:running{namespace!="",pod!=""}' in asked["running"]
    assert "irate(" in asked["requests"]
    assert "r_total" in asked["activity"]
    assert "irate(" not in asked["activity"]
    assert all("by (namespace, pod)" in promql for promql in asked.values())


def test_of_several_names_the_first_that_a_pod_has_counts_and_each_is_asked_for_once() -> None:
    renamed, old = runtime(series={"running": ("new", "old")}), runtime(series={"running": ("old",)})
    (first, second) = queries([renamed])["running"].split(" or ")
    assert "(new{" in first
    assert "(old{" in second
    assert queries([renamed, old])["running"].count("old{") == 1


def test_the_answers_are_put_together_by_pod() -> None:
    made = assemble(
        {"up": [sample(1), sample(0, "b")], "scraped_at": [sample(990), sample(980, "b")], "running": [sample(3)]}
    )
    a, b = made.pods["ns", "a"], made.pods["ns", "b"]
    assert (a.up, a.scraped_at, a.series) == (1, 990, {"running": 3})
    assert (b.up, b.scraped_at, b.series) == (0, 980, {})
    assert made.at == 1000


def test_two_values_for_one_pod_are_none() -> None:
    made = assemble({"up": [sample(1)], "scraped_at": [sample(990)], "running": [sample(3), sample(4)]})
    assert math.isnan(made.pods["ns", "a"].series["running"])


def series(name: str, value: float, pod: str = "a") -> Sample:
    return Sample({"__name__": f"modelservice_download_{name}", "namespace": "ns", "pod": pod}, value, 1000)


def test_downloads_are_read_by_pod_and_one_of_which_a_part_is_not_known_is_left_out() -> None:
    whole = [series("done_bytes", 40), series("total_bytes", 100), series("speed_bytes_per_second", 7.9)]
    left = series("remaining_seconds", -1)
    lacking = [series("done_bytes", 40, "b"), series("total_bytes", 100, "b")]
    strange = [series("done_bytes", math.nan, "c"), series("total_bytes", 1, "c")]
    strange.append(series("speed_bytes_per_second", 1, "c"))
    assert assemble_downloads([*whole, left, *lacking, *strange]) == {("ns", "a"): Progress("a", 40, 100, 7)}


async def test_without_an_answer_nothing_is_said_of_downloads() -> None:
    assert await read_downloads(Broken()) == {}


class Broken:
    async def query(self, promql: str) -> Sequence[Sample]:
        raise Unavailable(f"no answer to {promql}")


async def test_what_goes_wrong_is_a_reading_with_a_problem() -> None:
    assert "no answer" in (await read(Broken(), [runtime()])).problem
    assert "prometheus.url" in (await read(None, [runtime()])).problem
