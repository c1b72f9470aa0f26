"""A server's processes: started, stopped in their tracks while another is measured, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

END_SECONDS = 10.0


class Processes:
    """A process and all that it has started, also those in sessions of their own."""

    def __init__(self, command: Sequence[str], variables: dict[str, str], log: Path) -> None:
        with log.open("w") as output:
            self._main = subprocess.Popen(
                command, env={**os.environ, **variables}, stdout=output, stderr=output, start_new_session=True,
                cwd=log.parent,
            )  # fmt: skip

    @property
    def ended(self) -> bool:
        return self._main.poll() is not None

    def freeze(self) -> None:
        """Let them compute nothing, whatever they would do while they wait."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Ask the first to end, then kill what is left."""
        members = self._members()
        self.thaw()
        self._main.terminate()
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and not self.ended:
            time.sleep(0.05)
        for pid in members:
            if pid != self._main.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._main.kill()
        self._main.wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._members():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _members(self) -> list[int]:
        found = [] if self.ended else [self._main.pid]
        for pid in found:
            found.extend(_children(pid))
        return found


def _children(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            yield from map(int, path.read_text().split())


@contextmanager
def run(command: Sequence[str], variables: dict[str, str], log: Path) -> Iterator[Processes]:
    """Start a program and end it, with everything it has started."""
    processes = Processes(command, variables, log)
    try:
        yield processes
    finally:
        processes.end()
