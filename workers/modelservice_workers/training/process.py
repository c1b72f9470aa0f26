"""Running the user's command: forward signals, pass its output on, remember its last words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO, Final

FORWARDED_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_TAIL_BYTES: Final = 8192
_READ_BYTES: Final = 65536
_READER_GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a command ended: its exit code, negative for a signal, and the last line of its standard error."""

    code: int
    last_error_line: str


class CommandNotStartedError(Exception):
    """The command could not be started; the text is a sentence."""


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> ProcessEnd:
    """Run a command to its end; SIGTERM and SIGINT go to all of its processes.

    Call it from the main thread. Raises CommandNotStartedError.
    """
    early: list[int] = []
    previous = {number: signal.signal(number, lambda number, _: early.append(number)) for number in FORWARDED_SIGNALS}
    try:
        process = _start(command, environment)

        def forward(number: int, _frame: FrameType | None) -> None:
            _signal_group(process, number)

        for number in FORWARDED_SIGNALS:
            signal.signal(number, forward)
        for caught in early:
            _signal_group(process, caught)
        assert process.stderr is not None  # noqa: S101 - it was asked for as a pipe
        tail = _Tail(process.stderr)
        code = process.wait()
        return ProcessEnd(code, tail.last_line())
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        # Its own session, so that a terminal's Ctrl-C reaches it once, through us.
        return subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
            command, env=dict(environment), stderr=subprocess.PIPE, bufsize=0, start_new_session=True
        )
    except FileNotFoundError:
        raise CommandNotStartedError(f"The command {command[0]} was not found in the image or on its PATH.") from None
    except OSError as error:
        raise CommandNotStartedError(f"The command {command[0]} could not be started: {error.strerror}.") from None


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


class _Tail:
    """Copies a stream to our standard error while it is read, and keeps its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._bytes = b""
        self._thread = threading.Thread(target=self._copy, name="stderr", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        with self._stream:
            while chunk := self._stream.read(_READ_BYTES):
                sys.stderr.buffer.write(chunk)
                sys.stderr.buffer.flush()
                self._bytes = (self._bytes + chunk)[-_TAIL_BYTES:]

    def last_line(self) -> str:
        """The last line that is not empty; processes that the command left behind are not waited for long."""
        self._thread.join(_READER_GRACE_SECONDS)
        lines = self._bytes.decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
