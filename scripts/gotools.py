"""Builds the Go programs into bin/, each again only when its sources, its module or the compiler changed."""

import json
import os
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from steps import REPO, Progress, Steps, digest, run_logged

BIN = REPO / "bin"
STAMPS = BIN / ".stamps"
LOCAL = REPO / "local"
TOOLS = LOCAL / "tools"
IGNORED = ("_test.go", ".md")  # of these no program is made


@dataclass(frozen=True, slots=True)
class Program:
    """One program of a Go module: where its version is stamped, in which variable, and with which build tags."""

    name: str
    title: str
    module: Path
    package: str
    version_of: str = ""
    version_variable: str = ""
    version_format: str = "{}"
    tags: str = ""

    @property
    def path(self) -> Path:
        """Where the program is built to."""
        return BIN / self.name


PROGRAMS = (
    Program(
        "localcluster",
        "kubernetes components",
        LOCAL,
        "./cmd/localcluster",
        version_of="k8s.io/kubernetes",
        version_variable="k8s.io/component-base/version.gitVersion",
    ),
    Program("coredns", "coredns", TOOLS, "./coredns"),
    Program(
        "kwok",
        "kwok",
        TOOLS,
        "sigs.k8s.io/kwok/cmd/kwok",
        version_of="sigs.k8s.io/kwok",
        version_variable="sigs.k8s.io/kwok/pkg/consts.Version",
    ),
    Program(
        "prometheus",
        "prometheus",
        TOOLS,
        "github.com/prometheus/prometheus/cmd/prometheus",
        version_of="github.com/prometheus/prometheus",
        version_variable="github.com/prometheus/common/version.Version",
        version_format="prometheus",
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
    Program(
        "helm",
        "helm",
        TOOLS,
        "helm.sh/helm/v3/cmd/helm",
        version_of="helm.sh/helm/v3",
        version_variable="helm.sh/helm/v3/internal/version.version",
    ),
    Program("versitygw", "versitygw", TOOLS, "github.com/versity/versitygw/cmd/versitygw"),
    Program("staticcheck", "staticcheck", TOOLS, "honnef.co/go/tools/cmd/staticcheck"),
)
MODULES = {LOCAL: "kubernetes modules", TOOLS: "modules of the tools"}


def environment() -> dict[str, str]:
    """Return what every build runs with: no cgo, no flags of the user's that change the result."""
    return {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


def ask_go(*words: str, module: Path) -> str:
    """Return what a short go command prints."""
    done = subprocess.run(
        ["go", *words], cwd=module, env={**os.environ, **environment()}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def required_version(module: Path, dependency: str) -> str:
    """Return the version of a dependency that go.mod requires, for example v1.36.3."""
    required = json.loads(ask_go("mod", "edit", "-json", module=module))["Require"]
    return str(next(entry["Version"] for entry in required if entry["Path"] == dependency))


def prometheus_version(module_version: str) -> str:
    """Return the release of a Prometheus module version: v0.316.0 is release 3.16.0."""
    _, minor, patch = module_version.split(".")
    return f"{int(minor) // 100}.{int(minor) % 100}.{patch}"


def build_flags(program: Program) -> list[str]:
    """Return the flags of go build for a program, its version stamped."""
    ldflags = "-s -w"
    if program.version_variable:
        version = required_version(program.module, program.version_of)
        stamped = prometheus_version(version) if program.version_format == "prometheus" else version
        ldflags += f" -X {program.version_variable}={stamped}"
    return ["-trimpath", "-ldflags", ldflags, *(["-tags", program.tags] if program.tags else [])]


def sources(module: Path) -> list[Path]:
    """Return the files of a module that decide what its programs are; a module below it is not part of it."""
    found = []
    for directory, below, files in os.walk(module):
        below[:] = sorted(
            name for name in below if not name.startswith(".") and not Path(directory, name, "go.mod").exists()
        )
        found += [Path(directory, name) for name in sorted(files) if not name.endswith(IGNORED)]
    return found


def fingerprint(program: Program) -> str:
    """Return the hash of all that a program is built from."""
    locks = [program.module / "go.mod", program.module / "go.sum"]
    files = sources(program.module) if program.package.startswith(".") else locks
    return digest(ask_go("version", module=program.module), *build_flags(program), program.package, *files)


def is_current(program: Program) -> bool:
    """Tell whether the program in bin/ is what its sources say."""
    stamp = STAMPS / program.name
    return program.path.exists() and stamp.exists() and stamp.read_text() == fingerprint(program)


def download(module: Path, programs: list[Program], progress: Progress) -> None:
    """Fetch the modules that the programs need, and no others."""
    count = 0

    def counted(line: str) -> None:
        nonlocal count
        count += line.startswith("go: downloading")
        progress.detail = f"{count} modules"

    for program in programs:
        tags = ["-tags", program.tags] if program.tags else []
        command: list[str | Path] = ["go", "list", "-deps", "-f", "{{with .Error}}{{.}}{{end}}", *tags, program.package]
        run_logged(command, log=f"download-{program.name}", cwd=module, env=environment(), on_line=counted)


def build(program: Program, progress: Progress) -> None:
    """Compile one program and stamp it; -v prints each package as it is compiled."""
    tags = ["-tags", program.tags] if program.tags else []
    total = len(ask_go("list", "-deps", *tags, program.package, module=program.module).splitlines())
    compiled = 0

    def counted(_: str) -> None:
        nonlocal compiled
        compiled += 1
        progress.detail = f"{compiled} of at most {total} packages compiled"

    BIN.mkdir(exist_ok=True)
    STAMPS.mkdir(exist_ok=True)
    stamp = fingerprint(program)
    (STAMPS / program.name).unlink(missing_ok=True)
    command: list[str | Path] = ["go", "build", "-v", *build_flags(program), "-o", program.path, program.package]
    run_logged(command, log=f"build-{program.name}", cwd=program.module, env=environment(), on_line=counted)
    (STAMPS / program.name).write_text(stamp)


def make_programs(steps: Steps) -> None:
    """Bring every program in bin/ up to date; a step for each module's downloads and for each program."""
    stale = {program.name for program in PROGRAMS if not is_current(program)}
    for module, title in MODULES.items():
        wanted = [program for program in PROGRAMS if program.module == module and program.name in stale]
        if wanted:
            steps.run(title, "download", partial(download, module, wanted))
        else:
            steps.skip(title)
    for program in PROGRAMS:
        if program.name in stale:
            steps.run(program.title, "build", partial(build, program))
        else:
            steps.skip(program.title)


STEP_COUNT = len(MODULES) + len(PROGRAMS)
