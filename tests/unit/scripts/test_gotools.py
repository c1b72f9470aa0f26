"""Builds of the Go programs: versions and what makes a program stale."""

from pathlib import Path

import gotools
import pytest


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text("module example.test/m\n\ngo 1.26\n\nrequire example.test/dep v1.2.3\n")
    (tmp_path / "go.sum").write_text("")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() {}\n")
    (tmp_path / "main_test.go").write_text("package main\n")
    (tmp_path / "README.md").write_text("read me\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "go.mod").write_text("module example.test/inner\n")
    (tmp_path / "inner" / "other.go").write_text("package inner\n")
    return tmp_path


def test_tests_texts_and_modules_below_do_not_belong_to_a_program(module: Path) -> None:
    assert [path.name for path in gotools.sources(module)] == ["go.mod", "go.sum", "main.go"]


def test_a_program_is_stale_after_a_change_of_a_source_and_not_after_one_of_a_test(module: Path) -> None:
    program = gotools.Program("m", "m", module, ".")
    before = gotools.fingerprint(program)
    (module / "main_test.go").write_text("package main // changed\n")
    assert gotools.fingerprint(program) == before
    (module / "main.go").write_text("package main\n\nfunc main() { println() }\n")
    assert gotools.fingerprint(program) != before


def test_the_version_that_go_mod_requires_is_stamped(module: Path) -> None:
    program = gotools.Program(
        "m", "m", module, ".", version_of="example.test/dep", version_variable="example.test/dep.V"
    )
    assert "-s -w -X example.test/dep.V=v1.2.3" in gotools.build_flags(program)


@pytest.mark.parametrize(("module_version", "release"), [("v0.316.0", "3.16.0"), ("v0.301.2", "3.1.2")])
def test_a_prometheus_module_version_names_its_release(module_version: str, release: str) -> None:
    assert gotools.prometheus_version(module_version) == release


def test_each_program_of_the_design_is_built() -> None:
    names = {program.name for program in gotools.PROGRAMS}
    assert names >= {"localcluster", "coredns", "helm", "prometheus", "kwok"}
