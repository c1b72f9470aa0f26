"""What is left behind is found, stopped and told apart from what belongs to others."""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import leftovers
import pytest

SLEEPER = "import sys, time; print('up', flush=True); time.sleep(60)"


def start(code: str, mark: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, leftovers.MARK: mark}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def sleeper(mark: str) -> Iterator["subprocess.Popen[str]"]:
    with start(SLEEPER, mark) as process:
        yield process
        process.kill()


def test_a_process_is_found_by_the_mark_in_its_environment(sleeper: "subprocess.Popen[str]", mark: str) -> None:
    assert [process.pid for process in leftovers.marked(mark)] == [sleeper.pid]
    assert leftovers.marked(uuid.uuid4().hex) == []


def test_children_of_children_belong_to_the_family(mark: str) -> None:
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); p.wait()"
    with start(parent, mark) as process:
        root = leftovers.read_process(process.pid)
        assert root is not None
        members = leftovers.family([root])
        assert len(members) == 2
        for member in members:
            os.kill(member.pid, 9)
    assert leftovers.wait_gone(members) == []


def test_what_does_not_end_by_itself_is_stopped_and_named(
    sleeper: "subprocess.Popen[str]", mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "wait_gone", lambda wanted, _seconds=0.0: leftovers.alive(wanted))
    lines = leftovers.stop_marked(mark)
    assert len(lines) == 1
    assert str(sleeper.pid) in lines[0]
    assert sleeper.wait(10) < 0


def test_a_listening_port_is_seen_until_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert leftovers.listens(port)
    assert not leftovers.listens(port)


def test_a_mount_is_found_by_its_path() -> None:
    assert "/proc" in leftovers.mounts_below(Path("/proc"))
    assert leftovers.mounts_below(Path("/nothing/is/mounted/here")) == []
