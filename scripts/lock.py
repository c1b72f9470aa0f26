"""Writes requirements/*.txt from pyproject.toml: every package pinned, with hashes and without an index address.

Needs `uv` on the PATH, or in UV. Run it after a change of the dependencies: `python scripts/lock.py`.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
HEADER = "# Written by scripts/lock.py from pyproject.toml; do not edit.\n"


def compile_lock(name: str, wanted: list[str], constraints: list[str], *, alone: bool = False) -> None:
    """Resolve the wanted requirements into requirements/<name>.txt, with the versions of earlier locks.

    Packages that are wanted `alone` come without what they need: that is in the environment of the workers already.
    """
    command = [
        os.environ.get("UV", "uv"),
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-header",
        "--no-annotate",
        "--upgrade",
        *(["--no-deps"] if alone else []),
        *(f"--constraint={REPO / 'requirements' / constraint}.txt" for constraint in constraints),
        "-",
    ]
    environment = {key: value for key, value in os.environ.items() if key not in {"PIP_FIND_LINKS", "UV_FIND_LINKS"}}
    result = subprocess.run(
        command, input="\n".join(wanted), capture_output=True, text=True, cwd=REPO, env=environment, check=False
    )
    if result.returncode:
        sys.exit(f"requirements/{name}.txt could not be resolved:\n{result.stderr}")
    (REPO / "requirements" / f"{name}.txt").write_text(HEADER + result.stdout)
    print(f"requirements/{name}.txt: {len(re.findall('^[a-z]', result.stdout, re.MULTILINE))} packages")


def main() -> None:
    """Write all locks; a package has the same version in each of them that fill one environment."""
    pyproject = tomllib.loads((REPO / "pyproject.toml").read_text())
    operator = pyproject["project"]["dependencies"]
    extras = pyproject["project"]["optional-dependencies"]
    groups = pyproject["dependency-groups"]
    compile_lock("operator", operator, [])
    compile_lock("dev", operator + groups["build"] + groups["test"] + groups["dev"], ["operator"])
    compile_lock("build", groups["build"], ["dev"])
    compile_lock("test", groups["test"], ["dev"])
    compile_lock("workers", extras["workers"], ["test", "build"])
    engines = extras["huggingface"] + extras["onnx"] + extras["openvino"]
    compile_lock("engines", extras["workers"] + engines, ["test", "build", "workers"])
    compile_lock("clients", groups["clients"], ["test", "build", "engines"])
    compile_lock("llama", groups["llama"], ["build"])
    for peer in ("mosec", "kserve", "litserve", "bentoml"):
        compile_lock(f"bench/{peer}", groups[f"bench-{peer}"], [])
    compile_lock("bench/minilm", groups["bench-minilm"], ["engines"], alone=True)


if __name__ == "__main__":
    main()
