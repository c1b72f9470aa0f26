"""The generated files: the same as the models, twice the same, and valid for Helm."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from modelservice.api import crdgen
from modelservice.api.kinds import KINDS

REPO = Path(__file__).resolve().parents[3]


def test_what_is_committed_matches_the_models() -> None:
    stale = [path for path, text in crdgen.generated().items() if (REPO / path).read_text() != text]
    assert stale == []


def test_nothing_else_lies_beside_the_generated_files() -> None:
    expected = {path for path in crdgen.generated() if path.endswith(".yaml")}
    found = {
        str(path.relative_to(REPO))
        for folder in ("crds", "charts/modelservice/templates/crds")
        for path in (REPO / folder).iterdir()
    }
    assert found == expected


def test_check_names_each_stale_file_and_write_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert crdgen.main(["check"]) == 1
    assert (
        "crds/modelservices.yaml does not match the models: run `make crds` and commit it." in capsys.readouterr().err
    )
    assert crdgen.main(["write"]) == 0
    assert crdgen.main(["check"]) == 0
    (tmp_path / "crds/computepools.yaml").write_text("drift")
    assert crdgen.main(["check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_word_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main(["paint"]) == 2
    assert "write|check" in capsys.readouterr().err


def test_a_crd_reads_back_as_it_was_made() -> None:
    files = crdgen.generated()
    for kind in KINDS:
        assert yaml.safe_load(files[f"crds/{kind.plural}.yaml"]) == crdgen.crd(kind)


def test_every_field_and_every_sentence_is_in_the_reference() -> None:
    text = crdgen.generated()["docs/reference/api.md"]
    assert "`spec.inference.scaling.scaleTarget`" in text
    assert "inference.minReplicas must not be above inference.maxReplicas." in text
    for kind in KINDS:
        assert f"## {kind.name}\n" in text
