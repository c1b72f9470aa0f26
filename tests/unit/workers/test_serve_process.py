"""`modelservice-worker serve` as a process: its exit codes, its termination message, its end on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.unit.workers.models import make_artifact
from tests.unit.workers.servers import (
    DEADLINE_SECONDS,
    read_metric,
    read_port,
    start_worker,
    wait_until,
    worker_command,
    worker_environment,
)

pytestmark = pytest.mark.timeout(120)

CALLERS = 64
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [3, 4]}]}


def serve_environment(directory: Path, model: Path, **variables: str) -> dict[str, str]:
    return worker_environment(
        directory,
        MODEL_NAME="linear",
        MODEL_PATH=str(model),
        PORT="0",
        MODELSERVICE_DRAIN_DELAY_SECONDS="3",
        **variables,
    )


def is_ready(client: httpx.Client) -> bool:
    return client.get("/v2/health/ready").status_code == 200


def pid_1() -> list[str]:
    """A prefix that makes a command PID 1 of a namespace, or nothing where the machine does not allow it."""
    prefix = ["unshare", "-Urpf"]
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix
    return []


def stop(process: subprocess.Popen[str], prefix: list[str]) -> None:
    """Send SIGTERM to the server itself."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]) if prefix else process.pid, signal.SIGTERM)


def test_a_server_answers_and_ends_with_0_without_failing_a_request(linear_model: Path, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "artifact", linear_model, run="r", attempt="1")
    prefix = pid_1()
    with start_worker(["serve", "--host", "127.0.0.1"], serve_environment(tmp_path, artifact), prefix) as process:
        base = f"http://127.0.0.1:{read_port(process)}"
        with httpx.Client(base_url=base, timeout=30) as client:
            wait_until(lambda: is_ready(client), "readiness")
            answer = client.post("/v2/models/linear/infer", json=BODY).json()
            assert answer["model_version"] == "r-1"
            assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [7.0, 9.0]}]
            rows = read_metric(client, 'modelservice_inference_rows_total{model_name="linear"}')
            assert rows == 1, "warming up is no traffic"
        statuses = asyncio.run(load_while(base, lambda: stop(process, prefix)))
        assert process.wait(DEADLINE_SECONDS) == 0
    assert statuses.total() > 4 * CALLERS
    assert set(statuses) == {200}
    assert not (tmp_path / "termination").exists()


async def load_while(base: str, stop: Callable[[], None]) -> Counter[int]:
    """Statuses of all requests of many callers; `stop` is called among them, and when it shows each makes a few more.

    Raises when a connection is refused or ends before its answer.
    """
    statuses: Counter[int] = Counter()
    stopped = asyncio.Event()
    callers = [asyncio.create_task(call_until(base, stopped, statuses)) for _ in range(CALLERS)]
    await asyncio.to_thread(wait_until, lambda: statuses.total() > 2 * CALLERS, "load")
    stop()
    with httpx.Client(base_url=base, timeout=30) as client:
        await asyncio.to_thread(wait_until, lambda: not is_ready(client), "a readiness of 503")
    stopped.set()
    await asyncio.gather(*callers)
    return statuses


async def call_until(base: str, stopped: asyncio.Event, statuses: Counter[int]) -> None:
    """Ask over a connection that is kept alive, or a new one where the server ends it; twice more once `stopped`."""
    url = httpx.URL(base)
    content = json.dumps(BODY).encode()
    request = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
        b"/v2/models/linear/infer",
        len(content),
        content,
    )
    more = 2
    reader = writer = None
    while more:
        more -= stopped.is_set()
        if reader is None or writer is None:
            reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
        statuses[int(head.split()[1])] += 1
        if b"connection: close" in head:
            writer.close()
            reader = writer = None
    if writer is not None:
        writer.close()


