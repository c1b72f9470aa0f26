from pathlib import Path

import pytest
from modelservice.cli.main import main


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory): name an export."),
        (b"\xff\xfe", "cannot be used. It is no text: name an export."),
        (b"{}", "cannot be used. It is no export of a ledger: make one by `modelservice ledger export`."),
    ],
)
def test_a_file_that_is_no_export_is_refused_before_the_cluster_is_asked(
    content: bytes | None, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "ledger.jsonl"
    if content is not None:
        file.write_bytes(content)
    assert main(["ledger", "import", str(file), "--kubeconfig", "/nowhere"]) == 1
    assert capsys.readouterr().err == f"{file} {said}\n"
