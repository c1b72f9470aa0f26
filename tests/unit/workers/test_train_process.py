"""`modelservice-worker train` as a process: what it publishes, reports and forwards."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from modelservice_workers.common.artifacts import read_stored

from tests.unit.workers.servers import DEADLINE_SECONDS, start_worker, wait_until, worker_command, worker_environment

pytestmark = pytest.mark.timeout(120)


class Attempt:
    """One attempt of a run on a volume of its own."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.directory = directory
        self.model = model
        self.volume = directory / "volume"
        self.output = self.volume / "run" / "1"
        self.environment = worker_environment(
            directory,
            MODELSERVICE_OUTPUT_DIR=str(self.output),
            MODELSERVICE_RUN="0a1b2c3d",
            MODELSERVICE_ATTEMPT="1",
            MODELSERVICE_SERVICE="autoencoder",
            MODELSERVICE_NAMESPACE="quickstart",
            MODEL=str(model),
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            worker_command("train", "--", *command),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-c", script)

    def message(self) -> dict[str, Any]:
        content = (self.directory / "termination").read_bytes()
        assert len(content) <= 4096
        document: dict[str, Any] = json.loads(content)
        assert document["version"] == 1
        return document

    def names(self) -> list[str]:
        """What the volume shows of this run, hidden names included."""
        return sorted(path.name for path in self.output.parent.iterdir())


@pytest.fixture
def attempt(linear_model: Path, tmp_path: Path) -> Attempt:
    return Attempt(tmp_path, linear_model)


SAVE = 'cp "$MODEL" "$MODELSERVICE_OUTPUT_DIR/model.pt2"'


METRICS = '{"loss": 0.0370, "note": "best", "accuracy": "0.98"}'
SCRIPT = f"""
echo loading >&2
while [ ! -e "$GO" ]; do sleep 0.05; done
{SAVE}
cd "$MODELSERVICE_OUTPUT_DIR"
echo '{METRICS}' > metrics.json
mkdir extra
echo hello > extra/notes.txt
"""


@pytest.fixture(scope="module")
def published(linear_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """An attempt that has succeeded, onto an empty directory and beside what other tries left."""
    attempt = Attempt(tmp_path_factory.mktemp("published"), linear_model)
    attempt.output.mkdir(parents=True)
    (attempt.output.parent / ".1.staging-dead").mkdir()
    (attempt.output.parent / ".10.staging-other").mkdir()
    go = attempt.directory / "go"
    with start_worker(["train", "--", "sh", "-c", SCRIPT], {**attempt.environment, "GO": str(go)}) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "loading\n", "standard error is passed on while the command runs"
        assert list(attempt.output.iterdir()) == [], "nothing is visible before the end"
        go.touch()
        assert process.wait(DEADLINE_SECONDS) == 0
    return attempt


def test_a_finished_run_is_published_with_its_manifest(published: Attempt) -> None:
    stored = read_stored(published.output)
    assert stored.manifest.format == "torch.export"
    assert stored.manifest.signature.inputs[0].name == "x"
    assert sorted(stored.manifest.digests) == ["extra/notes.txt", "metrics.json", "model.pt2"]
    assert stored.manifest.lineage == {
        "run": "0a1b2c3d",
        "attempt": "1",
        "service": "autoencoder",
        "namespace": "quickstart",
    }
    assert published.output.stat().st_mode & 0o777 == 0o755


def test_what_a_killed_try_left_behind_is_removed_on_success(published: Attempt) -> None:
    assert published.names() == [".10.staging-other", "1"]


def test_an_attempt_is_reported_and_not_run_again_when_it_is_replayed(published: Attempt) -> None:
    stored = read_stored(published.output)
    expected = {
        "version": 1,
        "outcome": "Succeeded",
        "artifact": {"path": str(published.output), "digest": stored.digest, "bytes": stored.size_bytes},
        "metrics": {"loss": "0.0370", "accuracy": "0.98"},
        "message": "Metric note was left out: it is no finite decimal number.",
    }
    assert published.message() == expected
    finished = published.shell("echo never; exit 9")
    assert (finished.returncode, finished.stdout) == (0, "")
    again = published.message()
    assert "already published" in again.pop("message")
    del expected["message"]
    assert again == expected


def test_a_published_artifact_can_be_copied_to_another_volume(published: Attempt, tmp_path: Path) -> None:
    moved = shutil.copytree(published.output, tmp_path / "elsewhere")
    assert read_stored(moved).digest == read_stored(published.output).digest


def test_when_another_try_publishes_first_its_artifact_is_the_result(attempt: Attempt, published: Attempt) -> None:
    attempt.environment |= {"FIRST": str(published.output), "OUTPUT": str(attempt.output)}
    done = attempt.shell(f'{SAVE}; cp -r "$FIRST" "$OUTPUT"; rm -rf "$MODELSERVICE_OUTPUT_DIR"')
    assert done.returncode == 0, done.stderr
    stored = read_stored(published.output)
    message = attempt.message()
    assert (message["outcome"], message["artifact"]["digest"]) == ("Succeeded", stored.digest)
    assert message["metrics"] == {"loss": "0.0370", "accuracy": "0.98"}


def test_an_output_that_somebody_else_wrote_is_left_alone(attempt: Attempt) -> None:
    attempt.output.mkdir(parents=True)
    (attempt.output / "theirs").write_text("theirs")
    assert attempt.shell(SAVE).returncode == 1
    assert attempt.message()["outcome"] == "Failed"
    assert "has no manifest.json" in attempt.message()["message"]
    assert (attempt.output / "theirs").read_text() == "theirs"


def test_exit_code_75_is_an_interruption(attempt: Attempt) -> None:
    finished = attempt.shell("echo '{\"loss\": 2}' > $MODELSERVICE_OUTPUT_DIR/metrics.json; exit 75")
    assert finished.returncode == 75
    message = attempt.message()
    assert (message["outcome"], message["metrics"]) == ("Interrupted", {"loss": "2"})
    assert "artifact" not in message
    assert attempt.names() == []


@pytest.mark.parametrize(
    ("script", "code", "sentence"),
    [
        ("exit 1", 1, "The command failed with exit code 1 and wrote no error."),
        (
            "echo first >&2; echo ValueError: no rows >&2; echo >&2; exit 3",
            3,
            "The command failed with exit code 3: ValueError: no rows",
        ),
        ("kill -9 $$", 137, "The command was ended by SIGKILL and wrote no error."),
        ("exit 0", 1, "The training command wrote no model.pt2; save the model with torch.export.save to "),
        (f"{SAVE}; ln -s /etc/passwd $MODELSERVICE_OUTPUT_DIR/link", 1, "holds link, which is a link or special file"),
    ],
)
def test_a_failed_run_says_why_and_publishes_nothing(attempt: Attempt, script: str, code: int, sentence: str) -> None:
    finished = attempt.shell(script)
    assert finished.returncode == code
    message = attempt.message()
    assert message["outcome"] == "Failed"
    assert sentence in message["message"]
    assert "artifact" not in message
    assert attempt.names() == []


def test_a_command_that_does_not_exist_is_named(attempt: Attempt) -> None:
    assert attempt.run("/no/such/program").returncode == 127
    assert attempt.message()["message"] == "The command /no/such/program was not found in the image or on its PATH."


def test_the_message_stays_within_4_kib_and_stderr_is_passed_on_whole(attempt: Attempt) -> None:
    script = "import sys; sys.stderr.write('é' * 100_000 + '\\n'); sys.exit(5)"
    finished = attempt.run(sys.executable, "-c", script)
    assert finished.returncode == 5
    assert finished.stderr.count("é") >= 100_000
    assert attempt.message()["message"].startswith("The command failed with exit code 5: ")


def test_a_volume_that_cannot_be_written_is_explained(attempt: Attempt) -> None:
    attempt.volume.write_text("a file where the volume should be")
    assert attempt.shell(SAVE).returncode == 1
    assert "check the output's claim and path" in attempt.message()["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_every_process_of_the_command(attempt: Attempt, number: signal.Signals) -> None:
    trap = attempt.directory / "trap.py"
    trap.write_text(
        "import pathlib, signal, sys\n"
        "def stop(number, frame):\n"
        "    pathlib.Path(sys.argv[1], 'checkpoint').write_text(str(number))\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGINT, stop)\n"
        "pathlib.Path(sys.argv[1], 'started').touch()\n"
        "while True: signal.pause()\n"
    )
    # The shell ignores the signal and passes on the exit code, as entry scripts do.
    script = f"trap : TERM INT; {sys.executable} {trap} {attempt.directory}"
    with start_worker(["train", "--", "sh", "-c", f"{script}; exit $?"], attempt.environment) as process:
        wait_until((attempt.directory / "started").exists, "the command")
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == 75
    assert (attempt.directory / "checkpoint").read_text() == str(int(number))
    assert attempt.message()["outcome"] == "Interrupted"


def test_a_command_that_dies_of_the_signal_has_failed_and_is_told_the_contract(attempt: Attempt) -> None:
    started = attempt.directory / "started"
    command = ["train", "--", "sh", "-c", f"touch {started}; exec sleep 1000"]
    with start_worker(command, attempt.environment) as process:
        wait_until(started.exists, "the command")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 143
    assert attempt.message()["message"] == (
        "The command was ended by SIGTERM; one that saves a checkpoint and exits with 75 is continued "
        "and wrote no error."
    )


def test_a_process_that_outlives_its_command_does_not_hold_the_launcher(attempt: Attempt) -> None:
    finished = subprocess.run(
        worker_command("train", "--", "sh", "-c", "sleep 30 >/dev/null & echo last words >&2; exit 4"),
        env=attempt.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=25,
        check=False,
    )
    assert finished.returncode == 4
    assert attempt.message()["message"] == "The command failed with exit code 4: last words"
