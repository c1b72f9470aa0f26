"""The scripts of the quick start: what train.py learns, what load.py notices."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modelservice_workers.common.datatypes import Array
from modelservice_workers.serving.model import load_model

from tests.unit.workers.engines import OPTIONS, LogEngine
from tests.unit.workers.servers import RunningServer, start_server

EXAMPLES = Path(__file__).parents[3] / "examples" / "quickstart"


@pytest.mark.timeout(120)
def test_training_reaches_the_expected_loss_and_leaves_a_model_that_gives_back_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELSERVICE_OUTPUT_DIR", str(tmp_path / "out"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(EXAMPLES / "train.py"), run_name="__main__")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == [f"{epoch}/10" for epoch in range(1, 11)]
    loss = float(json.loads((tmp_path / "out" / "metrics.json").read_bytes())["loss"])
    assert loss == pytest.approx(0.037, rel=0.2)
    engine = load_model(tmp_path / "out" / "model.pt2", OPTIONS).engine
    assert engine.signature.to_json()["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 10]}]
    x = np.random.default_rng(1).standard_normal((1000, 10)).astype(np.float32)
    assert float(((engine.run([x])[0] - x) ** 2).mean()) == pytest.approx(loss, rel=0.3)


def send_load(url: str, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / "load.py"), "--url", url, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return finished.returncode, [json.loads(line) for line in finished.stdout.splitlines()], finished.stderr


def infer_url(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}/v2/models/m/infer"


class PositiveLogEngine(LogEngine):
    """Takes random rows: y = log(|x| + 1)."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return super().run([np.abs(inputs[0]) + 1])


def test_load_tells_its_figures_and_every_request_has_its_own_connection() -> None:
    with start_server(PositiveLogEngine()) as server:
        code, lines, error = send_load(infer_url(server), "--rps", "50", "--seconds", "1.2", "--report-every", "0.4")
        assert (code, error) == (0, "")
        assert len(lines) >= 3
        total = lines[-1]
        assert (total["requests"], total["errors"]) == (60, 0)
        assert 0 < total["p50_ms"] <= total["p95_ms"]
        assert 0 < total["rps"] <= 51
        assert server.metric('modelservice_requests_total{code="200",model_name="m"}') == 60
        code, lines, _ = send_load(infer_url(server), "--concurrency", "3", "--seconds", "0.5", "--rows", "4")
        assert (code, lines[-1]["errors"]) == (0, 0)
        rows = server.metric('modelservice_inference_rows_total{model_name="m"}')
        assert rows == 60 + 4 * lines[-1]["requests"]


def test_load_counts_what_fails_with_its_reason_and_exits_with_1() -> None:
    with start_server(LogEngine(), max_queue_requests=64) as server:
        code, lines, _ = send_load(infer_url(server), "--rps", "50", "--seconds", "0.5", "--rows", "8")
    assert code == 1
    assert lines[-1]["errors"] == lines[-1]["requests"] == 25
    assert lines[-1]["reasons"] == {"HTTP 422": 25}
    assert lines[-1]["p50_ms"] is None


class WrongShapeEngine(PositiveLogEngine):
    """Gives two values for a row where its signature says one."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return [np.repeat(super().run(inputs)[0], 2, axis=1)]


def test_load_does_not_take_an_answer_of_the_wrong_shape() -> None:
    with start_server(WrongShapeEngine()) as server:
        code, lines, _ = send_load(infer_url(server), "--rps", "20", "--seconds", "0.5")
    assert code == 1
    assert lines[-1]["reasons"] == {"output y is missing or has the wrong shape": 10}


def test_load_refuses_an_address_that_is_no_infer_route() -> None:
    code, lines, error = send_load("http://127.0.0.1/v2/models/m", "--rps", "1")
    assert (code, lines) == (1, [])
    assert "is not the infer route of a model" in error
