import ast
import io
import json
import logging
from pathlib import Path

import modelservice.kit
import pytest
from modelservice.adapters import telemetry as module
from modelservice.adapters.telemetry import KIT, JsonFormatter, Metric, Telemetry
from modelservice.domain.gauges import Gauge, Reading

VERBS = {"count": "counter", "observe": "histogram", "set": "gauge"}


def uses() -> list[tuple[str, str, frozenset[str]]]:
    """Every call of a meter in the kit and its client: verb, metric, labels."""
    found = []
    kit = Path(next(iter(modelservice.kit.__path__)))
    for path in (*sorted(kit.glob("*.py")), kit.parent / "adapters" / "kube.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="_meter" | "meter"), attr=verb),
                    args=[ast.Constant(value=str(name)), *_],
                    keywords=keywords,
                ):
                    found.append((verb, name, frozenset(str(word.arg) for word in keywords)))
                case _:
                    pass
    return found


@pytest.mark.parametrize(("verb", "name", "labels"), uses())
def test_every_figure_that_the_kit_reports_is_declared_with_its_labels(
    verb: str, name: str, labels: frozenset[str]
) -> None:
    (metric,) = (metric for metric in KIT if metric.name == name)
    assert metric.kind == VERBS[verb]
    assert frozenset(metric.labels) == labels


def test_every_declared_metric_is_reported_somewhere() -> None:
    assert {metric.name for metric in KIT} == {name for _, name, _ in uses()}


def test_figures_appear_with_the_operators_prefix() -> None:
    telemetry = Telemetry(Metric("pools", "Pools.", ("kind",)))
    telemetry.count("reconcile_total", controller="ModelService", result="success")
    telemetry.observe("reconcile_seconds", 0.002, controller="ModelService")
    telemetry.set("pools", 3, kind="spot")
    text = telemetry.render().decode()
    assert 'modelservice_operator_reconcile_total{controller="ModelService",result="success"} 1.0' in text
    assert 'modelservice_operator_reconcile_seconds_bucket{controller="ModelService",le="0.005"} 1.0' in text
    assert 'modelservice_operator_pools{kind="spot"} 3.0' in text
    assert "process_resident_memory_bytes" in text


def test_the_series_of_an_object_that_is_gone_goes() -> None:
    telemetry = Telemetry(Metric("spent", "Spent.", ("budget",)))
    telemetry.set("spent", 3, budget="a")
    telemetry.remove("spent", budget="a")
    telemetry.remove("spent", budget="a")
    assert 'budget="a"' not in telemetry.render().decode()


def test_an_undeclared_name_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Telemetry().count("no_such_thing_total")


def test_a_log_line_is_one_json_object_with_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("modelservice.test")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("It is %s", "broken")
    (line,) = out.getvalue().splitlines()
    record = json.loads(line)
    assert (record["level"], record["message"]) == ("ERROR", "It is broken")
    assert "ValueError: two\nlines" in record["traceback"]


@pytest.mark.parametrize(
    ("level", "kopf"), [("INFO", logging.WARNING), ("DEBUG", logging.WARNING), ("ERROR", logging.ERROR)]
)
def test_kopf_is_kept_quieter_than_the_operator(level: str, kopf: int) -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    try:
        module.configure_logging(level, "Text")
        assert root.level == logging.getLevelNamesMapping()[level]
        assert logging.getLogger("kopf").level == kopf
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
        for chatty in ("kopf", "aiohttp.access", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.NOTSET)


def test_exposed_gauges_are_read_at_each_scrape_and_vanish_with_their_readings() -> None:
    money, plain = Gauge("spent", "Spent.", ("budget",), money=True), Gauge("pods", "Pods.")
    readings = [Reading(money, ("a",), 12_500_000), Reading(money, ("b",), 1), Reading(plain, (), 3)]
    telemetry = Telemetry()
    telemetry.expose((money, plain), lambda: readings)
    text = telemetry.render().decode()
    assert 'modelservice_operator_spent{budget="a"} 12.5' in text
    assert 'modelservice_operator_spent{budget="b"} 1e-06' in text
    assert "modelservice_operator_pods 3.0" in text
    readings.clear()
    text = telemetry.render().decode()
    assert "# TYPE modelservice_operator_spent gauge" in text
    assert "modelservice_operator_spent{" not in text


def test_a_gauge_cannot_take_the_name_of_a_metric() -> None:
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Telemetry().expose((Gauge("leader", "Again."),), list)


def test_all_series_of_what_is_gone_go_and_the_others_stay() -> None:
    telemetry = Telemetry(
        Metric("asked_total", "Asked.", ("service", "code"), "counter"),
        Metric("seconds", "Seconds.", ("service",), "histogram", (0.5, 1.0)),
        Metric("open", "Open."),
        kit=(),
        prefix="gate_",
    )
    for service in ("a", "b"):
        telemetry.count("asked_total", service=service, code="200")
        telemetry.observe("seconds", 0.7, service=service)
    telemetry.set("open", 1)
    telemetry.forget(service="a")
    text = telemetry.render().decode()
    assert 'service="a"' not in text
    assert 'gate_asked_total{code="200",service="b"} 1.0' in text
    assert 'gate_seconds_bucket{le="1.0",service="b"} 1.0' in text
    assert "gate_open 1.0" in text
