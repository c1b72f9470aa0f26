"""Numbered steps with progress, a log file each, and one hint when a step fails. Standard library only."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

REPO = Path(__file__).resolve().parent.parent
LOGS = REPO / ".local" / "logs"
TAIL_LINES = 30
HINTS = (
    ("No space left on device", "The disk is full: a first build needs about 20 GB free, PyTorch alone 6 GB."),
    (
        r"dial tcp|name resolution|Connection (refused|reset|timed out)|ConnectionError|TLS handshake",
        "The download failed: check the network and the proxy, then run the same command again; it continues.",
    ),
    (r"signal: killed|MemoryError|Cannot allocate memory", "The machine ran out of memory: 4 GB free are needed."),
    (r"go\.mod requires go >= |GOTOOLCHAIN=local", "Go is too old: install the Go version that the message names."),
    ("THESE PACKAGES DO NOT MATCH THE HASHES", "A download is damaged or changed: try again, or run scripts/lock.py."),
    ("Permission denied", "A file belongs to another user: check who owns the files below this directory."),
)
DEFAULT_HINT = "Correct what the lines above say and run the same command again; finished steps are not repeated."


class StepFailed(Exception):
    """A step did not work; the message is the sentence for the person who ran it."""


def digest(*parts: str | Path) -> str:
    """Return a hash over strings and the contents of files, by which a step knows that nothing changed."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        total.update(f"{len(content)}:".encode() + content)
    return total.hexdigest()


def hint(log: str) -> str:
    """Return the sentence that fits the last lines of a failed step's log."""
    return next((sentence for pattern, sentence in HINTS if re.search(pattern, log)), DEFAULT_HINT)


class Progress:
    """One line per step: rewritten while it runs on a terminal, written once elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()
        self.live = sys.stdout.isatty()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)

    def __enter__(self) -> Self:
        print(f"{self.title} ...", end="", flush=True)
        if self.live:
            self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._done.set()
        if self.live:
            self._thread.join()
        outcome = f"{self.elapsed:.0f} s" if kind is None else f"failed after {self.elapsed:.0f} s"
        print(f"\r\033[K{self.title} ... {outcome}" if self.live else f" {outcome}", flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def _redraw(self) -> None:
        while not self._done.wait(0.5):
            minutes, seconds = divmod(int(self.elapsed), 60)
            print(f"\r\033[K{self.title} ... {minutes}:{seconds:02d} {self.detail}"[:120], end="", flush=True)


class Steps:
    """The numbered steps of one command; it knows how many there are before the first begins."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0
        self.seconds: dict[str, float] = {}

    def skip(self, title: str) -> None:
        """Count a step of which nothing changed."""
        self.number += 1
        print(f"[{self.number}/{self.total}] {title} ... up to date", flush=True)

    def run(self, title: str, kind: str, work: Callable[[Progress], None]) -> None:
        """Do one step and add its time to the sum of its kind (download, build)."""
        self.number += 1
        with Progress(f"[{self.number}/{self.total}] {title}") as progress:
            work(progress)
        self.seconds[kind] = self.seconds.get(kind, 0.0) + progress.elapsed


def run_logged(
    command: Iterable[str | Path],
    *,
    log: str,
    cwd: Path = REPO,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a command with its output in .local/logs/<log>.log; raise StepFailed with the log's end when it fails."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log}.log"
    words = [str(word) for word in command]
    with (
        path.open("w", encoding="utf-8") as out,
        subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - Popen was given a pipe
        try:
            for line in process.stdout:
                out.write(line)
                if on_line is not None:
                    on_line(line)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            raise
    if process.returncode:
        tail = "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
        reason = f"{words[0]} ended with status {process.returncode}; the whole log is {path.relative_to(REPO)}"
        raise StepFailed(f"{tail}\n\n{reason}\n{hint(tail)}")
