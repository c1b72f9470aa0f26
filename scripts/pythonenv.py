"""Makes .venv (operator, tests, linters), .venv-workers (PyTorch) and .venv-llama (llama.cpp) from the locks.

Never in the system's Python.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from steps import REPO, Progress, Steps, digest, run_logged

LOCKS = REPO / "requirements"
PYPROJECT = REPO / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment and the locks that fill it."""

    name: str
    title: str
    locks: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The directory of the environment."""
        return REPO / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    def packages_stamp(self) -> str:
        """Return the hash of the locks, the interpreter and the place (scripts hold absolute paths)."""
        return digest(sys.version, str(self.path), *(LOCKS / f"{lock}.txt" for lock in self.locks))

    def project_stamp(self) -> str:
        """Return the hash of what the project's own installation depends on."""
        return digest(self.packages_stamp(), PYPROJECT)


ENVIRONMENTS = (
    Environment(".venv", "python packages of the operator and the tests", ("dev",)),
    Environment(
        ".venv-workers",
        "python packages of the workers (PyTorch, 3 GB)",
        ("workers", "engines", "clients", "test", "build"),
    ),
    Environment(".venv-llama", "python packages of llama.cpp", ("llama", "build")),
)
STEP_COUNT = len(ENVIRONMENTS)


def pip_environment() -> dict[str, str]:
    """Return the variables that keep pip quiet about itself and inside the virtual environment."""
    return {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_INPUT": "1"}


def read_stamp(environment: Environment, what: str) -> str:
    """Return what the last complete installation left behind, or nothing."""
    path = environment.path / f".stamp-{what}"
    return path.read_text() if path.exists() else ""


def install_packages(environment: Environment, progress: Progress) -> None:
    """Make the environment anew with exactly the packages of its locks, each checked by its hash."""
    pinned = "".join((LOCKS / f"{lock}.txt").read_text() for lock in environment.locks)
    total = len(set(re.findall(r"^[a-z0-9][\w.-]*", pinned, re.MULTILINE)))
    fetched = 0
    downloaded = 0.0

    def counted(line: str) -> None:
        nonlocal fetched, downloaded
        fetched += line.startswith("Collecting ")
        if size := re.search(r"Downloading .*\(([\d.]+) (kB|MB|GB)\)", line):
            downloaded += float(size[1]) * {"kB": 1e-3, "MB": 1.0, "GB": 1e3}[size[2]]
        progress.detail = (
            "unpacking"
            if line.startswith("Installing collected")
            else f"{fetched}/{total} packages, {downloaded:.0f} MB"
        )

    subprocess.run([sys.executable, "-m", "venv", "--clear", environment.path], check=True)
    files: list[str | Path] = [word for lock in environment.locks for word in ("-r", LOCKS / f"{lock}.txt")]
    pip: list[str | Path] = [environment.python, "-m", "pip", "install"]
    command: list[str | Path] = [*pip, "--progress-bar=off", "--require-hashes", *files]
    run_logged(command, log=f"pip{environment.name}", env=pip_environment(), on_line=counted)
    (environment.path / ".stamp-packages").write_text(environment.packages_stamp())


def install_project(environment: Environment) -> None:
    """Install the project itself, editable: its console scripts and its source roots."""
    command: list[str | Path] = [
        environment.python,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-build-isolation",
        "-e",
        REPO,
    ]
    run_logged(command, log=f"pip-project{environment.name}", env=pip_environment())
    (environment.path / ".stamp-project").write_text(environment.project_stamp())


def install(environment: Environment, progress: Progress, *, packages_too: bool) -> None:
    """Fill an environment; with unchanged locks only the project is installed again."""
    if packages_too:
        install_packages(environment, progress)
    progress.detail = "installing the project"
    install_project(environment)


def make_environments(steps: Steps) -> None:
    """Bring both environments up to date."""
    for environment in ENVIRONMENTS:
        packages = read_stamp(environment, "packages") == environment.packages_stamp()
        project = read_stamp(environment, "project") == environment.project_stamp()
        if packages and project:
            steps.skip(environment.title)
            continue
        steps.run(environment.title, "download", partial(install, environment, packages_too=not packages))