def serve(directory: Path, model: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    return subprocess.run(
        worker_command("serve", "--host", "127.0.0.1", *arguments),
        env=serve_environment(directory, model, **variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def spoil_digest(artifact: Path) -> None:
    model = artifact / "model.pt2"
    model.write_bytes(model.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (shutil.rmtree, "does not exist; check the storage URI and that the volume holds it."),
        (lambda artifact: (artifact / "manifest.json").unlink(), "has no manifest.json"),
        (spoil_digest, "it was changed or cut short, publish the artifact again."),
    ],
)
def test_a_model_that_cannot_be_loaded_leaves_a_sentence_and_exit_code_3(
    linear_model: Path, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    artifact = make_artifact(tmp_path / "artifact", linear_model)
    spoil(artifact)
    finished = serve(tmp_path, artifact)
    assert finished.returncode == 3
    message = json.loads((tmp_path / "termination").read_bytes())
    assert (message["version"], message["outcome"]) == (1, "ModelLoadFailed")
    assert sentence in message["message"]
    assert message["message"] in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_model_with_code_of_its_own_that_may_not_run_says_so_in_one_word_too(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "own.OwnModel"}}))
    finished = serve(tmp_path, model)
    assert finished.returncode == 3
    message = json.loads((tmp_path / "termination").read_bytes())
    assert message["outcome"] == "RemoteCodeDenied"
    assert "names code of its own (own.OwnModel)" in message["message"]


def test_a_file_that_is_no_program_leaves_a_sentence_and_exit_code_3(tmp_path: Path) -> None:
    model = tmp_path / "model.pt2"
    model.write_text("no model")
    finished = serve(tmp_path, model)
    assert finished.returncode == 3
    message = json.loads((tmp_path / "termination").read_bytes())
    assert message["message"] == f"{model} is not a .pt2 file; save the model with torch.export.save."


def test_a_cpu_that_lacks_what_the_model_needs_leaves_a_sentence_and_exit_code_4(
    linear_model: Path, tmp_path: Path
) -> None:
    artifact = make_artifact(tmp_path / "artifact", linear_model)
    document = json.loads((artifact / "manifest.json").read_bytes())
    (artifact / "manifest.json").write_text(json.dumps({**document, "dtype": "BF16"}))
    finished = serve(tmp_path, artifact, MODELSERVICE_HIDE_CPU_FEATURES="avx512_bf16 amx_bf16 bf16")
    assert finished.returncode == 4
    message = json.loads((tmp_path / "termination").read_bytes())
    assert message["outcome"] == "UnsupportedHardware"
    assert message["message"].startswith("The model computes in BF16, which needs a CPU with ")
    assert message["message"] in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "sentence"),
    [
        ([], {}, 2, "usage: modelservice-worker serve"),
        (["fly"], {}, 2, "usage: modelservice-worker serve"),
        (["serve"], {}, 2, "Neither --model-name nor MODEL_NAME is set; one of them is needed."),
        (["serve"], {"MODEL_NAME": "m"}, 2, "Neither --model-path nor MODEL_PATH is set"),
        (["train"], {}, 2, "There is no training command; write it after --, as in: train -- python train.py."),
        (["train", "--", "true"], {}, 2, "MODELSERVICE_OUTPUT_DIR is not set; it must be an absolute path."),
        (["train", "true"], {"MODELSERVICE_OUTPUT_DIR": "out"}, 2, "MODELSERVICE_OUTPUT_DIR is out;"),
    ],
)
def test_a_wrong_call_is_explained(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], code: int, sentence: str
) -> None:
    environment = worker_environment(tmp_path, **variables)
    finished = subprocess.run(
        worker_command(*arguments), env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.returncode == code
    assert sentence in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_taken_port_is_explained(linear_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = serve(tmp_path, linear_model, "--port", str(port))
    assert finished.returncode == 1
    assert f"The server cannot listen on 127.0.0.1 port {port}: Address already in use." in finished.stderr


def test_neither_the_command_line_nor_the_server_imports_torch() -> None:
    program = (
        "import sys, modelservice_workers.main, modelservice_workers.serving.server, "
        "modelservice_workers.training.launcher; sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "workers")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
