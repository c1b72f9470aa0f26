"""Finds what a run of the tests or a cluster left behind: processes, mounts, listening ports. Standard library only."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "MODELSERVICE_TEST_RUN"
PROC = Path("/proc")
LISTENING = "0A"
GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from a later one of the same number by its start time (clock ticks since boot)."""

    pid: int
    parent: int
    started: int
    command: str

    def __str__(self) -> str:
        """Return how a person finds it."""
        return f"process {self.pid}: {self.command[:100]}"


def read_process(pid: int) -> Process | None:
    """Return a process, or None when it is gone or a zombie."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    state, parent, *rest = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    command = b" ".join(words).decode(errors="replace").strip() or stat.partition("(")[2].partition(")")[0]
    return Process(pid, int(parent), int(rest[17]), command)


def processes() -> Iterator[Process]:
    """Yield every process that this user can see."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := read_process(int(entry.name))) is not None:
            yield found


def marked(value: str) -> list[Process]:
    """Return the processes whose environment carries this run's mark."""
    wanted = f"{MARK}={value}".encode()
    found = []
    for process in processes():
        try:
            environment = (PROC / str(process.pid) / "environ").read_bytes()
        except OSError:
            continue
        if process.pid != os.getpid() and wanted in environment.split(b"\0"):
            found.append(process)
    return found


def family(roots: list[Process]) -> list[Process]:
    """Return the processes and all that descend from them."""
    everything = list(processes())
    chosen = {process.pid for process in roots}
    while grown := {process.pid for process in everything if process.parent in chosen} - chosen:
        chosen |= grown
    return [process for process in everything if process.pid in chosen]


def alive(wanted: list[Process]) -> list[Process]:
    """Return those that still run."""
    found = ((process, read_process(process.pid)) for process in wanted)
    return [process for process, now in found if now is not None and now.started == process.started]


def wait_gone(wanted: list[Process], seconds: float = GRACE_SECONDS) -> list[Process]:
    """Wait until they are gone; return those that are not when the time is over."""
    deadline = time.monotonic() + seconds
    while (left := alive(wanted)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def stop_marked(value: str) -> list[str]:
    """Stop what carries the mark and has not ended by itself; return a line for each."""
    left = wait_gone(marked(value))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in alive(left):
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue
        if not wait_gone(left, GRACE_SECONDS / 2):
            break
    return [str(process) for process in left]


def mounts_below(directory: Path) -> list[str]:
    """Return the mount points at or below a directory."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4].encode().decode("unicode_escape") for line in lines)
    return [point for point in points if Path(point).is_relative_to(directory)]


def listens(port: int) -> bool:
    """Tell whether a process of this host listens on a TCP port."""
    for table in ("tcp", "tcp6"):
        path = PROC / "self" / "net" / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, _, state, *_ = line.split()
            if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                return True
    return False
