"""Rules of the repository that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from pythonenv import ENVIRONMENTS

REPO = Path(__file__).resolve().parents[2]
MOST_LINES = 500
CLOCKS = {"now", "utcnow", "today", "fromtimestamp"}


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows, or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(REPO / name for name in listed.split("\0") if name and (REPO / name).is_file())


def test_the_source_root_does_not_shadow_the_operator_of_the_standard_library() -> None:
    assert not (REPO / "operator" / "__init__.py").exists()


def test_no_module_is_longer_than_its_limit() -> None:
    modules = tracked("operator/*.py", "workers/*.py", "scripts/*.py", "local/*.go")
    assert modules
    long = {
        str(path.relative_to(REPO)): count for path in modules if (count := path.read_text().count("\n")) > MOST_LINES
    }
    assert long == {}


@pytest.mark.parametrize("package", ["domain", "render"])
def test_decisions_and_manifests_read_no_clock(package: str) -> None:
    modules = tracked(f"operator/modelservice/{package}/*.py")
    assert modules
    calls = [
        f"{path.name}:{node.lineno} {node.func.attr}()"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and not (node.func.attr == "fromtimestamp" and node.args)  # a conversion of a given time
    ]
    assert calls == []


@pytest.mark.parametrize(
    "locks",
    [
        pytest.param(("operator", *ENVIRONMENTS[0].locks), id="operator"),
        pytest.param(ENVIRONMENTS[1].locks, id="workers"),
    ],
)
def test_a_package_has_one_version_in_all_locks_of_an_environment_and_every_one_has_a_hash(
    locks: tuple[str, ...],
) -> None:
    versions: dict[str, set[str]] = {}
    for lock in locks:
        text = (REPO / "requirements" / f"{lock}.txt").read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if pinned := re.match(r"([a-z0-9][\w.-]*)==(\S+) ; (.*?) --hash", re.sub(r"\s+", " ", line)):
                versions.setdefault(f"{pinned[1]} ; {pinned[3]}", set()).add(pinned[2])
            else:
                assert line.startswith("#"), f"{lock}.txt has a line without a pinned version and hash: {line[:80]}"
    assert versions
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_each_lock_fills_an_environment() -> None:
    locks = {lock.stem for lock in (REPO / "requirements").glob("*.txt")}
    assert locks == {"operator", *(lock for environment in ENVIRONMENTS for lock in environment.locks)}


def test_the_locks_name_no_index() -> None:
    for lock in sorted((REPO / "requirements").glob("*.txt")):
        assert not re.search(r"https?://|--index-url|--find-links", lock.read_text()), lock.name
