"""The Dockerfile beside the locks and the scripts: nobody here can build it, so it is compared."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[3]
PYPROJECT: dict[str, Any] = tomllib.loads((REPO / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile, by its name."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", (REPO / "Dockerfile").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", one)[0].lower() for one in requirements}


def locked(lock: str) -> dict[str, set[str]]:
    """The versions of each package in a lock."""
    text = (REPO / "requirements" / lock).read_text()
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", text, re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize(
    ("stage", "wanted"),
    [
        ("build-operator", PYPROJECT["project"]["dependencies"]),
        ("build-worker", [one for extra in ("workers", "huggingface", "onnx", "openvino") for one in EXTRAS[extra]]),
        ("build", PYPROJECT["dependency-groups"]["build"]),
    ],
)
def test_an_image_is_made_from_a_lock_that_has_all_that_its_program_needs(stage: str, wanted: list[str]) -> None:
    (lock,) = re.findall(r"--require-hashes -r requirements/(\S+)", stages()[stage])
    assert names(wanted) <= locked(lock).keys()


def test_the_engines_of_the_image_have_the_versions_that_the_tests_have() -> None:
    tested, image = locked("workers.txt"), locked("engines.txt")
    assert tested.items() <= image.items()


def test_every_extra_of_the_project_is_in_the_image_of_the_worker() -> None:
    assert names([one for extra in EXTRAS.values() for one in extra]) <= locked("engines.txt").keys()


@pytest.mark.parametrize(("target", "program"), [("operator", "modelservice"), ("worker", "modelservice-worker")])
def test_each_target_starts_its_program_as_a_user_without_rights_from_the_environment_that_was_built(
    target: str, program: str
) -> None:
    text = stages()
    assert f"COPY --from=build-{target} /opt/modelservice /opt/modelservice" in text[target]
    assert f'ENTRYPOINT ["{program}"]' in text[target]
    assert program in PYPROJECT["project"]["scripts"]
    assert "USER 65532:65532" in text["run"]


def test_all_that_is_copied_from_the_repository_exists() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (REPO / "Dockerfile").read_text(), re.MULTILINE)
    assert copied
    assert [path for line in copied for path in line.split() if not (REPO / path).exists()] == []
