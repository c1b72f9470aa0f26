import socket
from pathlib import Path

import pytest
from modelservice.cli.main import main


def test_a_period_that_is_none_is_refused_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--period", "soon", "--kubeconfig", "/nowhere"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "'soon' is not a period: write current, previous, all, a month such as 2026-07 or a day such as 2026-07-10.\n"
    )


def test_what_costs_cannot_be_grouped_by_is_told_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--by", "team", "--kubeconfig", "/nowhere"]) == 2
    assert capsys.readouterr().err == (
        "'team' is nothing to group by: write service, pool, role or label:KEY, as in label:team.\n"
    )


def test_without_a_login_the_reason_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert main(["cost", "--kubeconfig", str(missing)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"No way to log in to Kubernetes through {missing}: ")
    assert len(said.err.splitlines()) == 1


def test_a_cluster_that_does_not_answer_is_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    config = tmp_path / "config"
    config.write_text(
        f"""{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{}}}}],
        contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
        clusters: [{{name: k, cluster: {{server: "http://127.0.0.1:{port}"}}}}]}}"""
    )
    assert main(["cost", "--kubeconfig", str(config)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("The cluster does not answer (GET ")
    assert said.endswith("): check --kubeconfig and try again.\n")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [["--by"], ["-o", "xml"], ["--html"]])
def test_options_that_do_not_exist_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["cost", *words])
    assert stop.value.code == 2
    assert "usage: modelservice cost" in capsys.readouterr().err
