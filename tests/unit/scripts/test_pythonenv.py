"""Virtual environments are made again only when what they are made of changes."""

from pathlib import Path

import pytest
import pythonenv


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pythonenv.Environment:
    monkeypatch.setattr(pythonenv, "REPO", tmp_path)
    monkeypatch.setattr(pythonenv, "LOCKS", tmp_path)
    monkeypatch.setattr(pythonenv, "PYPROJECT", tmp_path / "pyproject.toml")
    (tmp_path / "dev.txt").write_text("kopf==1.45.2\n")
    (tmp_path / "other.txt").write_text("torch==2.15.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return pythonenv.Environment(".venv", "packages", ("dev",))


def test_a_changed_lock_means_new_packages(environment: pythonenv.Environment, tmp_path: Path) -> None:
    before = environment.packages_stamp()
    (tmp_path / "other.txt").write_text("torch==2.16.0\n")
    assert environment.packages_stamp() == before
    (tmp_path / "dev.txt").write_text("kopf==1.45.3\n")
    assert environment.packages_stamp() != before


def test_a_changed_project_keeps_the_packages(environment: pythonenv.Environment, tmp_path: Path) -> None:
    packages, project = environment.packages_stamp(), environment.project_stamp()
    (tmp_path / "pyproject.toml").write_text("[project]\nversion = '2'\n")
    assert environment.packages_stamp() == packages
    assert environment.project_stamp() != project


def test_a_repository_that_was_moved_gets_new_environments(
    environment: pythonenv.Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment.packages_stamp()
    monkeypatch.setattr(pythonenv, "REPO", tmp_path / "elsewhere")
    assert environment.packages_stamp() != before


def test_an_environment_without_a_stamp_is_not_taken_for_complete(environment: pythonenv.Environment) -> None:
    assert pythonenv.read_stamp(environment, "packages") == ""
