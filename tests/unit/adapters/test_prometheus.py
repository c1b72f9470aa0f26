"""Answers of Prometheus that are good, and all the ways in which they are not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from modelservice.adapters.prometheus import Prometheus, parse
from modelservice.kit.errors import Unavailable

LABELS = {"namespace": "ns", "pod": "a"}


def body(*values: Any, **more: Any) -> bytes:
    rows = [{"metric": LABELS, "value": value} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}, **more}).encode()


def test_a_good_answer_becomes_samples_with_labels_value_and_time() -> None:
    (sample,) = parse(body([1000.5, "3.25"]), 200, 1001)
    assert (sample.labels, sample.value, sample.at) == (LABELS, 3.25, 1000.5)


@pytest.mark.parametrize(("text", "value"), [("NaN", math.nan), ("+Inf", math.inf), ("-Inf", -math.inf), ("-3", -3.0)])
def test_numbers_that_are_no_amounts_are_passed_on_for_the_decision(text: str, value: float) -> None:
    (sample,) = parse(body([1000, text]), 200, 1001)
    assert sample.value == value or (math.isnan(sample.value) and math.isnan(value))


@pytest.mark.parametrize("value", [[1000, ""], [1000, 3], ["1000", "3"], [1000], "3", [300, "3"]])
def test_a_series_with_a_broken_or_old_value_is_not_a_number_and_hides_no_other(value: Any) -> None:
    bad, good = parse(body(value, [1000, "2"]), 200, 1001)
    assert math.isnan(bad.value)
    assert good.value == 2


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(body([1000, "3"]), 503, id="HTTP 503"),
        pytest.param(b"<html>", 200, id="no JSON"),
        pytest.param(b"[]", 200, id="no object"),
        pytest.param(json.dumps({"status": "error", "error": "no"}).encode(), 200, id="status error"),
        pytest.param(body([1000, "3"], warnings=["remote read failed"]), 200, id="warnings"),
        pytest.param(json.dumps({"status": "success", "data": {"resultType": "scalar"}}).encode(), 200, id="scalar"),
        pytest.param(
            json.dumps({"status": "success", "data": {"resultType": "vector", "result": [3]}}).encode(), 200, id="row"
        ),
    ],
)
def test_an_answer_that_is_not_whole_is_no_answer(content: bytes, status: int) -> None:
    with pytest.raises(Unavailable):
        parse(content, status, 1001)


async def test_a_server_that_is_not_there_is_named() -> None:
    prometheus = Prometheus("http://127.0.0.1:1", timeout=1)
    try:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            await prometheus.query("up")
    finally:
        await prometheus.close()
